//! `Interval`: a ticker for a task, on any executor.

use crate::alarm::Alarm;
use crate::driver::Driver;
use crate::host::Host;
use crate::ticker::check_period;
use crate::when::{next_tick, when};
use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;

/// A tick every period, awaited by a task. Nothing happens between polls: no timer fires for a task
/// that is busy, and ticks that it missed are dropped, as a [`Ticker`](crate::Ticker)'s are.
///
/// ```
/// use gtimer::Driver;
/// use std::{task::{Context, Poll, Waker}, time::Duration};
///
/// let (driver, clock) = Driver::virtual_clock();
/// let mut interval = driver.interval(Duration::from_secs(10));
/// let mut cx = Context::from_waker(Waker::noop());
/// assert_eq!(interval.poll_tick(&mut cx), Poll::Pending);
/// clock.advance(Duration::from_secs(25));
/// assert_eq!(interval.poll_tick(&mut cx), Poll::Ready(10_000_000_000));
/// assert_eq!(interval.poll_tick(&mut cx), Poll::Pending); // the tick of 20 was missed
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(interval.poll_tick(&mut cx), Poll::Ready(30_000_000_000));
/// ```
#[derive(Debug)]
pub struct Interval<H: Host = Driver> {
    alarm: Alarm<H>,
    period: i64,
    /// The next grid point.
    next: i64,
}

impl<H: Host> Interval<H> {
    /// Ticks on `host`, the first after one period.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    #[must_use]
    pub fn new(host: &H, period: Duration) -> Self {
        let period = check_period(period);
        Self {
            alarm: Alarm::new(host),
            period,
            next: when(host.now(), period),
        }
    }

    /// Waits for the next tick and returns its deadline, on the host's clock. Cancel safe.
    pub async fn tick(&mut self) -> i64 {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// As [`tick`](Self::tick), for a hand-written future or stream.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<i64> {
        self.alarm.poll(cx, self.next).map(|now| {
            let tick = self.next;
            self.next = next_tick(tick, self.period, now);
            tick
        })
    }

    /// Starts the grid anew: the next tick is one period from now.
    pub fn reset(&mut self) {
        self.next = when(self.alarm.now(), self.period);
    }
}
