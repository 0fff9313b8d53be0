//! [`RawTable`]: an [`Hmap`] with its allocator. Owns the entries; the safe surface that the faces
//! `HashMap`, `HashSet` and `GoMap` are made of.

use super::bucket::{Boxes, Bucket};
use super::grow::b_for;
use super::hmap::{ALLOCATED, Assigned, HUGE_PAGES, Hmap, Rehash, SAME_SIZE, Slot};
use super::index::Index;
use super::iter::{ChainIter, RawIter};
use super::place::{Found, Matches, Place};
use crate::alloc::Allocator;
use crate::{Stats, TryReserveError};
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop};
use core::ptr::{self, NonNull};

/// A map without a hasher.
pub(crate) struct RawTable<K, V, A: Allocator> {
    map: Hmap<K, V>,
    alloc: A,
}

// SAFETY: the table owns its entries and its memory alone.
unsafe impl<K: Send, V: Send, A: Allocator + Send> Send for RawTable<K, V, A> {}
// SAFETY: nothing is written through a shared reference.
unsafe impl<K: Sync, V: Sync, A: Allocator + Sync> Sync for RawTable<K, V, A> {}

/// What an infallible operation does about `error`.
#[cold]
pub(crate) fn refuse(error: TryReserveError) -> ! {
    match error {
        TryReserveError::CapacityOverflow => panic!("hash map capacity overflow"),
        TryReserveError::AllocError { layout } => stdalloc::alloc::handle_alloc_error(layout),
    }
}

fn must<T>(result: Result<T, TryReserveError>) -> T {
    result.unwrap_or_else(|error| refuse(error))
}

impl<K, V, A: Allocator> RawTable<K, V, A> {
    pub(crate) const fn new_in(alloc: A) -> Self {
        Self {
            map: Hmap::new(),
            alloc,
        }
    }

    pub(crate) fn with_capacity_in(capacity: usize, alloc: A) -> Self {
        let mut table = Self::new_in(alloc);
        if capacity > 0 {
            must(b_for(capacity).and_then(|b| table.map.allocate(b, &table.alloc)));
        }
        table
    }

    /// Makes an unallocated table ready for `n` entries, if that can be had (R80). A single bucket is left to the
    /// first insertion (R73).
    pub(crate) fn hint(&mut self, n: usize) {
        if let Ok(b @ 1..) = b_for(n) {
            // Refused, it grows from nothing like any other.
            let _ = self.map.allocate(b, &self.alloc);
        }
    }

