#![doc = include_str!("../README.md")]
#![cfg_attr(not(any(feature = "std", test, loom)), no_std)]

extern crate alloc;

// The core: two engines, no thread, no clock.
pub mod bucket;
mod callback;
mod dary;
mod engine;
pub mod heap;
mod lock;
mod prefetch;
mod sync;
mod when;

pub use callback::{Callback, Fire};
pub use engine::{Armed, Engine};
pub use when::{NEVER, nanos, when};

#[cfg(feature = "std")]
mod waiter;

// What a program without a runtime uses. Loom models the core and the waiter only.
#[cfg(all(feature = "std", not(loom)))]
mod alone {
    pub use crate::after::{AfterFunc, after, after_func, delay, interval, sleep, tick};
    pub use crate::block::block_thread;
    pub use crate::clock::now;
    pub use crate::driver::{Builder, Driver, VirtualClock, global};
    pub use crate::host::Host;
    pub use crate::interval::Interval;
    pub use crate::mailbox::Stale;
    pub use crate::sleep::Sleep;
    pub use crate::ticker::Ticker;
    pub use crate::timer::Timer;
}

#[cfg(all(feature = "std", not(loom)))]
mod after;
#[cfg(all(feature = "std", not(loom)))]
mod alarm;
#[cfg(all(feature = "std", not(loom)))]
mod block;
#[cfg(all(feature = "std", not(loom)))]
mod clock;
#[cfg(all(feature = "std", not(loom)))]
mod driver;
#[cfg(all(feature = "std", not(loom)))]
mod host;
#[cfg(all(feature = "std", not(loom)))]
mod interval;
#[cfg(all(feature = "std", not(loom)))]
mod mailbox;
#[cfg(all(feature = "std", not(loom)))]
mod sleep;
#[cfg(all(feature = "std", not(loom)))]
mod ticker;
#[cfg(all(feature = "std", not(loom)))]
mod timer;

#[cfg(all(feature = "std", not(loom)))]
pub use alone::*;
