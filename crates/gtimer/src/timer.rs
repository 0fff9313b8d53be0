//! `Timer`: one firing, received from a mailbox (`NewTimer`, `After`, `Stop`, `Reset` of Go's
//! `time/sleep.go`).

use crate::driver::Driver;
use crate::host::{HandleOf, Host};
use crate::mailbox::{Mailbox, Stale};
use crate::when::{NEVER, nanos, when};
use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

/// A single firing to be received. Dropping it stops it.
///
/// By default it keeps Go 1.23's rule: nothing sent before a `stop` or `reset` is received after it.
/// [`Timer::with_stale`] has the old rule.
///
/// ```
/// use gtimer::Driver;
/// use std::time::Duration;
///
/// let (driver, clock) = Driver::virtual_clock();
/// let timer = driver.after(Duration::from_secs(1));
/// clock.advance(Duration::from_secs(1));
/// assert!(timer.reset(Duration::from_secs(5))); // fired, but nobody had received it
/// assert_eq!(timer.try_recv(), None); // and nobody will
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(timer.recv(), 6_000_000_000);
/// assert!(!timer.stop());
/// ```
pub struct Timer<H: Host = Driver> {
    host: H,
    handle: HandleOf<H>,
    mailbox: Arc<Mailbox>,
}

impl<H: Host> Timer<H> {
    /// A timer that fires on `host` after `d`.
    #[must_use]
    pub fn new(host: &H, d: Duration) -> Self {
        Self::with_stale(host, d, Stale::Discard)
    }

    /// A timer with a rule of its own for unreceived firings.
    ///
    /// ```
    /// use gtimer::{Driver, Stale, Timer};
    /// use std::time::Duration;
    ///
    /// let (driver, clock) = Driver::virtual_clock();
    /// let timer = Timer::with_stale(&driver, Duration::from_secs(1), Stale::Keep);
    /// clock.advance(Duration::from_secs(1));
    /// assert!(!timer.stop()); // too late, says the old rule: drain it
    /// assert!(timer.try_recv().is_some());
    /// ```
    #[must_use]
    pub fn with_stale(host: &H, d: Duration, stale: Stale) -> Self {
        let timer = Self {
            host: host.clone(),
            handle: host.handle(),
            mailbox: Mailbox::new(stale),
        };
        timer.reset(d);
        timer
    }

    /// Lets it fire after `d` from now instead. True if that prevented a firing from being received.
    pub fn reset(&self, d: Duration) -> bool {
        let when = when(self.host.now(), nanos(d));
        self.mailbox.arm(&self.host, &self.handle, when, 0)
    }

    /// Stops it. True if that prevented a firing from being received.
    pub fn stop(&self) -> bool {
        self.mailbox.stop::<H>(&self.handle)
    }

    /// Blocks until it fires, and returns the time at which it did, on the host's clock. A stopped
    /// timer blocks until somebody else resets it. What blocks is the thread, unless the host has a
    /// lighter way ([`Host::block`]). If several receive at once, one of them gets it.
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

    /// The time at which it fired, if it has and nobody has received it.
    #[must_use]
    pub fn try_recv(&self) -> Option<i64> {
        self.mailbox.try_recv()
    }

    /// As [`recv`](Self::recv), for a task.
    pub async fn fired(&mut self) -> i64 {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), for a hand-written future.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<i64> {
        self.mailbox.poll_recv(cx)
    }
}

impl<H: Host> fmt::Debug for Timer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timer").field(&self.handle).finish()
    }
}
