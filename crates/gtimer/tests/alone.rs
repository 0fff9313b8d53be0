//! The crate as a program without a runtime uses it, on a real thread and on the virtual clock.

use gtimer::{
    AfterFunc, Builder, Callback, Driver, Engine, Host, Interval, Sleep, Stale, Ticker, Timer,
    bucket, heap,
};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Longer than any machine takes; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(60);

fn send<T: Send>() {}
fn sync<T: Sync>() {}

#[test]
fn handles_may_cross_threads() {
    send::<Driver>();
    sync::<Driver>();
    send::<Timer>();
    sync::<Timer>();
    send::<Ticker>();
    sync::<Ticker>();
    send::<AfterFunc>();
    sync::<AfterFunc>();
    send::<Sleep>();
    send::<Interval>();
    sync::<gtimer::VirtualClock>();
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest executor there is.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        thread::park();
    }
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Wakers of which one panics when it is dropped.
#[derive(Default)]
struct Grumpy {
    woken: AtomicUsize,
    /// The how manyth drop from now on panics; none if zero.
    panics_at: AtomicUsize,
}

impl Grumpy {
    const TABLE: RawWakerVTable = RawWakerVTable::new(
        |this| RawWaker::new(this, &Self::TABLE),
        |this| {
            // SAFETY: as in `waker`.
            unsafe { Self::of(this) }.woken.fetch_add(1, SeqCst);
        },
        |this| {
            // SAFETY: as in `waker`.
            unsafe { Self::of(this) }.woken.fetch_add(1, SeqCst);
        },
        |this| {
            // SAFETY: as in `waker`.
            let left = &unsafe { Self::of(this) }.panics_at;
            let last = left.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1));
            assert_ne!(last, Ok(1), "a user's mistake");
        },
    );

    fn new() -> &'static Self {
        Box::leak(Box::default())
    }

    /// # Safety
    ///
    /// `this` must be the data of a waker made by `waker`.
    unsafe fn of(this: *const ()) -> &'static Self {
        // SAFETY: that is a reference for ever.
        unsafe { &*this.cast::<Self>() }
    }

    fn waker(&'static self) -> Waker {
        let this = std::ptr::from_ref(self).cast();
        // SAFETY: the table's functions may be called on any thread, with the reference given here: one
        // for ever, to what is Sync.
        unsafe { Waker::from_raw(RawWaker::new(this, &Self::TABLE)) }
    }
}

/// A poll that a waker's drop has cut short is made good by the next, whichever task polls.
fn a_panic_in_a_wakers_drop_loses_no_wake_up<E: Engine>() {
    for n in 1..=3 {
        let (driver, clock) = Driver::<E>::virtual_clock_with();
        let mut sleep = driver.delay(MS);
        let (first, second) = (Grumpy::new(), Grumpy::new());
        let mut poll = |waker: &Waker| {
            let mut cx = Context::from_waker(waker);
            catch_unwind(AssertUnwindSafe(|| Pin::new(&mut sleep).poll(&mut cx)))
        };
        let (first_waker, second_waker) = (first.waker(), second.waker());
        assert!(poll(&first_waker).is_ok_and(|polled| polled.is_pending()));
        first.panics_at.store(n, SeqCst);
        assert_eq!(poll(&second_waker).is_err(), n < 3, "it holds two");
        first.panics_at.store(0, SeqCst);
        assert!(poll(&first_waker).is_ok_and(|polled| polled.is_pending()));
        assert_eq!(clock.advance(MS), 1);
        assert_eq!(first.woken.load(SeqCst), 1, "{n}");
    }
}

/// Nor is the thread left asleep that is to run the timer.
fn a_panic_in_a_wakers_drop_leaves_no_driver_asleep<E: Engine>() {
    let driver = driver::<E>();
    for _ in 0..10 {
        let mut sleep = driver.delay(HOUR);
        let old = Grumpy::new();
        let waker = old.waker();
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut sleep).poll(&mut cx).is_pending());
        thread::sleep(MS);
        sleep.reset(MS);
        old.panics_at.store(1, SeqCst);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let poll = || Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker));
        assert!(catch_unwind(AssertUnwindSafe(poll)).is_err());
        let start = std::time::Instant::now();
        while Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker)) == Poll::Pending {
            assert!(start.elapsed() < PATIENCE, "never woken");
            thread::park_timeout(PATIENCE);
        }
    }
}

fn driver<E: Engine>() -> Driver<E> {
    Builder::new().build_with().expect("a thread")
}

