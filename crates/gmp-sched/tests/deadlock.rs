//! What is a deadlock and what is none (R52). A report ends the process, and all threads of the process count: so
//! each program runs in a process of its own, without the threads of a test harness.

use gmp_sched::{
    Builder, Goroutine, OnDeadlock, Poll, Runtime, Semaphore, Shutdown, WaitReason, blocking,
    call_chore, go, lock_os_thread, nanotime, park, set_chore, thread_waits, unlock_os_thread,
    yield_now,
};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::thread;
use std::time::Duration;

/// Status of a program that comes to its end.
const NONE: i32 = 77;
/// Status of a program that reports a deadlock.
const REPORTED: i32 = 2;

struct Program {
    name: &'static str,
    run: fn(),
    /// What it ends with.
    status: i32,
    /// How many deadlocks it reports.
    reports: usize,
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "none_if_a_thread_readies_a_goroutine_and_ends_meanwhile",
        run: readied_by_one_that_ends,
        status: NONE,
        reports: 0,
    },
    Program {
        name: "none_if_a_thread_starts_another_and_ends_meanwhile",
        run: readied_by_an_heir,
        status: NONE,
        reports: 0,
    },
    Program {
        name: "one_if_a_wait_that_began_without_a_p_has_called_the_runtime",
        run: wait_that_gets_a_p,
        status: REPORTED,
        reports: 1,
    },
    Program {
        name: "one_after_a_pinned_goroutine_has_parked_within_a_wait",
        run: pinned_park_within_a_wait,
        status: REPORTED,
        reports: 1,
    },
    Program {
        name: "none_if_a_timer_of_a_runtime_that_was_leaked_is_pending",
        run: timer_of_a_leaked_runtime,
        status: NONE,
        reports: 0,
    },
    Program {
        name: "one_after_the_last_thread_that_could_have_helped_has_ended",
        run: asleep_beside_one_that_ends_late,
        status: REPORTED,
        reports: 1,
    },
    Program {
        name: "one_is_reported_once_however_often_sysmon_looks",
        run: sysmon_looks_often,
        status: NONE,
        reports: 1,
    },
];

fn main() {
    if let Some(name) = std::env::args().nth(1)
        && let Some(program) = PROGRAMS.iter().find(|p| p.name == name)
    {
        (program.run)();
        std::process::exit(NONE);
    }
    for Program {
        name,
        status,
        reports,
        ..
    } in PROGRAMS
    {
        let out = Command::new("timeout")
            .arg("60")
            .arg(std::env::current_exe().unwrap())
            .arg(name)
            .output()
            .expect("the program starts");
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(*status), "{name}: {text}");
        let reported = text.matches("fatal error: all goroutines are asleep - deadlock!\n");
        assert_eq!(reported.count(), *reports, "{name}: {text}");
        println!("r52 {name} ... ok");
    }
}

fn runtime(procs: usize) -> Runtime {
    // SAFETY: nothing bound to a thread is kept across a park.
    unsafe { Builder::new().procs(procs).build_stackful() }.unwrap()
}

/// Threads that wait for ever, so that a look at all of them takes its time.
fn crowd() {
    let never = Arc::new(Semaphore::new(0));
    for _ in 0..400 {
        let never = never.clone();
        let waits = move || never.acquire(1);
        thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(waits)
            .unwrap();
    }
}

/// A goroutine waits for what a thread releases after some time; again and again, at times that differ.
fn again_and_again(release: fn(Arc<Semaphore>), then: fn()) {
    crowd();
    runtime(2).run(move || {
        for round in 0..60 {
            let waits = Arc::new(Semaphore::new(0));
            let held = waits.clone();
            let after = Duration::from_micros(20_000 + 1_777 * round);
            thread::spawn(move || {
                thread::sleep(after);
                release(held);
            });
            waits.acquire(1);
            then();
        }
    });
}

fn readied_by_one_that_ends() {
    let blocks = || blocking(|| thread::sleep(Duration::from_millis(30)));
    again_and_again(|held| held.release(1), blocks);
}