    pub(crate) fn allocator(&self) -> &A {
        &self.alloc
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.map.capacity()
    }

    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) {
        self.map.prefetch(hash);
    }

    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, eq: impl FnMut(&K) -> bool) -> Option<Slot<K, V>> {
        self.map.find(hash, eq)
    }

    #[inline(always)]
    pub(crate) fn get(&self, hash: u64, eq: impl FnMut(&K) -> bool) -> Option<(&K, &V)> {
        let slot = self.map.find(hash, eq)?;
        // SAFETY: just found; the borrow keeps the table as it is.
        Some(unsafe { (&*slot.key(), &*slot.value()) })
    }

    #[inline(always)]
    pub(crate) fn get_mut(
        &mut self,
        hash: u64,
        eq: impl FnMut(&K) -> bool,
    ) -> Option<(&mut K, &mut V)> {
        let slot = self.map.find(hash, eq)?;
        // SAFETY: just found; the borrow keeps the table as it is.
        Some(unsafe { (&mut *slot.key(), &mut *slot.value()) })
    }

    /// Inserts the entry, or finds that of an equal key and gives the new one back.
    #[inline(always)]
    pub(crate) fn find_or_insert(
        &mut self,
        hash: u64,
        entry: (K, V),
        eq: impl FnMut(&K, &K) -> bool,
        rehash: &impl Rehash<K>,
    ) -> Assigned<K, V> {
        must(
            self.map
                .find_or_insert(hash, entry, eq, &self.alloc, rehash),
        )
    }

    /// Inserts an entry whose key is known to be absent (or irreflexive).
    #[inline(always)]
    pub(crate) fn insert_unique(
        &mut self,
        hash: u64,
        key: K,
        value: V,
        rehash: &impl Rehash<K>,
    ) -> Slot<K, V> {
        must(
            self.map
                .insert_unique(hash, key, value, &self.alloc, rehash),
        )
    }

    #[inline(always)]
    pub(crate) fn remove(
        &mut self,
        hash: u64,
        eq: impl FnMut(&K) -> bool,
        rehash: &impl Rehash<K>,
    ) -> Option<(K, V)> {
        self.map.before_delete(hash, &self.alloc, rehash);
        let slot = self.map.find(hash, eq)?;
        // SAFETY: just found.
        Some(unsafe { self.map.remove(slot, &self.alloc) })
    }

    /// Removes the entry of a slot.
    ///
    /// # Safety
    /// `slot` was found in this table, which has not changed since.
    #[inline(always)]
    pub(crate) unsafe fn remove_slot(&mut self, slot: Slot<K, V>) -> (K, V) {
        // SAFETY: the caller's promise.
        unsafe { self.map.remove(slot, &self.alloc) }
    }

    /// Growing work, then the entry or its place.
    #[inline]
    pub(crate) fn find_or_place(
        &mut self,
        hash: u64,
        eq: impl FnMut(&K) -> bool,
        rehash: &impl Rehash<K>,
    ) -> Found<K, V> {
        must(self.map.find_or_place(hash, eq, &self.alloc, rehash))
    }

    /// Puts an entry in its place.
    ///
    /// # Safety
    /// `place` is of this table, which has not changed since.
    #[inline]
    pub(crate) unsafe fn fill_place(&mut self, place: Place<K, V>, key: K, value: V) -> Slot<K, V> {
        // SAFETY: the caller's promise.
        must(unsafe { self.map.fill_place(place, key, value, &self.alloc) })
    }

    /// Removes the entry of a slot, and gives the place it leaves.
    ///
    /// # Safety
    /// As [`remove_slot`](Self::remove_slot).
    #[inline]
    pub(crate) unsafe fn remove_to_place(&mut self, slot: Slot<K, V>) -> ((K, V), Place<K, V>) {
        // SAFETY: the caller's promise.
        unsafe { self.map.remove_to_place(slot, &self.alloc) }
    }

    /// Replaces the value of a slot by what `f` makes of it, or removes the entry and gives the key. If
    /// `f` unwinds the entry is gone. Nothing is hashed.
    ///
    /// # Safety
    /// As [`remove_slot`](Self::remove_slot).
    pub(crate) unsafe fn replace_with(
        &mut self,
        slot: Slot<K, V>,
        f: impl FnOnce(&K, V) -> Option<V>,
    ) -> Result<Slot<K, V>, K> {
        // SAFETY: the caller's promise; `f` cannot reach the table.
        unsafe {
            let ((key, value), place) = self.remove_to_place(slot);
            match f(&key, value) {
                Some(value) => Ok(self.fill_place(place, key, value)),
                None => Err(key),
            }
        }
    }

    /// The entries that may have this hash.
    pub(crate) fn matches(&self, hash: u64) -> Matches<K, V> {
        self.map.matches(hash)
    }

    /// Numbers for the slots.
    pub(crate) fn index(&self) -> Index<K, V> {
        self.map.index()
    }

    /// All numbers are below this.
    pub(crate) fn numbers(&self) -> usize {
        self.map.numbers()
    }

    /// # Errors
    /// As `try_reserve` of the faces.
    pub(crate) fn try_reserve(
        &mut self,
        additional: usize,
        rehash: &impl Rehash<K>,
    ) -> Result<(), TryReserveError> {
        let need = self
            .len()
            .checked_add(additional)
            .ok_or(TryReserveError::CapacityOverflow)?;
        if need <= self.capacity() {
            return self.map.finish_growth(&self.alloc, rehash);
        }
        let b = b_for(need)?;
        if self.len() == 0 && !self.map.has(ALLOCATED) {
            self.map.allocate(b, &self.alloc)
        } else {
            self.map.rebuild(b, &self.alloc, rehash)
        }
    }

    pub(crate) fn reserve(&mut self, additional: usize, rehash: &impl Rehash<K>) {
        must(self.try_reserve(additional, rehash));
    }

    pub(crate) fn shrink_to(&mut self, min_capacity: usize, rehash: &impl Rehash<K>) {
        let want = self.len().max(min_capacity);
        if want == 0 {
            // SAFETY: no entry is left.
            unsafe { self.map.free(&self.alloc) };
        } else {
            let b = b_for(want).map_or(self.map.b, |b| b.min(self.map.b));
            if b < self.map.b || self.map.is_growing() || self.map.has_loose_chains() {
                // Refused, the map stays as it is.
                let _ = self.map.rebuild(b, &self.alloc, rehash);
            }
        }
    }

    pub(crate) fn finish_growth(&mut self, rehash: &impl Rehash<K>) {
        must(self.map.finish_growth(&self.alloc, rehash));
    }

    pub(crate) fn set_huge_pages(&mut self, on: bool) {
        if on {
            self.map.flags |= HUGE_PAGES;
        } else {
            self.map.flags &= !HUGE_PAGES;
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let map = &self.map;
        let (chunk_buckets, chunk_bytes) = map.pool.size();
        let (buckets, bytes) = if map.has(ALLOCATED) {
            (map.mask + 1, map.array.bytes())
        } else {
            (0, 0)
        };
        Stats {
            len: map.len(),
            b: map.b,
            buckets,
            overflow_buckets: chunk_buckets - map.pool.available(),
            spare_buckets: map.pool.available(),
            noverflow: map.noverflow,
            growing: map.is_growing(),
            same_size: map.has(SAME_SIZE),
            old_buckets: if map.is_growing() { map.old_len() } else { 0 },
            evacuated: map.nevacuate,
            bytes: bytes + chunk_bytes,
        }
    }

    #[inline]
    pub(crate) fn iter(&self) -> RawIter<K, V> {
        self.map.iter()
    }

    /// Go's B, and whether there is an array.
    pub(crate) fn b(&self) -> Option<u8> {
        self.map.has(ALLOCATED).then_some(self.map.b)
    }

    /// Visits the entries of logical bucket `i` of 2^b.
    pub(crate) fn logical_bucket(
        &self,
        b: u8,
        i: usize,
        rehash: &impl Rehash<K>,
        visit: impl FnMut(&K, &V),
    ) {
        self.map.logical_bucket(b, i, rehash, visit);
    }

    /// A random number, from the table's own generator.
    pub(crate) fn random(&mut self) -> u32 {
        self.map.random()
    }

    /// All buckets in pieces, for parallel iterators.
    #[cfg(feature = "rayon")]
    pub(crate) fn pieces(&self) -> stdalloc::vec::Vec<super::iter::Piece<K, V>> {
        self.map.iter().pieces()
    }

    /// A walk that takes chosen entries out.
    pub(crate) fn extract(&mut self) -> Extract<'_, K, V, A> {
        Extract {
            walk: ChainIter::new(),
            left: self.len(),
            table: self,
        }
    }

    /// Keeps the entries that `keep` says.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.retain_mut(|key, value| keep(key, value));
    }

    /// The same for who may change keys.
    pub(crate) fn retain_mut(&mut self, mut keep: impl FnMut(&mut K, &mut V) -> bool) {
        let mut walk = ChainIter::new();
        // SAFETY: the walk only removes; the slot is used before the table changes again.
        unsafe {
            while let Some(slot) = walk.next(&self.map) {
                if !keep(&mut *slot.key(), &mut *slot.value()) {
                    drop(self.map.remove(slot, &self.alloc));
                }
            }
        }
    }

    /// Drops all entries and keeps the memory, and forgets the growth.
    pub(crate) fn clear(&mut self) {
        if self.len() != 0 || self.map.is_growing() {
            self.take_apart();
        }
    }

    /// The same, and gives the overflow buckets of all chains back to the pool, where removals leave them in
    /// their chains.
    fn take_apart(&mut self) {
        drop(self.drain());
    }

    /// Takes all entries out. The table is empty and unallocated until the drain is dropped.
    pub(crate) fn drain(&mut self) -> RawDrain<'_, K, V, A> {
        let map = self.map.take();
        RawDrain {
            entries: Entries {
                iter: map.iter(),
                map,
            },
            table: NonNull::from(self),
            _table: PhantomData,
        }
    }

    pub(crate) fn into_entries(self) -> (Entries<K, V>, A) {
        let table = ManuallyDrop::new(self);
        // SAFETY: both fields are moved out once, and the table is not dropped.
        let (map, alloc) = unsafe { (ptr::read(&table.map), ptr::read(&table.alloc)) };
        (
            Entries {
                iter: map.iter(),
                map,
            },
            alloc,
        )
    }
}

