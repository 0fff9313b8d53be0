//! Waiting for a number of things to be done: what Go's `sync.WaitGroup` is for.
//!
//! Invariant, whenever the lock is free: nobody is queued while the count is zero. A waiter is told
//! through its own state when the count fell to zero, so the group may be used again before all
//! waiters have returned.

use super::wait;
use super::waitq::{IDLE, NOTIFIED, WaitQueue, Waiter};
use crate::foreign::wake_all;
use crate::wait_reason::WaitReason;
use core::fmt;
use core::pin::{Pin, pin};
use core::task::{Poll, Waker};
use core::time::Duration;

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
    /// The count.
    queue: WaitQueue<usize>,
}

/// Whether the count has been zero since the first look; leaves no waiter behind when dropped,
/// because [`Waiter`] does not.
fn poll(wg: &WaitGroup, waiter: Pin<&Waiter<'_, usize>>, waker: &Waker) -> Poll<()> {
    if waiter.still_queued(waker) {
        return Poll::Pending;
    }
    if waiter.state() == NOTIFIED {
        return Poll::Ready(());
    }
    debug_assert_eq!(waiter.state(), IDLE);
    let waker = waker.clone();
    let mut count = wg.queue.lock();
    if *count > 0 {
        count.push_back(waiter, waker, 0);
        return Poll::Pending;
    }
    drop(count);
    Poll::Ready(())
}

impl WaitGroup {
    /// A group with nothing to wait for.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            queue: WaitQueue::new(0),
        }
    }

    /// Adds `n` things to be done. Before the work is started, or a waiter may not see it.
    ///
    /// # Panics
    /// If there would be more than `usize::MAX`.
    pub fn add(&self, n: usize) {
        let mut count = self.queue.lock();
        let Some(more) = count.checked_add(n) else {
            drop(count);
            panic!("WaitGroup::add: counter overflow");
        };
        *count = more;
    }

    /// One thing is done; the last wakes all waiters. Never parks.
    ///
    /// # Panics
    /// If nothing was left to be done.
    pub fn done(&self) {
        let (mut count, mut wakers) = self.queue.lock_with_room(|count| {
            if **count == 1 {
                count.tags().count()
            } else {
                0
            }
        });
        let Some(less) = count.checked_sub(1) else {
            drop(count);
            panic!("WaitGroup::done: negative counter");
        };
        *count = less;
        if *count > 0 {
            return;
        }
        count.drain(&mut wakers, NOTIFIED);
        drop(count);
        wake_all(wakers);
    }

    /// Waits until the count is zero. **May park**; inside a future it blocks the thread.
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// As [`wait`](Self::wait), for as long as `timeout`; false if the count was not zero by then.
    /// **May park.**
    ///
    /// # Panics
    /// If it is the first deadline that this crate watches, and the thread for that cannot be started.
    ///
    /// ```
    /// let wg = gmp_sched::WaitGroup::new();
    /// wg.add(1);
    /// assert!(!wg.wait_timeout(std::time::Duration::from_millis(1)));
    /// wg.done();
    /// assert!(wg.wait_timeout(std::time::Duration::ZERO));
    /// ```
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(Some(wait::nanos_from_now(timeout)))
    }

    fn wait_until(&self, deadline: Option<u64>) -> bool {
        let waiter = pin!(Waiter::new(&self.queue));
        let waiter = waiter.as_ref();
        wait::block(WaitReason::WaitGroupWait, deadline, |w| {
            poll(self, waiter, w)
        })
        .is_some()
    }

    /// As [`wait`](Self::wait), but an abort of the runtime does not end it; see [`wait::outlast`].
    pub(crate) fn outlast(&self) {
        let waiter = pin!(Waiter::new(&self.queue));
        let waiter = waiter.as_ref();
        wait::outlast(WaitReason::WaitGroupWait, |w| poll(self, waiter, w));
    }

    /// As [`wait`](Self::wait), in async code on any executor. Cancel-safe.
    ///
    /// ```
    /// use std::sync::Arc;
    /// gmp_sched::Builder::new().build().unwrap().block_on(async {
    ///     let wg = Arc::new(gmp_sched::WaitGroup::new());
    ///     for _ in 0..4 {
    ///         wg.add(1);
    ///         let wg = wg.clone();
    ///         gmp_sched::spawn(async move { wg.done() });
    ///     }
    ///     wg.wait_async().await;
    /// });
    /// ```
    pub async fn wait_async(&self) {
        let waiter = pin!(Waiter::new(&self.queue));
        let waiter = waiter.as_ref();
        core::future::poll_fn(|cx| poll(self, waiter, cx.waker())).await;
    }

    /// What is still to be done, a moment ago.
    pub(crate) fn count(&self) -> usize {
        *self.queue.lock()
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<WaitGroup>();
};
