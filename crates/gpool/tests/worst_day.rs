//! Panics, re-entry and crowds: each item is dropped once, and the pool goes on.
//!
//! Tests of this file run beside each other in one process and share its slots, so none may depend
//! on which slot a thread gets, and none may call `age_all`: those are `exit.rs` and `age_all.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use gpool::Pool;

/// Counts how many of its kind are alive.
struct Counted(&'static AtomicIsize);

impl Counted {
    fn new(alive: &'static AtomicIsize) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self(alive)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn a_panic_in_new_leaves_the_pool_usable() {
    let first = AtomicUsize::new(0);
    let pool = Pool::new(move || {
        assert!(first.fetch_add(1, Ordering::Relaxed) > 0, "first time");
        1
    });
    assert!(catch_unwind(AssertUnwindSafe(|| pool.get())).is_err());
    assert_eq!(pool.get(), 1);
}

#[test]
fn a_panic_in_reset_drops_the_item() {
    static ALIVE: AtomicIsize = AtomicIsize::new(0);
    let pool = Pool::new(|| Counted::new(&ALIVE)).with_reset(|_| panic!("reset"));
    let guard = pool.guard();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(guard))).is_err());
    assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
    assert_eq!(pool.stats().idle, 0);
}

#[test]
fn a_guard_puts_its_item_back_while_unwinding() {
    let pool = Pool::new(|| 1);
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut guard = pool.guard();
        *guard = 2;
        panic!("in the middle");
    }));
    assert!(result.is_err());
    assert_eq!(pool.try_get(), Some(2));
}

/// One of a hundred items panics when dropped: the other ninety-nine are dropped all the same, by
/// an age and by the drop of the pool.
#[test]
fn a_panic_in_drop_does_not_keep_the_others() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Bomb(usize);
    impl Drop for Bomb {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            assert_ne!(self.0, 50, "bomb");
        }
    }
    for by_age in [true, false] {
        DROPPED.store(0, Ordering::Relaxed);
        let pool = Pool::new(|| Bomb(0)).with_age_interval(Duration::MAX);
        (0..100).for_each(|i| pool.put(Bomb(i)));
        let result = catch_unwind(AssertUnwindSafe(|| {
            if by_age {
                pool.age();
                pool.age();
            } else {
                drop(pool);
            }
        }));
        assert!(result.is_err());
        assert_eq!(DROPPED.load(Ordering::Relaxed), 100);
    }
}

/// `New`, the reset hook and `Drop` all use the very pool that calls them.
#[test]
fn code_of_the_user_may_reenter_the_pool() {
    static POOL: OnceLock<Pool<Nested>> = OnceLock::new();
    static DEPTH: AtomicUsize = AtomicUsize::new(0);
    struct Nested(u32);
    impl Drop for Nested {
        fn drop(&mut self) {
            if self.0 > 0 {
                POOL.get().unwrap().put(Nested(0));
            }
        }
    }
    let pool = POOL.get_or_init(|| {
        Pool::new(
            (|| {
                let depth = DEPTH.fetch_add(1, Ordering::Relaxed);
                if depth < 3 {
                    POOL.get().unwrap().get()
                } else {
                    Nested(0)
                }
            }) as fn() -> Nested,
        )
        .with_age_interval(Duration::MAX)
        .with_reset(|item| {
            if item.0 == 2 {
                POOL.get().unwrap().put(Nested(0));
            }
        })
    });
    assert_eq!(pool.get().0, 0);
    pool.put(Nested(2));
    pool.put(Nested(1));
    assert_eq!(pool.stats().idle, 3);
    pool.age();
    pool.age(); // each of the two drops puts one
    assert_eq!(pool.stats().idle, 2);
    pool.age();
    assert_eq!(pool.age(), 2);
}

/// Gets, puts, ages, shrinks, growth, exits and released slots at once. Each item is held by one
/// thread at a time, and dropped once.
#[test]
fn r117_stress_hands_each_item_to_one_holder_and_drops_it_once() {
    static ALIVE: AtomicIsize = AtomicIsize::new(0);
    struct Item {
        held: bool,
        _counted: Counted,
    }
    let pool = Arc::new(Pool::new(|| Item {
        held: false,
        _counted: Counted::new(&ALIVE),
    }));
    let users: Vec<_> = (0..8_u32)
        .map(|n| {
            let pool = pool.clone();
            thread::spawn(move || {
                for round in 0..20_000 {
                    let mut held: Vec<_> = (0..(round + n) % 12).map(|_| pool.get()).collect();
                    for item in &mut held {
                        assert!(!core::mem::replace(&mut item.held, true));
                    }
                    for mut item in held {
                        item.held = false;
                        pool.put(item);
                    }
                    match round % 1000 {
                        100 => drop(pool.age()),
                        300 => gpool::release_slot(),
                        500 => pool.shrink_to(10),
                        700 => {
                            let pool = pool.clone();
                            thread::spawn(move || pool.put(pool.get())).join().unwrap();
                        }
                        _ => {}
                    }
                }
            })
        })
        .collect();
    users.into_iter().for_each(|t| t.join().unwrap());
    let stats = pool.stats();
    assert_eq!(
        ALIVE.load(Ordering::Relaxed),
        isize::try_from(stats.idle + stats.victim).unwrap()
    );
    drop(pool);
    assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
}

/// Producers on one side and consumers on the other, with ages in between, for long: what the pool
/// holds is bounded by what is in flight, not by how long it ran.
#[test]
fn churn_does_not_grow_the_pool() {
    let pool = Pool::new(Vec::<u8>::new);
    for round in 0..2_000 {
        thread::scope(|s| {
            s.spawn(|| (0..20).for_each(|_| pool.put(Vec::with_capacity(16))));
        });
        (0..20).for_each(|_| drop(pool.get()));
        if round % 10 == 0 {
            pool.age();
        }
        let stats = pool.stats();
        assert!(stats.idle + stats.victim <= 500, "{stats:?}");
        assert!(stats.slots <= 64, "slots are leased again: {stats:?}");
    }
}

/// A guard that is the last to know its pool gives its item away, while the pool's own items panic when dropped.
#[test]
fn a_panic_in_drop_does_not_keep_a_detached_item() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Item(bool);
    impl Drop for Item {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            assert!(!self.0, "bomb");
        }
    }
    let pool = Arc::new(Pool::new(|| Item(false)));
    let guard = Pool::arc_guard(&pool);
    pool.put(Item(true));
    drop(pool);
    let detach = AssertUnwindSafe(|| gpool::ArcGuard::detach(guard));
    assert!(catch_unwind(detach).is_err());
    assert_eq!(DROPPED.load(Ordering::Relaxed), 2);
}
