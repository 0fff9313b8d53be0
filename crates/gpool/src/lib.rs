#![doc = include_str!("../README.md")]

mod barrier;
mod chain;
mod dequeue;
mod guard;
mod lease;
mod locals;
mod pin;
mod pool;
#[cfg(all(test, not(loom)))]
mod reference;
mod registry;
mod shards;
mod stats;
mod sync;
mod victim;

pub use guard::{ArcGuard, Guard};
pub use lease::release_slot;
pub use pool::Pool;
pub use registry::age_all;
pub use stats::Stats;
