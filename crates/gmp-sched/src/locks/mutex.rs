//! Mutual exclusion: Go's `Mutex` with its two modes (`internal/sync/mutex.go`, Go 1.27), as a raw
//! lock of `lock_api`.
//!
//! **Normal mode.** Waiters queue first come first served, but one that is woken competes with
//! newcomers, who are running already and often win. Then it queues again, at the front. So while
//! others wait the word is hardly ever 0, and most locks and unlocks are made past them: both ways
//! of the word are inline. (On 2 Ps, 97 of 100 locks of 100 goroutines that do nothing else are
//! such; when only a word of 0 was taken inline, one cost 22 ns instead of 5.)
//!
//! **Starvation mode.** A waiter that has failed for more than a millisecond turns it on. An unlock
//! then hands the mutex to the first waiter, and newcomers queue although it looks free. It ends
//! when the waiter served was the last one, or had waited less than a millisecond.
//!
//! The word:
//! | bit | meaning | set, cleared by |
//! |---|---|---|
//! | `LOCKED` | somebody owns it | who takes it, or an unlock that hands it over; its owner |
//! | `WAITERS` | the queue is not empty | under the queue's lock |
//! | `WOKEN` | one waiter is awake and will look: wake no other | an unlock, or that waiter as it spins; that waiter |
//! | `STARVING` | starvation mode; implies `WAITERS` | the starving waiter as it queues; under the queue's lock |
//!
//! Go counts its waiters in the word and has the one that was handed the mutex correct the count;
//! here the queue has a lock, so the unlocker does both before the waiter is awake.
//!
//! Invariant: if the word has `WAITERS` and no `LOCKED`, then an unlock is on its way to the queue,
//! or `WOKEN` is set and its bearer is on its way to the word. A bearer that gives up (its time
//! has run out, its future is dropped, it is unwound) clears `WOKEN` and looks again for the
//! unlock that relied on it: both are read-modify-writes of one word, so one of them sees the other.
//!
//! Ordering: Acquire to take `LOCKED`, Release to give it up. A mutex that is handed over travels
//! through the waiter's state ([`waitq`](super::waitq), Release and Acquire) after an Acquire of the word.

use super::wait;
use super::waitq::{GRANTED, IDLE, Locked, NOTIFIED, WaitQueue, Waiter};
use crate::foreign::wake_all;
use crate::sync::atomic::{AtomicU32, Ordering};
use core::fmt;
use core::pin::{Pin, pin};
use core::task::{Poll, Waker};

const LOCKED: u32 = 1;
const WAITERS: u32 = 2;
const WOKEN: u32 = 4;
const STARVING: u32 = 8;

/// Nanoseconds after which a waiter starves.
const STARVATION: u64 = 1_000_000;
/// Looks of an active spin, and pauses between two of them.
pub(super) const SPINS: u32 = 4;
const PAUSES: u32 = 30;

/// Between two looks.
pub(super) fn pause() {
    (0..PAUSES).for_each(|_| core::hint::spin_loop());
}

/// The lock inside a [`Mutex`](crate::Mutex). 32 bytes; locking allocates nothing.
pub struct RawMutex {
    state: AtomicU32,
    queue: WaitQueue<()>,
}

