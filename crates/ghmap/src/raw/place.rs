//! Places for entries: what the raw entries and `HashTable` need, whose callers have no hasher at hand
//! when they insert, replace or remove.
//!
//! Nothing here hashes but [`Hmap::find_or_place`], which is given a hasher and does the growing work with
//! it. Filling a place moves nothing: a chain may take an entry more at any time, at worst in another
//! overflow bucket, and the growth that the map then needs is begun by the next call that can hash.

use super::bucket::{Boxes, Bucket};
use super::group::Mask;
use super::hmap::{Hmap, Rehash, Slot};
use super::tophash::tophash;
use crate::TryReserveError;
use crate::alloc::Allocator;

/// Where an entry that is absent would go: a chain, and what of its hash is kept.
pub(crate) struct Place<K, V> {
    /// The first bucket of the chain, or a later one before which the chain is full.
    head: Bucket<K, V>,
    top: u8,
    /// The chain has its evacuation before it.
    in_old: bool,
}

/// What [`Hmap::find_or_place`] gives: the entry, or where it would go.
pub(crate) type Found<K, V> = Result<Slot<K, V>, Place<K, V>>;

/// The entries of one chain whose kept hash bits are those of one hash; valid while the map does not
/// change.
pub(crate) struct Matches<K, V> {
    slots: Mask,
    /// The bucket of `slots`, the head of its chain.
    at: Option<(Bucket<K, V>, Bucket<K, V>)>,
    top: u8,
}

impl<K, V> Clone for Matches<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Matches<K, V> {}

impl<K, V> Matches<K, V> {
    pub(crate) const fn none() -> Self {
        Self {
            slots: Mask::NONE,
            at: None,
            top: 0,
        }
    }
}

impl<K, V> Iterator for Matches<K, V> {
    type Item = Slot<K, V>;

    #[inline]
    fn next(&mut self) -> Option<Slot<K, V>> {
        loop {
            let (bucket, head) = self.at?;
            if let Some(i) = self.slots.next() {
                return Some(Slot { bucket, i, head });
            }
            // SAFETY: the buckets of a chain are live while the map does not change.
            unsafe {
                self.at = bucket.overflow().map(|next| (next, head));
                if let Some((next, _)) = self.at {
                    self.slots = next.group().matches(self.top);
                }
            }
        }
    }
}

impl<K, V> Hmap<K, V> {
    /// The entries that may have this hash.
    pub(crate) fn matches(&self, hash: u64) -> Matches<K, V> {
        if self.len() == 0 {
            return Matches::none();
        }
        let top = tophash(hash);
        // SAFETY: entries exist, so `ALLOCATED`; the head of a chain is live.
        unsafe {
            let head = self.chain(hash);
            Matches {
                slots: head.group().matches(top),
                at: Some((head, head)),
                top,
            }
        }
    }

    /// Growing work, then the entry with this hash whose key satisfies `eq`, or else its place. A full
    /// map starts a growth first.
    ///
    /// # Errors
    /// The allocator refused; the map is as it was, or has grown a little.
    pub(crate) fn find_or_place<A: Allocator, R: Rehash<K>>(
        &mut self,
        hash: u64,
        eq: impl FnMut(&K) -> bool,
        alloc: &A,
        rehash: &R,
    ) -> Result<Found<K, V>, TryReserveError> {
        if self.is_growing() {
            self.grow_work(hash, alloc, rehash);
        }
        if let Some(slot) = self.find(hash, eq) {
            return Ok(Ok(slot));
        }
        if self.count >= self.limit {
            self.start_growth(alloc)?;
            if self.is_growing() {
                self.grow_work(hash, alloc, rehash);
            }
        }
        Ok(Err(Place {
            // SAFETY: a growth has been started if there was no array.
            head: unsafe { self.chain(hash) },
            top: tophash(hash),
            in_old: self.in_old(hash),
        }))
    }

    /// Puts an entry in its place.
    ///
    /// # Safety
    /// `place` is of this map, which has not changed since; `alloc` is the map's.
    ///
    /// # Errors
    /// The allocator refused; the entry is dropped and the map is as it was.
    pub(crate) unsafe fn fill_place<A: Allocator>(
        &mut self,
        place: Place<K, V>,
        key: K,
        value: V,
        alloc: &A,
    ) -> Result<Slot<K, V>, TryReserveError> {
        let Place { head, top, in_old } = place;
        // SAFETY: the caller's promise: the chain is live, and its last bucket is extended only if no
        // slot is empty.
        unsafe {
            let vacancy = self.vacancy(head);
            let (bucket, i) = match vacancy.empty {
                Some(place) => place,
                None => (self.extend_chain(vacancy.last, in_old, alloc)?, 0),
            };
            let boxes = Boxes::new::<K, V, A>(alloc)?;
            bucket.write(i, top, boxes, key, value);
            self.count += 1;
            Ok(Slot { bucket, i, head })
        }
    }

    /// Removes the entry of a slot, and gives the place it leaves.
    ///
    /// # Safety
    /// As [`remove`](Self::remove).
    pub(crate) unsafe fn remove_to_place<A: Allocator>(
        &mut self,
        slot: Slot<K, V>,
        alloc: &A,
    ) -> ((K, V), Place<K, V>) {
        // SAFETY: the caller's promise.
        unsafe {
            let place = Place {
                head: slot.head,
                top: slot.bucket.top(slot.i),
                // The chain has an empty slot from now on: it will not be extended.
                in_old: false,
            };
            (self.remove(slot, alloc), place)
        }
    }
}
