//! Growth: `hashGrow` of Go's `runtime/map.go`. What it starts, `evacuate.rs` does.
//!
//! A map doubles when its load passes 6.5 entries per bucket, and packs its chains anew when it has about
//! as many overflow buckets as buckets (R74): many insertions and deletions then have left long, thin
//! chains. Doubling only reserves memory (`array.rs`); every later insertion or removal evacuates the
//! next two buckets (R91), so that a growth is over before the next can begin, and no single call moves
//! more than two chains.

use super::array::Array;
use super::bucket::Bucket;
use super::hmap::{ALLOCATED, GROWING, HUGE_PAGES, Hmap, Rehash, SAME_SIZE, capacity};
use super::tophash::tophash;
use crate::TryReserveError;
use crate::alloc::Allocator;
use core::mem;

/// The least B whose capacity is at least `n` (R73).
///
/// # Errors
/// `CapacityOverflow` if there is none.
pub(crate) fn b_for(n: usize) -> Result<u8, TryReserveError> {
    (0..usize::BITS as u8 - 4)
        .find(|&b| capacity(b) >= n)
        .ok_or(TryReserveError::CapacityOverflow)
}

impl<K, V> Hmap<K, V> {
    /// Buckets that a growth evacuates.
    #[inline]
    pub(super) fn old_len(&self) -> usize {
        if self.has(SAME_SIZE) {
            self.mask + 1
        } else {
            self.mask.div_ceil(2)
        }
    }

    /// The buckets that are initialised are those below this.
    #[inline]
    pub(super) fn live(&self) -> usize {
        if self.is_growing() && !self.has(SAME_SIZE) {
            self.old_len() + self.nevacuate
        } else {
            self.mask + 1
        }
    }

    /// Whether the chain of `hash` has its evacuation before it.
    #[inline]
    pub(super) fn in_old(&self, hash: u64) -> bool {
        self.is_growing() && hash as usize & (self.old_len() - 1) >= self.nevacuate
    }

    /// R82: while doubling, `i` is its old bucket until that is evacuated.
    #[cold]
    pub(super) fn index_growing(&self, i: usize) -> usize {
        let old = i & (self.old_len() - 1);
        if old >= self.nevacuate { old } else { i }
    }

    /// R74: about as many overflow buckets as buckets.
    fn too_many_overflow(&self) -> bool {
        self.noverflow >= 1 << self.b.min(15)
    }

    /// Whether more overflow buckets are kept than chance asks of a map filled to its limit, a fifth of its
    /// buckets: removals have left the chains long and thin.
    pub(super) fn has_loose_chains(&self) -> bool {
        self.pool.buckets() > (self.mask + 1) / 4
    }

    pub(super) fn set_limit(&mut self) {
        self.limit = if self.is_growing() {
            usize::MAX
        } else if self.too_many_overflow() || !self.has(ALLOCATED) {
            0
        } else {
            capacity(self.b)
        };
    }

    /// R68: exact below B = 16, then up with probability 1 / 2^(B-15), so that `1 << 15` stands for
    /// 2^B overflow buckets.
    pub(super) fn incr_noverflow(&mut self) {
        if self.b < 16 || self.random() & ((1 << (self.b - 15).min(31)) - 1) == 0 {
            self.noverflow = self.noverflow.saturating_add(1);
        }
        self.set_limit();
    }

    /// Links a new bucket behind `last`. `in_old` says that the chain has its evacuation before it,
    /// which will count its overflow buckets.
    ///
    /// # Safety
    /// `last` is the live last bucket of a chain.
    #[cold]
    pub(super) unsafe fn extend_chain<A: Allocator>(
        &mut self,
        last: Bucket<K, V>,
        in_old: bool,
        alloc: &A,
    ) -> Result<Bucket<K, V>, TryReserveError> {
        self.pool.ensure(1, self.b, alloc)?;
        if !in_old {
            self.incr_noverflow();
        }
        // SAFETY: one is available.
        Ok(unsafe { self.link_overflow(last) })
    }

    /// # Safety
    /// As `extend_chain`, and the pool has a bucket.
    pub(super) unsafe fn link_overflow(&mut self, last: Bucket<K, V>) -> Bucket<K, V> {
        // SAFETY: the caller's promise.
        unsafe {
            let bucket = self.pool.take();
            last.set_overflow(Some(bucket));
            bucket
        }
    }

    /// Gives an empty map its first array of 2^b empty buckets.
    ///
    /// # Errors
    /// The allocator refused.
    pub(crate) fn allocate<A: Allocator>(
        &mut self,
        b: u8,
        alloc: &A,
    ) -> Result<(), TryReserveError> {
        debug_assert!(!self.has(ALLOCATED));
        self.array = Array::new(b, self.has(HUGE_PAGES), alloc)?;
        self.b = b;
        self.mask = (1 << b) - 1;
        self.flags |= ALLOCATED;
        self.set_limit();
        Ok(())
    }

