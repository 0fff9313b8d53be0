//! Many readers or one writer: Go's `RWMutex` (`sync/rwmutex.go`, Go 1.27), as a raw lock of
//! `lock_api`.
//!
//! Go's rules: writers queue on a mutex; the one that has it announces itself, and from then on
//! newcomers read no more; it waits for the readers there are. When it is done, it lets all readers
//! in that came meanwhile, and only then gives the mutex to the next writer. So neither side starves.
//! A goroutine that read-locks twice can therefore deadlock with a writer that comes in between.
//!
//! What is added: a writer that finds nobody at all takes the lock *alone*, by one compare-exchange,
//! without the mutex; that halves what an uncontended write costs. The owner of the mutex then waits
//! for it as for a reader. One such writer at most gets in before it: who is announced is next.
//!
//! The word: readers that hold it, times 8, and
//! - `WAITING`: readers are, or were, queued. Set under the queue's lock, and cleared there by the
//!   writer that leaves.
//! - `ALONE`: a writer holds it that took it alone. Set from a word that is 0; cleared by that writer.
//! - `ANNOUNCED`: the owner of the mutex waits, or holds it if there are neither readers nor `ALONE`.
//!   Set and cleared by it.
//!
//! Invariants: while one of the last two is set the number of readers only falls, but for those that
//! a writer lets in as it leaves; whoever makes it the announced writer's turn looks for that one in the queue
//! under the queue's lock, as does the writer before it queues, so one finds the other. The writer, if
//! queued, is in front of all readers.
//!
//! Ordering: Acquire to get in, Release to get out, on the word; who is let in from the queue gets
//! it through its waiter's state, by someone who acquired the word, and is counted before it is told.

use super::mutex::RawMutex;
#[cfg(not(loom))]
use super::mutex::{SPINS, pause};
#[cfg(not(loom))]
use super::wait;
use super::waitq::{GRANTED, IDLE, Locked, WaitQueue, Waiter, Wakers};
use crate::foreign::wake_all;
use crate::sync::atomic::{AtomicU32, Ordering};
#[cfg(not(loom))]
use crate::wait_reason::WaitReason;
use core::fmt;
use core::pin::{Pin, pin};
use core::task::{Poll, Waker};

const WAITING: u32 = 1;
const ALONE: u32 = 2;
const ANNOUNCED: u32 = 4;
const READER: u32 = 8;
/// At most so many read, and at most so many wait to: what a writer that leaves lets in fits in the
/// word, on top of those that are in there.
const READERS: u32 = (1 << 28) - 1;
/// Newcomers do not read.
const WRITERS: u32 = ALONE | ANNOUNCED;

/// What the first in the queue is.
const TAG_READER: u64 = 0;
const TAG_WRITER: u64 = 1;

/// The lock inside an [`RwLock`](crate::RwLock). 72 bytes; locking allocates only when a writer
/// lets waiting readers in.
pub struct RawRwLock {
    /// Held by the writer that is announced, until it has left.
    writers: RawMutex,
    state: AtomicU32,
    /// How many readers are queued.
    queue: WaitQueue<u32>,
}

