//! The order of gets, and what ages keep: one thread, whole pools.

use gpool::Pool;

/// R111, as in Go's TestPool: the private item first, then the head of the own shard.
#[test]
fn r111_own_private_then_own_head() {
    let pool = Pool::new(|| "new");
    for x in ["a", "b", "c"] {
        pool.put(x);
    }
    assert_eq!([pool.get(), pool.get(), pool.get()], ["a", "c", "b"]);
    assert_eq!(pool.get(), "new");
}
