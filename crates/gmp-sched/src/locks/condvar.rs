//! Waiting until something is worth another look: Go's `Cond` (`notifyList` in `runtime/sema.go`,
//! Go 1.27), as a raw condition variable of `lock_api`.
//!
//! Waiters are notified first come first served. A waiter joins the queue before it unlocks the
//! mutex, so a notification given under the mutex after that reaches it. One that was notified and
//! gives up (its time has run out, its future is dropped, it is unwound) passes the notification
//! on: `notify_one` is never lost to somebody who does not look.
//!
//! The mutex is locked again before a wait returns *and* before it unwinds, as `lock_api` demands:
//! an abort of the runtime ends the wait, waits for the mutex like anybody else, and unwinds after that
//! (`wait::block_unless_aborted`, `wait::outlast`). A waiter that was notified returns, also
//! during an abort. One whose time has run out leaves the queue before it waits for the mutex, so
//! whoever counts as notified has heard it.

use super::waitq::{IDLE, NOTIFIED, WaitQueue, Waiter};
use crate::foreign::wake_all;
use core::fmt;
use core::pin::Pin;
use core::task::{Poll, Waker};

/// The queue inside a [`Condvar`](crate::Condvar). 24 bytes; waiting allocates nothing.
pub struct RawCondvar {
    queue: WaitQueue<()>,
}

impl RawCondvar {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self {
            queue: WaitQueue::new(()),
        }
    }

    #[cfg(loom)]
    fn new() -> Self {
        Self {
            queue: WaitQueue::new(()),
        }
    }

    fn one(&self) -> bool {
        let waker = self.queue.lock().pop_front(NOTIFIED);
        let heard = waker.is_some();
        wake_all(waker);
        heard
    }

    #[cfg(not(loom))]
    fn all(&self) -> usize {
        let (mut queue, mut wakers) = self.queue.lock_with_room(|queue| queue.tags().count());
        queue.drain(&mut wakers, NOTIFIED);
        drop(queue);
        let n = wakers.len();
        wake_all(wakers);
        n
    }
}

/// A wait for a notification, until it has one or is dropped.
struct Listening<'a, 'n> {
    condvar: &'a RawCondvar,
    waiter: Pin<&'n Waiter<'a, ()>>,
    /// It has been in the queue. By the waiter.
    joined: bool,
}

impl<'a, 'n> Listening<'a, 'n> {
    fn new(condvar: &'a RawCondvar, waiter: Pin<&'n Waiter<'a, ()>>) -> Self {
        Self {
            condvar,
            waiter,
            joined: false,
        }
    }

    /// The first time, joins the queue, then calls `unlock`.
    fn poll(&mut self, waker: &Waker, unlock: impl FnOnce()) -> Poll<()> {
        if !self.joined {
            let waker = waker.clone();
            self.condvar.queue.lock().push_back(self.waiter, waker, 0);
            self.joined = true;
            unlock();
            return Poll::Pending;
        }
        if self.waiter.still_queued(waker) {
            return Poll::Pending;
        }
        self.waiter.reset();
        Poll::Ready(())
    }

    /// Leaves the queue. True if it was notified before.
    fn leave(&mut self) -> bool {
        if self.waiter.state() == IDLE {
            return false;
        }
        let removed = self.condvar.queue.lock().remove(self.waiter);
        drop(removed);
        let heard = self.waiter.state() == NOTIFIED;
        self.waiter.reset();
        heard
    }
}

impl Drop for Listening<'_, '_> {
    fn drop(&mut self) {
        if self.leave() {
            self.condvar.one();
        }
    }
}

impl fmt::Debug for RawCondvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawCondvar").finish_non_exhaustive()
    }
}

#[cfg(not(loom))]
mod faces {
    use super::{Listening, RawCondvar};
    use crate::locks::mutex::RawMutex;
    use crate::locks::wait;
    use crate::locks::waitq::Waiter;
    use crate::wait_reason::WaitReason;
    use core::cell::Cell;
    use core::pin::pin;
    use core::time::Duration;
    use lock_api::{GuardSend, RawMutex as _};
    use std::time::Instant;

    impl Default for RawCondvar {
        fn default() -> Self {
            Self::new()
        }
    }