impl<K, V, A: Allocator> Drop for RawTable<K, V, A> {
    fn drop(&mut self) {
        if self.map.has(ALLOCATED) {
            let map = mem::replace(&mut self.map, Hmap::new());
            let mut entries = Entries {
                iter: map.iter(),
                map,
            };
            entries.free(&self.alloc);
        }
    }
}

impl<K: Clone, V: Clone, A: Allocator + Clone> Clone for RawTable<K, V, A> {
    /// Copies the table bucket by bucket, a growth in progress included: nothing is hashed.
    fn clone(&self) -> Self {
        let mut copy = Self::new_in(self.alloc.clone());
        copy.map.flags = self.map.flags & HUGE_PAGES;
        copy.map.rng = self.map.rng;
        // A panic in a `Clone` drops `copy` with the entries it has so far.
        copy.clone_chains(self);
        copy
    }

    /// Keeps the array and the overflow buckets if `source` has as many buckets. A panic in a `Clone`
    /// leaves the table empty.
    fn clone_from(&mut self, source: &Self) {
        struct Guard<'a, K, V, A: Allocator>(&'a mut RawTable<K, V, A>);
        impl<K, V, A: Allocator> Drop for Guard<'_, K, V, A> {
            fn drop(&mut self) {
                // What has been copied stands where the source's hasher looks for it.
                self.0.take_apart();
            }
        }
        self.take_apart();
        let guard = Guard(self);
        guard.0.clone_chains(source);
        mem::forget(guard);
    }
}

