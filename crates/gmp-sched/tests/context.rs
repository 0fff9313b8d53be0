//! Contexts: trees against a reference (property tests), deadlines, waits everywhere.

mod support;

use gmp_sched::{Builder, Canceler, Context, ContextError, go, spawn};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
enum Op {
    Child(usize),
    /// Hours from now; 0 has passed.
    Deadline(usize, u32),
    Value(usize, u32),
    Other(usize),
    Detach(usize),
    Cancel(usize, u32),
    DropCanceler(usize),
    Keep(usize),
    DropContext(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => any::<usize>().prop_map(Op::Child),
        3 => (any::<usize>(), 0u32..20).prop_map(|(i, hours)| Op::Deadline(i, hours)),
        3 => (any::<usize>(), any::<u32>()).prop_map(|(i, v)| Op::Value(i, v)),
        1 => any::<usize>().prop_map(Op::Other),
        1 => any::<usize>().prop_map(Op::Detach),
        2 => (any::<usize>(), any::<u32>()).prop_map(|(i, v)| Op::Cancel(i, v)),
        1 => any::<usize>().prop_map(Op::DropCanceler),
        1 => any::<usize>().prop_map(Op::Keep),
        1 => any::<usize>().prop_map(Op::DropContext),
    ]
}

/// The reference: each node by hand.
#[derive(Clone)]
struct Model {
    /// The node in the tree of cancellations, and its parent's.
    node: Option<usize>,
    value: Option<u32>,
}

#[derive(Default)]
struct Tree {
    parents: Vec<Option<usize>>,
    causes: Vec<Option<String>>,
    /// Hours from the beginning.
    deadlines: Vec<Option<u32>>,
}

