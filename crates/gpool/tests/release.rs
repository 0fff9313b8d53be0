//! Leases that are given back: the next thread gets the lowest slot, and what is there.
//!
//! The only test of its process, as in `exit.rs`.

use std::thread;
use std::time::Duration;

use gpool::Pool;

static POOL: Pool<&str> =
    Pool::new((|| "new") as fn() -> &'static str).with_age_interval(Duration::MAX);

#[test]
fn the_lowest_free_slot_is_leased_next_with_its_items() {
    POOL.put("first");
    // While that slot is held, another thread gets another; it ends, so that is free first.
    let second = thread::spawn(|| POOL.put("second"));
    second.join().expect("it puts");
    assert_eq!(POOL.stats().slots, 2);
    gpool::release_slot();
    gpool::release_slot(); // there is none: nothing happens

    // A private item cannot be stolen: whoever gets it has its slot.
    let next = thread::spawn(|| POOL.get());
    assert_eq!(next.join().expect("it gets"), "first");
    assert_eq!(
        POOL.get(),
        "new",
        "the same slot, given back by that thread"
    );
}
