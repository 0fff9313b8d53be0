//! `age_all`, alone in its process, since it ages the pools of every other test there too.

use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

use gpool::Pool;

static ALIVE: AtomicIsize = AtomicIsize::new(0);

struct Counted;

impl Counted {
    fn new() -> Self {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// R117: pools come by the thousand, hold something and go; `age_all` reaches each while it is
/// there, and tells how many items it dropped.
#[test]
fn r117_age_all_reaches_every_pool_that_is_there() {
    for _ in 0..10 {
        let pools: Vec<_> = (0..1_000).map(|_| Pool::new(Counted::new)).collect();
        pools.iter().for_each(|p| p.put(p.get()));
        assert_eq!(ALIVE.load(Ordering::Relaxed), 1_000);
        assert_eq!(gpool::age_all(), 0);
        assert_eq!(gpool::age_all(), 1_000);
        assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
        assert!(pools.iter().all(|p| p.stats().ages == 2));
    }
    a_pool_may_go_while_it_is_aged();
}

/// Pools are made, used and dropped on two threads while a third ages all there are.
fn a_pool_may_go_while_it_is_aged() {
    let running = AtomicUsize::new(2);
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                for _ in 0..2_000 {
                    let pool = Pool::new(Counted::new);
                    (0..20).for_each(|_| pool.put(Counted::new()));
                    drop(pool.get());
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        while running.load(Ordering::Acquire) > 0 {
            gpool::age_all();
        }
    });
    assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
}
