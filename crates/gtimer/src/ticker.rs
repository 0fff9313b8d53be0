//! `Ticker`: a firing every period, on a grid (`NewTicker`, `Tick` of Go's `time/tick.go`).

use crate::driver::Driver;
use crate::host::{HandleOf, Host};
use crate::mailbox::{Mailbox, Stale};
use crate::when::{NEVER, nanos, when};
use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

/// A tick every period, to be received. Dropping it stops it.
///
/// The ticks lie on the grid of its start or last reset: they do not drift. A slow receiver finds
/// one tick waiting, and the others have been dropped.
///
/// ```
/// use gtimer::Driver;
/// use std::time::Duration;
///
/// let (driver, clock) = Driver::virtual_clock();
/// let ticker = driver.tick(Duration::from_secs(10));
/// clock.advance(Duration::from_secs(35)); // three ticks, nobody listens
/// assert_eq!(ticker.try_recv(), Some(10_000_000_000));
/// assert_eq!(ticker.try_recv(), None);
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(ticker.try_recv(), Some(40_000_000_000)); // on the grid
/// ```
pub struct Ticker<H: Host = Driver> {
    host: H,
    handle: HandleOf<H>,
    mailbox: Arc<Mailbox>,
}

impl<H: Host> Ticker<H> {
    /// A ticker on `host`, whose first tick comes after one period.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    #[must_use]
    pub fn new(host: &H, period: Duration) -> Self {
        let ticker = Self {
            host: host.clone(),
            handle: host.handle(),
            mailbox: Mailbox::new(Stale::Discard),
        };
        ticker.reset(period);
        ticker
    }

    /// Ticks every `period` from now on; a tick that nobody has received is discarded.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    pub fn reset(&self, period: Duration) {
        let period = check_period(period);
        let when = when(self.host.now(), period);
        self.mailbox.arm(&self.host, &self.handle, when, period);
    }

    /// Stops it; a tick that nobody has received is discarded.
    pub fn stop(&self) {
        self.mailbox.stop::<H>(&self.handle);
    }

    /// Blocks until a tick, and returns its time on the host's clock. A stopped ticker blocks until
    /// somebody else resets it. What blocks is the thread, unless the host has a lighter way
    /// ([`Host::block`]). If several receive at once, one of them gets the tick.
    pub fn recv(&self) -> i64 {
        loop {
            if let Some(time) = self.mailbox.recv(&self.host, NEVER) {
                return time;
            }
        }
    }

    /// As [`recv`](Self::recv), for `d` of the system's time at most.
    #[must_use]
    pub fn recv_timeout(&self, d: Duration) -> Option<i64> {
        let until = when(crate::now(), nanos(d));
        self.mailbox.recv(&self.host, until)
    }

    /// The time of the tick that nobody has received, if there is one.
    #[must_use]
    pub fn try_recv(&self) -> Option<i64> {
        self.mailbox.try_recv()
    }

    /// As [`recv`](Self::recv), for a task.
    pub async fn ticked(&mut self) -> i64 {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), for a hand-written future.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<i64> {
        self.mailbox.poll_recv(cx)
    }
}

/// A period in nanoseconds.
///
/// # Panics
///
/// If it is zero.
pub(crate) fn check_period(period: Duration) -> i64 {
    assert!(!period.is_zero(), "a ticker's period must not be zero");
    nanos(period)
}

impl<H: Host> fmt::Debug for Ticker<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticker").field(&self.handle).finish()
    }
}
