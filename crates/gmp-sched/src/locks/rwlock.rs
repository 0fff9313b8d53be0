//! Many readers or one writer: Go's `RWMutex` (`sync/rwmutex.go`, Go 1.27), as a raw lock of
//! `lock_api`.
//!
//! Go's rules: writers queue on a mutex; the one that has it announces itself, and from then on
//! newcomers read no more; it waits for the readers there are. When it is done, it lets all readers
//! in that came meanwhile, and only then gives the mutex to the next writer. So neither side starves.
//! A goroutine that read-locks twice can therefore deadlock with a writer that comes in between.
//!
//! The word: readers that hold it, times 4, and
//! - `WRITER`: a writer is announced or holds it. Set by the owner of the mutex; cleared by it, when
//!   it leaves or gives up.
//! - `WAITING`: readers are queued. Under the queue's lock.
//!
//! Invariants: while `WRITER` is set the number of readers only falls; the writer holds the lock
//! once it is zero; whoever sees it fall to zero looks for a queued writer under the queue's lock,
//! as does the writer before it queues, so one finds the other. The writer, if queued, is in front.
//!
//! Ordering: Acquire to get in, Release to get out, on the word; who is let in from the queue gets
//! it through its waiter's state, by someone who acquired the word, and is counted before it is told.

use super::mutex::RawMutex;
#[cfg(not(loom))]
use super::wait;
use super::waitq::{GRANTED, IDLE, WaitQueue, Waiter};
use crate::sync::atomic::{AtomicU32, Ordering};
#[cfg(not(loom))]
use crate::wait_reason::WaitReason;
use core::fmt;
use core::pin::{Pin, pin};
use core::task::{Poll, Waker};

const WRITER: u32 = 1;
const WAITING: u32 = 2;
const READER: u32 = 4;

/// What the first in the queue is.
const TAG_READER: u64 = 0;
const TAG_WRITER: u64 = 1;

/// The lock inside an [`RwLock`](crate::RwLock). 80 bytes; locking allocates only when a writer
/// lets waiting readers in.
pub struct RawRwLock {
    /// Held by the writer that is announced.
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
        while s & WRITER == 0 {
            assert!(s < u32::MAX - READER, "RwLock: too many readers");
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

    #[inline]
    fn read_unlock(&self) {
        let left = self.state.fetch_sub(READER, Ordering::Release) - READER;
        if left & WRITER != 0 && left < READER {
            self.let_writer_in();
        }
    }

    #[cold]
    fn let_writer_in(&self) {
        let mut queue = self.queue.lock();
        let free = self.state.load(Ordering::Acquire) & !WAITING == WRITER;
        let writer = (free && queue.front() == Some(TAG_WRITER)).then(|| queue.pop_front(GRANTED));
        drop(queue);
        if let Some(Some(waker)) = writer {
            waker.wake();
        }
    }

    /// Announces the owner of the mutex. True if the lock is its own at once.
    #[inline]
    fn announce(&self) -> bool {
        self.state.fetch_or(WRITER, Ordering::AcqRel) < READER
    }

    #[cfg(not(loom))]
    fn write_slow(&self, deadline: Option<u64>) -> bool {
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
        let to = stay * READER;
        if self
            .state
            .compare_exchange(WRITER, to, Ordering::Release, Ordering::Relaxed)
            .is_err()
        {
            self.let_readers_in(stay);
        }
        // The announced writer owns it.
        self.writers.release();
    }

    #[cold]
    fn let_readers_in(&self, stay: u32) {
        let mut queue = self.queue.lock();
        let readers = core::mem::take(&mut *queue) + stay;
        // Counted before any of them is told: it may leave at once. One step from
        // WRITER | WAITING, of which nobody else changes a bit under this lock, on top of the
        // readers that an announced writer that gives up leaves inside.
        let waiting = self.state.load(Ordering::Relaxed) & WAITING;
        let step = (readers * READER).wrapping_sub(WRITER | waiting);
        self.state.fetch_add(step, Ordering::AcqRel);
        let wakers = queue.drain(GRANTED);
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for RawRwLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.state.load(Ordering::Relaxed);
        f.debug_struct("RawRwLock")
            .field("readers", &(s / READER))
            .field("writer", &(s & WRITER != 0))
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
            // Only while a writer is there, who will look for us.
            let s = self.lock.state.load(Ordering::Relaxed);
            let queued = s & WRITER != 0
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
            *queue -= 1;
            if *queue == 0 {
                self.lock.state.fetch_and(!WAITING, Ordering::AcqRel);
            }
        }
        drop(queue);
        drop(removed);
        if self.waiter.state() == GRANTED {
            self.lock.read_unlock();
        }
    }
}

/// The wait of an announced writer for the readers there are. It holds the mutex.
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
            if self.lock.state.load(Ordering::Acquire) >= READER {
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
    /// A writer that gives up leaves as one that is done.
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut queue = self.lock.queue.lock();
        let removed = queue.remove(self.waiter);
        drop(queue);
        drop(removed);
        self.lock.write_unlock(0);
    }
}

#[cfg(not(loom))]
mod faces {
    use super::{READER, RawRwLock, WRITER};
    use crate::locks::wait;
    use core::sync::atomic::Ordering;
    use core::time::Duration;
    use lock_api::{GuardSend, RawMutex as _, RawMutexTimed as _};
    use std::time::Instant;

    impl Default for RawRwLock {
        fn default() -> Self {
            Self::new()
        }
    }

    // SAFETY: readers are counted in by a compare-exchange from a word without `WRITER` (Acquire) or by the
    // writer that leaves; a writer owns the mutex and has seen no readers (Acquire) after it set
    // `WRITER`. Both leave by Release. A lock that unwinds drops its `Reading` or `Writing`.
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
            let guard = self.writers.lock();
            self.write_slow(None);
            guard
        }

        fn try_lock_exclusive(&self) -> Option<GuardSend> {
            let guard = self.writers.try_lock()?;
            let free = self
                .state
                .compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed);
            if free.is_err() {
                // SAFETY: locked above.
                unsafe { self.writers.unlock(guard) };
                return None;
            }
            Some(guard)
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
            s & WRITER != 0 && s < READER
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

        fn write_until(&self, deadline: u64, writers: Option<GuardSend>) -> Option<GuardSend> {
            let guard = writers?;
            self.write_slow(Some(deadline)).then_some(guard)
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
            self.write_until(
                wait::nanos_from_now(timeout),
                self.writers.try_lock_for(timeout),
            )
        }

        fn try_lock_exclusive_until(&self, deadline: Instant) -> Option<GuardSend> {
            self.write_until(
                wait::nanos_until(deadline),
                self.writers.try_lock_until(deadline),
            )
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

    /// A writer that waits for a reader gives up, in whatever state: whom it kept out gets in; nor
    /// is a reader lost that gives up while it is let in.
    #[test]
    fn loom_rwlock_quitters_leave_it_as_it_was() {
        loom::model(|| {
            let c = Cell::new();
            assert!(c.lock.read_fast());
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
                    b.lock.read_unlock();
                }
            });
            c.lock.read_unlock();
            quitter.join().unwrap();
            reader.join().unwrap();
            c.check(0);
        });
    }
}
