//! [`HashMap`]: the face for Rust programs, with hashbrown's public names.

mod entry;
mod entry_ref;
mod iter;
mod lookup;
mod raw_entry;
mod traits;

pub use entry::{Entry, OccupiedEntry, OccupiedError, VacantEntry};
pub use entry_ref::{EntryRef, VacantEntryRef};
pub use iter::{
    Drain, ExtractIf, IntoIter, IntoKeys, IntoValues, Iter, IterMut, Keys, Values, ValuesMut,
};

pub use raw_entry::{
    RawEntryBuilder, RawEntryBuilderMut, RawEntryMut, RawOccupiedEntryMut, RawVacantEntryMut,
};

use crate::raw::{RawTable, Rehash};
use crate::{Allocator, DefaultHashBuilder, Equivalent, Global, Stats, TryReserveError};
use core::hash::{BuildHasher, Hash};

/// A hash map that grows a little with every write: Go's bucketed map.
///
/// The methods are those of `std`'s and hashbrown's maps. What differs is how it grows: an insertion
/// that fills the table reserves a larger one and moves at most two buckets, and every later insertion
/// or [`remove`](Self::remove) moves two more, until the growth is over. The longest insertion into a map
/// that grew to ten million entries was measured at half a millisecond, no longer than a loop that
/// only writes memory, where a table that rehashes at once stopped for 180. Lookups never move anything.
///
/// The calls that do everything at once, in time linear in the map, say so:
/// [`reserve`](Self::reserve), [`shrink_to`](Self::shrink_to), [`finish_growth`](Self::finish_growth),
/// [`clear`](Self::clear) and [`drain`](Self::drain).
///
/// If `Hash`, `Eq`, `Clone` or `Drop` of the user's types unwind, the map stays valid; an entry whose
/// hash could not be computed stays where it was.
///
/// ```
/// let mut ages = ghmap::HashMap::new();
/// ages.insert("Rob", 68);
/// *ages.entry("Ken").or_insert(80) += 1;
/// assert_eq!(ages.get("Rob"), Some(&68));
/// assert_eq!(ages["Ken"], 81);
/// assert_eq!(ages.remove("Rob"), Some(68));
/// assert_eq!(ages.len(), 1);
/// ```
///
/// Entries stay put while borrowed; the borrow checker refuses an insertion meanwhile:
///
/// ```compile_fail
/// let mut map: ghmap::HashMap<_, _> = ghmap::HashMap::from([(1, 2)]);
/// let value = map.get(&1);
/// map.insert(3, 4);
/// println!("{value:?}");
/// ```
pub struct HashMap<K, V, S = DefaultHashBuilder, A: Allocator = Global> {
    pub(crate) hash_builder: S,
    pub(crate) table: RawTable<K, V, A>,
}

/// The table's questions, answered by the map's `BuildHasher`.
pub(crate) struct ByHasher<'a, S>(pub(crate) &'a S);

impl<K: Hash, S: BuildHasher> Rehash<K> for ByHasher<'_, S> {
    #[inline(always)]
    fn hash(&self, key: &K) -> u64 {
        self.0.hash_one(key)
    }
}

#[cfg(feature = "default-hasher")]
impl<K, V> HashMap<K, V> {
    /// An empty map. Nothing is allocated until the first insertion.
    ///
    /// ```
    /// let map: ghmap::HashMap<u64, String> = ghmap::HashMap::new();
    /// assert_eq!(map.capacity(), 0);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty map for at least `capacity` entries: the least number of buckets, a power of two, that
    /// holds them at 6.5 a bucket.
    ///
    /// # Panics
    /// If the size overflows.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self::with_capacity_and_hasher(capacity, DefaultHashBuilder::default())
    }
}

#[cfg(feature = "default-hasher")]
impl<K, V, A: Allocator> HashMap<K, V, DefaultHashBuilder, A> {
    /// [`new`](HashMap::new) with memory from `alloc`.
    #[must_use]
    pub fn new_in(alloc: A) -> Self {
        Self::with_hasher_in(DefaultHashBuilder::default(), alloc)
    }

