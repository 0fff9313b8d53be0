//! The host of a program without a runtime: one thread that waits for the earliest timer and runs
//! what is due, or a virtual clock that a test advances.
//!
//! The thread re-creates the outer half of Go 1.12's `timerproc` (`runtime/time.go`): run, wait until
//! the next deadline, be woken for an earlier one. It serves both engines.

use crate::callback::Callback;
use crate::engine::{Armed, Engine};
use crate::heap;
use crate::host::Host;
use crate::waiter::Waiter;
use crate::when::{NEVER, nanos, when};
use core::any::Any;
use core::fmt;
use core::mem;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::{io, thread};

/// Runs timers: on a thread of its own, or on a [`VirtualClock`].
///
/// Clones share the timers. When the last clone is gone, and every `Timer`, `Ticker`, `Sleep` and
/// so on that holds one, the thread ends and timers that are still armed never fire.
///
/// Callbacks run on the thread, one after the other. A panic in one is reported by the panic hook
/// and costs only that firing. Deadlines are kept to the nanosecond; what Linux adds is its timer
/// slack, 50 us unless [`Builder::low_slack`] is used, and the wake-up itself.
///
/// ```
/// use std::time::Duration;
/// let driver: gtimer::Driver = gtimer::Driver::new().expect("a thread");
/// let timer = driver.after(Duration::from_millis(1));
/// timer.recv(); // blocks for a millisecond
/// ```
pub struct Driver<E: Engine = heap::Timers> {
    owner: Arc<Owner<E>>,
}

/// What the clones of a driver own together; its drop ends the thread.
struct Owner<E: Engine> {
    core: Arc<Core<E>>,
}

/// What clones and thread share.
struct Core<E> {
    timers: E,
    clock: Clock,
}

enum Clock {
    Thread {
        waiter: Waiter,
        /// Set by the last clone, read by the thread.
        stop: AtomicBool,
    },
    /// The present time of a virtual clock; raised by whoever advances it.
    Virtual(AtomicI64),
}

/// The handle by which a test moves the time of a virtual driver.
///
/// ```
/// use gtimer::Driver;
/// use std::time::Duration;
///
/// // Code under test takes a `Driver`, and in production gets `gtimer::global()`.
/// let (driver, clock) = Driver::virtual_clock();
/// let hour = driver.after(Duration::from_secs(3600));
/// clock.advance(Duration::from_secs(3599));
/// assert_eq!(hour.try_recv(), None);
/// clock.advance(Duration::from_secs(1)); // no waiting
/// assert!(hour.try_recv().is_some());
/// ```
pub struct VirtualClock<E: Engine = heap::Timers> {
    driver: Driver<E>,
}

/// Options for a driver's thread.
///
/// ```
/// let driver = gtimer::Builder::new().name("deadlines").low_slack(true).build();
/// # drop(driver.expect("a thread"));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    name: String,
    low_slack: bool,
}

impl Builder {
    /// A thread named `gtimer` with the system's timer slack.
    pub fn new() -> Self {
        Self {
            name: "gtimer".into(),
            low_slack: false,
        }
    }

    /// The name of the thread.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Asks Linux not to delay the thread's wake-ups in order to bundle them with others: 50 us
    /// less late, at the price of more wake-ups of the processor. No effect elsewhere.
    pub fn low_slack(mut self, yes: bool) -> Self {
        self.low_slack = yes;
        self
    }

    /// Starts a driver with the `heap` engine.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    ///
    /// # Panics
    ///
    /// If the name contains a zero byte.
    pub fn build(self) -> io::Result<Driver> {
        self.build_with()
    }

    /// Starts a driver with the engine `E`.
    ///
    /// ```
    /// use gtimer::{Builder, Driver, bucket};
    /// let driver: Driver<bucket::Timers> = Builder::new().build_with()?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    ///
    /// # Panics
    ///
    /// If the name contains a zero byte.
    pub fn build_with<E: Engine>(self) -> io::Result<Driver<E>> {
        let driver = Driver::with_clock(Clock::Thread {
            waiter: Waiter::new(),
            stop: AtomicBool::new(false),
        });
        let core = Arc::clone(&driver.owner.core);
        thread::Builder::new().name(self.name).spawn(move || {
            if self.low_slack {
                low_slack();
            }
            core.run();
        })?;
        Ok(driver)
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(target_os = "linux")]
fn low_slack() {
    // SAFETY: changes the slack of the calling thread and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_usize) };
}

#[cfg(not(target_os = "linux"))]
fn low_slack() {}

/// Drops what a callback panicked with: a user's value, whose drop may panic in turn, and so on. A chain
/// of such panics may have no end: its tenth link is leaked.
pub(crate) fn discard(mut payload: Box<dyn Any + Send>) {
    for _ in 0..10 {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    mem::forget(payload);
}

impl<E: Engine> Core<E> {
    /// The thread.
    fn run(&self) {
        let Clock::Thread { waiter, stop } = &self.clock else {
            return;
        };
        loop {
            waiter.begin();
            if stop.load(Ordering::Acquire) {
                return;
            }
            // A callback that panics has unwound through `check`, which leaves the heap in order.
            let checked = catch_unwind(AssertUnwindSafe(|| self.timers.check(crate::now())));
            match checked {
                Ok((next, _)) if next > crate::now() => {
                    waiter.sleep(next, || self.timers.next_when() < next);
                }
                Ok(_) => {}
                Err(payload) => discard(payload),
            }
        }
    }

    fn now(&self) -> i64 {
        match &self.clock {
            Clock::Thread { .. } => crate::now(),
            Clock::Virtual(now) => now.load(Ordering::Acquire),
        }
    }

    fn armed(&self, armed: Armed) -> bool {
        if armed.earliest
            && let Clock::Thread { waiter, .. } = &self.clock
        {
            waiter.wake();
        }
        armed.was_pending
    }
}

impl<E: Engine> Drop for Owner<E> {
    fn drop(&mut self) {
        if let Clock::Thread { waiter, stop } = &self.core.clock {
            stop.store(true, Ordering::Release);
            waiter.wake();
        }
    }
}

impl Driver {
    /// Starts a driver with the `heap` engine. [`Builder`] has the options.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn new() -> io::Result<Self> {
        Builder::new().build()
    }

    /// A driver whose time stands still until its clock is advanced.
    #[must_use]
    pub fn virtual_clock() -> (Self, VirtualClock) {
        Self::virtual_clock_with()
    }
}

impl<E: Engine> Driver<E> {
    fn with_clock(clock: Clock) -> Self {
        Self {
            owner: Arc::new(Owner {
                core: Arc::new(Core {
                    timers: E::default(),
                    clock,
                }),
            }),
        }
    }