fn everything_fires_on_a_thread<E: Engine>() {
    let driver = driver::<E>();
    let start = driver.now();
    assert!(driver.after(MS).recv() >= start + 1_000_000, "not early");
    let ticker = driver.tick(MS);
    let (first, second) = (ticker.recv(), ticker.recv());
    assert!(first >= start + 1_000_000 && second > first);
    let (tx, rx) = mpsc::channel();
    let _func = driver.after_func(MS, move || tx.send(()).unwrap());
    rx.recv_timeout(PATIENCE).unwrap();
    block_on(driver.delay(MS));
    let mut interval = driver.interval(MS);
    let first = block_on(interval.tick());
    assert!(block_on(interval.tick()) > first);
    let mut timer = driver.after(MS);
    block_on(timer.fired());
    driver.sleep(MS);
}

/// R56, TestTimerModifiedEarlier: the thread sleeps for an hour and has to be woken.
fn an_earlier_timer_fires_although_the_thread_sleeps_long<E: Engine>() {
    let driver = driver::<E>();
    let hour = driver.after(HOUR);
    for _ in 0..100 {
        let soon = driver.after(MS / 100);
        assert!(soon.recv_timeout(PATIENCE).is_some());
        let moved = driver.after(HOUR);
        assert!(moved.reset(MS / 100));
        assert!(moved.recv_timeout(PATIENCE).is_some());
    }
    assert!(hour.stop());
}

fn a_panic_in_a_function_leaves_the_driver_alive<E: Engine>() {
    let driver = driver::<E>();
    let (tx, rx) = mpsc::channel();
    let _bad = driver.after_func(Duration::ZERO, || panic!("a user's mistake"));
    let _good = driver.after_func(MS, move || tx.send(()).unwrap());
    rx.recv_timeout(PATIENCE).unwrap();
}

/// What a function panics with is a user's value too: its drop may panic, with what may panic in turn.
fn a_panic_in_a_panics_payload_leaves_the_driver_alive<E: Engine>() {
    struct Bomb(usize, mpsc::Sender<usize>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            let Self(left, tx) = self;
            tx.send(*left).unwrap();
            if *left > 0 {
                std::panic::panic_any(Bomb(*left - 1, tx.clone()));
            }
        }
    }
    let driver = driver::<E>();
    // Three that end, and one that is too long to be seen to its end.
    for (links, dropped) in [(3, 4), (1_000, 10)] {
        let (tx, rx) = mpsc::channel();
        let mut bomb = Some(Bomb(links, tx));
        let _bad = driver.after_func(Duration::ZERO, move || {
            std::panic::panic_any(bomb.take().unwrap());
        });
        let (tx, good) = mpsc::channel();
        let _good = driver.after_func(MS, move || tx.send(()).unwrap());
        good.recv_timeout(PATIENCE).unwrap();
        let seen: Vec<usize> = rx.try_iter().collect();
        let expected: Vec<usize> = (0..=links).rev().take(dropped).collect();
        assert_eq!(seen, expected);
    }
}

/// The last clone's drop ends the thread, which lets go of the callbacks.
fn dropping_the_driver_ends_its_thread<E: Engine>() {
    let driver = driver::<E>();
    let (tx, rx) = mpsc::channel::<()>();
    driver.after_func(HOUR, move || drop(tx.clone())).detach();
    let clone = driver.clone();
    drop(driver);
    assert_eq!(rx.try_recv(), Err(mpsc::TryRecvError::Empty));
    drop(clone);
    let gone = rx.recv_timeout(PATIENCE);
    assert_eq!(gone, Err(mpsc::RecvTimeoutError::Disconnected));
}

/// Go 1.23's rule: nothing from before a stop or reset is received after it.
fn a_stop_or_reset_discards_what_was_not_received<E: Engine>() {
    let (driver, clock) = Driver::<E>::virtual_clock_with();
    let timer = driver.after(MS);
    clock.advance(MS);
    assert!(timer.stop(), "prevented from being received");
    assert!(!timer.stop());
    assert_eq!(timer.try_recv(), None);
    assert!(!timer.reset(MS));
    assert!(timer.reset(2 * MS));
    clock.advance(MS);
    assert_eq!(timer.try_recv(), None);
    clock.advance(MS);
    assert!(timer.reset(MS), "fired, but not received");
    assert_eq!(timer.try_recv(), None);
    clock.advance(MS);
    assert_eq!(timer.try_recv(), Some(4_000_000));
    assert!(!timer.stop());
}

