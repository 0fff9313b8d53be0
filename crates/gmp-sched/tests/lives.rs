//! A runtime's life and what is left of it: handles that outlive it, what comes while it ends, who ends it,
//! and a world that was stopped.

use gmp_sched::{
    Builder, GoLocal, Goroutine, Handle, Poll, Runtime, Shutdown, WaitReason, blocking, go,
    lock_os_thread, nanotime, park, thread_naps, thread_waits, yield_now,
};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// Records of runtimes are used again: one test at a time knows whose it gets.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stackful(procs: usize) -> Runtime {
    // SAFETY: nothing bound to a thread is kept across a park.
    unsafe { Builder::new().procs(procs).build_stackful() }.unwrap()
}

fn refused(f: impl FnOnce()) -> bool {
    let e = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
    let text = e.downcast_ref::<&str>().copied().unwrap_or_default();
    text.contains("shut down")
}

fn handle_of_the_dead() -> Handle {
    let rt = stackful(2);
    rt.run(|| go(|| ()).join().unwrap());
    rt.handle()
}

#[test]
fn a_handle_of_the_dead_changes_nobody_elses_runtime() {
    let _alone = alone();
    let old = handle_of_the_dead();
    assert!(refused(|| old.set_procs(4).unwrap()));
    assert!(refused(|| old.refresh_procs().unwrap()));
    assert!(refused(|| old.stop_the_world(|| ())));
    let rt = stackful(3);
    assert!(
        refused(|| old.set_procs(4).unwrap()),
        "its record serves another by now"
    );
    old.set_max_threads(1);
    rt.run(move || {
        assert!(refused(|| drop(old.go(|| ()))), "from within, too");
        assert!(refused(|| drop(old.spawn(async {}))));
        let all: Vec<_> = (0..100).map(|_| go(yield_now)).collect();
        all.into_iter().for_each(|h| h.join().unwrap());
    });
    assert_eq!(rt.handle().procs(), 3);
    assert_eq!(rt.handle().p_statuses().len(), 3);
    assert_eq!(
        (old.procs(), old.num_goroutine(), old.num_threads()),
        (0, 0, 0)
    );
    assert!(
        old.traceback().is_empty() && old.g_statuses().is_empty() && old.p_statuses().is_empty()
    );
}

/// Knows its name: a hook of two halves would give another's.
struct Named(u32);

impl Poll for Named {
    fn poll(&self, _: usize, _: u64) -> (Option<u64>, usize) {
        (None, 0)
    }
    fn next_deadline(&self, _: usize) -> Option<u64> {
        None
    }
    fn adopt(&self, _: usize, _: usize) {}
}

#[test]
fn the_hook_of_a_handle_is_its_own_runtimes_or_none() {
    static HOOKS: [Named; 2] = [Named(1), Named(2)];
    let _alone = alone();
    let name = |h: Handle| {
        let any: &dyn std::any::Any = h.poll_hook()?;
        any.downcast_ref().map(|n: &Named| n.0)
    };
    let old = {
        let rt = Builder::new().procs(1).poll(&HOOKS[0]).build().unwrap();
        assert_eq!(name(rt.handle()), Some(1));
        rt.handle()
    };
    let rt = Builder::new().procs(1).poll(&HOOKS[1]).build().unwrap();
    assert_eq!(name(rt.handle()), Some(2));
    assert_eq!(name(old), None);
}

