//! [`GoMap`]: the map of the Go language.

use super::GoKey;
use crate::cursor::Route;
use crate::map::{IntoIter, Iter, Keys, Values};
use crate::raw::{RawTable, Rehash};
use crate::{DefaultHashBuilder, Global, Stats};
use core::fmt::{self, Debug};
use core::hash::{BuildHasher, Hasher};
use stdalloc::vec::Vec;

/// A map by the rules of the Go language.
///
/// * A missing key reads as its value type's zero, `V::default()` (R84).
/// * NaN keys: every assignment adds an entry, no lookup or deletion finds one, iteration gives them,
///   [`clear`](Self::clear) removes them (R90).
/// * `0.0` and `-0.0` are one key, and an assignment stores the zero that it names; likewise the string that
///   it names, and not an equal one that is there (R86).
/// * The table never shrinks (R96). When the last entry goes, by a deletion or a clear, the seed changes (R89).
///
/// It is read by [`iter`](Self::iter) where nothing changes it, and by a [`cursor`](Self::cursor) where something
/// may. There is no `iter_mut`: as in Go, a value is changed by assigning to its key, which a NaN's has not. Nor is
/// there an `==`: two maps with NaN keys are never equal.
///
/// ```
/// let mut map = ghmap::GoMap::new();
/// map.insert(1.5, "x");
/// map.insert(f64::NAN, "a");
/// map.insert(f64::NAN, "b");
/// assert_eq!((map.len(), map.get(&1.5), map.get(&f64::NAN)), (3, "x", ""));
/// ```
pub struct GoMap<K, V, S = DefaultHashBuilder> {
    table: RawTable<K, V, Global>,
    hash_builder: S,
    /// How often the last entry has gone, by a deletion or a clear: what a cursor has noted before is void.
    emptied: usize,
}

/// The table's questions, answered by Go's rules.
struct ByGoKey<'a, S>(&'a S);

impl<K: GoKey, S: BuildHasher> Rehash<K> for ByGoKey<'_, S> {
    #[inline(always)]
    fn hash(&self, key: &K) -> u64 {
        let mut hasher = self.0.build_hasher();
        key.go_hash(&mut hasher);
        hasher.finish()
    }

    #[inline(always)]
    fn irreflexive(&self, key: &K) -> bool {
        !key.is_reflexive()
    }
}

#[cfg(feature = "default-hasher")]
impl<K, V> GoMap<K, V> {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty map for about `hint` entries. Like Go's `make`, it takes a senseless hint for none (R80).
    ///
    /// ```
    /// let map: ghmap::GoMap<u64, u64> = ghmap::GoMap::with_hint(usize::MAX);
    /// assert!(map.is_empty());
    /// ```
    #[must_use]
    pub fn with_hint(hint: usize) -> Self {
        let mut map = Self::default();
        map.table.hint(hint);
        map
    }
}

impl<K, V, S: Default> Default for GoMap<K, V, S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<K, V, S> GoMap<K, V, S> {
    /// An empty map that hashes by `hash_builder`.
    #[must_use]
    pub const fn with_hasher(hash_builder: S) -> Self {
        Self {
            table: RawTable::new_in(Global),
            hash_builder,
            emptied: 0,
        }
    }

    /// The number of entries, those of NaN keys included.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The state of the table and of its growth.
    pub fn stats(&self) -> Stats {
        self.table.stats()
    }

    /// Removes all entries, those of NaN keys included, and keeps the table. Linear in the table.
    pub fn clear(&mut self)
    where
        S: Default,
    {
        let had_some = !self.is_empty();
        self.emptied = self.emptied.wrapping_add(1);
        self.table.clear();
        if had_some {
            self.hash_builder = S::default();
        }
    }

    /// The entries, those of NaN keys included, in no particular order: that of memory, and not Go's random one,
    /// which the [`cursor`](Self::cursor) has. Linear in the table.
    ///
    /// ```
    /// let map = ghmap::GoMap::from([(2.0, 1), (f64::NAN, 10), (f64::NAN, 100)]);
    /// assert_eq!(map.iter().map(|(_, value)| value).sum::<i32>(), 111);
    /// ```
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter::new(&self.table)
    }

    /// The keys, every NaN among them.
    pub fn keys(&self) -> Keys<'_, K, V> {
        Keys::new(self.iter())
    }

    /// The values, those of NaN keys included.
    pub fn values(&self) -> Values<'_, K, V> {
        Values::new(self.iter())
    }

    /// An iteration that stays valid while the map is changed.
    pub fn cursor(&self) -> GoCursor<K, V> {
        GoCursor {
            route: Route::new(),
            emptied: self.emptied,
            entries: Vec::new(),
        }
    }
}