    /// [`with_capacity`](HashMap::with_capacity) with memory from `alloc`.
    ///
    /// # Panics
    /// If the size overflows.
    #[must_use]
    pub fn with_capacity_in(capacity: usize, alloc: A) -> Self {
        Self::with_capacity_and_hasher_in(capacity, DefaultHashBuilder::default(), alloc)
    }
}

impl<K, V, S> HashMap<K, V, S> {
    /// An empty map that hashes by `hash_builder`.
    ///
    /// ```
    /// let map: ghmap::HashMap<u32, u32, _> =
    ///     ghmap::HashMap::with_hasher(std::hash::RandomState::new());
    /// assert!(map.is_empty());
    /// ```
    #[must_use]
    pub const fn with_hasher(hash_builder: S) -> Self {
        Self::with_hasher_in(hash_builder, Global)
    }

    /// An empty map for at least `capacity` entries that hashes by `hash_builder`.
    ///
    /// # Panics
    /// If the size overflows.
    #[must_use]
    pub fn with_capacity_and_hasher(capacity: usize, hash_builder: S) -> Self {
        Self::with_capacity_and_hasher_in(capacity, hash_builder, Global)
    }
}

impl<K, V, S, A: Allocator> HashMap<K, V, S, A> {
    /// An empty map that hashes by `hash_builder`, with memory from `alloc`.
    #[must_use]
    pub const fn with_hasher_in(hash_builder: S, alloc: A) -> Self {
        Self {
            hash_builder,
            table: RawTable::new_in(alloc),
        }
    }

    /// An empty map for at least `capacity` entries that hashes by `hash_builder`, with memory from
    /// `alloc`.
    ///
    /// # Panics
    /// If the size overflows.
    #[must_use]
    pub fn with_capacity_and_hasher_in(capacity: usize, hash_builder: S, alloc: A) -> Self {
        Self {
            hash_builder,
            table: RawTable::with_capacity_in(capacity, alloc),
        }
    }

    /// The allocator.
    pub fn allocator(&self) -> &A {
        self.table.allocator()
    }

    /// The map's `BuildHasher`.
    pub fn hasher(&self) -> &S {
        &self.hash_builder
    }

    /// The number of entries that fit before an insertion starts to double the table.
    pub fn capacity(&self) -> usize {
        self.table.capacity()
    }

    /// The number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no entries.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The state of the table and of its growth, in time linear in the number of overflow chunks.
    ///
    /// ```
    /// let mut map = ghmap::HashMap::new();
    /// map.extend((0..1000).map(|i| (i, ())));
    /// let stats = map.stats();
    /// assert_eq!((stats.len, stats.b, stats.buckets), (1000, 8, 256));
    /// ```
    pub fn stats(&self) -> Stats {
        self.table.stats()
    }

    /// The bytes of the table, as [`Stats::bytes`].
    pub fn allocation_size(&self) -> usize {
        self.stats().bytes
    }

    /// Whether blocks of 4 MiB and more, allocated from now on, ask the system for huge pages (Linux,
    /// `std` feature). Off, each asks for 4 KiB pages, so that no insertion waits for two megabytes to be
    /// zeroed; on, lookups in a large map miss fewer page translations.
    ///
    /// Either is said of the addresses, by `madvise`, and no call takes it back: if the allocator keeps a
    /// block that the map has freed, instead of unmapping it, what it puts there next has such pages too.
    ///
    /// ```
    /// let mut map: ghmap::HashMap<u64, u64> = ghmap::HashMap::new();
    /// map.huge_pages(true);
    /// map.reserve(100_000);
    /// ```
    pub fn huge_pages(&mut self, on: bool) {
        self.table.set_huge_pages(on);
    }

    /// Removes all entries and keeps the table. Linear in the table; ends a growth.
    pub fn clear(&mut self) {
        self.table.clear();
    }

