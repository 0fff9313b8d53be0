//! What a timer needs of the runtime it lives in: the seam of this crate.

use crate::block::block_thread;
use crate::callback::Callback;
use crate::engine::Engine;
use core::task::Waker;

/// A clock, heaps of timers, and somebody who runs them.
///
/// [`Timer`](crate::Timer), [`Ticker`](crate::Ticker), [`AfterFunc`](crate::AfterFunc),
/// [`Sleep`](crate::Sleep) and [`Interval`](crate::Interval) work on any host.
/// [`Driver`](crate::Driver) is the one of this crate: one thread, or a virtual clock. A scheduler
/// implements it with one heap per P, run where it looks for work.
pub trait Host: Clone + Send + Sync + Unpin + core::fmt::Debug + 'static {
    /// The kind of heap it keeps.
    type Engine: Engine;

    /// Nanoseconds on its monotonic clock.
    fn now(&self) -> i64;

    /// A timer that is not armed.
    fn handle(&self) -> <Self::Engine as Engine>::Handle;

    /// Arms a timer ([`Engine::arm`]) and sees to it that it is run in time. True if it was pending.
    ///
    /// It must not run timers itself: its caller may hold a lock that their callbacks take. The callback
    /// that is replaced may panic when it is dropped: [`Engine::exchange`] leaves that to the end.
    fn arm(
        &self,
        timer: &<Self::Engine as Engine>::Handle,
        when: i64,
        period: i64,
        callback: Callback,
    ) -> bool;

    /// As [`arm`](Host::arm), keeping the period and the callback.
    fn reset(&self, timer: &<Self::Engine as Engine>::Handle, when: i64) -> bool;

    /// How a blocking receive waits: [`block_thread`], unless the calling code has a way of its own,
    /// as a goroutine has, which parks. Same contract.
    fn block<T>(&self, until: i64, poll: impl FnMut(&Waker) -> Option<T>) -> Option<T> {
        block_thread(until, poll)
    }
}

/// The handle of a host's timers.
pub(crate) type HandleOf<H> = <<H as Host>::Engine as Engine>::Handle;
