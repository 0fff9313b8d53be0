//! [`HashTable`]: the table without a hasher, with hashbrown's public names. Whoever calls gives the hash of
//! what is sought and, where entries may move, a closure that hashes those.
//!
//! An entry is a key without a value. Of the growing work, insertions do two buckets each as in the maps;
//! removals have no hasher and do none. That is enough: a growth is over after half as many insertions as
//! the table had buckets, and the next begins at the earliest after 6.5 as many.

mod entry;
mod iter;

pub use entry::{AbsentEntry, Entry, OccupiedEntry, VacantEntry};
pub use iter::{
    Drain, ExtractIf, IntoIter, Iter, IterBuckets, IterHash, IterHashBuckets, IterHashMut, IterMut,
    UnsafeIter,
};

use crate::raw::{ByClosure, RawTable, Slot};
use crate::{Allocator, Global, Stats, TryReserveError};
use core::fmt::{self, Debug};

/// A hash table of values of which the caller knows how to hash and to compare them.
///
/// What it is for: sets whose elements are hashed by something that lies elsewhere, such as indices into a
/// vector, and maps that hash in their own way. It grows like [`HashMap`](crate::HashMap), a little with
/// every insertion. Every value must be given with the hash that the closures give for it; a wrong hash
/// makes values that are not found, and nothing worse.
///
/// ```
/// use ghmap::hash_table::Entry;
/// use std::hash::{BuildHasher, RandomState};
///
/// // Numbers for words: the table holds indices, hashed by what they stand for.
/// let (state, mut words) = (RandomState::new(), Vec::<String>::new());
/// let mut table = ghmap::HashTable::new();
/// for word in "a b a c".split(' ') {
///     let hash = state.hash_one(word);
///     let same = |&i: &usize| words[i] == word;
///     if let Entry::Vacant(place) = table.entry(hash, same, |&i| state.hash_one(words[i].as_str())) {
///         place.insert(words.len());
///         words.push(word.to_string());
///     }
/// }
/// assert_eq!(words, ["a", "b", "c"]);
/// assert_eq!(table.find(state.hash_one("c"), |&i| words[i] == "c"), Some(&2));
/// ```
pub struct HashTable<T, A: Allocator = Global> {
    pub(crate) table: RawTable<T, (), A>,
}

impl<T> HashTable<T> {
    /// An empty table. Nothing is allocated until the first insertion.
    #[must_use]
    pub const fn new() -> Self {
        Self::new_in(Global)
    }

    /// An empty table for at least `capacity` values.
    ///
    /// # Panics
    /// If the size overflows.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self::with_capacity_in(capacity, Global)
    }
}

impl<T, A: Allocator> HashTable<T, A> {
    /// [`new`](HashTable::new) with memory from `alloc`.
    #[must_use]
    pub const fn new_in(alloc: A) -> Self {
        Self {
            table: RawTable::new_in(alloc),
        }
    }

    /// [`with_capacity`](HashTable::with_capacity) with memory from `alloc`.
    ///
    /// # Panics
    /// If the size overflows.
    #[must_use]
    pub fn with_capacity_in(capacity: usize, alloc: A) -> Self {
        Self {
            table: RawTable::with_capacity_in(capacity, alloc),
        }
    }