impl Tree {
    fn add(&mut self, parent: Option<usize>, hours: Option<u32>) -> usize {
        let earlier = parent.and_then(|p| self.deadlines[p]);
        self.deadlines.push(match (earlier, hours) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        });
        self.parents.push(parent);
        self.causes
            .push(parent.and_then(|p| self.causes[p].clone()));
        self.parents.len() - 1
    }

    fn cancel(&mut self, node: usize, cause: &str) {
        for n in node..self.parents.len() {
            let mut at = Some(n);
            while at.is_some_and(|a| a != node) {
                at = self.parents[at.unwrap()];
            }
            if at.is_some() && self.causes[n].is_none() {
                self.causes[n] = Some(cause.into());
            }
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const LATE: &str = "context deadline exceeded";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_tree_of_contexts_is_as_its_reference(ops in prop::collection::vec(op(), 1..60)) {
        let began = Instant::now();
        let mut tree = Tree::default();
        let mut all = vec![(Some(Context::background()), Model { node: None, value: None })];
        let mut cancelers: Vec<(Option<Canceler>, usize)> = Vec::new();
        let calls = Arc::new(AtomicUsize::new(0));
        let mut registered = Vec::new();
        for op in ops {
            let n = all.len();
            let pick = |i: usize| (i % n, all[i % n].0.clone());
            match op {
                Op::Child(i) => if let (i, Some(ctx)) = pick(i) {
                    let (child, canceler) = ctx.with_cancel();
                    let calls = calls.clone();
                    registered.push(child.after_func(move || {
                        calls.fetch_add(1, Ordering::SeqCst);
                    }));
                    let node = tree.add(all[i].1.node, None);
                    cancelers.push((Some(canceler), node));
                    let value = all[i].1.value;
                    all.push((Some(child), Model { node: Some(node), value }));
                },
                Op::Deadline(i, hours) => if let (i, Some(ctx)) = pick(i) {
                    let (child, canceler) = ctx.with_deadline(began + HOUR * hours);
                    let node = tree.add(all[i].1.node, Some(hours));
                    if hours == 0 {
                        tree.cancel(node, LATE);
                    }
                    cancelers.push((Some(canceler), node));
                    let value = all[i].1.value;
                    all.push((Some(child), Model { node: Some(node), value }));
                },
                Op::Value(i, v) => if let (i, Some(ctx)) = pick(i) {
                    let node = all[i].1.node;
                    all.push((Some(ctx.with_value(v)), Model { node, value: Some(v) }));
                },
                Op::Other(i) => if let (i, Some(ctx)) = pick(i) {
                    let model = all[i].1.clone();
                    all.push((Some(ctx.with_value("of another type")), model));
                },
                Op::Detach(i) => if let (i, Some(ctx)) = pick(i) {
                    let value = all[i].1.value;
                    all.push((Some(ctx.without_cancel()), Model { node: None, value }));
                },
                Op::Cancel(i, v) => if let Some(k) = i.checked_rem(cancelers.len())
                    && let (Some(canceler), node) = &cancelers[k]
                {
                    canceler.cancel_with(v.to_string());
                    tree.cancel(*node, &v.to_string());
                },
                Op::DropCanceler(i) => if let Some(k) = i.checked_rem(cancelers.len())
                    && cancelers[k].0.take().is_some()
                {
                    tree.cancel(cancelers[k].1, "context canceled");
                },
                Op::Keep(i) => if let Some(k) = i.checked_rem(cancelers.len())
                    && let Some(canceler) = cancelers[k].0.take()
                {
                    canceler.keep();
                },
                Op::DropContext(i) => if i % n > 0 {
                    all[i % n].0 = None;
                },
            }
            for (ctx, model) in &all {
                let Some(ctx) = ctx else { continue };
                let cause = model.node.and_then(|n| tree.causes[n].clone());
                prop_assert_eq!(ctx.cause().map(|c| c.to_string()), cause.clone());
                prop_assert_eq!(ctx.err(), cause.as_deref().map(|c| match c {
                    LATE => ContextError::DeadlineExceeded,
                    _ => ContextError::Canceled,
                }));
                prop_assert_eq!(ctx.is_done(), cause.is_some());
                let hours = model.node.and_then(|n| tree.deadlines[n]);
                let near = |at: Instant| (at + HOUR / 2 - began).as_secs() / HOUR.as_secs();
                prop_assert_eq!(ctx.deadline().map(near), hours.map(u64::from));
                prop_assert_eq!(ctx.value::<u32>().copied(), model.value);
            }
        }
        // What lives, or lived while it was cancelled, was called once.
        let done = tree.causes.iter().filter(|c| c.is_some()).count();
        prop_assert!(calls.load(Ordering::SeqCst) <= done);
    }
}

#[test]
fn a_deadline_ends_waits_on_threads_goroutines_and_in_futures() {
    let body = || {
        let parent = Context::background();
        let (ctx, _c) = parent.with_timeout(Duration::from_millis(3));
        let (child, _d) = ctx.with_timeout(Duration::from_secs(3600));
        assert_eq!(child.deadline().is_some(), ctx.deadline().is_some());
        assert!(child.deadline().unwrap() < Instant::now() + Duration::from_secs(60));
        child.wait();
        assert_eq!(child.err(), Some(ContextError::DeadlineExceeded));
        assert_eq!(
            child.cause().unwrap().to_string(),
            "context deadline exceeded"
        );
        assert!(child.check().is_err() && parent.check().is_ok());
        assert!(!parent.wait_timeout(Duration::from_millis(1)));
        let (late, _e) = parent.with_deadline(Instant::now());
        assert!(late.is_done(), "already past");
    };
    body();
    for procs in [1, 2] {
        // SAFETY: no thread-locals across a park.
        let rt = unsafe { Builder::new().procs(procs).build_stackful() }.unwrap();
        rt.run(move || {
            let all: Vec<_> = (0..8).map(|_| go(body)).collect();
            all.into_iter().for_each(|h| h.join().unwrap());
        });
        rt.block_on(async {
            let all: Vec<_> = (0..8)
                .map(|_| {
                    spawn(async {
                        let (ctx, _c) =
                            Context::background().with_timeout(Duration::from_millis(3));
                        ctx.done().await;
                        assert_eq!(ctx.err(), Some(ContextError::DeadlineExceeded));
                    })
                })
                .collect();
            for h in all {
                h.await.unwrap();
            }
        });
    }
}

#[test]
fn a_cancel_wakes_all_who_wait_and_calls_what_was_registered() {
    let (ctx, cancel) = Context::background().with_cancel();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = |calls: &Arc<AtomicUsize>| {
        let calls = calls.clone();
        move || {
            calls.fetch_add(1, Ordering::SeqCst);
        }
    };
    ctx.after_func(count(&calls)).keep();
    drop(ctx.after_func(count(&calls)));
    let stays = ctx.after_func(count(&calls));
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| ctx.wait());
        }
        cancel.cancel();
    });
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    drop(stays);
    let _at_once = ctx.after_func(count(&calls));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[test]
fn a_chain_of_a_hundred_thousand_is_cancelled_and_dropped_without_recursion() {
    let (mut ctx, cancel) = Context::background().with_cancel();
    for _ in 0..100_000 {
        let (child, canceler) = ctx.with_cancel();
        canceler.keep();
        ctx = child.with_value(1u8);
    }
    cancel.cancel();
    assert!(ctx.is_done());
    drop(cancel);
    drop(ctx);
}

