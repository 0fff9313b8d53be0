//! Walks over all entries.
//!
//! [`RawIter`] reads memory from end to end: the blocks of the array, then the overflow chunks. Following
//! the chains would fetch a fifth of the buckets from random places.
//! [`ChainIter`] follows the chains, for the walks that delete: R88 needs the head of a slot's chain.

use super::array::Array;
use super::bucket::Bucket;
use super::group::Mask;
use super::hmap::{ALLOCATED, Hmap, Rehash, Slot};
use super::overflow::Chunks;
use core::ptr::NonNull;

/// An iterator over `(bucket, slot)` of all entries, valid while the map does not change (entries may
/// be moved out or written, if the caller keeps to what this iterator has already given).
pub(crate) struct RawIter<K, V> {
    /// Full slots of `bucket` not given yet.
    slots: Mask,
    bucket: Bucket<K, V>,
    /// The bucket after `bucket`, and the end of its run.
    next: NonNull<u8>,
    end: NonNull<u8>,
    /// Entries not given yet.
    items: usize,
    /// What follows the present run.
    rest: Rest<K, V>,
}

struct Rest<K, V> {
    /// The array, from bucket `at`, which begins a run, to bucket `live`.
    array: Array<K, V>,
    at: usize,
    live: usize,
    chunks: Chunks<K, V>,
}

impl<K, V> Clone for RawIter<K, V> {
    fn clone(&self) -> Self {
        Self {
            rest: Rest {
                chunks: self.rest.chunks.clone(),
                ..self.rest
            },
            ..*self
        }
    }
}

impl<K, V> RawIter<K, V> {
    pub(crate) const fn empty() -> Self {
        let nowhere = NonNull::dangling();
        Self {
            slots: Mask::NONE,
            bucket: Bucket::new(nowhere),
            next: nowhere,
            end: nowhere,
            items: 0,
            rest: Rest {
                array: Array::none(),
                at: 0,
                live: 0,
                chunks: Chunks::none(),
            },
        }
    }

    /// The next run of buckets. There is one, because entries are left.
    #[cold]
    fn next_run(&mut self) {
        if !self.try_next_run() {
            debug_assert!(false, "fewer entries than counted");
            self.items = 0;
        }
    }

    fn try_next_run(&mut self) -> bool {
        let Rest { at, live, .. } = self.rest;
        let run = if at < live {
            let end = self.rest.array.run_end(at).min(live);
            self.rest.at = end;
            // SAFETY: below `live`, so inside the array.
            Some((unsafe { self.rest.array.bucket(at) }, end - at))
        } else {
            // SAFETY: the map does not change while the iterator is used.
            unsafe { self.rest.chunks.next() }
        };
        let Some((first, n)) = run else { return false };
        self.next = first.as_ptr();
        // SAFETY: a run lies inside one block or chunk.
        self.end = unsafe { first.add(n) }.as_ptr();
        true
    }
}

impl<K, V> Iterator for RawIter<K, V> {
    type Item = (Bucket<K, V>, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.items == 0 {
            return None;
        }
        loop {
            if let Some(i) = self.slots.next() {
                self.items -= 1;
                return Some((self.bucket, i));
            }
            while self.next == self.end {
                self.next_run();
                if self.items == 0 {
                    return None;
                }
            }
            self.bucket = Bucket::new(self.next);
            // SAFETY: a bucket of a run is initialised, and the next place is inside or ends the run.
            unsafe {
                self.next = self.bucket.add(1).as_ptr();
                self.slots = self.bucket.group().full();
            }
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.items, Some(self.items))
    }
}

impl<K, V> Hmap<K, V> {
    /// All entries, in the order of memory.
    pub(crate) fn iter(&self) -> RawIter<K, V> {
        let mut iter = RawIter::empty();
        if self.count == 0 {
            return iter;
        }
        iter.items = self.count;
        iter.rest.array = self.array;
        iter.rest.live = self.live();
        iter.rest.chunks = self.pool.chunks();
        iter
    }

    /// The number of chains: those of all buckets that are initialised.
    pub(crate) fn chains(&self) -> usize {
        if self.has(ALLOCATED) { self.live() } else { 0 }
    }

    /// The head of chain `n` of [`chains`](Self::chains).
    pub(crate) fn chain_head(&self, n: usize) -> Option<Bucket<K, V>> {
        // SAFETY: live.
        (n < self.chains()).then(|| unsafe { self.bucket(n) })
    }
}

