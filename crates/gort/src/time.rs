//! Timers of the runtime: one heap per P, run where the scheduler looks for work (R62).
//!
//! [`Timer`], [`Ticker`], [`AfterFunc`], [`Delay`] and [`Interval`] are gtimer's, on this host.
//! There is no timer thread: an idle M sleeps until the earliest deadline of all Ps. A goroutine that
//! receives from one parks. On threads that belong to no runtime, timers go to gtimer's own driver.

use gmp_sched::{Goroutine, Handle, JoinError, JoinHandle, Poll, WaitReason};
use gtimer::heap::{Handle as TimerHandle, Timers};
use gtimer::{Callback, Host, NEVER};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll as Polled, Waker};
use std::time::Duration;

/// Heaps of one runtime: Ps beyond this share.
const HEAPS: usize = 64;

/// The timers of one runtime.
#[derive(Debug)]
pub(crate) struct Heaps([Padded; HEAPS]);

#[repr(align(128))]
#[derive(Default, Debug)]
struct Padded(Timers);

/// Heaps that no runtime uses. A timer that outlived its runtime may still be armed on one; it then
/// fires on the next.
static FREE: Mutex<Vec<&'static Heaps>> = Mutex::new(Vec::new());

/// Heaps for a new runtime.
pub(crate) fn take_heaps() -> &'static Heaps {
    let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    free.unwrap_or_else(|| Box::leak(Box::new(Heaps(std::array::from_fn(|_| Padded::default())))))
}

/// Gives back the heaps of a runtime that ended. What was stopped is removed, and what is still armed
/// moves to the first heap, which every runtime looks at.
pub(crate) fn give_heaps(heaps: &'static Heaps) {
    let [first, others @ ..] = &heaps.0;
    for other in others {
        first.0.adopt(&other.0);
    }
    FREE.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(heaps);
}

impl Heaps {
    fn of(&self, p: usize) -> &Timers {
        &self.0[p % HEAPS].0
    }
}

impl Poll for Heaps {
    fn poll(&self, p: usize, now: u64) -> (Option<u64>, usize) {
        let (next, ran) = self.of(p).check(now.cast_signed());
        (deadline(next), ran)
    }

    fn next_deadline(&self, p: usize) -> Option<u64> {
        deadline(self.of(p).next_when())
    }

    fn pending(&self, p: usize) -> bool {
        // A time-out that was stopped may still lie there, and wakes nobody.
        self.of(p).any_armed()
    }

    fn adopt(&self, from: usize, to: usize) {
        if from % HEAPS != to % HEAPS {
            self.of(to).adopt(self.of(from));
        }
    }
}

fn deadline(when: i64) -> Option<u64> {
    (when != NEVER).then(|| when.max(0).cast_unsigned())
}

/// Where timers of the calling code live: the heap of its P.
#[derive(Clone, Copy)]
pub struct RuntimeTimers {
    runtime: Handle,
    heaps: &'static Heaps,
}

impl fmt::Debug for RuntimeTimers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RuntimeTimers").field(&self.runtime).finish()
    }
}

impl RuntimeTimers {
    /// The timers of the runtime that the caller runs on; `None` elsewhere.
    #[must_use]
    pub fn current() -> Option<Self> {
        Self::of(Handle::current()?)
    }

    /// The timers of a runtime of this crate.
    #[must_use]
    pub fn of(runtime: Handle) -> Option<Self> {
        let any: &'static dyn std::any::Any = runtime.poll_hook()?;
        Some(Self {
            runtime,
            heaps: any.downcast_ref()?,
        })
    }

    fn heap(&self) -> &'static Timers {
        self.heaps.of(gmp_sched::p_hint().unwrap_or(0))
    }
}

impl Host for RuntimeTimers {
    type Engine = Timers;

    fn now(&self) -> i64 {
        gtimer::now()
    }

    fn handle(&self) -> TimerHandle {
        TimerHandle::new()
    }

    fn arm(&self, timer: &TimerHandle, when: i64, period: i64, callback: Callback) -> bool {
        let (armed, old) = self.heap().exchange(timer, when, period, callback);
        if armed.earliest {
            self.runtime.wake_for(when.cast_unsigned());
        }
        // Now that nobody depends on us: it may be a user's, and panic.
        drop(old);
        armed.was_pending
    }

    fn reset(&self, timer: &TimerHandle, when: i64) -> bool {
        let armed = self.heap().reset(timer, when);
        if armed.earliest {
            self.runtime.wake_for(when.cast_unsigned());
        }
        armed.was_pending
    }

