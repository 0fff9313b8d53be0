//! Groups against a reference: the first failure wins, limits hold (property tests).

#[path = "support/pending.rs"]
mod pending;

use gmp_sched::{Builder, Context, ContextError, Group, GroupError, goexit, yield_now};
use pending::pending_once;
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Fine,
    Fails,
    Panics,
    Exits,
}

fn run(part: Part, i: usize, yields: usize) -> Result<(), usize> {
    (0..yields).for_each(|_| yield_now());
    match part {
        Part::Fine => Ok(()),
        Part::Fails => Err(i),
        Part::Panics => std::panic::resume_unwind(Box::new(i)),
        Part::Exits => goexit(),
    }
}

fn part() -> impl Strategy<Value = (Part, usize)> {
    let kinds = prop_oneof![
        6 => Just(Part::Fine),
        1 => Just(Part::Fails),
        1 => Just(Part::Panics),
        1 => Just(Part::Exits),
    ];
    (kinds, 0usize..3)
}

/// Which part an error came from; a `goexit` does not say.
fn source(e: Arc<GroupError<usize>>) -> (Part, Option<usize>) {
    match Arc::into_inner(e).expect("the group and its context are gone") {
        GroupError::Failed(i) => (Part::Fails, Some(i)),
        GroupError::Died(e) if e.is_exited() => (Part::Exits, None),
        GroupError::Died(e) => (Part::Panics, e.into_panic().downcast_ref().copied()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// With one place members run one after the other: the first to fail in order is the error, and
    /// all run. With more, the error is that of a member which fails.
    #[test]
    fn the_first_failure_wins(
        parts in prop::collection::vec(part(), 0..24),
        limit in 0usize..4,
        procs in 1usize..3,
    ) {
        // SAFETY: no thread-locals across a park.
        let rt = unsafe { Builder::new().procs(procs).build_stackful() }.unwrap();
        let (inside, most, ran) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let counts = Arc::new((inside, most, ran));
        let given = parts.clone();
        let shared = counts.clone();
        let (result, cancelled) = rt.run(move || {
            let parent = Context::background();
            let (group, ctx) = match limit {
                0 => Group::with_context(&parent),
                n => Group::with_context_and_limit(&parent, n),
            };
            for (i, (part, yields)) in given.into_iter().enumerate() {
                let counts = shared.clone();
                group.go(move || {
                    let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
                    counts.1.fetch_max(now, Ordering::SeqCst);
                    counts.2.fetch_add(1, Ordering::SeqCst);
                    struct Leave(Arc<(AtomicUsize, AtomicUsize, AtomicUsize)>);
                    impl Drop for Leave {
                        fn drop(&mut self) {
                            self.0.0.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                    let _leave = Leave(counts);
                    run(part, i, yields)
                });
            }
            let result = group.wait();
            let cause = ctx.cause().unwrap();
            match &result {
                Ok(()) => assert!(cause.is::<ContextError>()),
                Err(e) => assert!(std::ptr::addr_eq(Arc::as_ptr(e), Arc::as_ptr(&cause))),
            }
            (result, ctx.err())
        });
        prop_assert_eq!(cancelled, Some(ContextError::Canceled));
        prop_assert_eq!(counts.2.load(Ordering::SeqCst), parts.len());
        if limit > 0 {
            prop_assert!(counts.1.load(Ordering::SeqCst) <= limit);
        }
        let failing: Vec<_> = parts.iter().enumerate().filter(|(_, p)| p.0 != Part::Fine).collect();
        match result {
            Ok(()) => prop_assert!(failing.is_empty()),
            Err(e) => {
                let (kind, i) = source(e);
                let matches = |(n, p): &(usize, &(Part, usize))| p.0 == kind && i.is_none_or(|i| i == *n);
                if limit == 1 {
                    prop_assert!(failing.first().is_some_and(matches));
                } else {
                    prop_assert!(failing.iter().any(matches));
                }
            }
        }
    }
}

#[test]
fn members_are_threads_where_there_is_no_runtime() {
    let group = Group::with_limit(2);
    let ran = Arc::new(AtomicUsize::new(0));
    for i in 0..10 {
        let ran = ran.clone();
        group.go(move || {
            ran.fetch_add(1, Ordering::SeqCst);
            if i == 5 { Err("five") } else { Ok(()) }
        });
    }
    for _ in 0..2 {
        assert!(matches!(
            *group.wait().unwrap_err(),
            GroupError::Failed("five")
        ));
    }
    assert_eq!(ran.load(Ordering::SeqCst), 10);

    let group = Group::<&str>::new();
    group.go(|| std::panic::resume_unwind(Box::new("six")));
    assert_eq!(
        group.wait().unwrap_err().to_string(),
        "a thread panicked: six"
    );
}

#[test]
fn futures_are_members_and_wait_for_their_place() {
    for procs in [1, 2] {
        let rt = Builder::new().procs(procs).build().unwrap();
        rt.block_on(async {
            let (group, ctx) = Group::with_context_and_limit(&Context::background(), 2);
            let inside = Arc::new(AtomicUsize::new(0));
            for i in 0..10 {
                let inside = inside.clone();
                group.spawn(async move {
                    let now = inside.fetch_add(1, Ordering::SeqCst);
                    pending_once().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    match i {
                        _ if now >= 2 => Err("too many"),
                        1 => Err("stop"),
                        _ => Ok(()),
                    }
                });
            }
            ctx.done().await;
            let e = group.wait_async().await.unwrap_err();
            assert!(matches!(*e, GroupError::Failed("stop")), "{e}");
            assert_eq!(inside.load(Ordering::SeqCst), 0);

            let group = Group::<&str>::new();
            group.spawn(async { panic!("in a member") });
            let e = group.wait_async().await.unwrap_err();
            assert!(e.to_string().ends_with("panicked: in a member"), "{e}");
        });
    }
}

#[test]
fn a_full_group_gives_the_closure_back() {
    let group = Group::<()>::with_limit(1);
    let (ctx, cancel) = Context::background().with_cancel();
    group.go(move || {
        ctx.wait();
        Ok(())
    });
    let refused = group.try_go(|| Err(())).unwrap_err();
    assert_eq!(refused(), Err(()));
    cancel.cancel();
    assert!(group.wait().is_ok());
    assert!(group.try_go(|| Ok(())).is_ok());
    assert!(group.wait().is_ok());
}

/// The context's cause is the error, as in Go; a panic of what was registered there hinders nobody.
#[test]
fn the_cause_is_the_error_and_a_panic_in_a_callback_leaves_no_member_behind() {
    let body = || {
        let (group, ctx) = Group::with_context_and_limit(&Context::background(), 1);
        ctx.after_func(|| std::panic::resume_unwind(Box::new("in a callback")))
            .keep();
        let (child, _keep) = ctx.with_cancel();
        for i in 0..4 {
            group.go(move || Err(std::io::Error::other(format!("part {i}"))));
        }
        let e = group.wait().unwrap_err();
        assert_eq!(e.to_string(), "part 0");
        let cause = child.cause().unwrap();
        let cause = cause.downcast_ref::<GroupError<std::io::Error>>().unwrap();
        assert!(std::ptr::eq(cause, &*e));
        assert_eq!(ctx.err(), Some(ContextError::Canceled));
    };
    body();
    for procs in [1, 2] {
        // SAFETY: no thread-locals across a park.
        let rt = unsafe { Builder::new().procs(procs).build_stackful() }.unwrap();
        rt.run(body);
    }
}

/// What a member holds is gone before the group counts it off, also if it never ran.
#[test]
fn a_member_that_never_runs_is_dropped_before_it_is_counted_off() {
    struct Held(Group<String>, Arc<AtomicUsize>);
    impl Drop for Held {
        fn drop(&mut self) {
            assert!(
                format!("{:?}", self.0).contains("running: 1"),
                "{:?}",
                self.0
            );
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let group = Group::<String>::new();
    let held = || Held(group.clone(), dropped.clone());
    let rt = Builder::new().procs(1).build().unwrap();
    rt.block_on(async {
        let h = held();
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            group.go(move || {
                let _h = h;
                Ok(())
            });
        }));
        assert!(refused.is_err());
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
        // Polled once, then dropped by the shutdown.
        let h = held();
        group.spawn(async move {
            let _h = h;
            std::future::pending::<()>().await;
            Ok(())
        });
        pending_once().await;
    });
    drop(rt);
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
    let e = group.wait().unwrap_err();
    assert!(
        matches!(&*e, GroupError::Died(e) if e.is_cancelled()),
        "{e}"
    );
}