impl RawMutex {
    /// An unlocked mutex.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
            queue: WaitQueue::new(()),
        }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
            queue: WaitQueue::new(()),
        }
    }

    /// Whether it is locked, a moment ago.
    fn locked(&self) -> bool {
        self.state.load(Ordering::Relaxed) & LOCKED != 0
    }

    fn cas(&self, from: u32, to: u32) -> bool {
        self.state
            .compare_exchange_weak(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Takes it if it is free, also past waiters; may fail if their bits change just now.
    #[inline]
    fn lock_fast(&self) -> bool {
        let s = self.state.load(Ordering::Relaxed);
        let take = |s| {
            self.state
                .compare_exchange(s, s | LOCKED, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        };
        // Apart, so that the usual one does not wait for what was loaded.
        if s == 0 {
            take(0)
        } else {
            s & (LOCKED | STARVING) == 0 && take(s)
        }
    }

    /// Takes it if it is free, also past waiters, as Go's `TryLock` does.
    #[inline]
    pub(super) fn try_take(&self) -> bool {
        let mut s = self.state.load(Ordering::Relaxed);
        while s & (LOCKED | STARVING) == 0 {
            match self.state.compare_exchange_weak(
                s,
                s | LOCKED,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => s = now,
            }
        }
        false
    }

    /// As `lock` if there is no deadline, else as `try_lock_until`.
    #[cfg(not(loom))]
    pub(super) fn lock_within(&self, deadline: Option<u64>) -> bool {
        self.lock_fast() || self.lock_slow(deadline)
    }

    #[cfg(not(loom))]
    #[cold]
    fn lock_slow(&self, deadline: Option<u64>) -> bool {
        let waiter = pin!(Waiter::new(&self.queue));
        let mut locking = Locking::new(self, waiter.as_ref(), true);
        wait::block(crate::WaitReason::MutexLock, deadline, |w| locking.poll(w)).is_some()
    }

    /// Locks it even while the runtime is being aborted; see [`wait::outlast`].
    #[cfg(not(loom))]
    pub(super) fn lock_outlasting(&self) {
        if self.lock_fast() {
            return;
        }
        let waiter = pin!(Waiter::new(&self.queue));
        let mut locking = Locking::new(self, waiter.as_ref(), true);
        wait::outlast(crate::WaitReason::MutexLock, |w| locking.poll(w));
    }

    /// Locks it in async code, on any executor: for a type of one's own; a [`Mutex`](crate::Mutex)
    /// has [`lock_async`](crate::AsyncMutex::lock_async). Cancel-safe: dropped, the future has not
    /// locked it, and leaves its place in the queue.
    pub async fn lock_future(&self) {
        if self.lock_fast() {
            return;
        }
        let waiter = pin!(Waiter::new(&self.queue));
        let mut locking = Locking::new(self, waiter.as_ref(), false);
        core::future::poll_fn(|cx| locking.poll(cx.waker())).await;
    }

    /// Looks at the word again if others are about, instead of using what it was: a subtraction of which
    /// only the flags are used takes 0.6 ns less than one that hands the old word back, of 4.8 for
    /// lock and unlock. A later word does as well: whoever changed it meanwhile is responsible now.
    #[inline]
    pub(super) fn release(&self) {
        if self.state.fetch_sub(LOCKED, Ordering::Release) != LOCKED {
            let s = self.state.load(Ordering::Relaxed);
            if Self::needs_unlocker(s) {
                self.unlock_slow();
            }
        }
    }

    /// Whether some wait, and neither an owner nor a woken one is to look after them.
    #[inline]
    fn needs_unlocker(s: u32) -> bool {
        s & (LOCKED | WAITERS) == WAITERS && s & (STARVING | WOKEN) != WOKEN
    }

    /// Wakes a waiter, or hands it the mutex; nothing, if somebody else has become responsible.
    #[cold]
    fn unlock_slow(&self) {
        let mut queue = self.queue.lock();
        let mut s = self.state.load(Ordering::Acquire);
        let waker = loop {
            if !Self::needs_unlocker(s) {
                return;
            }
            let Some(began) = queue.front() else { return };
            let last = queue.len_is_one();
            let (next, tell) = if s & STARVING != 0 {
                let ends = last || wait::now().saturating_sub(began) < STARVATION;
                (if ends { s & !STARVING } else { s } | LOCKED, GRANTED)
            } else {
                (s | WOKEN, NOTIFIED)
            };
            if self.cas(s, if last { next & !WAITERS } else { next }) {
                break queue.pop_front(tell);
            }
            s = self.state.load(Ordering::Acquire);
        };
        drop(queue);
        wake_all(waker);
    }

    /// Hands the mutex to the first waiter, whatever the mode; unlocks it if there is none.
    fn hand_over(&self) {
        let mut queue = self.queue.lock();
        if queue.is_empty() {
            drop(queue);
            return self.release();
        }
        self.leave_queue(&queue, queue.len_is_one());
        let waker = queue.pop_front(GRANTED);
        drop(queue);
        wake_all(waker);
    }

    /// The queue is about to be, or was made, empty.
    fn leave_queue(&self, _queue: &Locked<'_, ()>, empties: bool) {
        if empties {
            self.state
                .fetch_and(!(WAITERS | STARVING), Ordering::AcqRel);
        }
    }
}

/// An attempt to lock, until it succeeds or is dropped.
struct Locking<'a, 'n> {
    raw: &'a RawMutex,
    waiter: Pin<&'n Waiter<'a, ()>>,
    /// When it queued first; 0 before.
    began: u64,
    /// It is the bearer of `WOKEN`.
    awake: bool,
    /// Spins that it may still make, before it waits.
    spins: u32,
    may_spin: bool,
}

impl<'a, 'n> Locking<'a, 'n> {
    fn new(raw: &'a RawMutex, waiter: Pin<&'n Waiter<'a, ()>>, may_spin: bool) -> Self {
        Self {
            raw,
            waiter,
            began: 0,
            awake: false,
            spins: 0,
            may_spin,
        }
    }

    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        if self.waiter.still_queued(waker) {
            return Poll::Pending;
        }
        match self.waiter.state() {
            GRANTED => {
                self.waiter.reset();
                return Poll::Ready(());
            }
            NOTIFIED => {
                self.waiter.reset();
                self.awake = true;
                self.spins = 0;
            }
            _ => {}
        }
        self.attempt(waker)
    }

    fn attempt(&mut self, waker: &Waker) -> Poll<()> {
        loop {
            let s = self.raw.state.load(Ordering::Relaxed);
            if s & (LOCKED | STARVING) == 0 {
                if self.raw.cas(s, self.without_woken(s) | LOCKED) {
                    self.awake = false;
                    return Poll::Ready(());
                }
            } else if !(s & STARVING == 0 && self.spin(s)) && self.queue_up(waker) {
                return Poll::Pending;
            }
        }
    }

    fn without_woken(&self, s: u32) -> u32 {
        if self.awake { s & !WOKEN } else { s }
    }

    /// Lets a moment pass, if that may help.
    fn spin(&mut self, s: u32) -> bool {
        if !self.may_spin || self.spins >= SPINS || !wait::can_spin() {
            return false;
        }
        // The unlock need not wake anybody: we look.
        if !self.awake && s & (WOKEN | WAITERS) == WAITERS && self.raw.cas(s, s | WOKEN) {
            self.awake = true;
        }
        self.spins += 1;
        pause();
        true
    }

    /// False if the mutex became free meanwhile.
    fn queue_up(&mut self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let again = self.began != 0;
        let now = wait::now();
        let starving = again && now.saturating_sub(self.began) > STARVATION;
        let mut queue = self.raw.queue.lock();
        loop {
            let s = self.raw.state.load(Ordering::Relaxed);
            if s & (LOCKED | STARVING) == 0 {
                drop(queue);
                return false;
            }
            let mut next = self.without_woken(s) | WAITERS;
            if starving && s & LOCKED != 0 {
                next |= STARVING;
            }
            if self.raw.cas(s, next) {
                break;
            }
        }
        self.awake = false;
        if again {
            queue.push_front(self.waiter, waker, self.began);
        } else {
            self.began = now;
            queue.push_back(self.waiter, waker, now);
        }
        true
    }
}

impl Drop for Locking<'_, '_> {
    fn drop(&mut self) {
        if self.waiter.state() == IDLE && !self.awake {
            return;
        }
        let mut queue = self.raw.queue.lock();
        let removed = queue.remove(self.waiter);
        if removed.is_some() {
            self.raw.leave_queue(&queue, queue.is_empty());
        }
        drop(queue);
        drop(removed);
        match self.waiter.state() {
            GRANTED => self.raw.release(),
            NOTIFIED => self.awake = true,
            _ => {}
        }
        if self.awake {
            let s = self.raw.state.fetch_and(!WOKEN, Ordering::AcqRel) & !WOKEN;
            if RawMutex::needs_unlocker(s) {
                self.raw.unlock_slow();
            }
        }
    }
}

impl fmt::Debug for RawMutex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawMutex")
            .field("locked", &self.locked())
            .finish_non_exhaustive()
    }
}

