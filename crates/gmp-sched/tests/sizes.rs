//! What the docs say about sizes.

use gmp_sched::{Barrier, Once, RawCondvar, RawMutex, RawRwLock, Semaphore, WaitGroup};

#[test]
fn locks_are_as_small_as_their_docs_say() {
    let sizes = [
        size_of::<RawMutex>(),
        size_of::<RawRwLock>(),
        size_of::<RawCondvar>(),
        size_of::<Semaphore>(),
        size_of::<WaitGroup>(),
        size_of::<Barrier>(),
        size_of::<Once>(),
    ];
    assert_eq!(sizes, [32, 72, 24, 32, 32, 40, 40]);
}