impl<K: GoKey, V, S: BuildHasher> GoMap<K, V, S> {
    /// The hash of a key, which a NaN has not.
    #[inline]
    pub(super) fn hash_of(&self, key: &K) -> Option<u64> {
        key.is_reflexive()
            .then(|| ByGoKey(&self.hash_builder).hash(key))
    }

    /// The value of `key`, or the zero value.
    pub fn get(&self, key: &K) -> V
    where
        V: Clone + Default,
    {
        self.lookup(key).cloned().unwrap_or_default()
    }

    /// The value of `key` if it is present: Go's "comma ok".
    pub fn lookup(&self, key: &K) -> Option<&V> {
        self.lookup_hashed(self.hash_of(key), key)
    }

    pub(super) fn lookup_hashed(&self, hash: Option<u64>, key: &K) -> Option<&V> {
        self.table
            .get(hash?, |k| key.go_eq(k))
            .map(|(_, value)| value)
    }

    /// `map[key] = value`. Moves at most two buckets of a growing table.
    pub fn insert(&mut self, key: K, value: V) {
        self.insert_hashed(self.hash_of(&key), key, value);
    }

    pub(super) fn insert_hashed(&mut self, hash: Option<u64>, key: K, value: V) {
        let rehash = ByGoKey(&self.hash_builder);
        let Some(hash) = hash else {
            // Equal to nothing, so anywhere will do.
            let random = u64::from(self.table.random()) << 32 | u64::from(self.table.random());
            self.table.insert_unique(random, key, value, &rehash);
            return;
        };
        let (slot, found) = self
            .table
            .find_or_insert(hash, (key, value), K::go_eq, &rehash);
        if let Some((key, value)) = found {
            // SAFETY: just found, and the table has not changed since.
            unsafe {
                if K::NEEDS_UPDATE {
                    *slot.key() = key;
                }
                *slot.value() = value;
            }
        }
    }

    /// `delete(map, key)`. Moves at most two buckets of a growing table.
    pub fn delete(&mut self, key: &K)
    where
        S: Default,
    {
        self.delete_hashed(self.hash_of(key), key);
    }

    pub(super) fn delete_hashed(&mut self, hash: Option<u64>, key: &K)
    where
        S: Default,
    {
        let Some(hash) = hash else { return };
        let rehash = ByGoKey(&self.hash_builder);
        let entry = self.table.remove(hash, |k| key.go_eq(k), &rehash);
        if entry.is_some() && self.is_empty() {
            self.emptied = self.emptied.wrapping_add(1);
            // R89: whoever learnt the seed by collisions has to start again.
            self.hash_builder = S::default();
        }
    }
}

impl<K: Debug, V: Debug, S> Debug for GoMap<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

/// Go's `maps.Clone`: every entry, those of NaN keys included. Copies the table bucket by bucket, seed and growth
/// included; no key is hashed. What `clone_from` has made of a map is, to its cursors, another one.
impl<K: Clone, V: Clone, S: Clone> Clone for GoMap<K, V, S> {
    fn clone(&self) -> Self {
        Self {
            table: self.table.clone(),
            hash_builder: self.hash_builder.clone(),
            emptied: self.emptied,
        }
    }

    /// Copies into the memory of this map if `source` has as many buckets. If a `Clone` panics, this map is
    /// empty; the entries it had are dropped first.
    fn clone_from(&mut self, source: &Self) {
        // Cloned first and stored last: if either panics, entries and seed still belong together.
        let hash_builder = source.hash_builder.clone();
        self.emptied = self.emptied.wrapping_add(1);
        self.table.clone_from(&source.table);
        self.hash_builder = hash_builder;
    }
}