impl RawRwLock {
    /// An unlocked lock.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            writers: RawMutex::new(),
            state: AtomicU32::new(0),
            queue: WaitQueue::new(0),
        }
    }

    #[cfg(loom)]
    fn new() -> Self {
        Self {
            writers: RawMutex::new(),
            state: AtomicU32::new(0),
            queue: WaitQueue::new(0),
        }
    }

    #[inline]
    fn read_fast(&self) -> bool {
        let mut s = self.state.load(Ordering::Relaxed);
        while s & WRITERS == 0 {
            assert!(s / READER < READERS, "RwLock: too many readers");
            let to = s + READER;
            match self
                .state
                .compare_exchange_weak(s, to, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => s = now,
            }
        }
        false
    }

    #[cfg(not(loom))]
    #[cold]
    fn read_slow(&self, deadline: Option<u64>) -> bool {
        let waiter = pin!(Waiter::new(&self.queue));
        let reading = Reading {
            lock: self,
            waiter: waiter.as_ref(),
        };
        wait::block(WaitReason::RwLockRead, deadline, |w| reading.poll(w)).is_some()
    }

    /// Read-locks it in async code, on any executor. Cancel-safe.
    pub async fn read_future(&self) {
        if self.read_fast() {
            return;
        }
        let waiter = pin!(Waiter::new(&self.queue));
        let reading = Reading {
            lock: self,
            waiter: waiter.as_ref(),
        };
        core::future::poll_fn(|cx| reading.poll(cx.waker())).await;
    }

    /// Looks again if others are about, as [`RawMutex::release`] does: the turn of an announced
    /// writer ends by that writer alone.
    #[inline]
    fn read_unlock(&self) {
        if self.state.fetch_sub(READER, Ordering::Release) != READER
            && is_announced_turn(self.state.load(Ordering::Relaxed))
        {
            self.let_writer_in();
        }
    }

    #[cold]
    fn let_writer_in(&self) {
        let mut queue = self.queue.lock();
        let s = self.state.load(Ordering::Acquire);
        let writer = pop_writer(&mut queue, s);
        drop(queue);
        wake_all(writer);
    }

    #[inline]
    fn write_fast(&self) -> bool {
        self.state
            .compare_exchange(0, ALONE, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Announces the owner of the mutex. True if the lock is its own at once.
    fn announce(&self) -> bool {
        is_announced_turn(self.state.fetch_or(ANNOUNCED, Ordering::AcqRel) | ANNOUNCED)
    }

    #[cfg(not(loom))]
    #[cold]
    fn write_slow(&self, deadline: Option<u64>) -> bool {
        // A writer alone is often done before anybody else could be woken.
        let mut spins = 0;
        while spins < SPINS && wait::can_spin() {
            pause();
            if self.write_fast() {
                return true;
            }
            spins += 1;
        }
        if !self.writers.lock_within(deadline) {
            return false;
        }
        if self.announce() {
            return true;
        }
        let waiter = pin!(Waiter::new(&self.queue));
        let mut writing = Writing {
            lock: self,
            waiter: waiter.as_ref(),
            done: false,
        };
        wait::block(WaitReason::RwLockWrite, deadline, |w| writing.poll(w)).is_some()
    }

    /// Write-locks it in async code, on any executor. Cancel-safe.
    pub async fn write_future(&self) {
        if self.write_fast() {
            return;
        }
        self.writers.lock_future().await;
        if self.announce() {
            return;
        }
        let waiter = pin!(Waiter::new(&self.queue));
        let mut writing = Writing {
            lock: self,
            waiter: waiter.as_ref(),
            done: false,
        };
        core::future::poll_fn(|cx| writing.poll(cx.waker())).await;
    }

    /// The writer leaves, as `stay` readers: all who wait to read go in, then the next writer may
    /// announce itself.
    #[inline]
    fn write_unlock(&self, stay: u32) {
        let alone =
            self.state
                .compare_exchange(ALONE, stay * READER, Ordering::Release, Ordering::Relaxed);
        if let Err(s) = alone {
            self.write_unlock_slow(s, stay);
        }
    }

    #[cold]
    fn write_unlock_slow(&self, s: u32, stay: u32) {
        // Both bits stay what they are while the caller holds it.
        if s & ALONE != 0 {
            return self.leave(self.lock_to_leave(), ALONE, stay);
        }
        let nobody_else = self.state.compare_exchange(
            ANNOUNCED,
            stay * READER,
            Ordering::Release,
            Ordering::Relaxed,
        );
        if nobody_else.is_err() {
            self.leave(self.lock_to_leave(), ANNOUNCED, stay);
        }
        self.writers.release();
    }

    /// With room for the readers and the writer.
    fn lock_to_leave(&self) -> (Locked<'_, u32>, Wakers) {
        self.queue.lock_with_room(|readers| **readers as usize + 1)
    }

    /// Clears the bit of a writer that leaves as `stay` readers, and lets in who waits to read.
    fn leave(&self, locked: (Locked<'_, u32>, Wakers), writer: u32, stay: u32) {
        let (mut queue, mut wakers) = locked;
        let readers = core::mem::take(&mut *queue) + stay;
        // Counted before any of them is told: it may leave at once. One step from
        // `writer | WAITING`, of which nobody else changes a bit under this lock, on top of the
        // readers that an announced writer that gives up leaves inside.
        let waiting = self.state.load(Ordering::Relaxed) & WAITING;
        let step = (readers * READER).wrapping_sub(writer | waiting);
        let s = self
            .state
            .fetch_add(step, Ordering::AcqRel)
            .wrapping_add(step);
        queue.drain_back(&mut wakers, TAG_READER, GRANTED);
        let writer = pop_writer(&mut queue, s);
        drop(queue);
        wake_all(wakers.into_iter().rev().chain(writer));
    }
}

/// Whether, by the word, the announced writer holds the lock.
fn is_announced_turn(s: u32) -> bool {
    s & WRITERS == ANNOUNCED && s < READER
}

/// Grants the lock to the announced writer if it is queued and `s`, the word, says that it is its turn.
fn pop_writer(queue: &mut Locked<'_, u32>, s: u32) -> Option<Waker> {
    if is_announced_turn(s) && queue.front() == Some(TAG_WRITER) {
        return queue.pop_front(GRANTED);
    }
    None
}

impl fmt::Debug for RawRwLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.state.load(Ordering::Relaxed);
        f.debug_struct("RawRwLock")
            .field("readers", &(s / READER))
            .field("writer", &(s & WRITERS != 0))
            .finish_non_exhaustive()
    }
}

