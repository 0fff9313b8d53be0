//! [`Cursor`]: Go's `range`, an iteration that stays valid while the map changes and grows.
//!
//! Re-creates `mapiterinit` and `mapiternext` of Go's `runtime/map.go`. Go's iterator keeps the array it
//! began with alive and looks evacuated entries up again; here the cursor copies the keys of one
//! *logical* bucket at a time (those whose hashes share their low B bits, B as it was at the start) and
//! looks each up when its turn comes. Growth splits a logical bucket over more buckets of memory but
//! never mixes two, so that no entry is given twice and none that stays is missed. The map may be used
//! in any way between two steps, because the cursor borrows nothing.

use crate::map::ByHasher;
use crate::random::random;
use crate::{Allocator, HashMap};
use core::hash::{BuildHasher, Hash};
use core::mem;
use stdalloc::vec::Vec;

/// The walk over the logical buckets: which is next, from where, and how many are left.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// log2 of the number of logical buckets; `None` before the first step on a map with an array.
    b: Option<u8>,
    /// Random bits, of which the start bucket and the start slot are taken.
    start: u64,
    /// Logical buckets visited.
    done: usize,
}

impl Route {
    pub(crate) fn new() -> Self {
        Self {
            b: None,
            start: random(),
            done: 0,
        }
    }

    /// Goes on to the next logical bucket: `copy`, given B, the bucket's index and a vector, pushes its entries,
    /// which are then in `entries`, which is empty. `map_b` is the map's B now. If `copy` unwinds nothing has
    /// changed.
    pub(crate) fn next<T>(
        &mut self,
        map_b: Option<u8>,
        entries: &mut Vec<T>,
        copy: impl FnOnce(u8, usize, &mut Vec<T>),
    ) -> Option<()> {
        let b = match self.b {
            Some(b) => b,
            None => *self.b.insert(map_b?),
        };
        if self.done == 1 << b {
            return None;
        }
        let i = (self.start as usize).wrapping_add(self.done) & ((1 << b) - 1);
        let mut copies = mem::take(entries);
        copy(b, i, &mut copies);
        // Turned around by the start slot, as Go does, to vary the order further.
        if !copies.is_empty() {
            let n = copies.len();
            copies.rotate_left((self.start >> 32) as usize % n);
        }
        *entries = copies;
        self.done += 1;
        Some(())
    }
}

/// An iteration over a map that may change meanwhile; made by [`HashMap::cursor`].
///
/// What Go's `range` guarantees:
/// * each entry is given at most once, and exactly once if it stays in the map all the time;
/// * an entry removed before its turn is not given, nor are those gone in a `clear`;
/// * an entry inserted meanwhile may be given or not;
/// * values are those at the time of the step; the start is random.
///
/// A step in which a `Hash`, `Eq` or `Clone` of the keys unwinds is none: the next one begins where it did.
///
/// A cursor used on another map than the one that made it gives entries of that map, some or some twice,
/// and in no order; memory stays safe. What `clone_from` has made of a map is another one. The first step
/// fixes the number of logical buckets; a step costs the lookup of one key, and copying the keys of a bucket
/// now and then.
///
/// ```
/// let mut map = ghmap::HashMap::new();
/// for i in 0..100 {
///     map.insert(i, i);
/// }
/// let mut cursor = map.cursor();
/// let mut seen = 0;
/// while let Some((&key, _)) = cursor.next(&mut map) {
///     seen += 1;
///     map.remove(&key);
///     map.insert(key + 1000, 0);
///     if seen == 1000 {
///         break;
///     }
/// }
/// assert!(seen >= 100);
/// assert_eq!(map.len(), 100);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a cursor does nothing until its `next` is called"]
pub struct Cursor<K> {
    route: Route,
    /// Keys of the present logical bucket that have not had their turn, last first.
    keys: Vec<K>,
}

impl<K, V, S, A: Allocator> HashMap<K, V, S, A> {
    /// An iteration that stays valid while the map is changed.
    pub fn cursor(&self) -> Cursor<K> {
        Cursor {
            route: Route::new(),
            keys: Vec::new(),
        }
    }
}

impl<K: Eq + Hash + Clone> Cursor<K> {
    /// The next entry of `map`, or `None` at the end.
    pub fn next<'m, V, S: BuildHasher, A: Allocator>(
        &mut self,
        map: &'m mut HashMap<K, V, S, A>,
    ) -> Option<(&'m K, &'m mut V)> {
        let slot = loop {
            if let Some(key) = self.keys.last() {
                let found = map.table.find(map.hash_of(key), |k| key == k);
                // Not before: if the lookup unwinds, it is this key's turn still.
                self.keys.pop();
                if let Some(slot) = found {
                    break slot;
                }
            } else {
                let (table, rehash) = (&map.table, ByHasher(&map.hash_builder));
                self.route.next(table.b(), &mut self.keys, |b, i, keys| {
                    table.logical_bucket(b, i, &rehash, |key, _| keys.push(key.clone()));
                })?;
            }
        };
        // SAFETY: just found; the borrow keeps the table as it is.
        Some(unsafe { (&*slot.key(), &mut *slot.value()) })
    }
}
