//! Numbers for the slots: first those of the array, bucket by bucket, then those of the overflow chunks,
//! oldest chunk first. A number is a place, and stays an entry's for as long as the map does not change.

use super::array::Array;
use super::bucket::{Bucket, SLOTS};
use super::hmap::{ALLOCATED, Hmap, Slot};
use super::overflow::Chunks;

/// What turns slots into numbers and back, valid while the map does not change.
pub(crate) struct Index<K, V> {
    /// An array, if `buckets` is not zero.
    array: Array<K, V>,
    /// Buckets of the array, and how many of them are initialised.
    buckets: usize,
    live: usize,
    chunks: Chunks<K, V>,
}

impl<K, V> Clone for Index<K, V> {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks.clone(),
            ..*self
        }
    }
}

impl<K, V> Index<K, V> {
    pub(crate) const fn none() -> Self {
        Self {
            array: Array::none(),
            buckets: 0,
            live: 0,
            chunks: Chunks::none(),
        }
    }

    /// The number of a slot.
    ///
    /// # Safety
    /// The map has not changed since this was made, and the slot is one of the map's.
    pub(crate) unsafe fn number(&self, bucket: Bucket<K, V>, i: usize) -> usize {
        // SAFETY: a slot of the map, so there is an array; the chunks are alive.
        unsafe {
            let position = match self.array.position(bucket) {
                Some(position) => position,
                None => self.buckets + self.chunks.position(bucket).unwrap_or(0),
            };
            position * SLOTS + i
        }
    }

    /// The slot of a number, if an entry is in it. Its head is the bucket itself: what is removed there
    /// leaves no mark in the buckets before.
    ///
    /// # Safety
    /// The map has not changed since this was made.
    pub(crate) unsafe fn slot(&self, number: usize) -> Option<Slot<K, V>> {
        let (position, i) = (number / SLOTS, number % SLOTS);
        // SAFETY: below `live`, so in the array and initialised; the chunks are alive.
        let bucket = unsafe {
            match position.checked_sub(self.buckets) {
                Some(position) => self.chunks.at(position)?,
                None if position < self.live => self.array.bucket(position),
                None => return None,
            }
        };
        // SAFETY: initialised.
        unsafe { bucket.group() }
            .full()
            .any(|full| full == i)
            .then_some(Slot {
                bucket,
                i,
                head: bucket,
            })
    }

    /// The slot of a number.
    ///
    /// # Safety
    /// As for [`slot`](Self::slot), and an entry is in it.
    pub(crate) unsafe fn full_slot(&self, number: usize) -> Slot<K, V> {
        // SAFETY: the caller's promise.
        unsafe { self.slot(number).unwrap_unchecked() }
    }
}

impl<K, V> Hmap<K, V> {
    pub(crate) fn index(&self) -> Index<K, V> {
        if !self.has(ALLOCATED) {
            return Index::none();
        }
        Index {
            array: self.array,
            buckets: self.mask + 1,
            live: self.live(),
            chunks: self.pool.chunks(),
        }
    }

    /// All numbers are below this.
    pub(crate) fn numbers(&self) -> usize {
        if self.has(ALLOCATED) {
            (self.mask + 1 + self.pool.buckets()) * SLOTS
        } else {
            0
        }
    }
}
