//! Slots are leased to threads and not to Ps: a goroutine whose P was taken goes on using its slot,
//! beside the one that has the P now.

use gort::{Runtime, go};
use gpool::Pool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// An item that knows whether somebody has it.
#[derive(Default)]
struct Item(AtomicBool);

/// Takes an item and gives it back, again and again, with no call of the runtime.
fn hammer(pool: &Pool<Item>, twice: &AtomicUsize, go_on: impl Fn(u32) -> bool) {
    let mut n = 0;
    while go_on(n) {
        n += 1;
        let item = pool.get();
        if item.0.swap(true, Ordering::AcqRel) {
            twice.fetch_add(1, Ordering::Relaxed);
        }
        item.0.store(false, Ordering::Release);
        pool.put(item);
    }
}

#[test]
fn a_retaken_hog_and_its_successor_share_a_pool() {
    for procs in [1, 2] {
        // SAFETY: the goroutines keep nothing bound to a thread across a park.
        let rt = unsafe { Runtime::builder().procs(procs).build_stackful() }.unwrap();
        let pool = Arc::new(Pool::new(Item::default as fn() -> Item));
        let (stop, twice) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        rt.run(|| {
            let hogs: Vec<_> = (0..4)
                .map(|_| {
                    let (pool, stop, twice) = (pool.clone(), stop.clone(), twice.clone());
                    go(move || hammer(&pool, &twice, |_| !stop.load(Ordering::Relaxed)))
                })
                .collect();
            // Runs only once the hogs have lost their Ps; hammers beside them, and ages the pool.
            let successor = {
                let (pool, twice) = (pool.clone(), twice.clone());
                go(move || {
                    for _ in 0..20 {
                        hammer(&pool, &twice, |n| n < 5_000);
                        pool.age();
                        gort::yield_now();
                    }
                })
            };
            successor.join().unwrap();
            stop.store(true, Ordering::Relaxed);
            hogs.into_iter().for_each(|h| h.join().unwrap());
        });
        assert_eq!(
            twice.load(Ordering::Relaxed),
            0,
            "an item was handed out twice"
        );
        assert!(
            rt.handle().stats().retaken > 0,
            "no P was taken: the test tests nothing"
        );
    }
}