fn the_old_rule_keeps_what_was_not_received<E: Engine>() {
    let (driver, clock) = Driver::<E>::virtual_clock_with();
    let timer = Timer::with_stale(&driver, MS, Stale::Keep);
    clock.advance(MS);
    assert!(!timer.reset(MS), "it had fired");
    assert_eq!(timer.try_recv(), Some(1_000_000), "stale");
    clock.advance(MS);
    assert!(!timer.stop());
    assert_eq!(timer.try_recv(), Some(2_000_000));
    assert!(!timer.reset(MS));
    assert!(timer.stop());
}

fn a_ticker_drops_ticks_and_keeps_its_grid<E: Engine>() {
    let (driver, clock) = Driver::<E>::virtual_clock_with();
    let ticker = driver.tick(10 * MS);
    clock.advance(35 * MS);
    assert_eq!(ticker.try_recv(), Some(10_000_000));
    assert_eq!(ticker.try_recv(), None);
    clock.advance(5 * MS);
    assert_eq!(ticker.try_recv(), Some(40_000_000));
    ticker.reset(7 * MS);
    clock.advance(7 * MS);
    assert_eq!(ticker.try_recv(), Some(47_000_000));
    clock.advance(7 * MS);
    ticker.stop();
    assert_eq!(ticker.try_recv(), None, "discarded by the stop");
    clock.advance(HOUR);
    assert_eq!(ticker.try_recv(), None);
    ticker.reset(MS);
    clock.advance(MS);
    assert!(ticker.try_recv().is_some());
}

fn a_period_of_zero_is_a_clear_panic<E: Engine>() {
    let (driver, _clock) = Driver::<E>::virtual_clock_with();
    let panics = |f: &dyn Fn()| {
        let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
        *payload.downcast_ref::<&str>().unwrap() == "a ticker's period must not be zero"
    };
    assert!(panics(&|| drop(driver.tick(Duration::ZERO))));
    assert!(panics(&|| drop(driver.interval(Duration::ZERO))));
    let ticker = driver.tick(MS);
    assert!(panics(&|| ticker.reset(Duration::ZERO)));
}

/// R54: a duration too long for the clock is the end of time, not the past.
fn an_endless_timer_never_fires<E: Engine>() {
    let (driver, clock) = Driver::<E>::virtual_clock_with();
    let timer = driver.after(Duration::MAX);
    let ticker = driver.tick(Duration::MAX);
    let mut sleep = driver.delay(Duration::MAX);
    assert!(poll_once(&mut sleep).is_pending());
    clock.advance(Duration::MAX);
    assert_eq!((timer.try_recv(), ticker.try_recv()), (None, None));
    assert!(timer.stop());
}

/// R63: a sleep of zero returns, and so does a timer of zero fire.
fn zero_is_now<E: Engine>() {
    let (driver, clock) = Driver::<E>::virtual_clock_with();
    driver.sleep(Duration::ZERO);
    gtimer::sleep(Duration::ZERO);
    assert!(poll_once(&mut driver.delay(Duration::ZERO)).is_ready());
    let timer = driver.after(Duration::ZERO);
    clock.advance(Duration::ZERO);
    assert_eq!(timer.try_recv(), Some(0));
}

fn an_after_func_may_reset_itself_and_others<E: Engine>() {
    let (driver, clock) = Driver::<E>::virtual_clock_with();
    let runs = Arc::new(AtomicUsize::new(0));
    let func: Arc<std::sync::OnceLock<AfterFunc<Driver<E>>>> = Arc::default();
    let again = {
        let (func, runs) = (Arc::downgrade(&func), Arc::clone(&runs));
        driver.after_func(MS, move || {
            if runs.fetch_add(1, SeqCst) < 4 {
                let func = func.upgrade().unwrap();
                assert!(!func.get().unwrap().reset(MS));
            }
        })
    };
    func.set(again).unwrap();
    assert_eq!(clock.advance(HOUR), 5);
    assert_eq!(runs.load(SeqCst), 5);
    assert!(!func.get().unwrap().stop());
}

fn the_clock_stops_at_each_deadline_on_the_way<E: Engine>() {
    let (driver, clock) = Driver::<E>::virtual_clock_with();
    let (tx, rx) = mpsc::channel();
    let funcs: Vec<_> = [30, 10, 20]
        .into_iter()
        .map(|ms| {
            let (driver, tx) = (driver.clone(), tx.clone());
            clock
                .driver()
                .after_func(ms * MS, move || tx.send(driver.now() / 1_000_000).unwrap())
        })
        .collect();
    assert_eq!(clock.advance_to_next(), Some(1));
    assert_eq!(clock.elapsed(), 10 * MS);
    assert_eq!(clock.advance(HOUR), 2);
    assert_eq!(clock.elapsed(), 10 * MS + HOUR);
    assert_eq!(clock.advance_to_next(), None);
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [10, 20, 30]);
    drop(funcs);
}

