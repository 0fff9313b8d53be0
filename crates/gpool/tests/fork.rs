//! Pools in a child of `fork`. A process of its own, whose other threads are inside of the pool at most moments.
#![cfg(unix)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gpool::Pool;

/// What the child does; it ends by 0 if all is well.
fn child<F: Fn() -> Box<u64>>(pool: &Pool<Box<u64>, F>) -> i32 {
    let (a, b) = (pool.get(), pool.get());
    let right = (*a, *b) == (7, 7);
    pool.put(a);
    pool.put(b);
    pool.age();
    let aged = pool.age() >= 2;
    (0..100).for_each(|_| pool.put(Box::new(7)));
    let kept = pool.stats().idle == 100;
    i32::from(!(right && aged && kept))
}

#[test]
fn a_child_of_fork_may_use_and_age_pools() {
    let pool = Pool::new(|| Box::new(7)).with_age_interval(Duration::MAX);
    let done = AtomicBool::new(false);
    let busy = |pool: &Pool<_, _>| {
        let (a, b) = (pool.get(), pool.get());
        pool.put(a);
        pool.put(b);
    };
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    busy(&pool);
                }
            });
        }
        busy(&pool);
        // Until all have their shards, and need no lock any more.
        while pool.stats().slots < 5 {
            std::thread::yield_now();
        }
        let failed = (0..50)
            .map(|_| {
                // SAFETY: the child uses the pool and the allocator, which support it, and exits at once.
                let pid = unsafe { libc::fork() };
                if pid == 0 {
                    // SAFETY: a child that hangs is ended by the signal; the other call does not return.
                    unsafe {
                        libc::alarm(60);
                        libc::_exit(child(&pool));
                    }
                }
                let mut status = 0;
                // SAFETY: `status` may be written to.
                assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
                status
            })
            .find(|status| *status != 0);
        done.store(true, Ordering::Relaxed);
        assert_eq!(failed, None);
    });
}
