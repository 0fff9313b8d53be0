//! A counting semaphore, first come first served, with a queue of its own (as the weighted semaphore of
//! Go's `golang.org/x/sync`; the runtime's `semaRoot` serves one permit at a time and lets newcomers barge).
//!
//! Invariant, whenever the lock is free: the queue is empty, or fewer permits are free than its
//! first waiter asks for. So a release hands permits over instead of letting newcomers race for
//! them, and nobody starves.
//!
//! Ordering: permits and queue are only touched under the lock. `granted` is set under it too, by
//! Release, and read by the waiter without it, by Acquire: what came before a release is seen after
//! the acquire that it serves. Wakers are woken after the lock is released.

use crate::park;
use crate::wait_reason::WaitReason;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// A counting semaphore, first come first served, for goroutines and threads.
///
/// Permits are plain numbers: whoever holds some may release them elsewhere.
///
/// ```
/// let room = gmp_sched::Semaphore::new(2);
/// room.acquire(2);
/// assert!(!room.try_acquire(1));
/// room.release(2);
/// assert!(room.try_acquire(1));
/// ```
pub struct Semaphore {
    /// Written by acquirers and releasers, under the lock.
    state: Mutex<State>,
}

struct State {
    permits: usize,
    queue: VecDeque<Waiter>,
}

struct Waiter {
    waker: Waker,
    wants: usize,
    /// Set once, under the semaphore's lock, by whoever takes the waiter off the queue.
    granted: Arc<AtomicBool>,
}

impl State {
    /// Restores the invariant; the wakers are to be woken after the lock is released.
    fn grant(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while self.queue.front().is_some_and(|w| w.wants <= self.permits) {
            let Some(w) = self.queue.pop_front() else { break };
            self.permits -= w.wants;
            w.granted.store(true, Ordering::Release);
            wakers.push(w.waker);
        }
        wakers
    }

    fn take(&mut self, n: usize) -> bool {
        let free = self.queue.is_empty() && self.permits >= n;
        if free {
            self.permits -= n;
        }
        free
    }
}

/// A wait that may be unwound by its runtime's shutdown: leaves the queue, or gives back.
struct Waiting<'a> {
    sema: &'a Semaphore,
    wants: usize,
    granted: Arc<AtomicBool>,
    /// Written by the waiter: false once the permits are the caller's.
    armed: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let mut state = self.sema.state.lock();
        if self.granted.load(Ordering::Relaxed) {
            state.permits += self.wants;
        } else {
            state.queue.retain(|w| !Arc::ptr_eq(&w.granted, &self.granted));
        }
        let wakers = state.grant();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Semaphore {
    /// A semaphore with `permits` free permits.
    #[must_use]
    pub const fn new(permits: usize) -> Self {
        Self { state: Mutex::new(State { permits, queue: VecDeque::new() }) }
    }

    /// Takes `n` permits, waiting behind earlier waiters. **May park**; inside a future it blocks
    /// the thread. For ever, if `n` permits never come together. Does not allocate unless it waits.
    pub fn acquire(&self, n: usize) {
        if self.try_acquire(n) {
            return;
        }
        let granted = Arc::new(AtomicBool::new(false));
        let mut waiting = Waiting { sema: self, wants: n, granted: granted.clone(), armed: true };
        let begin = |waker: &Waker| {
            let mut state = self.state.lock();
            let direct = state.take(n);
            if !direct {
                let granted = granted.clone();
                state.queue.push_back(Waiter { waker: waker.clone(), wants: n, granted });
            }
            direct
        };
        park::wait_until(WaitReason::SemAcquire, begin, || waiting.granted.load(Ordering::Acquire));
        waiting.armed = false;
    }

    /// Takes `n` permits if they are free and nobody waits; never blocks.
    #[must_use]
    pub fn try_acquire(&self, n: usize) -> bool {
        self.state.lock().take(n)
    }

    /// Gives `n` permits, to the waiters first. Never parks; O(waiters served).
    ///
    /// # Panics
    /// If there would be more than `usize::MAX` permits.
    pub fn release(&self, n: usize) {
        let mut state = self.state.lock();
        state.permits = state.permits.checked_add(n).expect("Semaphore::release: too many permits");
        let wakers = state.grant();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Free permits, a moment ago.
    #[must_use]
    pub fn available(&self) -> usize {
        self.state.lock().permits
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("available", &self.available()).finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Semaphore>();
};
