//! The one-value mailbox behind `Timer` and `Ticker`: Go's channel of capacity one, and the rule of
//! Go 1.23 that no stale value is received after a stop or a reset.
//!
//! Invariant, in the modern mode: `armed` or `value` is set exactly while a firing can still be
//! received; a stop or reset clears both and takes a new `seq`, so a firing already on its way (its
//! callback taken out of the heap, not run yet) finds another number than it carries, and is
//! discarded. So a stop's answer is about what the receiver sees, not about the heap.
//!
//! Whoever waits leaves a waker: tasks, threads and, if the host has them, goroutines. A firing wakes all
//! of them, one takes the value and the others wait again: there is rarely more than one, and so a
//! waker whose owner has lost interest keeps nobody from the value.
//!
//! Lock order: the mailbox, then a heap. Firing takes only the mailbox, after the heap's lock has
//! been released. Wakers are cloned, called and dropped while the mailbox is not locked.

use crate::callback::{Callback, Fire};
use crate::driver::discard;
use crate::engine::Engine;
use crate::host::{HandleOf, Host};
use core::mem;
use core::task::{Context, Poll, Waker};
use smallvec::SmallVec;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Those who wait: one as a rule, for whom nothing is allocated.
type Wakers = SmallVec<[Waker; 1]>;

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
    /// Whoever waits for it.
    waiting: Wakers,
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
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        wake_all(waiting);
    }
}

/// Wakes all, and goes on with the first panic when the others have been woken.
fn wake_all(wakers: Wakers) {
    let mut first = None;
    for waker in wakers {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            match first {
                None => first = Some(payload),
                Some(_) => discard(payload),
            }
        }
    }
    if let Some(payload) = first {
        resume_unwind(payload);
    }
}

impl Mailbox {
    pub(crate) fn new(stale: Stale) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
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

    /// Waits as the host waits, until `until` on the system's clock.
    pub(crate) fn recv<H: Host>(&self, host: &H, until: i64) -> Option<i64> {
        self.try_recv().or_else(|| {
            let mut receive = Receive {
                mailbox: self,
                waker: None,
            };
            host.block(until, |waker| receive.poll(waker))
        })
    }

    /// For a task that has the timer to itself: nobody else waits.
    pub(crate) fn poll_recv(&self, cx: &Context<'_>) -> Poll<i64> {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if let Some(value) = state.value.take() {
            drop(state);
            return Poll::Ready(value);
        }
        let old = mem::replace(&mut state.waiting, SmallVec::from_buf([waker]));
        drop(state);
        drop(old);
        Poll::Pending
    }
}

/// A receive that blocks, one of any number.
struct Receive<'a> {
    mailbox: &'a Mailbox,
    /// What it may have left in the mailbox.
    waker: Option<Waker>,
}

impl Receive<'_> {
    fn poll(&mut self, waker: &Waker) -> Option<i64> {
        let left = self.waker.get_or_insert_with(|| waker.clone());
        let waker = left.clone();
        let mut state = self.mailbox.lock();
        let value = state.value.take();
        if value.is_none() && !state.waiting.iter().any(|w| w.will_wake(&waker)) {
            state.waiting.push(waker);
        }
        value
    }
}

impl Drop for Receive<'_> {
    /// Also when the wait is unwound, as a goroutine's is at shutdown.
    fn drop(&mut self) {
        let Some(waker) = &self.waker else { return };
        let mut state = self.mailbox.lock();
        let place = state.waiting.iter().position(|w| w.will_wake(waker));
        let left = place.map(|i| state.waiting.swap_remove(i));
        drop(state);
        drop(left);
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
                Some(mem::take(&mut self.armed) || unread)
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    /// Panics when the task is to run, or else counts.
    struct Task {
        panics: bool,
        woken: AtomicUsize,
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.woken.fetch_add(1, Relaxed);
            assert!(!self.panics, "a user's mistake");
        }
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_else_asleep() {
        let mailbox = Mailbox::new(Stale::Discard);
        let tasks = [true, false, true, false].map(|panics| {
            let woken = AtomicUsize::new(0);
            Arc::new(Task { panics, woken })
        });
        let wakers = tasks.each_ref().map(|task| Waker::from(Arc::clone(task)));
        mailbox.lock().waiting.extend(wakers);
        let fire = AssertUnwindSafe(|| mailbox.fire(0, 7));
        assert!(std::panic::catch_unwind(fire).is_err());
        assert_eq!(mailbox.try_recv(), Some(7));
        assert!(tasks.iter().all(|task| task.woken.load(Relaxed) == 1));
    }

    /// A receive that waits leaves one waker, however often it is polled, and takes it along when it gives up.
    #[test]
    fn a_receive_leaves_one_waker_and_none_behind() {
        let mailbox = Mailbox::new(Stale::Discard);
        let mut receive = Receive {
            mailbox: &mailbox,
            waker: None,
        };
        for _ in 0..3 {
            assert_eq!(receive.poll(Waker::noop()), None);
            assert_eq!(mailbox.lock().waiting.len(), 1);
        }
        drop(receive);
        assert!(mailbox.lock().waiting.is_empty());
    }
}
