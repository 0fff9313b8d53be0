//! A counting semaphore, first come first served: Go's `semaRoot` (`runtime/sema.go`, Go 1.27) and the
//! weighted semaphore of `golang.org/x/sync` in one.
//!
//! `semaRoot` finds the waiters of a semaphore by its address; here they hang on the semaphore, and
//! `waitq` has the argument with its figures. Go's hand-off, which it keeps for
//! starving mutexes, is the rule here.
//!
//! Invariant, whenever the lock is free: the queue is empty, or fewer permits are free than its
//! first waiter asks for. So a release hands permits over instead of letting newcomers race for
//! them, and nobody starves.
//!
//! Ordering: permits and queue are only touched under the lock. A waiter learns that it was granted
//! through its state (Release and Acquire): what came before a release is seen after the acquire
//! that it serves. Wakers are woken after the lock is released.

#[cfg(not(loom))]
use super::wait;
use super::waitq::{GRANTED, IDLE, Locked, WaitQueue, Waiter, Wakers};
use crate::foreign::wake_all;
use core::fmt;
use core::pin::{Pin, pin};
use core::task::{Poll, Waker};

/// A counting semaphore, first come first served, for goroutines, threads and futures.
///
/// Permits are plain numbers: whoever holds some may release them elsewhere. No permits at all are there
/// at any time: who asks for 0 waits for nobody, as in tokio (`golang.org/x/sync/semaphore` has
/// it queue behind others, who may wait for ever). 32 bytes.
///
/// ```
/// let room = gmp_sched::Semaphore::new(2);
/// room.acquire(2);
/// assert!(!room.try_acquire(1));
/// room.release(2);
/// assert!(room.try_acquire(1));
/// ```
pub struct Semaphore {
    /// The free permits.
    queue: WaitQueue<usize>,
}

fn take(free: &mut Locked<'_, usize>, n: usize) -> bool {
    let ok = n == 0 || free.is_empty() && **free >= n;
    if ok {
        **free -= n;
    }
    ok
}

/// How many waiters `permits` free ones would serve.
fn served(queue: &Locked<'_, usize>, mut permits: usize) -> usize {
    let serve = |&wants: &u64| {
        let left = permits.checked_sub(wants as usize);
        permits = left.unwrap_or(0);
        left.is_some()
    };
    queue.tags().take_while(serve).count()
}

/// Restores the invariant, releases the lock, wakes.
fn grant(mut free: Locked<'_, usize>, mut wakers: Wakers) {
    while let Some(wants) = free.front()
        && wants as usize <= *free
    {
        *free -= wants as usize;
        free.pop_front_into(&mut wakers, GRANTED);
    }
    drop(free);
    wake_all(wakers);
}

/// A wait that may be dropped or unwound: leaves the queue, or gives back.
struct Acquiring<'a, 'n> {
    sema: &'a Semaphore,
    wants: usize,
    waiter: Pin<&'n Waiter<'a, usize>>,
}

impl Acquiring<'_, '_> {
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        if self.waiter.still_queued(waker) {
            return Poll::Pending;
        }
        if self.waiter.state() == GRANTED {
            self.waiter.reset();
            return Poll::Ready(());
        }
        let waker = waker.clone();
        let mut free = self.sema.queue.lock();
        let direct = take(&mut free, self.wants);
        if direct {
            drop(free);
            return Poll::Ready(());
        }
        free.push_back(self.waiter, waker, self.wants as u64);
        Poll::Pending
    }
}

impl Drop for Acquiring<'_, '_> {
    fn drop(&mut self) {
        if self.waiter.state() == IDLE {
            return;
        }
        // Still queued, it counts as one more that is served.
        let with_ours = |free: &Locked<'_, usize>| served(free, free.saturating_add(self.wants));
        let (mut free, wakers) = self.sema.queue.lock_with_room(with_ours);
        let removed = free.remove(self.waiter);
        if removed.is_none() {
            // More than there can be only if they were released twice.
            *free = free.saturating_add(self.wants);
        }
        grant(free, wakers);
        drop(removed);
    }
}

