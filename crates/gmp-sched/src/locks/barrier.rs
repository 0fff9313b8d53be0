//! A meeting point: nobody goes on until all have come.
//!
//! The last to come empties the queue in one step under the lock, so the barrier may be used again
//! at once. A waiter that gives up while it is queued was not there: those who come count anew.

use super::wait;
use super::waitq::{IDLE, NOTIFIED, WaitQueue, Waiter};
use crate::foreign::wake_all;
use crate::wait_reason::WaitReason;
use core::fmt;
use core::pin::{Pin, pin};
use core::task::{Poll, Waker};

/// Lets `n` goroutines, threads or futures go on together.
///
/// ```
/// let barrier = gmp_sched::Barrier::new(3);
/// let leaders: usize = std::thread::scope(|s| {
///     let all: Vec<_> = (0..3).map(|_| s.spawn(|| barrier.wait())).collect();
///     all.into_iter().map(|t| usize::from(t.join().unwrap())).sum()
/// });
/// assert_eq!(leaders, 1);
/// ```
pub struct Barrier {
    n: usize,
    /// How many wait.
    queue: WaitQueue<usize>,
}

struct Meeting<'a, 'n> {
    barrier: &'a Barrier,
    waiter: Pin<&'n Waiter<'a, usize>>,
}

impl Meeting<'_, '_> {
    fn poll(&mut self, waker: &Waker) -> Poll<bool> {
        if self.waiter.still_queued(waker) {
            return Poll::Pending;
        }
        if self.waiter.state() == NOTIFIED {
            return Poll::Ready(false);
        }
        let waker = waker.clone();
        let (mut waiting, mut wakers) = self.barrier.queue.lock_with_room(|waiting| {
            let last = **waiting + 1 >= self.barrier.n;
            if last { **waiting } else { 0 }
        });
        if *waiting + 1 < self.barrier.n {
            *waiting += 1;
            waiting.push_back(self.waiter, waker, 0);
            return Poll::Pending;
        }
        *waiting = 0;
        waiting.drain(&mut wakers, NOTIFIED);
        drop(waiting);
        wake_all(wakers);
        Poll::Ready(true)
    }
}

impl Drop for Meeting<'_, '_> {
    fn drop(&mut self) {
        if self.waiter.state() == IDLE {
            return;
        }
        let mut waiting = self.barrier.queue.lock();
        let removed = waiting.remove(self.waiter);
        if removed.is_some() {
            *waiting -= 1;
        }
        drop(waiting);
        drop(removed);
    }
}

impl Barrier {
    /// A barrier for `n`; 0 is as 1.
    #[must_use]
    pub const fn new(n: usize) -> Self {
        Self {
            n,
            queue: WaitQueue::new(0),
        }
    }

    /// Waits until `n` have come; true for the one who came last. **May park**; inside a future it
    /// blocks the thread.
    pub fn wait(&self) -> bool {
        let waiter = pin!(Waiter::new(&self.queue));
        let mut meeting = Meeting {
            barrier: self,
            waiter: waiter.as_ref(),
        };
        wait::block(WaitReason::SemAcquire, None, |w| meeting.poll(w)).unwrap_or(false)
    }

    /// As [`wait`](Self::wait), in async code on any executor. Dropped before it is ready, the future
    /// has not come.
    ///
    /// ```
    /// let barrier = gmp_sched::Barrier::new(1);
    /// let rt = gmp_sched::Builder::new().build().unwrap();
    /// assert!(rt.block_on(barrier.wait_async()), "the last to come");
    /// ```
    pub async fn wait_async(&self) -> bool {
        let waiter = pin!(Waiter::new(&self.queue));
        let mut meeting = Meeting {
            barrier: self,
            waiter: waiter.as_ref(),
        };
        core::future::poll_fn(|cx| meeting.poll(cx.waker())).await
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("n", &self.n)
            .field("waiting", &*self.queue.lock())
            .finish()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Barrier>();
};
