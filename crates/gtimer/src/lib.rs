#![doc = include_str!("../README.md")]
#![cfg_attr(not(any(feature = "std", test, loom)), no_std)]

extern crate alloc;

pub mod bucket;
mod callback;
mod dary;
mod engine;
pub mod heap;
mod lock;
mod sync;
mod when;

pub use callback::{Callback, Fire};
pub use engine::{Armed, Engine};
pub use when::{NEVER, nanos, when};
