//! `Sleep`: a future that is ready at a deadline, on any executor.

use crate::alarm::Alarm;
use crate::driver::Driver;
use crate::host::Host;
use crate::when::{nanos, when};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

/// A future that is ready at its deadline. Dropping it stops its timer.
///
/// It is `Unpin`, touches its host only when it is polled before the deadline, and allocates one
/// timer, which resets use again.
///
/// ```
/// use gtimer::Driver;
/// use std::{pin::pin, task::{Context, Poll, Waker}, time::Duration};
///
/// let (driver, clock) = Driver::virtual_clock();
/// let mut sleep = pin!(driver.delay(Duration::from_secs(1)));
/// let mut cx = Context::from_waker(Waker::noop());
/// assert_eq!(sleep.as_mut().poll(&mut cx), Poll::Pending);
/// clock.advance(Duration::from_secs(1)); // wakes the task
/// assert_eq!(sleep.as_mut().poll(&mut cx), Poll::Ready(()));
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Sleep<H: Host = Driver> {
    alarm: Alarm<H>,
    deadline: i64,
}

impl<H: Host> Sleep<H> {
    /// Ready after `d` on `host`.
    pub fn new(host: &H, d: Duration) -> Self {
        Self::until(host, when(host.now(), nanos(d)))
    }

    /// Ready at `deadline` on the clock of `host`.
    pub fn until(host: &H, deadline: i64) -> Self {
        Self {
            alarm: Alarm::new(host),
            deadline: crate::when::clamp(deadline),
        }
    }

    /// The deadline, on the host's clock.
    #[must_use]
    pub const fn deadline(&self) -> i64 {
        self.deadline
    }

    /// Ready after `d` from now instead. A task that polled it before has to poll it again to be
    /// woken.
    pub fn reset(&mut self, d: Duration) {
        self.deadline = when(self.alarm.now(), nanos(d));
        self.alarm.stop();
    }
}

impl<H: Host> Future for Sleep<H> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        self.alarm.poll(cx, deadline).map(drop)
    }
}
