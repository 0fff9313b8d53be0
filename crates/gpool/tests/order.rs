//! The order of gets, and what ages keep: one thread, whole pools.

use core::time::Duration;

use gpool::Pool;

/// A pool that ages only when told, however long a busy machine makes a test take.
fn pool<T: Send + 'static, F: Fn() -> T>(new: F) -> Pool<T, F> {
    Pool::new(new).with_age_interval(Duration::MAX)
}

/// R111, as in Go's TestPool: the private item first, then the head of the own shard.
#[test]
fn r111_own_private_then_own_head() {
    let pool = pool(|| "new");
    for x in ["a", "b", "c"] {
        pool.put(x);
    }
    assert_eq!([pool.get(), pool.get(), pool.get()], ["a", "c", "b"]);
    assert_eq!(pool.get(), "new");
}

/// R111: the head is a stack for its owner.
#[test]
fn r111_own_head_is_last_in_first_out() {
    let pool = pool(|| -1);
    (0..1000).for_each(|i| pool.put(i));
    assert_eq!(pool.get(), 0, "the private one");
    for i in (1..1000).rev() {
        assert_eq!(pool.get(), i);
    }
    assert_eq!(pool.get(), -1);
}

/// R116: another thread's shared items are stolen oldest first, its private one is out of reach.
#[test]
fn r116_others_are_stolen_from_the_tail() {
    let pool = pool(|| -1);
    (0..4).for_each(|i| pool.put(i));
    let got = std::thread::scope(|s| s.spawn(|| [(); 4].map(|()| pool.get())).join().unwrap());
    assert_eq!(got, [1, 2, 3, -1]);
    assert_eq!(pool.stats().stolen, 3);
    assert_eq!(pool.get(), 0);
}

/// R117: an unused item survives one age and not two.
#[test]
fn r117_one_age_keeps_and_two_drop() {
    let pool = pool(|| -1);
    (0..100).for_each(|i| pool.put(i));
    assert_eq!(pool.age(), 0);
    assert_eq!((pool.stats().idle, pool.stats().victim), (0, 100));
    assert_eq!(pool.get(), 0, "the victim's private one first");
    assert_eq!(pool.age(), 99);
    assert_eq!(pool.get(), -1);
    assert_eq!(pool.stats().revived, 1);
}

/// R109: an item found in the victim goes back to the shards, which are asked first.
#[test]
fn r109_use_keeps_an_item_for_ever() {
    let pool = pool(|| -1);
    pool.put(7);
    for _ in 0..10 {
        pool.age();
        assert_eq!(pool.get(), 7);
        pool.put(7);
    }
    pool.age();
    pool.put(8);
    assert_eq!([pool.get(), pool.get()], [8, 7]);
}

/// What a thread leaves behind when it exits is there for the slot's next thread, or for thieves.
#[test]
fn items_of_dead_threads_are_reused() {
    let pool = pool(|| -1);
    std::thread::scope(|s| {
        s.spawn(|| (0..10).for_each(|i| pool.put(i)));
    });
    let mut got: Vec<_> = (0..9).map(|_| pool.get()).collect();
    got.sort_unstable();
    assert_eq!(got.len(), 9);
    assert!(got.iter().all(|i| (0..10).contains(i)), "{got:?}");
    pool.age();
    pool.age();
    assert_eq!(pool.stats().idle + pool.stats().victim, 0);
}

#[test]
fn max_idle_bounds_a_slot() {
    for max in [0, 1, 2, 100] {
        let pool = pool(|| -1).with_max_idle(max);
        (0..200).for_each(|i| pool.put(i));
        assert_eq!(pool.stats().idle, max);
    }
}

#[test]
fn shrink_to_drops_the_surplus_and_victims_first() {
    let pool = pool(|| -1);
    (0..50).for_each(|i| pool.put(i));
    pool.age();
    (50..100).for_each(|i| pool.put(i));
    pool.shrink_to(60);
    assert_eq!((pool.stats().idle, pool.stats().victim), (50, 10));
    pool.shrink_to(5);
    assert_eq!((pool.stats().idle, pool.stats().victim), (5, 0));
    pool.shrink_to(0);
    assert_eq!(pool.get(), -1);
}

#[test]
fn a_pool_ages_itself_where_it_misses() {
    let pool = Pool::new(|| -1).with_age_interval(Duration::ZERO);
    pool.put(1);
    assert_eq!([pool.get(), pool.get(), pool.get()], [1, -1, -1]);
    assert!(pool.stats().ages >= 1);
    let never = Pool::new(|| -1).with_age_interval(Duration::MAX);
    never.put(1);
    assert_eq!([never.get(), never.get()], [1, -1]);
    assert_eq!(never.stats().ages, 0);
}

#[test]
fn put_if_and_detach_keep_items_out() {
    let pool = pool(|| 1);
    pool.put_if(5, |x| *x < 5);
    assert_eq!(gpool::Guard::detach(pool.guard()), 1);
    let shared = std::sync::Arc::new(self::pool(|| 1));
    assert_eq!(gpool::ArcGuard::detach(Pool::arc_guard(&shared)), 1);
    assert_eq!(std::sync::Arc::strong_count(&shared), 1);
    assert_eq!(pool.try_get(), None);
    assert_eq!(shared.try_get(), None);
}

#[test]
fn stats_tell_what_happened() {
    let pool = pool(|| -1);
    assert_eq!(pool.stats(), gpool::Stats::default());
    pool.put(pool.get());
    (0..3).for_each(|i| pool.put(i));
    std::thread::scope(|s| s.spawn(|| pool.get()).join().unwrap()); // steals 0
    pool.age();
    pool.put(pool.get()); // revives the private one
    pool.age(); // drops 1 and 2
    let stats = pool.stats();
    assert_eq!((stats.created, stats.stolen, stats.revived), (1, 1, 1));
    assert_eq!((stats.idle, stats.victim), (0, 1));
    assert_eq!((stats.ages, stats.aged_out), (2, 2));
    assert_eq!(stats.slots, 0, "the array is the victim now");
}

/// The hook sees every item that is put, by hand or by a guard, before it is kept.
#[test]
fn the_reset_hook_runs_before_an_item_is_kept() {
    let pool = Pool::new(Vec::<u8>::new as fn() -> Vec<u8>).with_reset(Vec::clear);
    pool.put(vec![1, 2, 3]);
    pool.put_if(vec![4], |v| !v.is_empty()); // asked before the hook
    pool.guard().push(5);
    let pool = std::sync::Arc::new(pool);
    gpool::Pool::arc_guard(&pool).push(6);
    assert_eq!(pool.stats().idle, 2);
    assert!([pool.get(), pool.get()].concat().is_empty());
}