#[test]
fn what_a_waker_starts_while_its_runtime_ends_runs_there_or_not_at_all() {
    struct Starts(AtomicU32);
    impl Wake for Starts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
            // By now the last goroutine has been counted off, and the runtime's end is on its way.
            while Handle::current().is_some_and(|h| h.num_threads() > 0)
                && self.0.load(SeqCst) < 1_000
            {
                self.0.fetch_add(1, SeqCst);
                thread::sleep(Duration::from_micros(50));
            }
            drop(catch_unwind(|| {
                drop(go(|| panic!("nobody waits for this")))
            }));
        }
    }
    let _alone = alone();
    for _ in 0..3 {
        let waker = Arc::new(Starts(AtomicU32::new(0)));
        let rt = stackful(1);
        let mut handle = rt.go(|| {
            loop {
                park(WaitReason::Park);
            }
        });
        let pending = Pin::new(&mut handle)
            .poll(&mut Context::from_waker(&Waker::from(waker.clone())))
            .is_pending();
        assert!(pending);
        drop(rt);
        assert!(waker.0.load(SeqCst) > 0);
        let next = Builder::new().procs(1).build().unwrap();
        assert_eq!(next.handle().num_goroutine(), 0);
        assert_eq!(
            next.block_on(async { gmp_sched::spawn(async { 42 }).await.unwrap() }),
            42
        );
    }
}

#[test]
fn a_runtime_can_be_dropped_by_one_of_its_own() {
    let _alone = alone();
    let rt = Arc::new(stackful(2));
    let handle = rt.handle();
    let (tx, rx) = mpsc::channel();
    let own = rt.clone();
    let (go_on, wait) = mpsc::channel::<()>();
    drop(rt.go(move || {
        wait.recv().unwrap();
        drop(own);
        gmp_sched::defer!(tx.send("unwound").unwrap());
        loop {
            park(WaitReason::Park);
        }
    }));
    drop(rt);
    go_on.send(()).unwrap();
    assert_eq!(rx.recv(), Ok("unwound"));
    while handle.num_threads() > 0 {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_runtime_can_be_dropped_by_a_waker_that_its_own_thread_calls() {
    struct Owner(Mutex<Option<Runtime>>);
    impl Wake for Owner {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }
    let _alone = alone();
    let rt = Builder::new().procs(1).build().unwrap();
    let (go_on, wait) = mpsc::channel::<()>();
    let mut task = rt.spawn(async move { wait.recv().unwrap() });
    let handle = rt.handle();
    let owner = Waker::from(Arc::new(Owner(Mutex::new(Some(rt)))));
    assert!(
        Pin::new(&mut task)
            .poll(&mut Context::from_waker(&owner))
            .is_pending()
    );
    go_on.send(()).unwrap();
    while handle.num_threads() > 0 {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(task.is_finished());
}

#[test]
fn a_payload_whose_destructor_panics_costs_no_m() {
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            if !thread::panicking() {
                panic!("the payload's");
            }
        }
    }
    struct Throws;
    impl Drop for Throws {
        fn drop(&mut self) {
            std::panic::panic_any(Payload);
        }
    }
    let _alone = alone();
    for rt in [stackful(1), Builder::new().procs(1).build().unwrap()] {
        drop(rt.spawn(async { Throws }));
        assert_eq!(
            rt.block_on(async { gmp_sched::spawn(async { 5 }).await.unwrap() }),
            5
        );
    }
    let rt = stackful(1);
    drop(rt.go(|| Throws));
    assert_eq!(rt.run(|| go(|| 5).join().unwrap()), 5);
}

#[test]
fn shutdown_wakes_a_goroutine_that_is_locked_to_its_thread() {
    let _alone = alone();
    let rt = stackful(1);
    let (tx, rx) = mpsc::channel();
    drop(rt.go(move || {
        lock_os_thread();
        gmp_sched::defer!(tx.send("unwound").unwrap());
        loop {
            park(WaitReason::Park);
        }
    }));
    while !rt
        .handle()
        .g_statuses()
        .iter()
        .any(|(_, s)| format!("{s:?}") == "syscall")
    {
        thread::sleep(Duration::from_millis(1));
    }
    rt.shutdown(Shutdown::Abort(Duration::from_secs(1_000)));
    assert_eq!(rx.try_recv(), Ok("unwound"));
}

#[test]
fn a_goroutine_that_ends_locked_after_it_lost_its_p_leaves_no_spinning_m() {
    let _alone = alone();
    let rt = stackful(1);
    if !rt.handle().can_retake() {
        return;
    }
    let lost = Arc::new(AtomicBool::new(false));
    let hog = lost.clone();
    let hog = rt.go(move || {
        lock_os_thread();
        while !hog.load(SeqCst) {}
    });
    rt.go(|| ()).join().unwrap();
    while rt.handle().stats().idle_ms == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    lost.store(true, SeqCst);
    hog.join().unwrap();
    // Its M, if it went to sleep, would be the first to be woken.
    for i in 0..10 {
        thread::sleep(Duration::from_millis(2));
        assert_eq!(rt.go(move || i).join().unwrap(), i);
    }
}

#[test]
fn a_panic_in_the_stopped_world_starts_it_again() {
    let _alone = alone();
    let rt = stackful(2);
    let handle = rt.handle();
    assert!(
        catch_unwind(AssertUnwindSafe(
            || handle.stop_the_world(|| panic!("in the stopped world"))
        ))
        .is_err()
    );
    let within = rt.run(move || {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            handle.stop_the_world(|| panic!("again"))
        }))
        .is_err();
        caught && go(|| true).join().unwrap()
    });
    assert!(within);
}