#[test]
fn a_child_that_nobody_refers_to_leaves_its_parent() {
    let (ctx, _cancel) = Context::background().with_cancel();
    let token = Arc::new(());
    for _ in 0..1000 {
        let (child, canceler) = ctx.with_cancel();
        let token = token.clone();
        child.after_func(move || drop(token)).keep();
        canceler.keep();
    }
    assert_eq!(Arc::strong_count(&token), 1);
}

/// A callback that panics is the canceller's affair, after everybody else was served.
#[test]
fn a_panic_in_a_callback_keeps_nobody_from_being_cancelled() {
    let quiet = |message: &'static str| std::panic::resume_unwind(Box::new(message));
    let body = move || {
        let (ctx, cancel) = Context::background().with_cancel();
        let (child, keep) = ctx.with_cancel();
        let (grandchild, keep2) = child.with_timeout(Duration::from_secs(3600));
        let calls = Arc::new(AtomicUsize::new(0));
        for ctx in [&ctx, &child, &grandchild] {
            let (calls, all) = (calls.clone(), [ctx.clone(), grandchild.clone()]);
            ctx.after_func(move || {
                assert!(all.iter().all(Context::is_done), "all are marked first");
                calls.fetch_add(1, Ordering::SeqCst);
                quiet("in a callback");
            })
            .keep();
        }
        let waits = std::thread::spawn({
            let grandchild = grandchild.clone();
            move || grandchild.wait()
        });
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cancel.cancel()));
        assert_eq!(
            *caught.unwrap_err().downcast::<&str>().unwrap(),
            "in a callback"
        );
        assert_eq!(calls.load(Ordering::SeqCst), 3);
        waits.join().unwrap();
        drop((keep, keep2));

        // While the canceller unwinds already, and where nobody cancels but the clock.
        let (ctx, cancel) = Context::background().with_cancel();
        ctx.after_func(move || quiet("second")).keep();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _cancel = cancel;
            quiet("first");
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "first");
        assert!(ctx.is_done());
        let (ctx, _cancel) = Context::background().with_timeout(Duration::from_millis(1));
        // On a slow machine the time is over already, and then it is called here.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            ctx.after_func(move || quiet("on the clock")).keep();
        }));
        let (after, _cancel2) = ctx.with_cancel();
        after.wait();
    };
    body();
    for procs in [1, 2] {
        // SAFETY: no thread-locals across a park.
        let rt = unsafe { Builder::new().procs(procs).build_stackful() }.unwrap();
        rt.run(body);
    }
}

/// Wakers that panic, and others behind them.
#[test]
fn a_panic_in_a_waker_keeps_no_other_from_being_woken() {
    let bad = support::panicking_waker();
    let mut cx = std::task::Context::from_waker(&bad);
    let (ctx, cancel) = Context::background().with_cancel();
    let wg = gmp_sched::WaitGroup::new();
    wg.add(1);
    let cond = (gmp_sched::Mutex::new(false), gmp_sched::Condvar::new());
    let mut first = std::pin::pin!(ctx.done());
    let mut second = std::pin::pin!(wg.wait_async());
    let mut third = std::pin::pin!(gmp_sched::AsyncCondvar::wait_async(&cond.1, cond.0.lock()));
    assert!(first.as_mut().poll(&mut cx).is_pending());
    assert!(second.as_mut().poll(&mut cx).is_pending());
    assert!(third.as_mut().poll(&mut cx).is_pending());
    let panics = |f: &dyn Fn()| {
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err());
    };
    std::thread::scope(|s| {
        s.spawn(|| ctx.wait());
        s.spawn(|| wg.wait());
        s.spawn(|| {
            let mut told = cond.0.lock();
            while !*told {
                cond.1.wait(&mut told);
            }
        });
        std::thread::sleep(Duration::from_millis(20));
        panics(&|| cancel.cancel());
        panics(&|| wg.done());
        *cond.0.lock() = true;
        panics(&|| _ = cond.1.notify_all());
    });
}

#[test]
fn a_function_that_was_called_cannot_be_stopped_and_one_that_was_stopped_is_not_called() {
    let (ctx, cancel) = Context::background().with_cancel();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = |n: usize| {
        let calls = calls.clone();
        ctx.after_func(move || _ = calls.fetch_add(n, Ordering::SeqCst))
    };
    let (a, b) = (count(1), count(10));
    assert!(a.stop());
    cancel.cancel();
    assert!(!b.stop());
    assert!(!count(100).stop());
    assert_eq!(calls.load(Ordering::SeqCst), 110);
}
