//! The one-value mailbox behind `Timer` and `Ticker`: Go's channel of capacity one, and the rule of
//! Go 1.23 that no stale value is received after a stop or a reset.
//!
//! Invariant, in the modern mode: `armed` or `value` is set exactly while a firing can still be
//! received; a stop or reset clears both and takes a new `seq`, so a firing already on its way (its
//! callback taken out of the heap, not run yet) finds another number than it carries, and is
//! discarded. So a stop's answer is about what the receiver sees, not about the heap.
//!
//! Lock order: the mailbox, then a heap. Firing takes only the mailbox, after the heap's lock has
//! been released. Wakers are called and dropped after the mailbox has been unlocked.

use crate::callback::{Callback, Fire};
use crate::engine::Engine;
use crate::host::{HandleOf, Host};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a stop or reset does with a firing that has not been received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stale {
    /// It is discarded, and counts as prevented: nothing from before a stop or reset is ever
    /// received after it (Go 1.23 and later).
    #[default]
    Discard,
    /// It stays in the mailbox, or arrives later, and has to be drained by the caller (Go 1.22 and
    /// earlier, or `GODEBUG=asynctimerchan=1`).
    Keep,
}

#[derive(Debug)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    /// Threads in `recv`.
    ready: Condvar,
    stale: Stale,
}

/// All of it under the mailbox's lock.
#[derive(Debug, Default)]
struct State {
    /// The number that the current arming's firings carry.
    seq: usize,
    /// A firing is to come. Stays set for a ticker.
    armed: bool,
    /// Ticks for ever.
    periodic: bool,
    /// When the firing that nobody has received yet happened.
    value: Option<i64>,
    /// The task in `poll_recv`.
    waker: Option<Waker>,
}

impl Fire for Mailbox {
    fn fire(&self, seq: usize, now: i64) {
        let mut state = self.lock();
        if self.stale == Stale::Discard && seq != state.seq {
            return;
        }
        state.armed = state.periodic;
        // A full mailbox drops the tick: the receiver is slow.
        state.value.get_or_insert(now);
        let waker = state.waker.take();
        drop(state);
        self.ready.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Mailbox {
    pub(crate) fn new(stale: Stale) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            ready: Condvar::new(),
            stale,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops a timer. True if a firing will now not be received that otherwise would have been
    /// (mode `Discard`), or will not happen (mode `Keep`).
    pub(crate) fn stop<H: Host>(&self, timer: &HandleOf<H>) -> bool {
        let mut state = self.lock();
        let prevented = state.forget(self.stale);
        let stopped = H::Engine::stop(timer);
        prevented.unwrap_or(stopped)
    }

    /// Arms a timer; the answer is that of `stop`.
    pub(crate) fn arm<H: Host>(
        self: &Arc<Self>,
        host: &H,
        timer: &HandleOf<H>,
        when: i64,
        period: i64,
    ) -> bool {
        let mut state = self.lock();
        let prevented = state.forget(self.stale);
        state.armed = true;
        state.periodic = period > 0;
        let callback = Callback::shared(Arc::clone(self) as Arc<dyn Fire>, state.seq);
        let pending = host.arm(timer, when, period, callback);
        prevented.unwrap_or(pending)
    }

    pub(crate) fn try_recv(&self) -> Option<i64> {
        self.lock().value.take()
    }

    pub(crate) fn recv(&self) -> i64 {
        let mut state = self.lock();
        loop {
            if let Some(value) = state.value.take() {
                return value;
            }
            state = self
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn recv_timeout(&self, d: Duration) -> Option<i64> {
        let start = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(value) = state.value.take() {
                return Some(value);
            }
            let left = d.checked_sub(start.elapsed())?;
            state = self
                .ready
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    pub(crate) fn poll_recv(&self, cx: &Context<'_>) -> Poll<i64> {
        // Cloning and dropping a waker is user code: before and after the lock.
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if let Some(value) = state.value.take() {
            drop(state);
            return Poll::Ready(value);
        }
        let old = state.waker.replace(waker);
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl State {
    /// Forgets the current arming in the mode `Discard`, and says whether a firing can no longer be
    /// received. In the mode `Keep` it is for the heap to say.
    fn forget(&mut self, stale: Stale) -> Option<bool> {
        match stale {
            Stale::Keep => None,
            Stale::Discard => {
                self.seq = self.seq.wrapping_add(1);
                let unread = self.value.take().is_some();
                Some(core::mem::take(&mut self.armed) || unread)
            }
        }
    }
}
