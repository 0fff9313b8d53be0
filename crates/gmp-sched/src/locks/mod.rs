//! Synchronisation for goroutines, threads and futures alike (R14).
//!
//! | floor | modules |
//! |---|---|
//! | who waits | `waitq`: the queue; `room`, `deadlines`, `alarm`: wake-ups at a time; `wait`: from polling to blocking |
//! | locks | `mutex`, `rwlock`, `condvar`, `sema`, `waitgroup`, `barrier` |
//! | on top of them | `ext`: types and async forms; `once`; `reentrant` |
//!
//! What loom models, and all that is compiled under it: `waitq`, `mutex`, `rwlock`, `condvar`, `sema`.

mod condvar;
mod mutex;
mod rwlock;
mod sema;
pub(crate) mod wait;
pub(crate) mod waitq;

#[cfg(not(loom))]
pub(crate) mod alarm;
#[cfg(not(loom))]
mod barrier;
#[cfg(not(loom))]
mod deadlines;
#[cfg(not(loom))]
mod ext;
#[cfg(not(loom))]
mod once;
#[cfg(not(loom))]
mod reentrant;
#[cfg(not(loom))]
pub(crate) mod room;
#[cfg(not(loom))]
mod waitgroup;

pub use self::{condvar::RawCondvar, mutex::RawMutex, rwlock::RawRwLock, sema::Semaphore};

#[cfg(not(loom))]
pub use self::{
    alarm::{Alarms, set_alarms},
    barrier::Barrier,
    ext::{AsyncCondvar, AsyncMutex, AsyncRwLock, Condvar, Mutex, MutexGuard, RwLock},
    once::{Once, OnceLock},
    reentrant::{GoId, ReentrantMutex},
    waitgroup::WaitGroup,
};