    /// The allocator.
    pub fn allocator(&self) -> &A {
        self.table.allocator()
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of values that fit before an insertion starts to double the table.
    pub fn capacity(&self) -> usize {
        self.table.capacity()
    }

    /// All numbers of buckets are below this.
    pub fn num_buckets(&self) -> usize {
        self.table.numbers()
    }

    /// The bytes of the table, as [`Stats::bytes`].
    pub fn allocation_size(&self) -> usize {
        self.stats().bytes
    }

    /// The state of the table and of its growth.
    pub fn stats(&self) -> Stats {
        self.table.stats()
    }

    /// As [`HashMap::huge_pages`](crate::HashMap::huge_pages).
    pub fn huge_pages(&mut self, on: bool) {
        self.table.set_huge_pages(on);
    }

    /// The value with this hash that `eq` accepts.
    #[inline]
    pub fn find(&self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<&T> {
        self.table.get(hash, eq).map(|(value, ())| value)
    }

    /// The value with this hash that `eq` accepts, to be changed; it must keep its hash.
    #[inline]
    pub fn find_mut(&mut self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<&mut T> {
        self.table.get_mut(hash, eq).map(|(value, ())| value)
    }

    /// The entry with this hash that `eq` accepts.
    ///
    /// # Errors
    /// There is none.
    ///
    /// ```
    /// let mut table = ghmap::HashTable::new();
    /// table.insert_unique(1, (1, "a"), |&(n, _)| n);
    /// let entry = table.find_entry(1, |&(n, _)| n == 1).expect("just inserted");
    /// assert_eq!(entry.remove().0, (1, "a"));
    /// ```
    #[inline]
    pub fn find_entry(
        &mut self,
        hash: u64,
        eq: impl FnMut(&T) -> bool,
    ) -> Result<OccupiedEntry<'_, T, A>, AbsentEntry<'_, T, A>> {
        match self.table.find(hash, eq) {
            // SAFETY: just found in this table.
            Some(slot) => Ok(unsafe { OccupiedEntry::at(slot, self) }),
            None => Err(AbsentEntry::of(self)),
        }
    }

    /// The entry with this hash that `eq` accepts, present or not. Makes room for one value, and does
    /// growing work.
    ///
    /// # Panics
    /// As [`insert_unique`](Self::insert_unique).
    #[inline]
    pub fn entry(
        &mut self,
        hash: u64,
        eq: impl FnMut(&T) -> bool,
        hasher: impl Fn(&T) -> u64,
    ) -> Entry<'_, T, A> {
        match self.table.find_or_place(hash, eq, &ByClosure(hasher)) {
            // SAFETY: just found in this table.
            Ok(slot) => Entry::Occupied(unsafe { OccupiedEntry::at(slot, self) }),
            // SAFETY: as above.
            Err(place) => Entry::Vacant(unsafe { VacantEntry::at(place, self) }),
        }
    }

    /// Inserts a value without looking whether an equal one is present. Amortised constant; moves at most
    /// two buckets of a growing table.
    ///
    /// # Panics
    /// If the size overflows. An allocator that refuses ends the program by `handle_alloc_error`.
    #[inline]
    pub fn insert_unique(
        &mut self,
        hash: u64,
        value: T,
        hasher: impl Fn(&T) -> u64,
    ) -> OccupiedEntry<'_, T, A> {
        let slot = self
            .table
            .insert_unique(hash, value, (), &ByClosure(hasher));
        // SAFETY: just inserted in this table.
        unsafe { OccupiedEntry::at(slot, self) }
    }

    /// The number of the bucket of the value with this hash that `eq` accepts. It means that value until
    /// the table changes. Linear in the overflow chunks ([`Stats::overflow_buckets`]) for a value that is
    /// in one.
    ///
    /// ```
    /// let mut table = ghmap::HashTable::new();
    /// for n in 0..100 {
    ///     table.insert_unique(n, n, |n| *n);
    /// }
    /// let at = table.find_bucket_index(42, |n| *n == 42).expect("just inserted");
    /// assert!(at < table.num_buckets());
    /// assert_eq!(table.get_bucket(at), Some(&42));
    /// ```
    pub fn find_bucket_index(&self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<usize> {
        let slot = self.table.find(hash, eq)?;
        Some(self.number(slot))
    }

    fn number(&self, slot: Slot<T, ()>) -> usize {
        let (bucket, i) = slot.place();
        // SAFETY: a slot of this table, as it is.
        unsafe { self.table.index().number(bucket, i) }
    }

    fn slot(&self, index: usize) -> Option<Slot<T, ()>> {
        // SAFETY: the index is made of the table as it is.
        unsafe { self.table.index().slot(index) }
    }

    /// The value in a bucket, if one is in it.
    pub fn get_bucket(&self, index: usize) -> Option<&T> {
        // SAFETY: just found, and the borrow keeps the table as it is.
        self.slot(index).map(|slot| unsafe { &*slot.key() })
    }

    /// The value in a bucket, to be changed; it must keep its hash.
    pub fn get_bucket_mut(&mut self, index: usize) -> Option<&mut T> {
        // SAFETY: just found, and the borrow keeps the table as it is.
        self.slot(index).map(|slot| unsafe { &mut *slot.key() })
    }

    /// The entry in a bucket.
    ///
    /// # Errors
    /// None is in it.
    pub fn get_bucket_entry(
        &mut self,
        index: usize,
    ) -> Result<OccupiedEntry<'_, T, A>, AbsentEntry<'_, T, A>> {
        match self.slot(index) {
            // SAFETY: just found in this table.
            Some(slot) => Ok(unsafe { OccupiedEntry::at(slot, self) }),
            None => Err(AbsentEntry::of(self)),
        }
    }

    /// [`get_bucket`](Self::get_bucket) of a bucket with a value.
    ///
    /// # Safety
    /// A value is in it.
    pub unsafe fn get_bucket_unchecked(&self, index: usize) -> &T {
        // SAFETY: the caller's promise; the index is made of the table as it is.
        unsafe { &*self.table.index().full_slot(index).key() }
    }

    /// [`get_bucket_mut`](Self::get_bucket_mut) of a bucket with a value.
    ///
    /// # Safety
    /// A value is in it.
    pub unsafe fn get_bucket_unchecked_mut(&mut self, index: usize) -> &mut T {
        // SAFETY: the caller's promise; the index is made of the table as it is.
        unsafe { &mut *self.table.index().full_slot(index).key() }
    }

    /// [`get_bucket_entry`](Self::get_bucket_entry) of a bucket with a value.
    ///
    /// # Safety
    /// A value is in it.
    pub unsafe fn get_bucket_entry_unchecked(&mut self, index: usize) -> OccupiedEntry<'_, T, A> {
        // SAFETY: the caller's promise; the index is made of the table as it is.
        unsafe {
            let slot = self.table.index().full_slot(index);
            OccupiedEntry::at(slot, self)
        }
    }

    /// Mutable references to the values with these hashes that `eq` accepts; it is told which of them is
    /// sought.
    ///
    /// # Panics
    /// If two are the same value.
    ///
    /// ```
    /// let mut table = ghmap::HashTable::new();
    /// table.insert_unique(1, (1, 'a'), |v| v.0);
    /// table.insert_unique(2, (2, 'b'), |v| v.0);
    /// let [a, b, none] = table.get_disjoint_mut([1, 2, 3], |i, v| v.0 == i as u64 + 1);
    /// if let (Some(a), Some(b), None) = (a, b, none) {
    ///     std::mem::swap(&mut a.1, &mut b.1);
    /// }
    /// assert_eq!(table.find(1, |v| v.0 == 1), Some(&(1, 'b')));
    /// ```
    pub fn get_disjoint_mut<const N: usize>(
        &mut self,
        hashes: [u64; N],
        eq: impl FnMut(usize, &T) -> bool,
    ) -> [Option<&mut T>; N] {
        let slots = self.slots(hashes, eq);
        for (i, slot) in slots.iter().enumerate() {
            let same = |other: &Option<Slot<T, ()>>| match (slot, other) {
                (Some(a), Some(b)) => a.is_same(b),
                _ => false,
            };
            assert!(!slots[..i].iter().any(same), "duplicate keys found");
        }
        // SAFETY: found in this table, which is borrowed mutably; no two are the same.
        slots.map(|slot| slot.map(|slot| unsafe { &mut *slot.key() }))
    }

    /// [`get_disjoint_mut`](Self::get_disjoint_mut) that does not compare them.
    ///
    /// # Safety
    /// No two are the same value.
    pub unsafe fn get_disjoint_unchecked_mut<const N: usize>(
        &mut self,
        hashes: [u64; N],
        eq: impl FnMut(usize, &T) -> bool,
    ) -> [Option<&mut T>; N] {
        let slots = self.slots(hashes, eq);
        // SAFETY: found in this table, which is borrowed mutably; the rest is the caller's promise.
        slots.map(|slot| slot.map(|slot| unsafe { &mut *slot.key() }))
    }

    /// The former name of [`get_disjoint_mut`](Self::get_disjoint_mut).
    #[deprecated(note = "use `get_disjoint_mut`")]
    pub fn get_many_mut<const N: usize>(
        &mut self,
        hashes: [u64; N],
        eq: impl FnMut(usize, &T) -> bool,
    ) -> [Option<&mut T>; N] {
        self.get_disjoint_mut(hashes, eq)
    }

    /// The former name of [`get_disjoint_unchecked_mut`](Self::get_disjoint_unchecked_mut).
    ///
    /// # Safety
    /// The same.
    #[deprecated(note = "use `get_disjoint_unchecked_mut`")]
    pub unsafe fn get_many_unchecked_mut<const N: usize>(
        &mut self,
        hashes: [u64; N],
        eq: impl FnMut(usize, &T) -> bool,
    ) -> [Option<&mut T>; N] {
        // SAFETY: the caller's promise.
        unsafe { self.get_disjoint_unchecked_mut(hashes, eq) }
    }

    fn slots<const N: usize>(
        &self,
        hashes: [u64; N],
        mut eq: impl FnMut(usize, &T) -> bool,
    ) -> [Option<Slot<T, ()>>; N] {
        for hash in hashes {
            self.table.prefetch(hash);
        }
        core::array::from_fn(|i| self.table.find(hashes[i], |value| eq(i, value)))
    }

    /// Removes all values and keeps the memory. Linear in the table; ends a growth.
    pub fn clear(&mut self) {
        self.table.clear();
    }

    /// Keeps the values that `keep` accepts. Linear in the table.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.table.retain_mut(|value, ()| keep(value));
    }