    fn block<T>(&self, until: i64, poll: impl FnMut(&Waker) -> Option<T>) -> Option<T> {
        wait(until, WaitReason::ChanReceive, poll)
    }
}

/// A timer with a one-value mailbox; see [`gtimer::Timer`].
pub type Timer = gtimer::Timer<RuntimeTimers>;
/// A ticker that keeps its grid and drops ticks for slow receivers; see [`gtimer::Ticker`].
pub type Ticker = gtimer::Ticker<RuntimeTimers>;
/// A function to be run later; see [`gtimer::AfterFunc`].
pub type AfterFunc = gtimer::AfterFunc<RuntimeTimers>;
/// A future that is ready at a deadline; see [`gtimer::Sleep`].
pub type Delay = gtimer::Sleep<RuntimeTimers>;
/// A stream of ticks for async code; see [`gtimer::Interval`].
pub type Interval = gtimer::Interval<RuntimeTimers>;

/// Sleeps for at least `d`. **May park.** On a plain thread, `std::thread::sleep`.
///
/// A goroutine that sleeps costs no allocation after its stack's first sleep (R63). A duration of zero
/// returns at once.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// // SAFETY: nothing here holds thread-locals or `!Send` guards across a park.
/// let rt = unsafe { gort::Runtime::stackful() };
/// let start = Instant::now();
/// rt.run(|| {
///     let sleepers = [2, 1].map(|ms| gort::go(move || gort::sleep(Duration::from_millis(ms))));
///     sleepers.map(|sleeper| sleeper.join().unwrap());
/// });
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
pub fn sleep(d: Duration) {
    if d.is_zero() {
        return;
    }
    let (Some(g), Some(timers)) = (Goroutine::current(), RuntimeTimers::current()) else {
        return gmp_sched::blocking(|| std::thread::sleep(d));
    };
    let when = gtimer::when(gtimer::now(), gtimer::nanos(d));
    loop {
        park_armed(g, &timers, when, WaitReason::Sleep);
        if gtimer::now() >= when {
            // It has fired, or is about to: that would be one of the spurious wake-ups.
            return;
        }
    }
}

/// A timer that fires once, after `d`: Go's `time.NewTimer`. For a select there is `gort::chan::after`.
///
/// ```
/// use std::time::Duration;
///
/// // SAFETY: nothing here holds thread-locals or `!Send` guards across a park.
/// let rt = unsafe { gort::Runtime::stackful() };
/// rt.run(|| {
///     let timer = gort::time::after(Duration::from_secs(3600));
///     assert!(timer.reset(Duration::from_millis(1)), "it had not fired");
///     timer.recv();
///     assert!(!timer.stop(), "it has");
/// });
/// ```
///
/// # Panics
/// Outside a runtime of this crate.
#[must_use]
#[track_caller]
pub fn after(d: Duration) -> Timer {
    Timer::new(&here(), d)
}

/// A ticker: Go's `time.NewTicker`. For a select there is `gort::chan::tick`.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// // SAFETY: as above.
/// let rt = unsafe { gort::Runtime::stackful() };
/// rt.run(|| {
///     let start = Instant::now();
///     let ticker = gort::time::tick(Duration::from_millis(2));
///     for _request in 0..3 {
///         ticker.recv();
///     }
///     assert!(start.elapsed() >= Duration::from_millis(6));
/// });
/// ```
///
/// # Panics
/// Outside a runtime of this crate; if the period is zero.
#[must_use]
#[track_caller]
pub fn tick(period: Duration) -> Ticker {
    Ticker::new(&here(), period)
}

/// As [`tick`], for async code.
///
/// ```
/// use std::time::Duration;
///
/// gort::Runtime::futures().block_on(async {
///     let mut interval = gort::time::interval(Duration::from_millis(2));
///     let first = interval.tick().await;
///     assert!(interval.tick().await > first);
/// });
/// ```
///
/// # Panics
/// Outside a runtime of this crate; if the period is zero.
#[must_use]
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    Interval::new(&here(), period)
}

/// A future that is ready after `d`, on the runtime it is made on.
///
/// ```
/// use std::time::Duration;
///
/// gort::Runtime::futures().block_on(async {
///     gort::time::delay(Duration::from_millis(1)).await;
/// });
/// ```
///
/// # Panics
/// Outside a runtime of this crate.
#[track_caller]
pub fn delay(d: Duration) -> Delay {
    Delay::new(&here(), d)
}

