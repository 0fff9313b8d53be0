//! Go's face of the map: [`GoMap`] with the language's rules, its keys [`GoKey`], and [`SharedMap`] with
//! the run-time's fatal errors.

mod key;
mod map;
#[cfg(feature = "std")]
mod shared;

pub use key::GoKey;
pub use map::{GoCursor, GoMap};
#[cfg(feature = "std")]
pub use shared::SharedMap;