/// A thread that sleeps on the virtual clock is woken by whoever advances it.
fn a_thread_sleeps_on_the_virtual_clock<E: Engine>() {
    let (driver, clock) = Driver::<E>::virtual_clock_with();
    let sleeper = {
        let driver = driver.clone();
        thread::spawn(move || driver.sleep(HOUR))
    };
    while clock.advance_to_next().is_none() {
        thread::yield_now(); // not asleep yet
    }
    sleeper.join().unwrap();
    assert!(driver.now() >= 3_600_000_000_000);
}

/// Threads that wait for one ticker: each tick is one's, and none is lost while somebody waits.
fn each_tick_goes_to_one_of_those_who_receive<E: Engine>() {
    const THREADS: usize = 4;
    const EACH: usize = 20;
    let (driver, clock) = Driver::<E>::virtual_clock_with();
    let ticker = Arc::new(driver.tick(MS));
    let (tx, received) = mpsc::channel();
    for _ in 0..THREADS {
        let (ticker, tx) = (Arc::clone(&ticker), tx.clone());
        thread::spawn(move || (0..EACH).for_each(|_| tx.send(ticker.recv()).unwrap()));
    }
    for tick in 1..=(THREADS * EACH) as i64 {
        assert_eq!(clock.advance(MS), 1);
        assert_eq!(received.recv_timeout(PATIENCE), Ok(tick * 1_000_000));
    }
}

/// A future that is polled by another task wakes that task, and not the first.
fn a_future_wakes_the_task_that_polled_it_last<E: Engine>() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let (driver, clock) = Driver::<E>::virtual_clock_with();
    let mut sleep = driver.delay(MS);
    let tasks = [0; 2].map(|_| Arc::new(Count(AtomicUsize::new(0))));
    for task in &tasks {
        let waker = Waker::from(Arc::clone(task));
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut sleep).poll(&mut cx).is_pending());
        assert!(Pin::new(&mut sleep).poll(&mut cx).is_pending());
    }
    assert_eq!(clock.advance(MS), 1);
    assert_eq!(tasks.map(|task| task.0.load(SeqCst)), [0, 1]);
    assert!(poll_once(&mut sleep).is_ready());
    drop(sleep);
    assert_eq!(clock.advance(HOUR), 0);
}

fn dropping_a_future_stops_its_timer<E: Engine>() {
    let (driver, clock) = Driver::<E>::virtual_clock_with();
    let mut sleep = driver.delay(MS);
    assert!(poll_once(&mut sleep).is_pending());
    drop(sleep);
    assert_eq!(clock.advance(HOUR), 0);
}