fn readied_by_an_heir() {
    let heir = |held: Arc<Semaphore>| {
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            held.release(1);
        });
    };
    again_and_again(heir, || ());
}

/// The P of a goroutine is taken, for it computes. It begins to wait, and then calls the runtime, which gives it a P.
fn wait_that_gets_a_p() {
    runtime(1).run(|| {
        let seen = Arc::new(AtomicBool::new(false));
        let flag = seen.clone();
        let other = go(move || flag.store(true, Ordering::SeqCst));
        while !seen.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
        thread_waits(|| {
            yield_now();
            loop {
                thread::park();
            }
        });
        drop(other);
    });
}

/// Its waits are counted as often as they end.
fn pinned_park_within_a_wait() {
    runtime(1).run(|| {
        let held = Arc::new(Semaphore::new(0));
        let waits = held.clone();
        let other = go(move || {
            thread::sleep(Duration::from_millis(5));
            held.release(1);
        });
        lock_os_thread();
        thread_waits(|| waits.acquire(1));
        unlock_os_thread();
        drop(other);
        waits.acquire(1);
    });
}

/// Sysmon has given up waiting for it by then.
fn asleep_beside_one_that_ends_late() {
    thread::spawn(|| thread::sleep(Duration::from_secs(3)));
    runtime(1).run(|| park(WaitReason::Park));
}

/// The clock of the first P, with room for one goroutine that sleeps.
struct Clock;

static WHEN: AtomicU64 = AtomicU64::new(u64::MAX);
static SLEEPER: Mutex<Option<Waker>> = Mutex::new(None);

impl Poll for Clock {
    fn poll(&self, p: usize, now: u64) -> (Option<u64>, usize) {
        let due = self.next_deadline(p).is_some_and(|when| when <= now);
        if due {
            WHEN.store(u64::MAX, Ordering::SeqCst);
            SLEEPER.lock().unwrap().take().expect("a sleeper").wake();
        }
        (self.next_deadline(p), usize::from(due))
    }

    fn next_deadline(&self, p: usize) -> Option<u64> {
        let when = WHEN.load(Ordering::SeqCst);
        (p == 0 && when < u64::MAX).then_some(when)
    }

    fn adopt(&self, _: usize, _: usize) {}
}

/// A goroutine that outlives its runtime, because a destructor of its sleeps longer than it may.
fn timer_of_a_leaked_runtime() {
    struct Sleeps(Arc<Semaphore>);
    impl Drop for Sleeps {
        fn drop(&mut self) {
            let me = Goroutine::current().expect("a goroutine");
            *SLEEPER.lock().unwrap() = Some(me.waker());
            WHEN.store(nanotime() + 500_000_000, Ordering::SeqCst);
            while WHEN.load(Ordering::SeqCst) < u64::MAX {
                park(WaitReason::Park);
            }
            self.0.release(1);
        }
    }
    let builder = Builder::new().procs(1).poll(&Clock);
    // SAFETY: as in `runtime`.
    let rt = unsafe { builder.build_stackful() }.unwrap();
    let waits = Arc::new(Semaphore::new(0));
    let (started, sleeps) = (Arc::new(Semaphore::new(0)), Sleeps(waits.clone()));
    let starts = started.clone();
    drop(rt.go(move || {
        let _sleeps = sleeps;
        starts.release(1);
        park(WaitReason::Park);
    }));
    started.acquire(1);
    rt.shutdown(Shutdown::Abort(Duration::from_millis(10)));
    waits.acquire(1);
}

/// It has a chore to do every 10 ms, and looks each time.
fn sysmon_looks_often() {
    fn chore() -> Option<Duration> {
        static DONE: AtomicU32 = AtomicU32::new(0);
        if DONE.fetch_add(1, Ordering::Relaxed) == 300 {
            std::process::exit(NONE);
        }
        Some(Duration::from_millis(10))
    }
    let builder = Builder::new().on_deadlock(OnDeadlock::Report);
    // SAFETY: as in `runtime`.
    let rt = unsafe { builder.build_stackful() }.unwrap();
    assert!(set_chore(chore));
    call_chore();
    rt.run(|| park(WaitReason::Park));
}
