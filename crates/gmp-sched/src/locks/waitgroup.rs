//! Waiting for a number of things to be done: what Go's `sync.WaitGroup` is for.
//!
//! Invariant, whenever the lock is free: nobody is queued while the count is zero. Count and
//! waiters lie under a lock that is held for a few instructions. Each waiter has a flag of its own, set by
//! Release when the count fell to zero and read by Acquire, so the group may be used again before all
//! waiters have returned.

use crate::park;
use crate::wait_reason::WaitReason;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use parking_lot::Mutex;
use std::sync::Arc;

/// Counts what is still to be done, and lets others wait until that is nothing.
///
/// ```
/// let wg = gmp_sched::WaitGroup::new();
/// std::thread::scope(|s| {
///     for _ in 0..4 {
///         wg.add(1);
///         s.spawn(|| wg.done());
///     }
///     wg.wait();
/// });
/// ```
pub struct WaitGroup {
    /// Written by `add`, `done` and waiters, under the lock.
    state: Mutex<State>,
}

struct State {
    count: usize,
    waiters: Vec<(Waker, Arc<AtomicBool>)>,
}

/// A wait that its runtime's shutdown may unwind: leaves no waker behind.
struct Waiting<'a>(&'a WaitGroup, Arc<AtomicBool>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.1.load(Ordering::Relaxed) {
            self.0.state.lock().waiters.retain(|(_, flag)| !Arc::ptr_eq(flag, &self.1));
        }
    }
}

impl WaitGroup {
    /// A group with nothing to wait for.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: Mutex::new(State { count: 0, waiters: Vec::new() }) }
    }

    /// Adds `n` things to be done. Before the work is started, or a waiter may not see it.
    ///
    /// # Panics
    /// If there would be more than `usize::MAX`.
    pub fn add(&self, n: usize) {
        let mut state = self.state.lock();
        state.count = state.count.checked_add(n).expect("WaitGroup::add: counter overflow");
    }

    /// One thing is done; the last wakes all waiters. Never parks.
    ///
    /// # Panics
    /// If nothing was left to be done.
    pub fn done(&self) {
        let mut state = self.state.lock();
        state.count = state.count.checked_sub(1).expect("WaitGroup::done: negative counter");
        if state.count > 0 {
            return;
        }
        let waiters = core::mem::take(&mut state.waiters);
        waiters.iter().for_each(|(_, flag)| flag.store(true, Ordering::Release));
        drop(state);
        waiters.into_iter().for_each(|(waker, _)| waker.wake());
    }

    /// Waits until the count is zero. **May park**; inside a future it blocks the thread.
    pub fn wait(&self) {
        let waiting = Waiting(self, Arc::new(AtomicBool::new(false)));
        let begin = |waker: &Waker| {
            let mut state = self.state.lock();
            if state.count > 0 {
                state.waiters.push((waker.clone(), waiting.1.clone()));
                return false;
            }
            true
        };
        park::wait_until(WaitReason::WaitGroupWait, begin, || waiting.1.load(Ordering::Acquire));
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup").field("count", &self.state.lock().count).finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<WaitGroup>();
};