#[test]
fn sysmon_watches_again_when_the_world_goes_on() {
    let _alone = alone();
    let rt = stackful(1);
    let handle = rt.handle();
    let waits = Arc::new(AtomicBool::new(true));
    let (asks, stopped) = (Arc::new(AtomicBool::new(false)), waits.clone());
    let asked = asks.clone();
    let stopper = thread::spawn(move || {
        while !asked.load(SeqCst) {
            thread::yield_now();
        }
        // Long enough for sysmon to fall asleep.
        handle.stop_the_world(|| thread::sleep(Duration::from_millis(50)));
    });
    rt.run(move || {
        let call = |waits: Arc<AtomicBool>| {
            go(move || {
                blocking(|| {
                    while waits.load(SeqCst) {
                        thread::sleep(Duration::from_millis(1));
                    }
                });
            })
        };
        let mut all = vec![call(stopped.clone())];
        let flag = stopped.clone();
        // The only one that could end the calls stands behind one of them.
        all.push(go(move || flag.store(false, SeqCst)));
        all.push(call(stopped));
        asks.store(true, SeqCst);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(5) {}
        all.into_iter().for_each(|h| h.join().unwrap());
    });
    assert!(!waits.load(SeqCst));
    stopper.join().unwrap();
}

/// A hook with one entry, due at once, that panics; and that is useful when it is adopted.
#[derive(Default)]
struct Rude {
    due: AtomicU64,
    polled: AtomicU32,
    waiter: Mutex<Option<Goroutine>>,
}

impl Poll for Rude {
    fn poll(&self, _: usize, _: u64) -> (Option<u64>, usize) {
        self.due.store(u64::MAX, SeqCst);
        self.polled.fetch_add(1, SeqCst);
        panic!("a callback's");
    }
    fn next_deadline(&self, p: usize) -> Option<u64> {
        (p == 0).then(|| self.due.load(SeqCst))
    }
    fn adopt(&self, _: usize, _: usize) {
        if let Some(g) = self.waiter.lock().unwrap().take() {
            g.unpark();
        }
    }
}

#[test]
fn a_panic_in_the_poll_hook_costs_no_m_and_no_p() {
    let _alone = alone();
    for stacks in [true, false] {
        let rude: &'static Rude = Box::leak(Box::default());
        let builder = Builder::new().procs(1).poll(rude);
        let rt = if stacks {
            // SAFETY: nothing bound to a thread is kept across a park.
            unsafe { builder.build_stackful() }
        } else {
            builder.build()
        };
        let rt = rt.unwrap();
        while rude.polled.load(SeqCst) == 0 {
            assert_eq!(rt.block_on(async { 1 }), 1);
        }
        assert_eq!(
            rt.block_on(async { gmp_sched::spawn(async { 42 }).await.unwrap() }),
            42
        );
    }
}