macro_rules! both {
    ($($name:ident)*) => {
        mod heap_engine { $(#[test] fn $name() { super::$name::<super::heap::Timers>(); })* }
        mod bucket_engine { $(#[test] fn $name() { super::$name::<super::bucket::Timers>(); })* }
    };
}

both! {
    everything_fires_on_a_thread
    an_earlier_timer_fires_although_the_thread_sleeps_long
    a_panic_in_a_function_leaves_the_driver_alive
    a_panic_in_a_panics_payload_leaves_the_driver_alive
    a_panic_in_a_wakers_drop_loses_no_wake_up
    a_panic_in_a_wakers_drop_leaves_no_driver_asleep
    dropping_the_driver_ends_its_thread
    a_stop_or_reset_discards_what_was_not_received
    the_old_rule_keeps_what_was_not_received
    a_ticker_drops_ticks_and_keeps_its_grid
    a_period_of_zero_is_a_clear_panic
    an_endless_timer_never_fires
    zero_is_now
    an_after_func_may_reset_itself_and_others
    the_clock_stops_at_each_deadline_on_the_way
    a_thread_sleeps_on_the_virtual_clock
    each_tick_goes_to_one_of_those_who_receive
    a_future_wakes_the_task_that_polled_it_last
    dropping_a_future_stops_its_timer
}

/// A host whose firings a test can hold in the air.
#[derive(Clone, Debug)]
struct Manual(Arc<heap::Timers>);

impl Host for Manual {
    type Engine = heap::Timers;
    fn now(&self) -> i64 {
        0
    }
    fn handle(&self) -> heap::Handle {
        heap::Handle::new()
    }
    fn arm(&self, timer: &heap::Handle, when: i64, period: i64, callback: Callback) -> bool {
        self.0.arm(timer, when, period, callback).was_pending
    }
    fn reset(&self, timer: &heap::Handle, when: i64) -> bool {
        self.0.reset(timer, when).was_pending
    }
}

/// The callback has left the heap but not reached the mailbox when the timer is stopped or reset.
#[test]
fn a_firing_in_the_air_is_not_received_after_a_stop_or_reset() {
    let host = Manual(Arc::new(heap::Timers::new()));
    let timer = Timer::new(&host, MS);
    let due = host.0.take(1_000_000);
    assert!(due.fired());
    assert!(timer.stop(), "it will not be received");
    due.run();
    assert_eq!(timer.try_recv(), None);

    assert!(!timer.reset(MS));
    let due = host.0.take(1_000_000);
    assert!(timer.reset(2 * MS));
    due.run();
    assert_eq!(timer.try_recv(), None);
    assert_eq!(host.0.check(2_000_000).1, 1);
    assert_eq!(timer.try_recv(), Some(2_000_000));
}

/// Under the old rule it arrives, and the stop says that it came too late.
#[test]
fn a_firing_in_the_air_arrives_under_the_old_rule() {
    let host = Manual(Arc::new(heap::Timers::new()));
    let timer = Timer::with_stale(&host, MS, Stale::Keep);
    let due = host.0.take(1_000_000);
    assert!(!timer.stop());
    due.run();
    assert_eq!(timer.try_recv(), Some(1_000_000));
}

/// The slack of a callback's thread, in nanoseconds, as Linux has it.
#[cfg(target_os = "linux")]
#[test]
fn a_receive_leaves_the_permit_of_its_thread_alone() {
    let (tx, done) = mpsc::channel();
    thread::spawn(move || {
        thread::current().unpark();
        gtimer::after(MS).recv();
        thread::park();
        tx.send(()).unwrap();
    });
    assert_eq!(done.recv_timeout(PATIENCE), Ok(()));
}

fn slack_of(builder: Builder) -> i32 {
    let driver = builder.build().unwrap();
    let (tx, rx) = mpsc::channel();
    let _func = driver.after_func(Duration::ZERO, move || {
        // SAFETY: asks for a number of the calling thread, and touches no memory.
        tx.send(unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) })
            .unwrap();
    });
    rx.recv_timeout(PATIENCE).unwrap()
}

/// The option asks Linux for the smallest slack, on the driver's thread alone.
#[cfg(target_os = "linux")]
#[test]
fn low_slack_is_of_the_drivers_thread_alone() {
    // SAFETY: as in `slack_of`.
    let ours = || unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) };
    let before = ours();
    assert_eq!(slack_of(Builder::new().low_slack(true)), 1);
    assert_eq!(slack_of(Builder::new()), before);
    assert_eq!(ours(), before);
}

/// One far timer costs no wake-ups: the driver's thread gives up the processor once, and stays away.
#[cfg(target_os = "linux")]
#[test]
fn one_far_timer_causes_no_wake_ups() {
    fn switches(name: &str) -> Option<u64> {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .find_map(|task| {
                let path = task.unwrap().path();
                let comm = std::fs::read_to_string(path.join("comm")).ok()?;
                let status = std::fs::read_to_string(path.join("status")).ok()?;
                let line = status.lines().find(|l| l.starts_with("voluntary_ctxt"))?;
                (comm.trim() == name)
                    .then(|| line.split_whitespace().nth(1).unwrap().parse().unwrap())
            })
    }
    let driver = Builder::new().name("far-timer").build().unwrap();
    let hour = driver.after(HOUR);
    driver.after(MS).recv(); // the thread is up and has seen the hour
    thread::sleep(20 * MS); // and is back asleep, on any machine that lets it
    let before = switches("far-timer").unwrap();
    thread::sleep(300 * MS);
    let after = switches("far-timer").unwrap();
    assert!(after - before <= 1, "{} wake-ups", after - before);
    assert!(hour.stop());
}

/// The thread ends with the last clone, though it would have slept for an hour: what its timers hold is dropped.
#[test]
fn the_last_clone_ends_the_thread() {
    let driver = Driver::new().expect("a thread");
    let (held, dropped) = mpsc::channel::<()>();
    let (ran, first) = mpsc::channel();
    driver.after_func(HOUR, move || drop(held.clone())).detach();
    // By then it sleeps, or is about to.
    driver
        .after_func(MS, move || ran.send(()).expect("it is awaited"))
        .detach();
    first.recv_timeout(PATIENCE).expect("it fires");
    let clone = driver.clone();
    drop(driver);
    assert_eq!(dropped.try_recv(), Err(mpsc::TryRecvError::Empty));
    drop(clone);
    let end = dropped.recv_timeout(PATIENCE);
    assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected));
}