/// Go's `maps.Collect`: a later value of a key replaces an earlier one, and every NaN is an entry of its own. The
/// iterator's lower size hint is a hint as [`with_hint`](GoMap::with_hint) takes it.
impl<K: GoKey, V, S: BuildHasher + Default> FromIterator<(K, V)> for GoMap<K, V, S> {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let entries = entries.into_iter();
        let mut map = Self::default();
        map.table.hint(entries.size_hint().0);
        map.extend(entries);
        map
    }
}

/// Go's `maps.Insert`: an assignment of each entry, in order.
impl<K: GoKey, V, S: BuildHasher> Extend<(K, V)> for GoMap<K, V, S> {
    fn extend<T: IntoIterator<Item = (K, V)>>(&mut self, entries: T) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

/// Go's `maps.Copy`, from a map that is borrowed.
impl<'a, K: GoKey + Copy, V: Copy, S: BuildHasher> Extend<(&'a K, &'a V)> for GoMap<K, V, S> {
    fn extend<T: IntoIterator<Item = (&'a K, &'a V)>>(&mut self, entries: T) {
        self.extend(entries.into_iter().map(|(key, value)| (*key, *value)));
    }
}

/// Go's map literal, in which a key may stand twice here.
#[cfg(feature = "default-hasher")]
impl<K: GoKey, V, const N: usize> From<[(K, V); N]> for GoMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<'a, K, V, S> IntoIterator for &'a GoMap<K, V, S> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

impl<K, V, S> IntoIterator for GoMap<K, V, S> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;

    fn into_iter(self) -> IntoIter<K, V> {
        IntoIter::new(self.table)
    }
}

/// What a cursor has still to give.
#[derive(Clone, Debug)]
enum Pending<K, V> {
    /// To be looked up when its turn comes.
    Key(K),
    /// Not to be found again, and thus not to be changed either.
    Nan(K, V),
}

/// An iteration over a [`GoMap`] that may change meanwhile: Go's `range`, with the guarantees of
/// [`Cursor`](crate::Cursor). It gives copies, as `range` does.
#[derive(Clone, Debug)]
#[must_use = "a cursor does nothing until its `next` is called"]
pub struct GoCursor<K, V> {
    route: Route,
    /// The map's `emptied` when `entries` was filled.
    emptied: usize,
    /// Entries of the present logical bucket that have not had their turn, last first.
    entries: Vec<Pending<K, V>>,
}

impl<K: GoKey + Clone, V: Clone> GoCursor<K, V> {
    /// The next entry of `map`, or `None` at the end.
    ///
    /// ```
    /// let mut map = ghmap::GoMap::new();
    /// map.insert(f64::NAN, 1);
    /// map.insert(2.0, 2);
    /// let (mut cursor, mut sum) = (map.cursor(), 0);
    /// while let Some((_, value)) = cursor.next(&map) {
    ///     sum += value;
    /// }
    /// assert_eq!(sum, 3);
    /// ```
    pub fn next<S: BuildHasher>(&mut self, map: &GoMap<K, V, S>) -> Option<(K, V)> {
        if self.emptied != map.emptied {
            // None of them is left. A key that has been inserted anew has, by a new seed (R89), another
            // bucket, whose turn may come yet.
            self.entries.clear();
        }
        loop {
            let entry = match self.entries.last() {
                None => {
                    self.fill(map)?;
                    continue;
                }
                Some(Pending::Nan(key, value)) => Some((key.clone(), value.clone())),
                Some(Pending::Key(key)) => map
                    .hash_of(key)
                    .and_then(|hash| map.table.get(hash, |k| key.go_eq(k)))
                    .map(|(key, value)| (key.clone(), value.clone())),
            };
            // Not before: if the keys' or values' code unwinds, it is this entry's turn still.
            self.entries.pop();
            if entry.is_some() {
                return entry;
            }
        }
    }

    /// Copies the next logical bucket.
    fn fill<S: BuildHasher>(&mut self, map: &GoMap<K, V, S>) -> Option<()> {
        let rehash = ByGoKey(&map.hash_builder);
        self.route
            .next(map.table.b(), &mut self.entries, |b, i, entries| {
                map.table.logical_bucket(b, i, &rehash, |key, value| {
                    entries.push(if key.is_reflexive() {
                        Pending::Key(key.clone())
                    } else {
                        Pending::Nan(key.clone(), value.clone())
                    });
                });
            })?;
        self.emptied = map.emptied;
        Some(())
    }
}
