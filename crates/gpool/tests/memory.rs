//! What a pool takes from the allocator: counted, and refused.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use gpool::Pool;

thread_local! {
    /// Bytes that this thread has allocated and not freed.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// Allocations of this size or larger fail on this thread.
    static REFUSE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The same of all threads.
static ALL: AtomicIsize = AtomicIsize::new(0);

struct Counting;

fn count(bytes: usize, sign: isize) {
    let bytes = sign * isize::try_from(bytes).unwrap_or(isize::MAX);
    // An error: the thread is exiting.
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
    ALL.fetch_add(bytes, Ordering::Relaxed);
}

// SAFETY: as `System`, which does the work; refusing is allowed.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if REFUSE
            .try_with(Cell::get)
            .is_ok_and(|refuse| layout.size() >= refuse)
        {
            return core::ptr::null_mut();
        }
        count(layout.size(), 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn live() -> isize {
    LIVE.with(Cell::get)
}

/// One test, so that the parts run one after another: they count what all threads allocate.
#[test]
fn a_pool_takes_little_memory_does_without_and_does_not_grow() {
    a_slot_is_given_back_without_memory();
    an_empty_pool_takes_at_most_a_kibibyte();
    an_age_leaves_an_empty_pool_nothing_of_its_users();
    without_memory_items_are_dropped_and_the_pool_goes_on();
    churn_takes_no_more_memory_in_the_end();
}

/// A thread that ends, or goes idle, cannot help it. The first of its process to do so: later ones may find room that
/// another has made.
fn a_slot_is_given_back_without_memory() {
    let pool = Pool::new(|| 0_u64);
    pool.put(1);
    REFUSE.set(1);
    gpool::release_slot();
    REFUSE.set(usize::MAX);
    assert_eq!(pool.get(), 1);
}

/// An empty pool takes at most 1 KiB, whether it was never used, was emptied by gets, or by ages.
fn an_empty_pool_takes_at_most_a_kibibyte() {
    let first = Pool::new(|| 0_u64);
    first.put(1); // the slot's record, and whatever else belongs to the process (no output here: it would be captured)
    let before = live();
    let pool = Pool::new(|| Box::new(0_u64));
    assert_eq!(live(), before, "a new pool allocates nothing");
    let item = pool.get();
    assert_eq!(
        live() - before,
        8,
        "nor does a get from it: the item is all there is"
    );
    pool.put(item);
    drop(pool.get());
    let size = isize::try_from(size_of_val(&pool)).unwrap();
    let emptied = live() - before + size;
    assert!(emptied <= 512, "{emptied}");
    pool.put(Box::new(1));
    pool.age();
    pool.age();
    let aged = live() - before + size;
    assert!(aged <= 256, "{aged}");
    drop(pool);
    assert_eq!(live(), before);
}

/// What a pool takes where it is empty and all of its users are there: 1 KiB with five. And after one age: the same
/// little, however many they were.
fn an_age_leaves_an_empty_pool_nothing_of_its_users() {
    let used_by = |threads: usize| {
        let all = || ALL.load(Ordering::Relaxed);
        let pool = Pool::new(|| 0_u64).with_age_interval(Duration::MAX);
        let size = isize::try_from(size_of_val(&pool)).unwrap();
        let (arrived, measured) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
        let turn = Mutex::new(());
        std::thread::scope(|s| {
            let user = || {
                s.spawn(|| {
                    Pool::new(|| 0).put(0); // a slot
                    arrived.wait();
                    measured.wait();
                    {
                        // One by one: to wait for the pool's lock may cost memory, once.
                        let _turn = turn.lock().unwrap();
                        pool.put(1);
                        assert_eq!(pool.get(), 1);
                    }
                    arrived.wait();
                    measured.wait();
                })
            };
            let users: Vec<_> = (0..threads).map(|_| user()).collect();
            arrived.wait();
            let before = all();
            measured.wait();
            arrived.wait();
            assert_eq!(pool.stats().slots, threads);
            let emptied = all() - before + size;
            pool.age();
            let aged = all() - before + size;
            measured.wait();
            // The scope alone would not wait for what ending threads give back.
            users.into_iter().for_each(|user| user.join().unwrap());
            (emptied, aged)
        })
    };
    // As the documentation of `Pool` says. The array has room for 13 in one piece, this thread among them.
    for threads in [1, 2, 4, 5, 8, 12] {
        let expected = 384 + 128 * isize::try_from(threads).unwrap();
        // The least of several: locks that threads meet at may take memory of the process's at any time.
        let (emptied, aged) = (0..8).map(|_| used_by(threads)).min().unwrap();
        if size_of::<usize>() == 8 {
            assert_eq!((emptied, aged), (expected, 256), "{threads} threads");
        }
    }
    let (emptied, aged) = (0..8).map(|_| used_by(40)).min().unwrap();
    assert!(
        emptied > 40 * 128,
        "each has a shard to itself (R112): {emptied}"
    );
    assert!(aged <= 256, "{aged}");
}

/// R118: a put that finds no memory for a ring, or for a shard, drops its item and nothing else.
fn without_memory_items_are_dropped_and_the_pool_goes_on() {
    let pool = Pool::new(|| Box::new([7_u8; 8])).with_age_interval(Duration::MAX);
    let put = |pool: &Pool<_, _>, n: u8| {
        let item = Box::new([n; 8]);
        REFUSE.with(|refuse| refuse.set(1));
        pool.put(item);
        REFUSE.with(|refuse| refuse.set(usize::MAX));
    };
    pool.put(Box::new([0; 8]));
    (1..100).for_each(|n| put(&pool, n));
    assert_eq!(pool.stats().idle, 1, "there was never memory for a ring");
    pool.age();
    pool.age();
    put(&pool, 1);
    assert_eq!(pool.stats().idle, 0, "nor for an array of shards");
    (0..20).for_each(|n| pool.put(Box::new([n; 8])));
    assert_eq!(pool.stats().idle, 20, "memory is back");
    assert_eq!(*pool.get(), [0; 8]);
    // To shrink takes memory too: as much as there is, in several goes.
    for (refused, left) in [(1, 19), (64, 3)] {
        REFUSE.with(|refuse| refuse.set(refused));
        pool.shrink_to(3);
        REFUSE.with(|refuse| refuse.set(usize::MAX));
        assert_eq!(pool.stats().idle, left);
    }
}

/// Threads come and go, items cross between them, pools come and go, and ages run: what is taken
/// from the allocator after long is what was taken after little.
fn churn_takes_no_more_memory_in_the_end() {
    static POOL: Pool<Vec<u8>> = Pool::new(Vec::new);
    let churn = |rounds| {
        for round in 0..rounds {
            std::thread::scope(|s| {
                for _ in 0..3 {
                    s.spawn(|| (0..50).for_each(|_| POOL.put(Vec::with_capacity(64))));
                }
                let short = Pool::new(String::new);
                (0..20).for_each(|_| short.put(String::from("x")));
                (0..100).for_each(|_| drop(POOL.get()));
            });
            if round % 5 == 0 {
                POOL.age();
            }
        }
        POOL.age();
        POOL.age();
        ALL.load(Ordering::Relaxed)
    };
    let little = churn(50);
    let long = churn(1_000);
    // How many slots there were at once is up to the kernel.
    assert!(long - little < 64 << 10, "{little} bytes became {long}");
}
