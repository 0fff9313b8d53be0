//! The end of a runtime: it waits, refuses or aborts as it was told, within a deadline, and what outlives
//! that is reported and left alone.

use gort::{
    JoinHandle, Runtime, Shutdown, WaitReason, blocking, go, park, sleep, spawn, yield_now,
};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

const PROGRAM: &str = "GORT_SHUTDOWN_PROGRAM";
const AGES: Duration = Duration::from_secs(100_000);
/// Waited for in vain; and it has to be enough for a busy machine to unwind a dozen goroutines.
const SOON: Duration = Duration::from_secs(1);

fn runtime(procs: usize) -> Runtime {
    // SAFETY: nothing here keeps anything bound to its thread across a park.
    unsafe { Runtime::builder().procs(procs).build_stackful() }.unwrap()
}

/// Counts the goroutines that were unwound or ended.
struct Counts(Arc<AtomicUsize>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Goroutines and futures that wait for ever.
fn waiters(rt: &Runtime, ended: &Arc<AtomicUsize>) -> Vec<JoinHandle<()>> {
    let counts = || Counts(ended.clone());
    let stackful = |_| {
        let counts = counts();
        rt.go(move || {
            let _counts = counts;
            loop {
                park(WaitReason::Park);
            }
        })
    };
    let mut waiters: Vec<_> = (0..10).map(stackful).collect();
    let counts = counts();
    waiters.push(rt.spawn(async move {
        let _counts = counts;
        std::future::pending().await
    }));
    waiters
}

#[test]
fn it_waits_for_those_who_end_and_unwinds_the_others_at_the_deadline() {
    for procs in [1, 2, 8] {
        let rt = runtime(procs);
        let ended = Arc::new(AtomicUsize::new(0));
        let waiters = waiters(&rt, &ended);
        let done = rt.go(|| {
            (0..10).for_each(|_| yield_now());
            go(|| 7).join().unwrap()
        });
        rt.run(|| {
            while !done.is_finished() {
                yield_now();
            }
        });
        rt.shutdown(Shutdown::Wait(SOON));
        assert_eq!(done.join().unwrap(), 7);
        assert_eq!(ended.load(SeqCst), 11);
        for waiter in waiters {
            assert!(waiter.join().unwrap_err().is_cancelled());
        }
    }
}

#[test]
fn it_waits_as_long_as_it_takes() {
    let rt = runtime(2);
    let slow: Vec<_> = (0..20)
        .map(|i| match i % 3 {
            0 => rt.go(move || sleep(Duration::from_millis(i))),
            1 => rt.go(move || blocking(|| std::thread::sleep(Duration::from_millis(i)))),
            _ => rt.spawn(async move { gort::time::delay(Duration::from_millis(i)).await }),
        })
        .collect();
    rt.shutdown(Shutdown::Wait(AGES));
    slow.into_iter().for_each(|h| h.join().unwrap());
}

#[test]
fn it_refuses_and_names_who_is_left() {
    let rt = runtime(2);
    let ended = Arc::new(AtomicUsize::new(0));
    let waiters = waiters(&rt, &ended);
    let refused = catch_unwind(AssertUnwindSafe(|| rt.shutdown(Shutdown::Refuse))).unwrap_err();
    let message = refused.downcast::<String>().unwrap();
    assert!(message.contains("while 11 goroutines exist"), "{message}");
    // They are unwound all the same: nobody is left running behind the panic.
    assert_eq!(ended.load(SeqCst), 11);
    drop(waiters);
    let rt = runtime(2);
    rt.run(|| go(|| ()).join().unwrap());
    rt.shutdown(Shutdown::Refuse);
}

#[test]
fn a_destructor_that_starts_others_and_waits_for_them_is_let_through() {
    struct Starts(Arc<AtomicUsize>);
    impl Drop for Starts {
        fn drop(&mut self) {
            let ended = Counts(self.0.clone());
            drop(spawn(async move { drop(ended) }).join());
        }
    }
    let rt = runtime(2);
    let ended = Arc::new(AtomicUsize::new(0));
    let starts: Vec<_> = (0..100).map(|_| Starts(ended.clone())).collect();
    for starts in starts {
        drop(rt.go(move || {
            let _starts = starts;
            sleep(AGES);
        }));
    }
    rt.run(|| sleep(Duration::from_millis(1)));
    rt.shutdown(Shutdown::Abort(AGES));
    assert_eq!(ended.load(SeqCst), 100);
}

/// Runs `child` again, in a process of its own, as the program called `name`.
fn run(name: &str) -> (String, bool) {
    let me = std::env::current_exe().unwrap();
    let args = ["--exact", "child", "--nocapture"];
    let child = Command::new(me)
        .args(args)
        .env(PROGRAM, name)
        .output()
        .unwrap();
    (
        String::from_utf8_lossy(&child.stderr).into_owned(),
        child.status.success(),
    )
}

#[test]
fn child() {
    let Ok(name) = std::env::var(PROGRAM) else {
        return;
    };
    match name.as_str() {
        "computes" => outlives(|go_on| while !go_on.load(SeqCst) {}),
        "blocks" => outlives(|go_on| {
            blocking(|| {
                while !go_on.load(SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }),
        "threads" => {
            let rt = runtime(1);
            assert_eq!(rt.handle().set_max_threads(4), 10_000);
            rt.run(|| {
                let sleepers: Vec<_> = (0..9)
                    .map(|_| go(|| gort::blocking_now(|| std::thread::sleep(AGES))))
                    .collect();
                sleepers.into_iter().for_each(|h| drop(h.join()));
            });
        }
        _ => panic!("no program {name:?}"),
    }
}

/// Two goroutines outlive their runtime. Others use its records and stacks meanwhile, if these were given
/// up; then the two go on.
fn outlives(wait: fn(&AtomicBool)) {
    let rt = runtime(2);
    let go_on = Arc::new(AtomicBool::new(false));
    let inside = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicUsize::new(0));
    let left: Vec<_> = (0..2_u8)
        .map(|i| {
            let (go_on, inside, counts) = (go_on.clone(), inside.clone(), Counts(ended.clone()));
            rt.go(move || {
                let _counts = counts;
                let mut mine = [i; 10_000];
                black_box(&mut mine);
                inside.fetch_add(1, SeqCst);
                wait(&go_on);
                assert!(mine.iter().all(|b| *b == i), "another ran on this stack");
                loop {
                    yield_now();
                }
            })
        })
        .collect();
    while inside.load(SeqCst) < 2 {
        std::thread::yield_now();
    }
    rt.shutdown(Shutdown::Abort(SOON));
    assert_eq!(ended.load(SeqCst), 0);
    let rt = runtime(2);
    rt.run(|| {
        let used = || {
            black_box([0xff_u8; 20_000]);
            yield_now();
        };
        let crowd: Vec<_> = (0..2000).map(|_| go(used)).collect();
        crowd.into_iter().for_each(|h| h.join().unwrap());
    });
    go_on.store(true, SeqCst);
    for handle in left {
        assert!(handle.join().unwrap_err().is_cancelled());
    }
    assert_eq!(ended.load(SeqCst), 2);
    rt.shutdown(Shutdown::Refuse);
}

#[test]
fn what_outlives_the_deadline_is_named_and_left_alone() {
    for program in ["computes", "blocks"] {
        let (stderr, success) = run(program);
        assert!(success, "{program}: {stderr}");
        assert!(
            stderr.contains("2 goroutines outlived the shutdown"),
            "{program}: {stderr}"
        );
        assert!(
            stderr.contains("spawned at tests/tests/shutdown.rs:"),
            "{program}: {stderr}"
        );
    }
}

#[test]
fn a_limit_of_threads_that_is_lowered_at_run_time_holds() {
    let (stderr, success) = run("threads");
    assert!(!success, "{stderr}");
    assert!(
        stderr.contains("fatal error: thread exhaustion"),
        "{stderr}"
    );
    assert!(stderr.contains("set_max_threads"), "{stderr}");
}