#[test]
fn adopted_entries_may_ready_goroutines() {
    let _alone = alone();
    let rude: &'static Rude = Box::leak(Box::default());
    rude.due.store(u64::MAX, SeqCst);
    // SAFETY: nothing bound to a thread is kept across a park.
    let rt = unsafe { Builder::new().procs(2).poll(rude).build_stackful() }.unwrap();
    let woken = Arc::new(AtomicBool::new(false));
    let flag = woken.clone();
    let waiter = rt.go(move || {
        *rude.waiter.lock().unwrap() = Goroutine::current();
        while rude.waiter.lock().unwrap().is_some() {
            park(WaitReason::Park);
        }
        flag.store(true, SeqCst);
    });
    while rude.waiter.lock().unwrap().is_none() {
        thread::yield_now();
    }
    rt.handle().set_procs(1).unwrap();
    waiter.join().unwrap();
    assert!(woken.load(SeqCst));
}

/// One entry, which is put on the clock of a P that is gone.
#[derive(Default)]
struct Stray {
    /// The P it is on, plus one; 0 for none.
    at: AtomicU32,
    ran: AtomicBool,
}

impl Poll for Stray {
    fn poll(&self, p: usize, _: u64) -> (Option<u64>, usize) {
        let ran = self
            .at
            .compare_exchange(p as u32 + 1, 0, SeqCst, SeqCst)
            .is_ok();
        self.ran.fetch_or(ran, SeqCst);
        (None, usize::from(ran))
    }
    fn next_deadline(&self, p: usize) -> Option<u64> {
        (self.at.load(SeqCst) == p as u32 + 1).then_some(0)
    }
    fn adopt(&self, from: usize, to: usize) {
        let _ = self
            .at
            .compare_exchange(from as u32 + 1, to as u32 + 1, SeqCst, SeqCst);
    }
}

