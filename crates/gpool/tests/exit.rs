//! Leases that end: threads come and go, one at a time, and nothing is lost on the way.
//!
//! The only test of its process. A thread leases the lowest free slot, so beside other tests it
//! would get now this slot, now that one, and another slot's private item cannot be taken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use gpool::Pool;

static MADE: AtomicUsize = AtomicUsize::new(0);

/// Never ages itself, however slow the machine.
static POOL: Pool<u32> = Pool::new(
    (|| {
        MADE.fetch_add(1, Ordering::Relaxed);
        0
    }) as fn() -> u32,
)
.with_age_interval(Duration::MAX);

struct AtExit;

impl Drop for AtExit {
    fn drop(&mut self) {
        POOL.put(POOL.get() + 1);
    }
}

thread_local!(static AT_EXIT: AtExit = const { AtExit });

/// A thread-local uses the pool from its destructor, after the thread's lease is over in one half
/// of the threads and before in the other. One item goes through all of them: a slot that is
/// leaked by an exit, or an item that is lost in one, makes `New` run a second time.
#[test]
fn a_thread_may_use_the_pool_while_it_exits() {
    for n in 0..200 {
        let early = n % 2 == 0;
        let user = thread::spawn(move || {
            if early {
                AT_EXIT.with(|_| ()); // destroyed last, or first, as the platform has it
            }
            POOL.put(POOL.get());
            if !early {
                AT_EXIT.with(|_| ());
            }
        });
        user.join().unwrap();
    }
    assert_eq!(MADE.load(Ordering::Relaxed), 1);
    assert_eq!(POOL.get(), 200, "each exit took the item and put it back");
    let stats = POOL.stats();
    assert_eq!((stats.idle, stats.stolen), (0, 0), "{stats:?}");
}