    /// Makes room for `additional` more values, so that inserting them moves nothing. If the table must be
    /// replaced, all values are moved at once, and if there is room but a growth is under way, it is
    /// finished: linear in the table. Buckets that overflow get their next one, as always, when they do; only
    /// if about as many have as there are buckets, which takes a bad hash or many removals, are they packed.
    ///
    /// # Panics
    /// If the size overflows. An allocator that refuses ends the program by `handle_alloc_error`.
    pub fn reserve(&mut self, additional: usize, hasher: impl Fn(&T) -> u64) {
        self.table.reserve(additional, &ByClosure(hasher));
    }

    /// [`reserve`](Self::reserve) that reports failure.
    ///
    /// # Errors
    /// The size overflows or the allocator refuses; the table is then as it was, but that its growth may be
    /// further.
    pub fn try_reserve(
        &mut self,
        additional: usize,
        hasher: impl Fn(&T) -> u64,
    ) -> Result<(), TryReserveError> {
        self.table.try_reserve(additional, &ByClosure(hasher))
    }

    /// Shrinks the table as far as its values allow. Linear in the table. An allocator that refuses the smaller
    /// one leaves it as it is.
    pub fn shrink_to_fit(&mut self, hasher: impl Fn(&T) -> u64) {
        self.shrink_to(0, hasher);
    }

    /// Shrinks the table as far as its values and `min_capacity` allow. Linear in the table.
    pub fn shrink_to(&mut self, min_capacity: usize, hasher: impl Fn(&T) -> u64) {
        self.table.shrink_to(min_capacity, &ByClosure(hasher));
    }

    /// Moves at once what a growth in progress has still to move: linear in the rest.
    ///
    /// # Panics
    /// Never. An allocator that refuses an overflow bucket ends the program by `handle_alloc_error`;
    /// `try_reserve(0, hasher)` reports it.
    pub fn finish_growth(&mut self, hasher: impl Fn(&T) -> u64) {
        self.table.finish_growth(&ByClosure(hasher));
    }
}

impl<T, A: Allocator + Default> Default for HashTable<T, A> {
    fn default() -> Self {
        Self::new_in(A::default())
    }
}

impl<T: Clone, A: Allocator + Clone> Clone for HashTable<T, A> {
    /// Copies bucket by bucket: nothing is hashed.
    fn clone(&self) -> Self {
        Self {
            table: self.table.clone(),
        }
    }

    fn clone_from(&mut self, source: &Self) {
        self.table.clone_from(&source.table);
    }
}

impl<T: Debug, A: Allocator> Debug for HashTable<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}