    /// A driver whose time stands still until its clock is advanced, with the engine `E`.
    #[must_use]
    pub fn virtual_clock_with() -> (Self, VirtualClock<E>) {
        let driver = Self::with_clock(Clock::Virtual(AtomicI64::new(0)));
        let clock = VirtualClock {
            driver: driver.clone(),
        };
        (driver, clock)
    }

    /// Blocks the thread for `d`; at once if `d` is zero. On a virtual driver, until another thread
    /// advances the clock.
    pub fn sleep(&self, d: Duration) {
        match &self.owner.core.clock {
            // The kernel's own timer: neither an allocation nor a second thread.
            Clock::Thread { .. } => thread::sleep(d),
            Clock::Virtual(_) if d.is_zero() => {}
            Clock::Virtual(_) => {
                self.after(d).recv();
            }
        }
    }

    /// Entries in the driver's heap. Stopped timers that have not been cleared yet are among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owner.core.timers.len()
    }

    /// Whether the driver's heap has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<E: Engine> Host for Driver<E> {
    type Engine = E;

    fn now(&self) -> i64 {
        self.owner.core.now()
    }

    fn handle(&self) -> E::Handle {
        self.owner.core.timers.handle()
    }

    fn arm(&self, timer: &E::Handle, when: i64, period: i64, callback: Callback) -> bool {
        let core = &self.owner.core;
        let (armed, old) = core.timers.exchange(timer, when, period, callback);
        let was_pending = core.armed(armed);
        // A user's value, which may panic: the thread has been woken by then.
        drop(old);
        was_pending
    }

    fn reset(&self, timer: &E::Handle, when: i64) -> bool {
        let core = &self.owner.core;
        core.armed(core.timers.reset(timer, when))
    }
}

impl<E: Engine> VirtualClock<E> {
    /// Moves the time on by `d`, stopping at each deadline on the way to run its timers on this
    /// thread. Returns how many callbacks ran.
    ///
    /// Timers that callbacks arm on the way run too, if they are due by then. A callback must not
    /// advance the clock itself: it would come round to itself, and an [`AfterFunc`](crate::AfterFunc)
    /// then waits for its own end.
    ///
    /// # Panics
    ///
    /// If a callback does. The time then stands at its deadline, and advancing again goes on.
    pub fn advance(&self, d: Duration) -> usize {
        let core = &*self.driver.owner.core;
        let Clock::Virtual(now) = &core.clock else {
            unreachable!("a virtual clock has a virtual driver")
        };
        let target = when(now.load(Ordering::Acquire), nanos(d));
        let mut ran = 0;
        loop {
            let next = core.timers.next_when();
            // Another thread may advance too; the time never goes back.
            now.fetch_max(next.min(target), Ordering::AcqRel);
            ran += core.timers.check(next.min(target)).1;
            if next > target || next == NEVER {
                return ran;
            }
        }
    }

    /// Moves the time to the next deadline and runs its timers. None if there is no timer.
    pub fn advance_to_next(&self) -> Option<usize> {
        loop {
            let core = &self.driver.owner.core;
            let next = core.timers.next_when();
            if next == NEVER {
                return None;
            }
            let d = next.saturating_sub(core.now());
            // The deadline may have been that of a stopped timer.
            match self.advance(Duration::from_nanos(u64::try_from(d).unwrap_or(0))) {
                0 => {}
                ran => return Some(ran),
            }
        }
    }

    /// How far the clock has been advanced.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.driver.now()).unwrap_or(0))
    }

    /// The driver on this clock.
    #[must_use]
    pub fn driver(&self) -> Driver<E> {
        self.driver.clone()
    }
}

/// The driver that the free functions use, started on first use.
///
/// # Panics
///
/// If it has to be started and the system gives no thread.
pub fn global() -> &'static Driver {
    static GLOBAL: OnceLock<Driver> = OnceLock::new();
    GLOBAL.get_or_init(|| Driver::new().expect("gtimer: the system gives no thread"))
}

impl<E: Engine> Clone for Driver<E> {
    fn clone(&self) -> Self {
        Self {
            owner: Arc::clone(&self.owner),
        }
    }
}

impl<E: Engine> fmt::Debug for Driver<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("now", &self.now())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<E: Engine> fmt::Debug for VirtualClock<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualClock")
            .field("elapsed", &self.elapsed())
            .finish_non_exhaustive()
    }
}
