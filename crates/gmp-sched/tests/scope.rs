//! Scopes: children borrow, and none outlives what it borrows (R14, R136).

use gmp_sched::{Builder, Runtime, Shutdown, go, goexit, scope, yield_now};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

fn stackful(procs: usize) -> Runtime {
    // SAFETY: these tests use no thread-locals across a park.
    unsafe { Builder::new().procs(procs).build_stackful() }.unwrap()
}

/// On a thread, then on goroutines at P=1 and 2.
fn everywhere(body: impl Fn() + Send + Sync) {
    body();
    for procs in [1, 2] {
        stackful(procs).run(&body);
    }
}

#[test]
fn children_borrow_and_are_done_when_the_scope_returns() {
    everywhere(|| {
        let mut parts = [0u64; 16];
        let total = AtomicUsize::new(0);
        let sum = scope(|s| {
            for (i, p) in parts.iter_mut().enumerate() {
                let total = &total;
                s.go(move || {
                    yield_now();
                    *p = i as u64;
                    s.go(move || total.fetch_add(i, Ordering::Relaxed));
                });
            }
            s.go(|| 7).join().unwrap()
        });
        assert_eq!(sum, 7);
        assert_eq!(parts.iter().sum::<u64>(), 120);
        assert_eq!(total.load(Ordering::Relaxed), 120);
    });
}

/// Says how many of them are alive.
struct Alive<'a>(&'a AtomicUsize);

impl<'a> Alive<'a> {
    fn new(n: &'a AtomicUsize) -> Self {
        n.fetch_add(1, Ordering::SeqCst);
        Self(n)
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        // Counted off last, also where an abort unwinds the yield: a child that never started is dropped
        // by a goroutine that does not unwind yet.
        struct Off<'a>(&'a AtomicUsize);
        impl Drop for Off<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let _off = Off(self.0);
        yield_now();
    }
}

#[test]
fn results_that_borrow_are_dropped_within_the_scope() {
    everywhere(|| {
        let alive = AtomicUsize::new(0);
        scope(|s| {
            for i in 0..20 {
                let alive = &alive;
                let handle = s.go(move || Alive::new(alive));
                if i % 2 == 0 {
                    drop(handle);
                }
            }
        });
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_panic_in_the_scope_or_in_a_child_waits_for_the_others() {
    everywhere(|| {
        let done = AtomicUsize::new(0);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                for _ in 0..4 {
                    s.go(|| {
                        (0..20).for_each(|_| yield_now());
                        done.fetch_add(1, Ordering::SeqCst);
                    });
                }
                panic!("in the scope");
            })
        }));
        assert_eq!(
            *caught.unwrap_err().downcast::<&str>().unwrap(),
            "in the scope"
        );
        assert_eq!(done.load(Ordering::SeqCst), 4);

        let caught = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                s.go(|| panic!("nobody looks"));
                s.go(|| done.fetch_add(1, Ordering::SeqCst));
            })
        }));
        assert!(
            caught
                .unwrap_err()
                .downcast_ref::<&str>()
                .unwrap()
                .contains("panicked")
        );
        assert_eq!(done.load(Ordering::SeqCst), 5);

        // Joined, a panic is the joiner's affair.
        scope(|s| {
            let e = s.go(|| panic!("taken")).join().unwrap_err();
            assert!(e.to_string().contains("taken"));
        });
    });
}

#[test]
fn goexit_ends_a_child_and_leaves_a_scope_after_its_children() {
    let rt = stackful(2);
    rt.run(|| {
        scope(|s| assert!(s.go(|| goexit()).join().unwrap_err().is_exited()));
        let ended = go(|| {
            let done = AtomicBool::new(false);
            struct Check<'a>(&'a AtomicBool);
            impl Drop for Check<'_> {
                fn drop(&mut self) {
                    assert!(
                        self.0.load(Ordering::SeqCst),
                        "left before its child was done"
                    );
                }
            }
            let _check = Check(&done);
            scope(|s| {
                s.go(|| {
                    (0..50).for_each(|_| yield_now());
                    done.store(true, Ordering::SeqCst);
                });
                goexit()
            })
        });
        assert!(ended.join().unwrap_err().is_exited());
    });
}