    /// Locks the mutex again if the wait unlocked it and is unwound.
    struct Relock<'a> {
        mutex: &'a RawMutex,
        unlocked: Cell<bool>,
    }

    impl Relock<'_> {
        fn unlock(&self) {
            self.unlocked.set(true);
            // SAFETY: the caller of `wait` holds it, and gets it back locked.
            unsafe { self.mutex.unlock(GuardSend::new()) };
        }

        fn lock(&self) {
            wait::steadfast(|| {
                if self.unlocked.get() {
                    self.mutex.lock_outlasting();
                    self.unlocked.set(false);
                }
            });
        }
    }

    impl Drop for Relock<'_> {
        fn drop(&mut self) {
            self.lock();
        }
    }

    impl RawCondvar {
        /// True if it was notified.
        fn wait_locked(&self, mutex: &RawMutex, deadline: Option<u64>) -> bool {
            let relock = Relock {
                mutex,
                unlocked: Cell::new(false),
            };
            let waiter = pin!(Waiter::new(&self.queue));
            let mut listening = Listening::new(self, waiter.as_ref());
            let heard = wait::block_unless_aborted(WaitReason::CondWait, deadline, |w| {
                listening.poll(w, || relock.unlock())
            });
            let heard = heard.is_some() || listening.leave();
            relock.lock();
            if !heard {
                wait::go_on_aborting();
            }
            heard
        }

        /// Joins the queue, calls `unlock`, waits. What it returns passes the notification on when it
        /// is dropped.
        pub(crate) async fn heard(&self, unlock: impl FnOnce()) -> Heard<'_> {
            let mut unlock = Some(unlock);
            let mut unlock = || unlock.take().map_or((), |unlock| unlock());
            let waiter = pin!(Waiter::new(&self.queue));
            let mut listening = Listening::new(self, waiter.as_ref());
            core::future::poll_fn(|cx| listening.poll(cx.waker(), &mut unlock)).await;
            Heard(self)
        }
    }

    /// A notification, on its way to who will look: until it has the mutex, it may give up.
    #[must_use = "dropped, it passes the notification on"]
    pub(crate) struct Heard<'a>(&'a RawCondvar);

    impl Heard<'_> {
        /// The mutex is locked: its owner looks.
        pub(crate) fn arrived(self) {
            core::mem::forget(self);
        }
    }

    impl Drop for Heard<'_> {
        fn drop(&mut self) {
            self.0.one();
        }
    }

    // SAFETY: `wait` returns and unwinds with the mutex locked (`Relock`).
    unsafe impl lock_api::RawCondvar for RawCondvar {
        const INIT: Self = Self::new();
        type RawMutex = RawMutex;

        unsafe fn wait(&self, mutex: &RawMutex, _: &mut GuardSend) {
            self.wait_locked(mutex, None);
        }

        fn notify_one(&self) -> bool {
            self.one()
        }

        fn notify_all(&self) -> usize {
            self.all()
        }
    }

    // SAFETY: as above.
    unsafe impl lock_api::RawCondvarTimed for RawCondvar {
        fn checked_duration_to_instant(timeout: &Duration) -> Option<Instant> {
            Instant::now().checked_add(*timeout)
        }

        unsafe fn wait_until(&self, mutex: &RawMutex, _: &mut GuardSend, at: &Instant) -> bool {
            !self.wait_locked(mutex, Some(wait::nanos_until(*at)))
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::{Listening, RawCondvar, Waiter};
    use crate::locks::wait::block;
    use core::pin::pin;
    use core::task::{Poll, Waker};
    use loom::sync::Arc;
    use loom::sync::Mutex;
    use loom::thread;

    /// The mutex is loom's: what is modelled is the queue against notifications.
    struct Shared {
        flag: Mutex<u32>,
        cond: RawCondvar,
    }

    fn wait_for(s: &Shared) {
        loop {
            let guard = s.flag.lock().unwrap();
            if *guard > 0 {
                return;
            }
            let mut guard = Some(guard);
            let waiter = pin!(Waiter::new(&s.cond.queue));
            let mut listening = Listening::new(&s.cond, waiter.as_ref());
            block(|w| listening.poll(w, || drop(guard.take())));
        }
    }

    #[test]
    fn loom_condvar_loses_no_notification() {
        loom::model(|| {
            let s = Arc::new(Shared {
                flag: Mutex::new(0),
                cond: RawCondvar::new(),
            });
            let t = {
                let s = s.clone();
                thread::spawn(move || wait_for(&s))
            };
            *s.flag.lock().unwrap() += 1;
            s.cond.one();
            t.join().unwrap();
        });
    }

    /// One notification, two listeners, of whom one gives up: the other gets it.
    #[test]
    fn loom_condvar_notification_of_a_quitter_is_passed_on() {
        loom::model(|| {
            let s = Arc::new(Shared {
                flag: Mutex::new(0),
                cond: RawCondvar::new(),
            });
            let quitter = pin!(Waiter::new(&s.cond.queue));
            let mut listening = Listening::new(&s.cond, quitter.as_ref());
            assert_eq!(listening.poll(Waker::noop(), || ()), Poll::Pending);
            let t = {
                let s = s.clone();
                thread::spawn(move || wait_for(&s))
            };
            *s.flag.lock().unwrap() += 1;
            s.cond.one();
            drop(listening);
            t.join().unwrap();
        });
    }
}
