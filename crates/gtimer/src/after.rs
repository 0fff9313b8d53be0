//! `AfterFunc`, and the free functions on the global driver.

use crate::callback::{Callback, Fire};
use crate::driver::{Driver, global};
use crate::engine::Engine;
use crate::host::{HandleOf, Host};
use crate::interval::Interval;
use crate::sleep::Sleep;
use crate::ticker::Ticker;
use crate::timer::Timer;
use crate::when::{nanos, when};
use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

/// A function that runs after a while (Go's `AfterFunc`). Dropping it stops it.
///
/// ```
/// use gtimer::Driver;
/// use std::sync::mpsc::channel;
/// use std::time::Duration;
///
/// let (driver, clock) = Driver::virtual_clock();
/// let (tx, rx) = channel();
/// let timeout = driver.after_func(Duration::from_secs(1), move || tx.send("late").unwrap());
/// assert!(timeout.reset(Duration::from_secs(2))); // postponed
/// clock.advance(Duration::from_secs(1));
/// assert!(rx.try_recv().is_err());
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(rx.try_recv(), Ok("late"));
/// assert!(!timeout.reset(Duration::from_secs(1))); // runs again
/// assert!(timeout.stop());
/// ```
#[must_use = "dropping it stops it: keep it, or `detach` it"]
pub struct AfterFunc<H: Host = Driver> {
    host: H,
    handle: HandleOf<H>,
}

/// The lock keeps a run on one thread from overlapping with the next on another. It is held while
/// user code runs, but nothing else ever takes it.
struct Func<F>(Mutex<F>);

impl<F: FnMut() + Send> Fire for Func<F> {
    fn fire(&self, _seq: usize, _now: i64) {
        (self.0.lock().unwrap_or_else(PoisonError::into_inner))();
    }
}

impl<H: Host> AfterFunc<H> {
    /// Runs `f` on `host` after `d`, and again after each reset.
    pub fn new(host: &H, d: Duration, f: impl FnMut() + Send + 'static) -> Self {
        let this = Self {
            host: host.clone(),
            handle: host.handle(),
        };
        let callback = Callback::shared(Arc::new(Func(Mutex::new(f))), 0);
        let when = when(this.host.now(), nanos(d));
        this.host.arm(&this.handle, when, 0, callback);
        this
    }

    /// Runs the function `d` from now instead, or again. True if that prevented an earlier run.
    pub fn reset(&self, d: Duration) -> bool {
        let when = when(self.host.now(), nanos(d));
        self.host.reset(&self.handle, when)
    }

    /// Keeps the function from running. True if it had not begun to; if false, it may still be
    /// running on another thread.
    pub fn stop(&self) -> bool {
        H::Engine::stop(&self.handle)
    }

    /// Lets the function run without a handle, as long as its host lives.
    pub fn detach(self) {
        H::Engine::detach(self.handle);
    }
}

impl<H: Host> fmt::Debug for AfterFunc<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AfterFunc").field(&self.handle).finish()
    }
}

impl<E: Engine> Driver<E> {
    /// A timer that fires after `d`.
    #[must_use]
    pub fn after(&self, d: Duration) -> Timer<Self> {
        Timer::new(self, d)
    }

    /// A ticker.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    #[must_use]
    pub fn tick(&self, period: Duration) -> Ticker<Self> {
        Ticker::new(self, period)
    }

    /// Runs `f` on the driver's thread after `d`. It should be short: other timers wait for it.
    pub fn after_func(&self, d: Duration, f: impl FnMut() + Send + 'static) -> AfterFunc<Self> {
        AfterFunc::new(self, d, f)
    }

    /// A future that is ready after `d`.
    pub fn delay(&self, d: Duration) -> Sleep<Self> {
        Sleep::new(self, d)
    }

    /// A sequence of ticks for a task.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    #[must_use]
    pub fn interval(&self, period: Duration) -> Interval<Self> {
        Interval::new(self, period)
    }
}

/// Blocks the thread for `d`; at once if `d` is zero (R63). It is the kernel that waits.
pub fn sleep(d: Duration) {
    std::thread::sleep(d);
}

/// A timer on the global driver that fires after `d`.
///
/// ```
/// use std::time::Duration;
/// gtimer::after(Duration::from_millis(1)).recv();
/// ```
///
/// # Panics
///
/// As [`global`].
#[must_use]
pub fn after(d: Duration) -> Timer {
    global().after(d)
}

/// A ticker on the global driver.
///
/// # Panics
///
/// If `period` is zero, and as [`global`].
#[must_use]
pub fn tick(period: Duration) -> Ticker {
    global().tick(period)
}

/// Runs `f` on the global driver's thread after `d`.
///
/// ```
/// use std::{sync::mpsc::channel, time::Duration};
/// let (tx, rx) = channel();
/// gtimer::after_func(Duration::from_millis(1), move || tx.send(()).unwrap()).detach();
/// rx.recv().unwrap();
/// ```
///
/// # Panics
///
/// As [`global`].
pub fn after_func(d: Duration, f: impl FnMut() + Send + 'static) -> AfterFunc {
    global().after_func(d, f)
}

/// A future on the global driver that is ready after `d`, on any executor.
///
/// # Panics
///
/// As [`global`].
pub fn delay(d: Duration) -> Sleep {
    global().delay(d)
}

/// A sequence of ticks on the global driver for a task, on any executor.
///
/// # Panics
///
/// If `period` is zero, and as [`global`].
#[must_use]
pub fn interval(period: Duration) -> Interval {
    global().interval(period)
}
