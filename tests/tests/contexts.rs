//! Contexts and timed locks of gmp-sched on a runtime whose clock is gtimer's heaps, with gchan's select.

use gort::{
    Builder, Condvar, Context, ContextError, ContextExt, Group, GroupError, Mutex, go, scope,
};
use std::time::Duration;

fn runtime(procs: usize) -> gort::Runtime {
    // SAFETY: these tests use no thread-locals across a park.
    unsafe { Builder::new().procs(procs).build_stackful() }.unwrap()
}

/// A thread of the process with that name.
fn has_thread(name: &str) -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.flatten().any(|t| {
        std::fs::read_to_string(t.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    })
}

#[test]
fn deadlines_on_a_runtime_need_no_thread_of_their_own() {
    for procs in [1, 2] {
        runtime(procs).run(|| {
            let (ctx, _cancel) = Context::background().with_timeout(Duration::from_millis(5));
            let (lock, cond) = (Mutex::new(()), Condvar::new());
            scope(|s| {
                for _ in 0..20 {
                    s.go(|| {
                        let mut guard = lock.lock();
                        assert!(
                            cond.wait_for(&mut guard, Duration::from_millis(2))
                                .timed_out()
                        );
                    });
                    s.go(|| ctx.wait());
                }
            });
            assert_eq!(ctx.err(), Some(ContextError::DeadlineExceeded));
            assert!(!has_thread("gmp-alarm"));
        });
    }
}

#[test]
fn select_sees_a_context_that_is_done_by_cancel_by_deadline_and_before() {
    for procs in [1, 2] {
        runtime(procs).run(|| {
            let (_tx, rx) = gort::chan::bounded::<u32>(0);
            let (ctx, cancel) = Context::background().with_cancel();
            let (child, _timeout) = ctx.with_timeout(Duration::from_millis(3));
            let waiters: Vec<_> = (0..16)
                .map(|i| {
                    let (ctx, rx) = (if i % 2 == 0 { &ctx } else { &child }.clone(), rx.clone());
                    go(move || {
                        let done = ctx.with_value(i).done_chan();
                        gort::chan::select! {
                            recv(rx) -> _ => unreachable!(),
                            recv(done) -> _ => ctx.err(),
                        }
                    })
                })
                .collect();
            child.wait();
            cancel.cancel();
            for (i, h) in waiters.into_iter().enumerate() {
                let why = [ContextError::Canceled, ContextError::DeadlineExceeded][i % 2];
                assert_eq!(h.join().unwrap(), Some(why));
            }
            assert!(ctx.done_chan().recv().is_err());
            assert!(
                Context::background()
                    .done_chan()
                    .try_recv()
                    .is_err_and(|e| e.is_empty())
            );
        });
    }
}

#[test]
fn a_failed_member_stops_the_others_at_their_select() {
    runtime(2).run(|| {
        let (group, ctx) = Group::with_context(&Context::background());
        for _ in 0..50 {
            let ctx = ctx.clone();
            group.go(move || {
                let (_tx, rx) = gort::chan::bounded::<()>(0);
                let done = ctx.done_chan();
                gort::chan::select! {
                    recv(rx) -> _ => Err("received"),
                    recv(done) -> _ => Ok(()),
                }
            });
        }
        group.go(|| Err("first"));
        assert!(matches!(
            *group.wait().unwrap_err(),
            GroupError::Failed("first")
        ));
    });
}