impl<K: Clone, V: Clone, A: Allocator> RawTable<K, V, A> {
    /// Makes this table, which has no entries, no overflow bucket in a chain and no growth, a copy of `source`.
    fn clone_chains(&mut self, source: &Self) {
        if source.len() == 0 {
            return;
        }
        must(self.map.allocate_like(&source.map, &self.alloc));
        for n in 0..source.map.chains() {
            if let Some(head) = source.map.chain_head(n) {
                // SAFETY: this table has as many buckets, all empty, without overflow, and as many evacuated.
                unsafe { self.clone_chain(head, n) };
            }
        }
        self.map.noverflow = source.map.noverflow;
        self.map.set_limit();
    }

    /// # Safety
    /// `source` is the head of chain `n` of a map from which this one was made by `allocate_like`,
    /// and chain `n` is one empty bucket here.
    unsafe fn clone_chain(&mut self, source: Bucket<K, V>, n: usize) {
        let Some(mut to) = self.map.chain_head(n) else {
            return;
        };
        let mut next = Some(source);
        // SAFETY: live buckets on both sides; slots of `full` are full there and empty here.
        unsafe {
            while let Some(from) = next {
                for i in from.group().full() {
                    let (key, value) = ((*from.key(i)).clone(), (*from.value(i)).clone());
                    let boxes = must(Boxes::new::<K, V, A>(&self.alloc));
                    to.write(i, from.top(i), boxes, key, value);
                    self.map.count += 1;
                }
                next = from.overflow();
                // An empty slot before a full one must not look like the end of the chain.
                to.copy_states(from);
                if next.is_some() {
                    to = must(self.map.extend_chain(to, false, &self.alloc));
                }
            }
        }
    }
}

/// The entries of a map that has been taken apart. Freed by `free`, which needs the allocator.
pub(crate) struct Entries<K, V> {
    map: Hmap<K, V>,
    pub(crate) iter: RawIter<K, V>,
}

// SAFETY: owns the entries and the memory alone.
unsafe impl<K: Send, V: Send> Send for Entries<K, V> {}
// SAFETY: nothing is written through a shared reference.
unsafe impl<K: Sync, V: Sync> Sync for Entries<K, V> {}

impl<K, V> Entries<K, V> {
    #[inline]
    pub(crate) fn next<A: Allocator>(&mut self, alloc: &A) -> Option<(K, V)> {
        let (bucket, i) = self.iter.next()?;
        // SAFETY: a full slot, which the iterator gives once.
        unsafe {
            let (entry, boxes) = bucket.read(i);
            boxes.free::<K, V, A>(alloc);
            Some(entry)
        }
    }

    /// Drops what is left.
    fn drop_rest<A: Allocator>(&mut self, alloc: &A) {
        let boxed = mem::size_of::<K>() > super::bucket::MAX_INLINE
            || mem::size_of::<V>() > super::bucket::MAX_INLINE;
        if boxed || mem::needs_drop::<(K, V)>() {
            while let Some(entry) = self.next(alloc) {
                drop(entry);
            }
        }
        self.iter = RawIter::empty();
    }