impl Semaphore {
    /// A semaphore with `permits` free permits.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new(permits: usize) -> Self {
        Self {
            queue: WaitQueue::new(permits),
        }
    }

    #[cfg(loom)]
    fn new(permits: usize) -> Self {
        Self {
            queue: WaitQueue::new(permits),
        }
    }

    /// Takes `n` permits, waiting behind earlier waiters. **May park**; inside a future it blocks
    /// the thread. For ever, if `n` permits never come together. Does not allocate.
    #[cfg(not(loom))]
    pub fn acquire(&self, n: usize) {
        if !self.try_acquire(n) {
            self.acquire_slow(n, None);
        }
    }

    /// As [`acquire`](Self::acquire), for as long as `timeout`; false if the permits did not come.
    /// **May park.**
    ///
    /// # Panics
    /// If it is the first deadline that this crate watches, and the thread for that cannot be started.
    ///
    /// ```
    /// use std::time::Duration;
    /// let room = gmp_sched::Semaphore::new(1);
    /// assert!(room.acquire_timeout(1, Duration::from_millis(1)));
    /// assert!(!room.acquire_timeout(1, Duration::from_millis(1)));
    /// ```
    #[cfg(not(loom))]
    #[must_use]
    pub fn acquire_timeout(&self, n: usize, timeout: core::time::Duration) -> bool {
        self.try_acquire(n) || self.acquire_slow(n, Some(wait::nanos_from_now(timeout)))
    }

    #[cfg(not(loom))]
    #[cold]
    fn acquire_slow(&self, n: usize, deadline: Option<u64>) -> bool {
        let waiter = pin!(Waiter::new(&self.queue));
        let mut acquiring = Acquiring {
            sema: self,
            wants: n,
            waiter: waiter.as_ref(),
        };
        wait::block(crate::WaitReason::SemAcquire, deadline, |w| {
            acquiring.poll(w)
        })
        .is_some()
    }

    /// As [`acquire`](Self::acquire), in async code on any executor. Cancel-safe: dropped before it
    /// is ready, the future holds no permits.
    ///
    /// ```
    /// let room = gmp_sched::Semaphore::new(1);
    /// gmp_sched::Builder::new().build().unwrap().block_on(room.acquire_async(1));
    /// assert_eq!(room.available(), 0);
    /// ```
    pub async fn acquire_async(&self, n: usize) {
        let waiter = pin!(Waiter::new(&self.queue));
        let mut acquiring = Acquiring {
            sema: self,
            wants: n,
            waiter: waiter.as_ref(),
        };
        core::future::poll_fn(|cx| acquiring.poll(cx.waker())).await;
    }

    /// Takes `n` permits if they are free and nobody waits; never blocks.
    ///
    /// ```
    /// let room = gmp_sched::Semaphore::new(1);
    /// assert!(room.try_acquire(1) && !room.try_acquire(1));
    /// ```
    #[must_use]
    pub fn try_acquire(&self, n: usize) -> bool {
        take(&mut self.queue.lock(), n)
    }

    /// Gives `n` permits, to the waiters first. Never parks; O(waiters served). Allocates if it serves
    /// more than one.
    ///
    /// # Panics
    /// If there would be more than `usize::MAX` permits.
    pub fn release(&self, n: usize) {
        let with_these = |free: &Locked<'_, usize>| served(free, free.saturating_add(n));
        let (mut free, wakers) = self.queue.lock_with_room(with_these);
        let Some(more) = free.checked_add(n) else {
            drop(free);
            panic!("Semaphore::release: too many permits");
        };
        *free = more;
        grant(free, wakers);
    }

    /// Free permits, a moment ago.
    #[must_use]
    pub fn available(&self) -> usize {
        *self.queue.lock()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Semaphore>();
};

#[cfg(all(test, loom))]
mod loom_tests {
    use super::{Acquiring, Semaphore, Waiter};
    use crate::locks::wait::block;
    use core::pin::pin;
    use core::task::Waker;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::thread;

    fn acquire(sema: &Semaphore, n: usize) {
        let waiter = pin!(Waiter::new(&sema.queue));
        let mut acquiring = Acquiring {
            sema,
            wants: n,
            waiter: waiter.as_ref(),
        };
        block(|w| acquiring.poll(w));
    }

    #[test]
    fn loom_semaphore_keeps_its_count_and_wakes() {
        loom::model(|| {
            let s = Arc::new((Semaphore::new(2), AtomicUsize::new(0)));
            let ts: Vec<_> = [2, 1]
                .into_iter()
                .map(|n| {
                    let s = s.clone();
                    thread::spawn(move || {
                        acquire(&s.0, n);
                        assert!(s.1.fetch_add(n, Ordering::Relaxed) + n <= 2);
                        s.1.fetch_sub(n, Ordering::Relaxed);
                        s.0.release(n);
                    })
                })
                .collect();
            ts.into_iter().for_each(|t| t.join().unwrap());
            assert_eq!(s.0.available(), 2);
        });
    }

    #[test]
    fn loom_semaphore_permits_of_a_quitter_go_on() {
        loom::model(|| {
            let s = Arc::new(Semaphore::new(0));
            let quitter = pin!(Waiter::new(&s.queue));
            let mut quits = Acquiring {
                sema: &s,
                wants: 2,
                waiter: quitter.as_ref(),
            };
            assert!(quits.poll(Waker::noop()).is_pending());
            let t = {
                let s = s.clone();
                thread::spawn(move || acquire(&s, 1))
            };
            s.release(2);
            drop(quits);
            t.join().unwrap();
            assert_eq!(s.available(), 1);
        });
    }

    #[test]
    fn loom_semaphore_one_release_serves_all_that_it_can() {
        loom::model(|| {
            let s = Arc::new(Semaphore::new(0));
            let ts: Vec<_> = (0..2)
                .map(|_| {
                    let s = s.clone();
                    thread::spawn(move || acquire(&s, 1))
                })
                .collect();
            s.release(2);
            ts.into_iter().for_each(|t| t.join().unwrap());
            assert_eq!(s.available(), 0);
        });
    }
}
