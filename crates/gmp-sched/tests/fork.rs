//! A forked child has no runtime, and is told so. In a process of its own: it forks.

use gmp_sched::{Builder, Handle, Runtime, WaitReason, blocking, go, park, yield_now};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

fn runtime() -> Runtime {
    // SAFETY: nothing bound to a thread is kept across a park.
    unsafe { Builder::new().procs(2).build_stackful() }.unwrap()
}

/// Forks; the child runs `f` and exits with what it says. Returns how the child ended.
fn forked(f: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child calls `f`, which is what is tested, and ends.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", std::io::Error::last_os_error());
    if pid == 0 {
        let code = if f() { 7 } else { 1 };
        // SAFETY: an integer.
        unsafe { libc::_exit(code) }
    }
    wait(pid)
}

fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: a child of ours, and a live integer.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}

fn exited_with(status: i32, code: i32) -> bool {
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == code
}

/// Whether `f` panics and says why.
fn is_refused<R>(f: impl FnOnce() -> R) -> bool {
    let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else {
        return false;
    };
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or(payload.downcast_ref::<&str>().copied())
        .is_some_and(|t| t.contains("forked child"))
}

#[test]
fn a_childs_calls_of_the_runtime_panic() {
    let rt = runtime();
    let handle = rt.handle();
    rt.run(|| {
        let joined = go(|| 5);
        assert!(exited_with(forked(|| is_refused(yield_now)), 7));
        assert!(exited_with(forked(|| is_refused(|| go(|| ()))), 7));
        assert!(exited_with(
            forked(|| is_refused(|| park(WaitReason::Sleep))),
            7
        ));
        assert!(exited_with(
            forked(|| is_refused(|| blocking(yield_now))),
            7
        ));
        assert!(exited_with(forked(|| is_refused(|| handle.go(|| ()))), 7));
        let status = blocking(|| forked(|| is_refused(yield_now)));
        assert!(exited_with(status, 7));
        // The parent's runtime is none the wiser.
        yield_now();
        assert_eq!(joined.join().unwrap(), 5);
    });
    // What only asks needs locks that are nobody's to give back here.
    let asks: [fn(Handle); 8] = [
        |h| {
            black_box(h.num_threads());
        },
        |h| {
            black_box(h.stats());
        },
        |h| {
            black_box(h.traceback());
        },
        |h| {
            black_box(h.sched_trace());
        },
        |h| {
            black_box(h.g_statuses());
        },
        |h| {
            black_box(h.set_max_threads(9));
        },
        |h| {
            black_box(h.guards_are_mappings());
        },
        |h| h.wake_for(0),
    ];
    for ask in asks {
        assert!(exited_with(forked(|| is_refused(|| ask(handle))), 7));
    }
    // From a thread that is not the runtime's.
    assert!(exited_with(forked(|| is_refused(|| handle.go(|| ()))), 7));
    assert!(exited_with(
        forked(|| is_refused(|| Builder::new().build())),
        7
    ));
    let other = runtime();
    assert!(exited_with(forked(|| is_refused(|| other.run(|| ()))), 7));
    assert!(exited_with(forked(|| !is_refused(|| drop(other))), 7));
    assert_eq!(rt.run(|| go(|| 6).join().unwrap()), 6);
}

#[test]
fn a_section_that_forks_ends_in_the_child_with_a_panic() {
    runtime().run(|| {
        let mut pid = -1;
        let refused = is_refused(|| {
            blocking(|| {
                // SAFETY: as in `forked`.
                pid = unsafe { libc::fork() };
            });
        });
        if pid == 0 {
            // SAFETY: an integer.
            unsafe { libc::_exit(if refused { 7 } else { 1 }) }
        }
        assert!(pid > 0 && !refused);
        assert!(exited_with(wait(pid), 7));
    });
}

#[test]
fn a_goroutine_that_ends_in_the_child_ends_the_child() {
    let status = runtime().run(|| {
        go(|| {
            // SAFETY: the child does nothing but end.
            let pid = unsafe { libc::fork() };
            assert!(pid >= 0);
            if pid == 0 { None } else { Some(wait(pid)) }
        })
        .join()
        .unwrap()
    });
    let status = status.expect("the child does not come back here");
    assert!(libc::WIFSIGNALED(status), "{status}");
    assert_eq!(libc::WTERMSIG(status), libc::SIGABRT);
}

/// Whatever another thread held when the child was made.
#[test]
fn a_child_that_was_made_while_locks_were_held_does_not_wait() {
    let rt = runtime();
    let handle = rt.handle();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // The runtime's lock, that of the records, and that of the global queue's wake-ups.
                    black_box((handle.sched_trace(), handle.traceback()));
                    handle.spawn(async {}).join().unwrap();
                }
            });
        }
        for _ in 0..30 {
            let done = handle.spawn(async {});
            while !done.is_finished() {
                std::thread::yield_now();
            }
            let child = || {
                // Traces take their time.
                std::panic::set_hook(Box::new(|_| ()));
                let refused =
                    is_refused(|| handle.num_threads()) && is_refused(|| handle.go(|| ()));
                // What has ended can be joined.
                refused && done.join().is_ok()
            };
            assert!(exited_with(forked(child), 7));
        }
        stop.store(true, Ordering::Relaxed);
    });
}