    /// `hashGrow`: adds the second half of the array, unless it is too many overflow buckets.
    ///
    /// # Errors
    /// The allocator refused, and the map is as it was.
    #[cold]
    pub(super) fn start_growth<A: Allocator>(&mut self, alloc: &A) -> Result<(), TryReserveError> {
        if !self.has(ALLOCATED) {
            return self.allocate(0, alloc);
        }
        debug_assert!(!self.is_growing());
        let same_size = self.count < capacity(self.b);
        let b = self.b + u8::from(!same_size);
        if !same_size {
            self.array.double(self.has(HUGE_PAGES), alloc)?;
        }
        self.b = b;
        self.mask = (1 << b) - 1;
        self.flags = self.flags & !SAME_SIZE | GROWING | if same_size { SAME_SIZE } else { 0 };
        self.nevacuate = 0;
        self.noverflow = 0;
        self.set_limit();
        Ok(())
    }

    /// Ends a growth at once: linear in the buckets that are left.
    ///
    /// # Errors
    /// The allocator refused an overflow bucket; no entry is lost.
    pub(crate) fn finish_growth<A: Allocator, R: Rehash<K>>(
        &mut self,
        alloc: &A,
        rehash: &R,
    ) -> Result<(), TryReserveError> {
        while self.is_growing() {
            self.evacuate(alloc, rehash)?;
        }
        Ok(())
    }

    /// Moves all entries to an array of 2^b buckets at once: linear in the map. Ends any growth. No key is
    /// irreflexive: Go's map, which has such keys, neither reserves nor shrinks.
    ///
    /// # Errors
    /// The allocator refused, and the map is as it was. It is too if the user's code unwinds.
    pub(crate) fn rebuild<A: Allocator, R: Rehash<K>>(
        &mut self,
        b: u8,
        alloc: &A,
        rehash: &R,
    ) -> Result<(), TryReserveError> {
        let mut fresh = Memory {
            map: Self::new(),
            alloc,
        };
        fresh.map.flags = self.flags & HUGE_PAGES;
        fresh.map.rng = self.rng;
        fresh.map.allocate(b, alloc)?;
        for (bucket, slot) in self.iter() {
            // SAFETY: the iterator gives full slots of live buckets. Entries are copied, and owned by
            // the present array until the swap; `fresh` frees memory only.
            unsafe {
                let hash = rehash.hash(&*bucket.key(slot));
                let mut to = fresh.map.bucket(hash as usize & fresh.map.mask);
                while let Some(next) = to.overflow() {
                    to = next;
                }
                let i = match to.group().empty().first() {
                    Some(i) => i,
                    None => {
                        to = fresh.map.extend_chain(to, false, alloc)?;
                        0
                    }
                };
                to.copy_entry(i, tophash(hash), bucket, slot);
            }
        }
        fresh.map.count = self.count;
        mem::swap(self, &mut fresh.map);
        Ok(())
    }

    /// Gives a map without entries and growth an array as that of `other`, if it has not got one: all
    /// buckets empty, as many of them evacuated.
    ///
    /// # Errors
    /// The allocator refused, and the map is without entries and growth.
    pub(super) fn allocate_like<A: Allocator>(
        &mut self,
        other: &Self,
        alloc: &A,
    ) -> Result<(), TryReserveError> {
        debug_assert!(self.count == 0 && !self.is_growing());
        if self.has(ALLOCATED) && self.b != other.b {
            // SAFETY: no entry is left.
            unsafe { self.free(alloc) };
        }
        if !self.has(ALLOCATED) {
            self.allocate(other.b, alloc)?;
        }
        self.flags |= other.flags & (GROWING | SAME_SIZE);
        self.nevacuate = other.nevacuate;
        self.set_limit();
        Ok(())
    }

    /// Makes the map empty, ends its growth, and keeps the array and the overflow buckets.
    ///
    /// # Safety
    /// Its entries have been moved out or are leaked.
    pub(super) unsafe fn reset(&mut self) {
        // SAFETY: no chain is left to use a bucket.
        unsafe { self.pool.recycle() };
        self.flags &= !(GROWING | SAME_SIZE);
        self.nevacuate = 0;
        self.noverflow = 0;
        self.count = 0;
        if self.has(ALLOCATED) {
            for i in 0..=self.mask {
                // SAFETY: inside the array.
                unsafe { self.bucket(i).init() };
            }
        }
        self.set_limit();
    }

    /// Leaves a map without memory, which asks for pages as this one does.
    pub(super) fn take(&mut self) -> Self {
        let mut empty = Self::new();
        empty.flags = self.flags & HUGE_PAGES;
        mem::replace(self, empty)
    }

    /// Frees array and chunks, but no entry and no entry's boxes.
    ///
    /// # Safety
    /// `alloc` is the map's, and nothing in its memory is used again.
    pub(crate) unsafe fn free<A: Allocator>(&mut self, alloc: &A) {
        let mut old = self.take();
        // SAFETY: the caller's promise; the layouts are those of the allocations. An allocator that unwinds finds
        // them in no map any more.
        unsafe {
            if old.has(ALLOCATED) {
                old.array.free(alloc);
            }
            old.pool.free(alloc);
        }
    }
}

/// A map of which only the memory is owned.
struct Memory<'a, K, V, A: Allocator> {
    map: Hmap<K, V>,
    alloc: &'a A,
}

impl<K, V, A: Allocator> Drop for Memory<'_, K, V, A> {
    fn drop(&mut self) {
        // SAFETY: its entries are copies, or have moved to another array.
        unsafe { self.map.free(self.alloc) };
    }
}