/// Shutdown unwinds the scope's wait only after its children were unwound or never started.
#[test]
fn an_abort_does_not_end_a_scope_before_its_children() {
    for procs in [1, 2] {
        static LEFT_EARLY: AtomicBool = AtomicBool::new(false);
        static SCOPES: AtomicUsize = AtomicUsize::new(0);
        static CHILDREN: AtomicUsize = AtomicUsize::new(0);
        let rt = stackful(procs);
        rt.run(|| {
            for _ in 0..10 {
                drop(go(|| {
                    struct Parent(AtomicUsize);
                    impl Drop for Parent {
                        fn drop(&mut self) {
                            SCOPES.fetch_add(1, Ordering::SeqCst);
                            if self.0.load(Ordering::SeqCst) != 0 {
                                LEFT_EARLY.store(true, Ordering::SeqCst);
                            }
                        }
                    }
                    let parent = Parent(AtomicUsize::new(0));
                    scope(|s| {
                        for _ in 0..3 {
                            let alive = Alive::new(&parent.0);
                            s.go(move || {
                                let _alive = alive;
                                CHILDREN.fetch_add(1, Ordering::SeqCst);
                                gmp_sched::Semaphore::new(0).acquire(1);
                            });
                        }
                    });
                }));
            }
            for _ in 0..20 {
                yield_now();
            }
        });
        rt.shutdown(Shutdown::Abort(Duration::from_secs(20)));
        assert!(!LEFT_EARLY.load(Ordering::SeqCst));
        assert!(CHILDREN.load(Ordering::SeqCst) > 0);
        assert!(SCOPES.swap(0, Ordering::SeqCst) > 0);
    }
}

#[test]
fn a_scope_on_a_runtime_for_futures_refuses_children_and_still_ends() {
    let rt = Builder::new().procs(1).build().unwrap();
    let caught = rt.block_on(async {
        catch_unwind(|| {
            scope(|s| {
                s.go(|| 1);
            })
        })
    });
    let message = *caught.unwrap_err().downcast::<&str>().unwrap();
    assert!(message.contains("futures only"), "{message}");
}

/// The join is a park like any other, which the abort does not end: no thread per scope.
#[test]
fn an_abort_of_many_scopes_takes_no_thread_for_each() {
    const SCOPES: usize = 600;
    // SAFETY: no thread-locals across a park.
    let rt = unsafe { Builder::new().procs(2).max_threads(40).build_stackful() }.unwrap();
    static UP: AtomicUsize = AtomicUsize::new(0);
    static LEFT: AtomicUsize = AtomicUsize::new(0);
    rt.run(|| {
        for _ in 0..SCOPES {
            drop(go(|| {
                struct Leaves<'a>(&'a AtomicUsize);
                impl Drop for Leaves<'_> {
                    fn drop(&mut self) {
                        assert_eq!(self.0.load(Ordering::SeqCst), 0);
                        LEFT.fetch_add(1, Ordering::SeqCst);
                    }
                }
                /// Does not park, unlike `Alive`: that would keep a thread while it unwinds.
                struct Counted<'a>(&'a AtomicUsize);
                impl Drop for Counted<'_> {
                    fn drop(&mut self) {
                        self.0.fetch_sub(1, Ordering::SeqCst);
                    }
                }
                let alive = AtomicUsize::new(1);
                let _leaves = Leaves(&alive);
                scope(|s| {
                    let counted = Counted(&alive);
                    s.go(move || {
                        let _counted = counted;
                        UP.fetch_add(1, Ordering::SeqCst);
                        gmp_sched::Semaphore::new(0).acquire(1);
                    });
                });
            }));
        }
        while UP.load(Ordering::SeqCst) < SCOPES {
            yield_now();
        }
    });
    rt.shutdown(Shutdown::Abort(Duration::from_secs(20)));
    assert_eq!(LEFT.load(Ordering::SeqCst), SCOPES);
}

/// On a goroutine that keeps its thread the join is waited for while it unwinds.
#[test]
fn an_abort_does_not_end_the_scope_of_a_goroutine_that_keeps_its_thread() {
    static LEFT_EARLY: AtomicBool = AtomicBool::new(false);
    let rt = stackful(2);
    rt.run(|| {
        let up = std::sync::Arc::new(AtomicBool::new(false));
        let u = up.clone();
        drop(go(move || {
            gmp_sched::lock_os_thread();
            let alive = AtomicUsize::new(0);
            struct Check<'a>(&'a AtomicUsize);
            impl Drop for Check<'_> {
                fn drop(&mut self) {
                    LEFT_EARLY.fetch_or(self.0.load(Ordering::SeqCst) != 0, Ordering::SeqCst);
                }
            }
            let _check = Check(&alive);
            scope(|s| {
                let alive = Alive::new(&alive);
                s.go(move || {
                    let _alive = alive;
                    u.store(true, Ordering::SeqCst);
                    gmp_sched::Semaphore::new(0).acquire(1);
                });
            });
        }));
        while !up.load(Ordering::SeqCst) {
            yield_now();
        }
    });
    rt.shutdown(Shutdown::Abort(Duration::from_secs(20)));
    assert!(!LEFT_EARLY.load(Ordering::SeqCst));
}

/// A result and a payload whose destructors panic.
#[test]
fn a_destructor_that_panics_does_not_keep_a_scope_waiting() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                std::panic::resume_unwind(Box::new("in a destructor"));
            }
        }
    }
    everywhere(|| {
        for payload in [false, true] {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                scope(|s| {
                    drop(s.go(move || {
                        if payload {
                            std::panic::resume_unwind(Box::new(Panics));
                        }
                        Panics
                    }));
                });
            }));
            let message = *caught.unwrap_err().downcast::<&str>().unwrap();
            assert!(message.contains("nobody joined it"), "{message}");
        }
    });
}
