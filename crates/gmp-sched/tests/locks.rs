//! One test body on threads and on goroutines (R14).

use gmp_sched::{Builder, Semaphore, WaitGroup, go};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `body` eight times at once: on threads, then on goroutines at P=1 and 2.
fn everywhere(body: impl Fn() -> Arc<dyn Fn() + Send + Sync>, after: impl Fn()) {
    let job = body();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn({
                let j = job.clone();
                move || j()
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    after();
    for procs in [1, 2] {
        // SAFETY: these tests use no thread-locals across a park.
        let rt = unsafe { Builder::new().procs(procs).build_stackful() }.unwrap();
        let job = body();
        rt.run(move || {
            let all: Vec<_> = (0..8)
                .map(|_| {
                    go({
                        let j = job.clone();
                        move || j()
                    })
                })
                .collect();
            all.into_iter().for_each(|h| h.join().unwrap());
        });
        after();
    }
}

#[test]
fn a_semaphore_never_lets_more_in_than_it_has_permits() {
    let sema = Arc::new(Semaphore::new(3));
    let inside = Arc::new(AtomicUsize::new(0));
    let body = || -> Arc<dyn Fn() + Send + Sync> {
        let (sema, inside) = (sema.clone(), inside.clone());
        Arc::new(move || {
            for i in 0..200 {
                let n = i % 3 + 1;
                sema.acquire(n);
                assert!(inside.fetch_add(n, Ordering::SeqCst) + n <= 3);
                gmp_sched::yield_now();
                inside.fetch_sub(n, Ordering::SeqCst);
                sema.release(n);
            }
        })
    };
    everywhere(body, || assert_eq!(sema.available(), 3));
}

#[test]
fn a_wait_group_lets_all_go_when_the_last_is_done() {
    let body = || -> Arc<dyn Fn() + Send + Sync> {
        let wg = Arc::new(WaitGroup::new());
        let done = Arc::new(AtomicUsize::new(0));
        wg.add(8);
        Arc::new(move || {
            gmp_sched::yield_now();
            done.fetch_add(1, Ordering::Relaxed);
            wg.done();
            wg.wait();
            assert_eq!(done.load(Ordering::Relaxed), 8);
        })
    };
    everywhere(body, || ());
}

#[test]
#[should_panic(expected = "negative counter")]
fn done_without_add_panics() {
    WaitGroup::new().done();
}

#[test]
fn a_wait_that_shutdown_unwinds_leaves_nothing_behind() {
    // SAFETY: the goroutines keep nothing bound to a thread across a park.
    let rt = unsafe { gmp_sched::Builder::new().procs(2).build_stackful() }.unwrap();
    let room = std::sync::Arc::new(gmp_sched::Semaphore::new(0));
    let group = std::sync::Arc::new(gmp_sched::WaitGroup::new());
    group.add(1);
    for _ in 0..50 {
        let (room, group) = (room.clone(), group.clone());
        drop(rt.go(move || room.acquire(1)));
        drop(rt.go(move || group.wait()));
    }
    while rt.handle().traceback().matches("[semacquire]").count() < 50 {
        std::thread::yield_now();
    }
    drop(rt);
    room.release(3);
    assert_eq!(room.available(), 3, "a waiter that is gone was served");
    group.done();
    group.wait();
}