/// Runs `f` in a goroutine of its own after `d`; dropping what is returned stops it, and
/// [`detach`](AfterFunc::detach) lets it run. On a runtime for futures the goroutine is a future, and what blocks in it
/// blocks a thread. It runs once: to reset what is returned moves the time as long as `f` has not begun, and does nothing
/// afterwards.
///
/// ```
/// use std::time::Duration;
///
/// // SAFETY: nothing here holds thread-locals or `!Send` guards across a park.
/// let rt = unsafe { gort::Runtime::stackful() };
/// rt.run(|| {
///     let (tx, rx) = std::sync::mpsc::channel();
///     let soon = gort::time::after_func(Duration::from_millis(1), move || tx.send(7).unwrap());
///     assert_eq!(gort::blocking(|| rx.recv()), Ok(7));
///     assert!(!soon.stop(), "it has run");
/// });
/// ```
///
/// # Panics
/// Outside a runtime of this crate.
#[track_caller]
pub fn after_func(d: Duration, f: impl FnOnce() + Send + 'static) -> AfterFunc {
    let mut f = Some(f);
    AfterFunc::new(&here(), d, move || {
        // On the runtime that looks at the heap now, unless it ends.
        if let (Some(f), Some(on)) = (f.take(), Handle::current().filter(Handle::is_open)) {
            if on.is_stackful() {
                drop(on.go(f));
            } else {
                drop(on.spawn(async move { f() }));
            }
        }
    })
}

#[track_caller]
fn here() -> RuntimeTimers {
    RuntimeTimers::current().expect(
        "timers of gort::time outside a runtime: call this from within Runtime::run or block_on, \
         or use the gtimer crate's driver",
    )
}

/// The contract of [`gtimer::block_thread`]; a goroutine parks. **May park.**
fn wait<T>(until: i64, reason: WaitReason, mut poll: impl FnMut(&Waker) -> Option<T>) -> Option<T> {
    let Some(g) = Goroutine::current() else {
        return gmp_sched::blocking_now(|| gtimer::block_thread(until, poll));
    };
    let waker = g.waker();
    loop {
        if let Some(value) = poll(&waker) {
            return Some(value);
        }
        if gtimer::now() >= until {
            return None;
        }
        park_until(g, until, reason);
    }
}

/// Parks the running goroutine until it is unparked or the deadline has passed. May return spuriously.
/// Not inlined: the way without a deadline needs no frame.
#[cfg(feature = "chan")]
#[inline(never)]
pub(crate) fn park_for_channel(g: Goroutine, reason: WaitReason, deadline: std::time::Instant) {
    let left = deadline.saturating_duration_since(std::time::Instant::now());
    if left.is_zero() {
        return gmp_sched::yield_now();
    }
    let until = gtimer::when(gtimer::now(), gtimer::nanos(left));
    park_until(g, until, reason);
}

/// As above, on the clock of [`gtimer::now`].
fn park_until(g: Goroutine, until: i64, reason: WaitReason) {
    if until == NEVER {
        return gmp_sched::park(reason);
    }
    if let Some(timers) = RuntimeTimers::current() {
        return park_with_timer(g, &timers, until, reason);
    }
    // A runtime without our timers: nap, with the P lent to others.
    let left = until.saturating_sub(gtimer::now()).clamp(0, 1_000_000);
    let nap = Duration::from_nanos(left.cast_unsigned());
    gmp_sched::blocking_now(|| std::thread::sleep(nap));
}

/// One park that a timer ends at `when`, if nobody does before. May return spuriously.
fn park_with_timer(g: Goroutine, timers: &RuntimeTimers, when: i64, reason: WaitReason) {
    let timer = park_armed(g, timers, when, reason);
    gmp_sched::keep_p(|| timer.stop());
}

/// The same; the timer may still be armed afterwards.
fn park_armed<'g>(
    g: Goroutine,
    timers: &RuntimeTimers,
    when: i64,
    reason: WaitReason,
) -> &'g TimerHandle {
    let timer = stack_timer(g, timers.heaps);
    // SAFETY: `fire` takes what `as_ptr` gave, at any time, on any thread.
    let callback = unsafe { Callback::func(fire, g.as_ptr().cast_mut(), 0) };
    // No user code runs in here: the callback is ours.
    let armed = gmp_sched::keep_p(|| timers.heap().arm(timer, when, 0, callback));
    if armed.earliest {
        timers.runtime.wake_for(when.cast_unsigned());
    }
    gmp_sched::park(reason);
    timer
}