    /// Drops what is left and frees the memory, which is freed too if a drop unwinds (the entries
    /// behind that one are then leaked).
    pub(crate) fn free<A: Allocator>(&mut self, alloc: &A) {
        struct Guard<'a, K, V, A: Allocator>(&'a mut Entries<K, V>, &'a A);
        impl<K, V, A: Allocator> Drop for Guard<'_, K, V, A> {
            fn drop(&mut self) {
                self.0.iter = RawIter::empty();
                // SAFETY: the iterator is gone, and with it every access.
                unsafe { self.0.map.free(self.1) };
            }
        }
        let guard = Guard(self, alloc);
        guard.0.drop_rest(alloc);
    }
}

/// A walk that takes chosen entries out. It may be given up at any point.
pub(crate) struct Extract<'a, K, V, A: Allocator> {
    walk: ChainIter<K, V>,
    /// Entries not looked at yet.
    left: usize,
    table: &'a mut RawTable<K, V, A>,
}

// SAFETY: borrows the table mutably; the walk is places in it.
unsafe impl<K: Send, V: Send, A: Allocator + Send> Send for Extract<'_, K, V, A> {}
// SAFETY: a shared one gives nothing.
unsafe impl<K: Sync, V: Sync, A: Allocator + Sync> Sync for Extract<'_, K, V, A> {}

impl<K, V, A: Allocator> Extract<'_, K, V, A> {
    /// The next entry that `chosen` chooses.
    pub(crate) fn next(&mut self, mut chosen: impl FnMut(&K, &mut V) -> bool) -> Option<(K, V)> {
        self.next_mut(|key, value| chosen(key, value))
    }

    /// The same for who may change keys.
    pub(crate) fn next_mut(
        &mut self,
        mut chosen: impl FnMut(&mut K, &mut V) -> bool,
    ) -> Option<(K, V)> {
        // SAFETY: the table is borrowed for the walk, which only removes; a slot is used before the
        // table changes again.
        unsafe {
            while let Some(slot) = self.walk.next(&self.table.map) {
                self.left -= 1;
                if chosen(&mut *slot.key(), &mut *slot.value()) {
                    return Some(self.table.remove_slot(slot));
                }
            }
        }
        None
    }

    pub(crate) fn left(&self) -> usize {
        self.left
    }
}

/// A drain. Leaking it leaks the entries and leaves the table empty.
pub(crate) struct RawDrain<'a, K, V, A: Allocator> {
    entries: Entries<K, V>,
    /// Borrowed mutably. A pointer, because a reference would make the drain invariant.
    table: NonNull<RawTable<K, V, A>>,
    _table: PhantomData<&'a RawTable<K, V, A>>,
}

// SAFETY: owns the entries and borrows the table mutably.
unsafe impl<K: Send, V: Send, A: Allocator + Send> Send for RawDrain<'_, K, V, A> {}
// SAFETY: a shared one gives shared references only.
unsafe impl<K: Sync, V: Sync, A: Allocator + Sync> Sync for RawDrain<'_, K, V, A> {}

/// No entry is pinned in place: all are moved out.
impl<K, V, A: Allocator> Unpin for RawDrain<'_, K, V, A> {}

impl<K, V, A: Allocator> RawDrain<'_, K, V, A> {
    #[inline]
    pub(crate) fn next(&mut self) -> Option<(K, V)> {
        // SAFETY: the table is borrowed for as long as the drain lives.
        self.entries.next(unsafe { &self.table.as_ref().alloc })
    }

    pub(crate) fn iter(&self) -> &RawIter<K, V> {
        &self.entries.iter
    }
}

impl<K, V, A: Allocator> Drop for RawDrain<'_, K, V, A> {
    fn drop(&mut self) {
        struct Guard<'a, 'b, K, V, A: Allocator>(&'a mut RawDrain<'b, K, V, A>);
        impl<K, V, A: Allocator> Drop for Guard<'_, '_, K, V, A> {
            fn drop(&mut self) {
                let entries = &mut self.0.entries;
                entries.iter = RawIter::empty();
                // SAFETY: every entry has been moved out or leaked. The table is borrowed mutably.
                unsafe {
                    entries.map.reset();
                    mem::swap(&mut entries.map, &mut self.0.table.as_mut().map);
                }
            }
        }
        let guard = Guard(self);
        let RawDrain { entries, table, .. } = &mut *guard.0;
        // SAFETY: the table is borrowed for as long as the drain lives.
        entries.drop_rest(unsafe { &table.as_ref().alloc });
    }
}
