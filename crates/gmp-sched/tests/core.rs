//! The core: goroutines and futures on one set of queues.

use gmp_sched::{Builder, Handle, JoinHandle, Runtime, go, spawn, yield_now};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A runtime whose goroutines, in these tests, hold nothing bound to a thread across a park.
fn stackful(procs: usize) -> Runtime {
    // SAFETY: the tests of this file use thread-locals nowhere, and their dependencies (std) meet
    // the contract.
    unsafe { Builder::new().procs(procs).build_stackful() }.unwrap()
}

/// Runs a test body at P=1, 2 and 8.
fn at_all_procs(body: impl Fn(&Runtime) + Sync) {
    for procs in [1, 2, 8] {
        body(&stackful(procs));
    }
}

#[test]
fn run_returns_what_main_returns_and_borrows() {
    at_all_procs(|rt| {
        let text = String::from("borrowed");
        assert_eq!(rt.run(|| text.len()), 8);
    });
}

#[test]
fn a_hundred_thousand_goroutines_give_their_results() {
    at_all_procs(|rt| {
        let sum: u64 = rt.run(|| {
            let handles: Vec<JoinHandle<u64>> = (0..100_000).map(|i| go(move || i)).collect();
            handles.into_iter().map(|h| h.join().unwrap()).sum()
        });
        assert_eq!(sum, 100_000 * 99_999 / 2);
    });
}

#[test]
fn goroutines_that_park_and_nest() {
    fn fib(n: u64) -> u64 {
        if n < 2 {
            return n;
        }
        let a = go(move || fib(n - 1));
        let b = fib(n - 2);
        a.join().unwrap() + b
    }
    at_all_procs(|rt| assert_eq!(rt.run(|| fib(18)), 2584));
}

#[test]
fn yield_lets_others_run_on_one_p() {
    let rt = stackful(1);
    rt.run(|| {
        let n = Arc::new(AtomicUsize::new(0));
        let other = {
            let n = n.clone();
            go(move || {
                for _ in 0..100 {
                    n.fetch_add(1, Ordering::Relaxed);
                    yield_now();
                }
            })
        };
        while n.load(Ordering::Relaxed) < 100 {
            yield_now();
        }
        other.join().unwrap();
    });
}

#[test]
fn futures_run_without_the_promise() {
    for procs in [1, 2, 8] {
        let rt = Builder::new().procs(procs).build().unwrap();
        let sum = rt.block_on(async {
            let handles: Vec<_> = (0..10_000_u64)
                .map(|i| {
                    spawn(async move {
                        YieldOnce(false).await;
                        i
                    })
                })
                .collect();
            let mut sum = 0;
            for h in handles {
                sum += h.await.unwrap();
            }
            sum
        });
        assert_eq!(sum, 10_000 * 9_999 / 2);
    }
}

struct YieldOnce(bool);

impl Future for YieldOnce {
    type Output = ();
    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        if self.0 {
            return std::task::Poll::Ready(());
        }
        self.0 = true;
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    }
}

#[test]
fn both_kinds_wait_for_one_another() {
    at_all_procs(|rt| {
        let n = rt.run(|| {
            let f = spawn(async { go(|| 20).await.unwrap() + 1 });
            let g = go(|| 20 + f.join().unwrap());
            g.join().unwrap()
        });
        assert_eq!(n, 41);
    });
}

#[test]
fn a_panic_comes_back_with_its_payload() {
    at_all_procs(|rt| {
        rt.run(|| {
            let e = go(|| std::panic::resume_unwind(Box::new(7_u32)))
                .join()
                .unwrap_err();
            assert!(e.is_panic());
            assert_eq!(*e.into_panic().downcast::<u32>().unwrap(), 7);
            let e = spawn(async { std::panic::resume_unwind(Box::new("boom")) }).join();
            assert_eq!(
                e.unwrap_err().to_string().split(' ').next_back(),
                Some("boom")
            );
            let e = go(|| gmp_sched::goexit()).join().unwrap_err();
            assert!(e.is_exited());
        });
    });
}

#[test]
fn a_dropped_handle_detaches() {
    at_all_procs(|rt| {
        let n = Arc::new(AtomicUsize::new(0));
        struct Count(Arc<AtomicUsize>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        rt.run(|| {
            for _ in 0..1000 {
                let c = Count(n.clone());
                drop(go(move || c));
            }
            while n.load(Ordering::Relaxed) < 1000 {
                yield_now();
            }
        });
    });
}

#[test]
fn spawning_from_foreign_threads() {
    at_all_procs(|rt| {
        let handle: Handle = rt.handle();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    (0..1000)
                        .map(|i| handle.go(move || i))
                        .map(|h| h.join().unwrap())
                        .sum::<u64>()
                })
            })
            .collect();
        for t in threads {
            assert_eq!(t.join().unwrap(), 999 * 500);
        }
    });
}

#[test]
fn go_without_the_promise_names_the_constructor() {
    let rt = Builder::new().procs(1).build().unwrap();
    let e = rt.block_on(async { spawn(async { drop(go(|| ())) }).await.unwrap_err() });
    assert!(e.to_string().contains("build_stackful"), "{e}");
    let e = std::panic::catch_unwind(|| drop(go(|| ()))).unwrap_err();
    assert!(e.downcast_ref::<&str>().unwrap().contains("build_stackful"));
}

#[test]
fn shutdown_unwinds_parked_goroutines() {
    at_all_procs(|_| {});
    for procs in [1, 2] {
        let rt = stackful(procs);
        let dropped = Arc::new(AtomicUsize::new(0));
        struct Count(Arc<AtomicUsize>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        rt.run(|| {
            for _ in 0..100 {
                let c = Count(dropped.clone());
                drop(go(move || {
                    let _c = c;
                    loop {
                        gmp_sched::park(gmp_sched::WaitReason::Park);
                    }
                }));
                let c = Count(dropped.clone());
                drop(spawn(async move {
                    let _c = c;
                    std::future::pending::<()>().await;
                }));
            }
            yield_now();
        });
        drop(rt);
        assert_eq!(dropped.load(Ordering::Relaxed), 200);
    }
}