    /// Keeps only the entries for which `keep` gives `true`. Linear in the table.
    ///
    /// ```
    /// let mut map: ghmap::HashMap<i32, i32> = (0..8).map(|x| (x, x * 10)).collect();
    /// map.retain(|&k, _| k % 2 == 0);
    /// assert_eq!(map.len(), 4);
    /// ```
    pub fn retain<F: FnMut(&K, &mut V) -> bool>(&mut self, keep: F) {
        self.table.retain(keep);
    }
}

impl<K: Eq + Hash, V, S: BuildHasher, A: Allocator> HashMap<K, V, S, A> {
    #[inline(always)]
    pub(crate) fn hash_of<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.hash_builder.hash_one(key)
    }

    /// Makes room for `additional` more entries, so that inserting them moves nothing. If the table must be
    /// replaced, all entries are moved at once, and if there is room but a growth is under way, it is
    /// finished: linear in the map. Buckets that overflow get their next one, as always, when they do; only if
    /// about as many have as there are buckets, which takes a bad hash or many removals, are they packed.
    ///
    /// # Panics
    /// If the size overflows. An allocator that refuses ends the program by `handle_alloc_error`.
    pub fn reserve(&mut self, additional: usize) {
        self.table
            .reserve(additional, &ByHasher(&self.hash_builder));
    }

    /// [`reserve`](Self::reserve) that reports failure.
    ///
    /// # Errors
    /// The size overflows or the allocator refuses; the map is then as it was, but that its growth may be
    /// further.
    ///
    /// ```
    /// let mut map: ghmap::HashMap<u64, u64> = ghmap::HashMap::new();
    /// assert!(map.try_reserve(100).is_ok());
    /// assert!(map.try_reserve(usize::MAX).is_err());
    /// ```
    pub fn try_reserve(&mut self, additional: usize) -> Result<(), TryReserveError> {
        self.table
            .try_reserve(additional, &ByHasher(&self.hash_builder))
    }

    /// Shrinks the table as far as its entries allow. Linear in the map. An allocator that refuses the smaller
    /// table leaves the map as it is.
    pub fn shrink_to_fit(&mut self) {
        self.shrink_to(0);
    }

    /// Shrinks the table as far as its entries and `min_capacity` allow, as
    /// [`shrink_to_fit`](Self::shrink_to_fit) does. Go's map never shrinks.
    pub fn shrink_to(&mut self, min_capacity: usize) {
        self.table
            .shrink_to(min_capacity, &ByHasher(&self.hash_builder));
    }

    /// Moves at once what a growth in progress has still to move: linear in the rest. Afterwards
    /// lookups take their shortest path, as they do once enough insertions have passed.
    ///
    /// # Panics
    /// Never. An allocator that refuses an overflow bucket ends the program by `handle_alloc_error`;
    /// `try_reserve(0)` reports it.
    ///
    /// ```
    /// let mut map = ghmap::HashMap::new();
    /// for i in 0..105 {
    ///     map.insert(i, i);
    /// }
    /// assert!(map.stats().growing);
    /// map.finish_growth();
    /// assert!(!map.stats().growing);
    /// ```
    pub fn finish_growth(&mut self) {
        self.table.finish_growth(&ByHasher(&self.hash_builder));
    }

    /// Inserts, and gives back the value that `key` had. A key that is present stays as it is.
    ///
    /// Amortised constant; moves at most two buckets of a growing table.
    ///
    /// # Panics
    /// If the size overflows. An allocator that refuses ends the program by `handle_alloc_error`.
    #[inline]
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = self.hash_of(&key);
        let (slot, found) = self.table.find_or_insert(
            hash,
            (key, value),
            |a, b| a == b,
            &ByHasher(&self.hash_builder),
        );
        let (_, value) = found?;
        // SAFETY: just found, and the table has not changed since.
        Some(core::mem::replace(unsafe { &mut *slot.value() }, value))
    }

    /// Inserts an entry for an absent key; a present one is left alone.
    ///
    /// # Errors
    /// The key is present: the entry found, and the value that was not inserted.
    ///
    /// ```
    /// let mut map: ghmap::HashMap<_, _> = ghmap::HashMap::from([(1, "a")]);
    /// assert_eq!(*map.try_insert(2, "b").unwrap(), "b");
    /// let err = map.try_insert(1, "c").unwrap_err();
    /// assert_eq!((*err.entry.get(), err.value), ("a", "c"));
    /// ```
    pub fn try_insert(
        &mut self,
        key: K,
        value: V,
    ) -> Result<&mut V, OccupiedError<'_, K, V, S, A>> {
        match self.entry(key) {
            Entry::Occupied(entry) => Err(OccupiedError { entry, value }),
            Entry::Vacant(entry) => Ok(entry.insert(value)),
        }
    }

    /// Inserts without looking whether the key is present.
    ///
    /// # Safety
    /// The key is absent. (If it is not, lookups find either entry; memory stays safe here, but callers
    /// may not rely on it.)
    pub unsafe fn insert_unique_unchecked(&mut self, key: K, value: V) -> (&K, &mut V) {
        let hash = self.hash_of(&key);
        let slot = self
            .table
            .insert_unique(hash, key, value, &ByHasher(&self.hash_builder));
        // SAFETY: just inserted; the borrow keeps the table as it is.
        unsafe { (&*slot.key(), &mut *slot.value()) }
    }

    /// Removes the entry of `key` and gives its value. Moves at most two buckets of a growing table, and
    /// fewer rather than fail if that wants memory and there is none.
    ///
    /// ```
    /// let mut map: ghmap::HashMap<_, _> = ghmap::HashMap::from([(1, "a")]);
    /// assert_eq!(map.remove(&1), Some("a"));
    /// assert_eq!(map.remove(&1), None);
    /// ```
    #[inline]
    pub fn remove<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q) -> Option<V> {
        self.remove_entry(key).map(|(_, value)| value)
    }

    /// Removes the entry of `key` and gives all of it.
    #[inline]
    pub fn remove_entry<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q) -> Option<(K, V)> {
        if self.is_empty() {
            return None;
        }
        let hash = self.hash_of(key);
        self.table
            .remove(hash, |k| key.equivalent(k), &ByHasher(&self.hash_builder))
    }

    /// The entry of `key`, present or not, for use in place.
    ///
    /// ```
    /// let mut counts = ghmap::HashMap::new();
    /// for word in "a b a".split(' ') {
    ///     *counts.entry(word).or_insert(0) += 1;
    /// }
    /// assert_eq!(counts["a"], 2);
    /// ```
    #[inline]
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V, S, A> {
        let hash = self.hash_of(&key);
        match self.table.find(hash, |k| key == *k) {
            // SAFETY: just found in this map.
            Some(slot) => Entry::Occupied(unsafe { OccupiedEntry::new(hash, slot, self) }),
            None => Entry::Vacant(VacantEntry {
                hash,
                key,
                map: self,
            }),
        }
    }

    /// The entry of a borrowed key, which becomes owned only if it is inserted.
    ///
    /// ```
    /// let mut counts: ghmap::HashMap<String, u32> = ghmap::HashMap::new();
    /// *counts.entry_ref("a").or_insert(0) += 1;
    /// assert_eq!(counts["a"], 1);
    /// ```
    #[inline]
    pub fn entry_ref<'a, 'b, Q: Hash + Equivalent<K> + ?Sized>(
        &'a mut self,
        key: &'b Q,
    ) -> EntryRef<'a, 'b, K, Q, V, S, A> {
        let hash = self.hash_of(key);
        match self.table.find(hash, |k| key.equivalent(k)) {
            // SAFETY: just found in this map.
            Some(slot) => EntryRef::Occupied(unsafe { OccupiedEntry::new(hash, slot, self) }),
            None => EntryRef::Vacant(VacantEntryRef {
                hash,
                key,
                map: self,
            }),
        }
    }
}
