//! Every pool that holds anything, for [`age_all`].
//!
//! Go keeps `allPools` and `oldPools` for its collector; here one ordered map holds weak references
//! by address, so that a million pools register and leave in O(log n) each. Its lock is held for no
//! code of the user, and never together with a pool's.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::lease;
use crate::shards::Shards;

/// A pool of whatever type.
pub(crate) trait Age: Send + Sync {
    /// One age; returns how many items it dropped.
    fn age(&self) -> usize;
}

impl<T: Send> Age for Shards<T> {
    fn age(&self) -> usize {
        let old = Shards::age(self, lease::slots());
        old.map_or(0, |old| old.out) // dropped here, unpinned and with no lock held
    }
}

/// Written under its own lock, by pools that come and go.
static POOLS: Mutex<BTreeMap<usize, Weak<dyn Age>>> = Mutex::new(BTreeMap::new());

pub(crate) fn enter<T: Send + 'static>(shards: &Arc<Shards<T>>) {
    let weak: Weak<Shards<T>> = Arc::downgrade(shards);
    POOLS.lock().insert(shards.address(), weak);
}

pub(crate) fn leave(address: usize) {
    let gone = POOLS.lock().remove(&address);
    drop(gone);
}

/// Ages every pool of the process once, as Go does at the start of each collection, and returns
/// how many items were dropped.
///
/// A driver that calls this at intervals (a timer, a thread that watches memory) makes every pool
/// shrink to what two intervals need, however quiet the pool. Without one, a pool ages by itself
/// only where it misses or grows: see [`Pool::with_age_interval`](crate::Pool::with_age_interval).
///
/// O(pools), a few microseconds for each that holds something, plus the drops.
///
/// # Panics
/// If an item's `Drop` panics; the pools not yet visited are then not aged.
///
/// ```
/// let pool = gpool::Pool::new(Vec::<u8>::new);
/// pool.put(Vec::with_capacity(4096));
/// gpool::age_all();
/// gpool::age_all(); // unused for two ages: gone
/// assert_eq!(pool.get().capacity(), 0);
/// ```
pub fn age_all() -> usize {
    let pools: Vec<Arc<dyn Age>> = POOLS.lock().values().filter_map(Weak::upgrade).collect();
    pools.iter().map(|pool| pool.age()).sum()
}