impl<K, V> Hmap<K, V> {
    /// Visits the entries of logical bucket `i` of 2^b: those whose hash ends in the b bits of `i`,
    /// wherever the map keeps them now. An irreflexive key has the bits of the bucket it is in; in an
    /// old bucket one bit short of `b`, its tophash byte tells the last (R90), as for evacuation.
    pub(crate) fn logical_bucket<R: Rehash<K>>(
        &self,
        b: u8,
        i: usize,
        rehash: &R,
        mut visit: impl FnMut(&K, &V),
    ) {
        let mask = (1usize << b) - 1;
        let mut walk = |chain: usize, bits: usize| {
            let Some(head) = self.chain_head(chain) else {
                return;
            };
            let mut next = Some(head);
            while let Some(bucket) = next {
                // SAFETY: live; the slots of `full` are.
                unsafe {
                    for slot in bucket.group().full() {
                        let key = &*bucket.key(slot);
                        let belongs = if bits & mask == mask {
                            true
                        } else if rehash.irreflexive(key) {
                            bucket.top(slot) as usize & 1 == i >> bits.count_ones() & 1
                        } else {
                            rehash.hash(key) as usize & mask == i
                        };
                        if belongs {
                            visit(key, &*bucket.value(slot));
                        }
                    }
                    next = bucket.overflow();
                }
            }
        };
        if !self.has(ALLOCATED) {
            return;
        }
        // A chain that has its evacuation before it goes by one bit less, if the map is doubling.
        let old = if self.is_growing() { self.old_len() } else { 0 };
        for n in (i & self.mask..=self.mask).step_by(mask + 1) {
            if old == 0 || n & (old - 1) < self.nevacuate {
                walk(n, self.mask);
            }
        }
        if old > 0 {
            for n in (i & (old - 1)..old).step_by(mask + 1) {
                if n >= self.nevacuate {
                    walk(n, old - 1);
                }
            }
        }
    }
}

/// A walk along the chains of a map that may lose, but not gain, entries between two steps.
pub(crate) struct ChainIter<K, V> {
    /// The chain after the present one.
    next_chain: usize,
    /// The bucket being walked and the head of its chain.
    at: Option<(Bucket<K, V>, Bucket<K, V>)>,
    slots: Mask,
}

impl<K, V> ChainIter<K, V> {
    pub(crate) const fn new() -> Self {
        Self {
            next_chain: 0,
            at: None,
            slots: Mask::NONE,
        }
    }

    /// The next entry of `map`, which is the same map every time.
    ///
    /// # Safety
    /// `map` has not been inserted into and has not grown since the walk began.
    pub(crate) unsafe fn next(&mut self, map: &Hmap<K, V>) -> Option<Slot<K, V>> {
        loop {
            if let Some((bucket, head)) = self.at {
                if let Some(i) = self.slots.next() {
                    return Some(Slot { bucket, i, head });
                }
                // SAFETY: live, since the map did not grow.
                self.at = unsafe { bucket.overflow() }.map(|next| (next, head));
            }
            while self.at.is_none() {
                if self.next_chain == map.chains() {
                    return None;
                }
                self.at = map.chain_head(self.next_chain).map(|head| (head, head));
                self.next_chain += 1;
            }
            if let Some((bucket, _)) = self.at {
                // SAFETY: live.
                self.slots = unsafe { bucket.group().full() };
            }
        }
    }
}

/// Buckets of a piece.
#[cfg(feature = "rayon")]
const PIECE: usize = 512;

/// The entries of up to [`PIECE`] buckets that lie side by side.
#[cfg(feature = "rayon")]
pub(crate) struct Piece<K, V> {
    next: Bucket<K, V>,
    /// Buckets from `next` on.
    left: usize,
    /// Full slots of the bucket before `next`.
    slots: Mask,
}

#[cfg(feature = "rayon")]
// SAFETY: a place in a map; what may be done with it is for the parallel iterators to say.
unsafe impl<K, V> Send for Piece<K, V> {}
#[cfg(feature = "rayon")]
// SAFETY: as above.
unsafe impl<K, V> Sync for Piece<K, V> {}

#[cfg(feature = "rayon")]
impl<K, V> Clone for Piece<K, V> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

#[cfg(feature = "rayon")]
impl<K, V> Iterator for Piece<K, V> {
    type Item = (Bucket<K, V>, usize);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(i) = self.slots.next() {
                // SAFETY: `next` is one past the bucket being walked.
                return Some((unsafe { self.next.sub(1) }, i));
            }
            self.left = self.left.checked_sub(1)?;
            // SAFETY: an initialised bucket of the piece.
            unsafe {
                self.slots = self.next.group().full();
                self.next = self.next.add(1);
            }
        }
    }
}

#[cfg(feature = "rayon")]
impl<K, V> RawIter<K, V> {
    /// All buckets of the map, cut into pieces. For an iterator that has not been used.
    pub(crate) fn pieces(mut self) -> stdalloc::vec::Vec<Piece<K, V>> {
        let mut pieces = stdalloc::vec::Vec::new();
        loop {
            let size = Bucket::<K, V>::SIZE;
            let mut left = (self.end.as_ptr() as usize - self.next.as_ptr() as usize) / size;
            let mut next = Bucket::new(self.next);
            while left > 0 {
                let n = left.min(PIECE);
                pieces.push(Piece {
                    next,
                    left: n,
                    slots: Mask::NONE,
                });
                // SAFETY: inside the run, or at its end.
                next = unsafe { next.add(n) };
                left -= n;
            }
            if !self.try_next_run() {
                return pieces;
            }
        }
    }
}