#[cfg(not(loom))]
mod faces {
    use super::RawMutex;
    use crate::locks::wait;
    use core::time::Duration;
    use lock_api::GuardSend;
    use std::time::Instant;

    impl Default for RawMutex {
        fn default() -> Self {
            Self::new()
        }
    }

    // SAFETY: `LOCKED` is set by a compare-exchange from a word without it (Acquire), or left set
    // for the one waiter that is told GRANTED; it is cleared by its owner's `unlock` (Release).
    // A lock that unwinds drops its `Locking`, which gives back what it was granted.
    unsafe impl lock_api::RawMutex for RawMutex {
        const INIT: Self = Self::new();
        type Guard = GuardSend;

        #[inline]
        fn lock(&self) -> GuardSend {
            if !self.lock_fast() {
                self.lock_slow(None);
            }
            GuardSend::new()
        }

        #[inline]
        fn try_lock(&self) -> Option<GuardSend> {
            self.try_take().then(GuardSend::new)
        }

        #[inline]
        unsafe fn unlock(&self, _: GuardSend) {
            self.release();
        }

        #[inline]
        fn is_locked(&self) -> bool {
            self.locked()
        }
    }

    // SAFETY: as above.
    unsafe impl lock_api::RawMutexFair for RawMutex {
        unsafe fn unlock_fair(&self, _: GuardSend) {
            self.hand_over();
        }
    }