/// An attempt to read, until it succeeds or is dropped.
struct Reading<'a, 'n> {
    lock: &'a RawRwLock,
    waiter: Pin<&'n Waiter<'a, u32>>,
}

impl Reading<'_, '_> {
    fn poll(&self, waker: &Waker) -> Poll<()> {
        if self.waiter.still_queued(waker) {
            return Poll::Pending;
        }
        if self.waiter.state() == GRANTED {
            self.waiter.reset();
            return Poll::Ready(());
        }
        let waker = waker.clone();
        let mut queue = self.lock.queue.lock();
        loop {
            if self.lock.read_fast() {
                drop(queue);
                return Poll::Ready(());
            }
            if *queue == READERS {
                drop(queue);
                panic!("RwLock: too many readers");
            }
            // Only while a writer is there, who will look for us.
            let s = self.lock.state.load(Ordering::Relaxed);
            let queued = s & WRITERS != 0
                && self
                    .lock
                    .state
                    .compare_exchange(s, s | WAITING, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok();
            if queued {
                queue.push_back(self.waiter, waker, TAG_READER);
                *queue += 1;
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Reading<'_, '_> {
    fn drop(&mut self) {
        if self.waiter.state() == IDLE {
            return;
        }
        let mut queue = self.lock.queue.lock();
        let removed = queue.remove(self.waiter);
        if removed.is_some() {
            // `WAITING` may stay: the writer that is there clears it.
            *queue -= 1;
        }
        drop(queue);
        drop(removed);
        if self.waiter.state() == GRANTED {
            self.lock.read_unlock();
        }
    }
}

/// The wait of an announced writer for who is inside. It holds the mutex.
struct Writing<'a, 'n> {
    lock: &'a RawRwLock,
    waiter: Pin<&'n Waiter<'a, u32>>,
    /// By the writer: the lock is its caller's now.
    done: bool,
}

impl Writing<'_, '_> {
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        if self.waiter.still_queued(waker) {
            return Poll::Pending;
        }
        if self.waiter.state() != GRANTED {
            let waker = waker.clone();
            let mut queue = self.lock.queue.lock();
            if !is_announced_turn(self.lock.state.load(Ordering::Acquire)) {
                queue.push_front(self.waiter, waker, TAG_WRITER);
                return Poll::Pending;
            }
            drop(queue);
        }
        self.waiter.reset();
        self.done = true;
        Poll::Ready(())
    }
}

impl Drop for Writing<'_, '_> {
    /// A writer that gives up: if another holds the lock, who waits to read waits for that one; else
    /// it leaves as one that is done.
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let lock = self.lock;
        let (mut queue, wakers) = lock.lock_to_leave();
        let removed = queue.remove(self.waiter);
        // While we are announced, the other takes this lock before it clears its bit.
        if lock.state.load(Ordering::Relaxed) & ALONE != 0 {
            lock.state.fetch_and(!ANNOUNCED, Ordering::AcqRel);
            drop(queue);
        } else {
            lock.leave((queue, wakers), ANNOUNCED, 0);
        }
        lock.writers.release();
        drop(removed);
    }
}

#[cfg(not(loom))]
mod faces {
    use super::{READER, RawRwLock, WRITERS};
    use crate::locks::wait;
    use core::sync::atomic::Ordering;
    use core::time::Duration;
    use lock_api::GuardSend;
    use std::time::Instant;

    impl Default for RawRwLock {
        fn default() -> Self {
            Self::new()
        }
    }

    // SAFETY: readers are counted in by a compare-exchange from a word without `WRITERS` (Acquire) or by the
    // writer that leaves; a writer takes it alone from a word of 0 (Acquire), or owns the mutex and has seen
    // neither readers nor `ALONE` (Acquire) after it set `ANNOUNCED`. All leave by Release. A lock
    // that unwinds drops its `Reading` or `Writing`.
    unsafe impl lock_api::RawRwLock for RawRwLock {
        const INIT: Self = Self::new();
        type SharedGuard = GuardSend;
        type ExclusiveGuard = GuardSend;

        #[inline]
        fn lock_shared(&self) -> GuardSend {
            if !self.read_fast() {
                self.read_slow(None);
            }
            GuardSend::new()
        }

        #[inline]
        fn try_lock_shared(&self) -> Option<GuardSend> {
            self.read_fast().then(GuardSend::new)
        }

        #[inline]
        unsafe fn unlock_shared(&self, _: GuardSend) {
            self.read_unlock();
        }

        #[inline]
        fn lock_exclusive(&self) -> GuardSend {
            if !self.write_fast() {
                self.write_slow(None);
            }
            GuardSend::new()
        }

        #[inline]
        fn try_lock_exclusive(&self) -> Option<GuardSend> {
            self.write_fast().then(GuardSend::new)
        }

        #[inline]
        unsafe fn unlock_exclusive(&self, _: GuardSend) {
            self.write_unlock(0);
        }

        fn is_locked(&self) -> bool {
            self.state.load(Ordering::Relaxed) != 0
        }

        fn is_locked_exclusive(&self) -> bool {
            let s = self.state.load(Ordering::Relaxed);
            s & WRITERS != 0 && s < READER
        }
    }

    // SAFETY: as above; the writer becomes a reader in the step in which it leaves.
    unsafe impl lock_api::RawRwLockDowngrade for RawRwLock {
        unsafe fn downgrade(&self, guard: GuardSend) -> GuardSend {
            self.write_unlock(1);
            guard
        }
    }

    impl RawRwLock {
        fn read_until(&self, deadline: impl FnOnce() -> u64) -> Option<GuardSend> {
            (self.read_fast() || self.read_slow(Some(deadline()))).then(GuardSend::new)
        }

        fn write_until(&self, deadline: impl FnOnce() -> u64) -> Option<GuardSend> {
            (self.write_fast() || self.write_slow(Some(deadline()))).then(GuardSend::new)
        }
    }

    // SAFETY: as above.
    unsafe impl lock_api::RawRwLockTimed for RawRwLock {
        type Duration = Duration;
        type Instant = Instant;

        fn try_lock_shared_for(&self, timeout: Duration) -> Option<GuardSend> {
            self.read_until(|| wait::nanos_from_now(timeout))
        }

        fn try_lock_shared_until(&self, deadline: Instant) -> Option<GuardSend> {
            self.read_until(|| wait::nanos_until(deadline))
        }

        fn try_lock_exclusive_for(&self, timeout: Duration) -> Option<GuardSend> {
            self.write_until(|| wait::nanos_from_now(timeout))
        }

        fn try_lock_exclusive_until(&self, deadline: Instant) -> Option<GuardSend> {
            self.write_until(|| wait::nanos_until(deadline))
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::{Ordering, READER, RawRwLock, Reading, Waiter, Writing};
    use crate::locks::wait::block;
    use core::pin::pin;
    use core::task::Waker;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    struct Cell {
        lock: RawRwLock,
        value: UnsafeCell<u32>,
    }

    impl Cell {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                lock: RawRwLock::new(),
                value: UnsafeCell::new(0),
            })
        }

        fn read(&self) -> u32 {
            let waiter = pin!(Waiter::new(&self.lock.queue));
            let reading = Reading {
                lock: &self.lock,
                waiter: waiter.as_ref(),
            };
            block(|w| reading.poll(w));
            // SAFETY: what the lock is for; loom finds out if it is not so.
            let value = self.value.with(|v| unsafe { *v });
            self.lock.read_unlock();
            value
        }

        fn write(&self) {
            loom::future::block_on(self.lock.write_future());
            // SAFETY: as above.
            self.value.with_mut(|v| unsafe { *v += 1 });
            self.lock.write_unlock(0);
        }

        fn check(&self, n: u32) {
            // SAFETY: all others are done.
            assert_eq!(self.value.with(|v| unsafe { *v }), n);
            assert_eq!(
                self.lock.state.load(Ordering::Relaxed),
                0,
                "a flag was left"
            );
        }
    }

    #[test]
    fn loom_rwlock_excludes_and_wakes() {
        loom::model(|| {
            let c = Cell::new();
            let (a, b) = (c.clone(), c.clone());
            let writer = thread::spawn(move || a.write());
            let reader = thread::spawn(move || b.read());
            c.write();
            writer.join().unwrap();
            assert!(reader.join().unwrap() <= 2);
            c.check(2);
        });
    }

    /// A writer alone, one that is announced meanwhile, and a reader that comes after it: as the
    /// first leaves, the reader gets in, then the writer. Who is let in is counted before it is told:
    /// it may leave before the one that told it goes on.
    #[test]
    fn loom_rwlock_a_writer_alone_lets_in_the_reader_then_the_announced() {
        loom::model(|| {
            let c = Cell::new();
            assert!(c.lock.write_fast());
            let writer = {
                let c = c.clone();
                thread::spawn(move || c.write())
            };
            let waiter = pin!(Waiter::new(&c.lock.queue));
            let reading = Reading {
                lock: &c.lock,
                waiter: waiter.as_ref(),
            };
            // Queued: somebody else leaves for us, and we look again without being woken.
            assert!(reading.poll(Waker::noop()).is_pending());
            let leaves = {
                let c = c.clone();
                thread::spawn(move || {
                    // SAFETY: the lock is held.
                    c.value.with_mut(|v| unsafe { *v += 1 });
                    c.lock.write_unlock(0);
                })
            };
            while reading.poll(Waker::noop()).is_pending() {
                loom::thread::yield_now();
            }
            assert!(
                c.lock.state.load(Ordering::Relaxed) >= READER,
                "not counted"
            );
            // SAFETY: as above.
            assert_eq!(c.value.with(|v| unsafe { *v }), 1);
            c.lock.read_unlock();
            leaves.join().unwrap();
            writer.join().unwrap();
            c.check(2);
        });
    }

    /// A writer that waits for `holds` gives up, in whatever state, beside a reader that gives up as
    /// well: the lock is left as it was, and whoever is kept out gets in.
    fn quitters(hold: fn(&RawRwLock) -> bool, leave: fn(&Cell)) {
        loom::model(move || {
            let c = Cell::new();
            assert!(hold(&c.lock));
            let (a, b) = (c.clone(), c.clone());
            let quitter = thread::spawn(move || {
                let lock = &a.lock;
                assert!(lock.writers.try_take());
                if lock.announce() {
                    return lock.write_unlock(0);
                }
                let waiter = pin!(Waiter::new(&lock.queue));
                let mut writing = Writing {
                    lock,
                    waiter: waiter.as_ref(),
                    done: false,
                };
                if writing.poll(Waker::noop()).is_ready() {
                    lock.write_unlock(0);
                }
            });
            let reader = thread::spawn(move || {
                let waiter = pin!(Waiter::new(&b.lock.queue));
                let reading = Reading {
                    lock: &b.lock,
                    waiter: waiter.as_ref(),
                };
                if reading.poll(Waker::noop()).is_ready() || reading.poll(Waker::noop()).is_ready()
                {
                    // It is counted before it is told.
                    let s = b.lock.state.load(Ordering::Relaxed);
                    assert!((READER..READER * 4).contains(&s), "{s}");
                    // SAFETY: as in `read`.
                    b.value.with(|v| unsafe { *v });
                    b.lock.read_unlock();
                }
            });
            leave(&c);
            quitter.join().unwrap();
            reader.join().unwrap();
            assert_eq!(c.lock.state.load(Ordering::Relaxed), 0, "a flag was left");
        });
    }

    #[test]
    fn loom_rwlock_quitters_behind_a_reader_leave_it_as_it_was() {
        quitters(RawRwLock::read_fast, |c| c.lock.read_unlock());
    }

    #[test]
    fn loom_rwlock_quitters_behind_a_writer_leave_it_as_it_was() {
        quitters(RawRwLock::write_fast, |c| {
            // SAFETY: as in `write`.
            c.value.with_mut(|v| unsafe { *v += 1 });
            c.lock.write_unlock(0);
        });
    }

    /// A writer that becomes a reader, while another is announced.
    #[test]
    fn loom_rwlock_downgrade_lets_readers_in_and_keeps_the_writer_out() {
        loom::model(|| {
            let c = Cell::new();
            assert!(c.lock.write_fast());
            let (a, b) = (c.clone(), c.clone());
            let writer = thread::spawn(move || a.write());
            let reader = thread::spawn(move || b.read());
            // SAFETY: the lock is held.
            c.value.with_mut(|v| unsafe { *v += 1 });
            c.lock.write_unlock(1);
            // SAFETY: as above, to read.
            assert_eq!(c.value.with(|v| unsafe { *v }), 1);
            c.lock.read_unlock();
            writer.join().unwrap();
            assert!((1..=2).contains(&reader.join().unwrap()));
            c.check(2);
        });
    }
}