unsafe fn fire(g: *mut (), _seq: usize) {
    // SAFETY: armed with `Goroutine::as_ptr`.
    unsafe { Goroutine::from_ptr(g) }.unpark();
}

/// The timer of a stack, and whose heaps it has been on: a stopped one may still lie there, and would be
/// armed there again.
struct StackTimer {
    timer: TimerHandle,
    heaps: &'static Heaps,
}

/// The timer of the stack that the goroutine runs on: made once, used by every sleep on it, until the
/// stack serves another runtime.
fn stack_timer<'g>(g: Goroutine, heaps: &'static Heaps) -> &'g TimerHandle {
    let slot = g
        .stack_slot()
        .expect("the calling goroutine runs on its stack");
    // SAFETY: the slot is only accessed by the goroutine that runs on the stack, and holds null or
    // what is leaked below, once for each stack: stacks are used again for ever. What it holds is
    // changed only here, between two waits of that goroutine, when nobody has the reference.
    unsafe {
        let held = (*slot).cast::<StackTimer>();
        if held.is_null() {
            let timer = TimerHandle::new();
            *slot = Box::into_raw(Box::new(StackTimer { timer, heaps })).cast();
        } else if !std::ptr::eq((*held).heaps, heaps) {
            let timer = TimerHandle::new();
            *held = StackTimer { timer, heaps };
        }
        &(*(*slot).cast::<StackTimer>()).timer
    }
}

/// A wait that took too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}

/// A future with a deadline: `Err(Elapsed)` if it is not ready after `d`; it is dropped then.
///
/// ```
/// use std::time::Duration;
///
/// gort::Runtime::futures().block_on(async {
///     let never = std::future::pending::<()>();
///     assert!(gort::time::timeout(Duration::from_millis(1), never).await.is_err());
/// });
/// ```
///
/// # Errors
/// [`Elapsed`].
///
/// # Panics
/// When polled outside a runtime of this crate.
pub async fn timeout<F: Future>(d: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = std::pin::pin!(future);
    let mut delay = std::pin::pin!(delay(d));
    std::future::poll_fn(|cx| {
        if let Polled::Ready(v) = future.as_mut().poll(cx) {
            return Polled::Ready(Ok(v));
        }
        delay.as_mut().poll(cx).map(|()| Err(Elapsed(())))
    })
    .await
}

/// Joins with a deadline: `None` if the goroutine has not ended after `d`; the handle may be asked
/// again. **May park.** In async code, `timeout(d, &mut handle).await` does the same.
///
/// ```
/// use std::time::Duration;
///
/// // SAFETY: nothing here holds thread-locals or `!Send` guards across a park.
/// let rt = unsafe { gort::Runtime::stackful() };
/// rt.run(|| {
///     let (tx, rx) = gort::chan::bounded(0);
///     let mut waits = gort::go(move || rx.recv());
///     let in_time = gort::time::join_timeout(&mut waits, Duration::from_millis(1));
///     assert!(in_time.is_none());
///     tx.send(7).unwrap();
///     assert_eq!(waits.join().unwrap(), Ok(7));
/// });
/// ```
///
/// # Panics
/// If the handle has given its result before.
pub fn join_timeout<T>(handle: &mut JoinHandle<T>, d: Duration) -> Option<Result<T, JoinError>> {
    let until = gtimer::when(gtimer::now(), gtimer::nanos(d));
    wait(until, WaitReason::Join, |waker| {
        match std::pin::Pin::new(&mut *handle).poll(&mut Context::from_waker(waker)) {
            Polled::Ready(result) => Some(result),
            Polled::Pending => None,
        }
    })
}

/// Deadlines of gmp-sched's locks and contexts: on a runtime of this crate, entries of its heaps.
pub(crate) struct Deadlines;

impl gmp_sched::Alarms for Deadlines {
    fn arm(&self, when: u64, waker: &std::task::Waker) -> Option<Box<dyn std::any::Any + Send>> {
        let timers = RuntimeTimers::current()?;
        let left = Duration::from_nanos(when.saturating_sub(gmp_sched::nanotime()));
        let waker = waker.clone();
        Some(Box::new(AfterFunc::new(&timers, left, move || {
            waker.wake_by_ref()
        })))
    }
}