    // SAFETY: as above.
    unsafe impl lock_api::RawMutexTimed for RawMutex {
        type Duration = Duration;
        type Instant = Instant;

        fn try_lock_for(&self, timeout: Duration) -> Option<GuardSend> {
            let locked = self.lock_fast() || self.lock_slow(Some(wait::nanos_from_now(timeout)));
            locked.then(GuardSend::new)
        }

        fn try_lock_until(&self, deadline: Instant) -> Option<GuardSend> {
            let locked = self.lock_fast() || self.lock_slow(Some(wait::nanos_until(deadline)));
            locked.then(GuardSend::new)
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::{LOCKED, Locking, RawMutex, Waiter};
    use crate::locks::wait::block;
    use core::pin::pin;
    use core::task::{Poll, Waker};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    struct Counter {
        lock: RawMutex,
        value: UnsafeCell<u32>,
    }

    impl Counter {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                lock: RawMutex::new(),
                value: UnsafeCell::new(0),
            })
        }

        fn lock(&self) {
            if !self.lock.lock_fast() {
                let waiter = pin!(Waiter::new(&self.lock.queue));
                let mut locking = Locking::new(&self.lock, waiter.as_ref(), false);
                block(|w| locking.poll(w));
            }
        }

        fn add(&self) {
            // SAFETY: what the mutex is for; loom finds out if it is not so.
            self.value.with_mut(|v| unsafe { *v += 1 });
        }

        fn check(&self, n: u32) {
            // SAFETY: all others are done.
            assert_eq!(self.value.with(|v| unsafe { *v }), n);
            assert_eq!(
                self.lock.state.load(super::Ordering::Relaxed),
                0,
                "a flag was left"
            );
        }
    }

    /// Mutual exclusion and no lost wake-up, in both modes: on loom's clock every second wait starves.
    #[test]
    fn loom_mutex_excludes_and_wakes() {
        loom::model(|| {
            let c = Counter::new();
            let ts: Vec<_> = (0..2)
                .map(|_| {
                    let c = c.clone();
                    thread::spawn(move || {
                        c.lock();
                        c.add();
                        c.lock.release();
                    })
                })
                .collect();
            c.lock();
            c.add();
            c.lock.release();
            ts.into_iter().for_each(|t| t.join().unwrap());
            c.check(3);
        });
    }

    /// Hand-over: the waiter owns it although nobody unlocked the word.
    #[test]
    fn loom_mutex_handed_over_is_owned_once() {
        loom::model(|| {
            let c = Counter::new();
            c.lock();
            let t = {
                let c = c.clone();
                thread::spawn(move || {
                    c.lock();
                    c.add();
                    c.lock.hand_over();
                })
            };
            c.add();
            c.lock.hand_over();
            t.join().unwrap();
            c.check(2);
        });
    }

    /// A waiter that gives up, in whatever state, loses no wake-up for the one behind it.
    #[test]
    fn loom_mutex_waiter_that_gives_up_passes_it_on() {
        loom::model(|| {
            let c = Counter::new();
            c.lock();
            let t = {
                let c = c.clone();
                thread::spawn(move || {
                    c.lock();
                    c.add();
                    c.lock.release();
                })
            };
            let quitter = {
                let c = c.clone();
                thread::spawn(move || {
                    let waiter = pin!(Waiter::new(&c.lock.queue));
                    let mut locking = Locking::new(&c.lock, waiter.as_ref(), false);
                    if let Poll::Ready(()) = locking.poll(Waker::noop()) {
                        assert_ne!(c.lock.state.load(super::Ordering::Relaxed) & LOCKED, 0);
                        c.lock.release();
                    }
                })
            };
            c.add();
            c.lock.release();
            t.join().unwrap();
            quitter.join().unwrap();
            c.check(2);
        });
    }

    /// The same where it may have been handed the mutex already.
    #[test]
    fn loom_mutex_handed_to_a_waiter_that_gives_up_goes_on() {
        loom::model(|| {
            let c = Counter::new();
            c.lock();
            let waiter = pin!(Waiter::new(&c.lock.queue));
            let mut quits = Locking::new(&c.lock, waiter.as_ref(), false);
            assert!(quits.poll(Waker::noop()).is_pending());
            let owner = {
                let c = c.clone();
                thread::spawn(move || {
                    c.add();
                    c.lock.hand_over();
                })
            };
            let next = {
                let c = c.clone();
                thread::spawn(move || {
                    c.lock();
                    c.add();
                    c.lock.release();
                })
            };
            drop(quits);
            owner.join().unwrap();
            next.join().unwrap();
            c.check(2);
        });
    }
}