#[test]
fn entries_on_the_clock_of_a_p_that_is_gone_are_found() {
    let _alone = alone();
    for busy in [true, false] {
        let stray: &'static Stray = Box::leak(Box::default());
        // SAFETY: nothing bound to a thread is kept across a park.
        let rt = unsafe { Builder::new().procs(3).poll(stray).build_stackful() }.unwrap();
        rt.handle().set_procs(1).unwrap();
        if busy {
            rt.run(move || {
                stray.at.store(3, SeqCst);
                while !stray.ran.load(SeqCst) {
                    yield_now();
                }
            });
        } else {
            stray.at.store(3, SeqCst);
            rt.handle().wake_for(0);
            while !stray.ran.load(SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// A clock with one entry. One of the looks at it lasts until the runtime stops.
struct Slow {
    at: AtomicU64,
    fired: AtomicBool,
    looks: AtomicU32,
    lasting: AtomicU32,
    of: Mutex<Option<Handle>>,
}

impl Slow {
    /// With nothing in it; no look lasts.
    fn new() -> &'static Self {
        Box::leak(Box::new(Self {
            at: AtomicU64::new(u64::MAX),
            fired: AtomicBool::new(false),
            looks: AtomicU32::new(0),
            lasting: AtomicU32::new(u32::MAX),
            of: Mutex::new(None),
        }))
    }
}

impl Poll for Slow {
    fn poll(&self, p: usize, now: u64) -> (Option<u64>, usize) {
        let due = p == 0 && self.at.load(SeqCst) <= now;
        if due {
            self.at.store(u64::MAX, SeqCst);
            self.fired.store(true, SeqCst);
        }
        (self.next_deadline(p), usize::from(due))
    }
    fn next_deadline(&self, p: usize) -> Option<u64> {
        let an_m = thread::current()
            .name()
            .is_some_and(|n| n.starts_with("gmp-m"));
        if an_m && self.looks.fetch_add(1, SeqCst) == self.lasting.load(SeqCst) {
            let of = *self.of.lock().unwrap();
            while of.is_some_and(|h| !format!("{h:?}").contains("Stopping")) {
                thread::yield_now();
            }
        }
        let at = self.at.load(SeqCst);
        (p == 0 && at < u64::MAX).then_some(at)
    }
    fn adopt(&self, _: usize, _: usize) {}
}

#[test]
fn a_deadline_of_an_earlier_life_keeps_nobody_from_watching_the_clock() {
    let _alone = alone();
    for lasting in 0..10 {
        let clock = Slow::new();
        let build = || Builder::new().procs(1).poll(clock).build().unwrap();
        let rt = build();
        let old = nanotime() + 50_000_000;
        *clock.of.lock().unwrap() = Some(rt.handle());
        rt.block_on(async move {
            clock.at.store(old, SeqCst);
            clock.looks.store(0, SeqCst);
            clock.lasting.store(lasting, SeqCst);
        });
        while clock.looks.load(SeqCst) <= lasting && rt.handle().stats().idle_ms == 0 {
            thread::yield_now();
        }
        drop(rt);
        clock.lasting.store(u32::MAX, SeqCst);
        clock.fired.store(false, SeqCst);
        let rt = build();
        let at = nanotime().max(old) + 1_000_000;
        clock.at.store(at, SeqCst);
        rt.handle().wake_for(at);
        let start = Instant::now();
        while !clock.fired.load(SeqCst) {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "nobody watches: {lasting}"
            );
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_thread_that_has_never_had_a_p_may_wake_a_goroutine_as_it_goes_idle() {
    static WAITS: Mutex<Option<Goroutine>> = Mutex::new(None);
    static IDLE_WAKES: Mutex<Option<Goroutine>> = Mutex::new(None);
    static IDLE_WOKE: AtomicBool = AtomicBool::new(false);
    fn idles() {
        let waits = IDLE_WAKES.lock().unwrap().take();
        if let Some(g) = waits {
            IDLE_WOKE.store(true, SeqCst);
            g.unpark();
        }
    }
    let _alone = alone();
    let builder = Builder::new().procs(1).on_thread_idle(idles);
    // SAFETY: nothing bound to a thread is kept across a park.
    let rt = unsafe { builder.build_stackful() }.unwrap();
    rt.run(|| {
        let waits = go(|| {
            *WAITS.lock().unwrap() = Goroutine::current();
            while !IDLE_WOKE.load(SeqCst) {
                park(WaitReason::Park);
            }
        });
        yield_now();
        // It waits for the only P: so a thread is made for when that is taken, and goes idle.
        let other = go(|| ());
        *IDLE_WAKES.lock().unwrap() = *WAITS.lock().unwrap();
        while !IDLE_WOKE.load(SeqCst) {
            std::hint::spin_loop();
        }
        waits.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn a_traceback_can_be_made_while_goroutines_come_and_go() {
    let _alone = alone();
    let rt = stackful(2);
    let handle = rt.handle();
    let stop = AtomicBool::new(false);
    thread::scope(|s| {
        s.spawn(|| {
            while !stop.load(SeqCst) {
                (0..20_000).for_each(|_| drop(handle.spawn(async {})));
                while handle.num_goroutine() > 0 {
                    thread::yield_now();
                }
            }
        });
        let made = catch_unwind(|| {
            let long = |text: &String| text.matches("\ngoroutine").count() > 100;
            (0..)
                .map(|_| handle.traceback())
                .filter(long)
                .take(300)
                .count()
        });
        stop.store(true, SeqCst);
        assert_eq!(made.unwrap(), 300);
    });
}

#[test]
fn what_a_wait_runs_may_call_the_runtime_and_come_back_on_another_thread() {
    let _alone = alone();
    let rt = stackful(2);
    let sum = rt.run(|| {
        let each = |i: u64| {
            move || {
                let mut sum = 0;
                for k in 0..50 {
                    let wait = || {
                        yield_now();
                        sum += go(move || k).join().unwrap();
                    };
                    if i.is_multiple_of(2) {
                        thread_waits(wait);
                    } else {
                        thread_naps(wait);
                    }
                }
                sum
            }
        };
        let all: Vec<_> = (0..64).map(|i| go(each(i))).collect();
        all.into_iter().map(|h| h.join().unwrap()).sum::<u64>()
    });
    assert_eq!(sum, 64 * 49 * 25);
}

#[test]
fn a_goroutine_whose_p_was_taken_names_none() {
    let _alone = alone();
    let rt = stackful(2);
    if !rt.handle().can_retake() {
        return;
    }
    let go_on = Arc::new(AtomicBool::new(false));
    let all: Vec<_> = (0..2)
        .map(|_| {
            let go_on = go_on.clone();
            rt.go(move || {
                while !go_on.load(SeqCst) {}
                gmp_sched::p_hint()
            })
        })
        .collect();
    while rt.handle().stats().idle_ps > 0 {
        thread::yield_now();
    }
    rt.handle().set_procs(1).unwrap();
    go_on.store(true, SeqCst);
    let hints: Vec<_> = all.into_iter().map(|h| h.join().unwrap()).collect();
    assert!(!hints.contains(&Some(1)), "{hints:?}");
    assert_eq!(rt.run(gmp_sched::p_hint), Some(0));
    assert_eq!(rt.run(|| blocking(gmp_sched::p_hint)), None);
}

#[test]
fn locals_do_not_pass_from_one_goroutine_to_the_next() {
    static LOCAL: GoLocal<Cell<u32>> = GoLocal::new(|| Cell::new(0));
    struct Marks;
    impl Drop for Marks {
        fn drop(&mut self) {
            LOCAL.with(|l| l.set(7));
        }
    }
    let _alone = alone();
    let rt = stackful(1);
    rt.run(|| {
        // Detached before it runs: its result is dropped as the goroutine.
        drop(go(|| Marks));
        yield_now();
        for _ in 0..3 {
            assert_eq!(go(|| LOCAL.with(Cell::get)).join().unwrap(), 0);
        }
    });
}

#[test]
fn r52_a_wait_that_ends_by_itself_or_by_a_panic_is_no_deadlock() {
    let _alone = alone();
    let rt = stackful(1);
    let told = rt.run(|| {
        let me = Goroutine::current().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let ends = over.clone();
        let naps = thread::spawn(move || {
            assert!(catch_unwind(|| thread_waits(|| panic!("not slept"))).is_err());
            // Longer than it takes sysmon to be sure of a deadlock.
            thread_naps(|| thread::sleep(Duration::from_secs(3)));
            ends.store(true, SeqCst);
            me.unpark();
            5
        });
        assert!(catch_unwind(|| thread_waits(|| panic!("nor here"))).is_err());
        while !over.load(SeqCst) {
            park(WaitReason::Park);
        }
        blocking(|| naps.join().unwrap())
    });
    assert_eq!(told, 5);
}

#[test]
fn a_stack_of_no_possible_size_is_an_error() {
    let _alone = alone();
    for bytes in [0, 4096, (64 << 10) + 1, 1 << 31, 1 << 41, 1 << 62] {
        // SAFETY: nothing runs on it.
        let refused = unsafe { Builder::new().stack_size(bytes).build_stackful() };
        let text = refused.unwrap_err().to_string();
        assert!(
            text.contains(&bytes.to_string()) && text.contains("64 KiB to 1 GiB"),
            "{text}"
        );
    }
}

#[test]
fn a_deadline_that_has_passed_keeps_nobody_from_watching_the_clock() {
    let _alone = alone();
    let clock = Slow::new();
    let rt = Builder::new().procs(1).poll(clock).build().unwrap();
    rt.block_on(async {});
    for _ in 0..3 {
        // All are asleep. Who is woken for this one sleeps until then, and afterwards for good.
        clock.fired.store(false, SeqCst);
        let at = nanotime() + 5_000_000;
        clock.at.store(at, SeqCst);
        rt.handle().wake_for(at);
        let start = Instant::now();
        while !clock.fired.load(SeqCst) || rt.handle().stats().idle_ms == 0 {
            assert!(start.elapsed() < Duration::from_secs(60), "nobody watches");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
