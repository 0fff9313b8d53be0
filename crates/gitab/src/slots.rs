//! The hash table proper (Go 1.19's `itabTableType`, with `find` and `add`, in `runtime/iface.go`).
//!
//! An open-addressed array of pointers to entries, its length a power of two, probed at
//! `h, h+1, h+3, h+6, ..`: the triangular numbers reach every slot of such an array (R104).
//!
//! Invariants
//! - A slot goes from null to an entry once. Afterwards it may only be exchanged for another entry of
//!   the same key, so a probe sequence, once laid, is never broken, and there are no tombstones.
//! - At least a quarter of the slots is null, so every probe ends.
//! - A key stands in one slot.
//!
//! Memory ordering (R105): a slot is stored with release after the entry behind it was written in
//! full, and loaded with acquire; whoever sees the pointer sees the entry. Only the holder of the
//! table's lock stores.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ptr::{self, NonNull};

use crate::itab::{Entry, Itab, Key};
use crate::sync::{AtomicPtr, Ordering};

/// Length of the first array (R100).
#[cfg(not(loom))]
pub(crate) const INIT_SIZE: usize = 512;
/// Small enough for a model to grow it.
#[cfg(loom)]
pub(crate) const INIT_SIZE: usize = 4;

/// An array of entries.
pub(crate) struct Slots {
    /// Length less one. Constant.
    mask: usize,
    /// `mask + 1` slots, alive for ever. Constant; what it points at is stored under the table's lock.
    slots: NonNull<AtomicPtr<Itab>>,
}

// SAFETY: the slots are atomics that are never freed, and entries are `Sync`.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}

impl Slots {
    /// Takes an empty array over.
    #[cfg(not(loom))]
    pub(crate) const fn over<const N: usize>(slots: &'static [AtomicPtr<Itab>; N]) -> Self {
        assert!(N.is_power_of_two());
        Self {
            mask: N - 1,
            slots: NonNull::from_ref(slots).cast(),
        }
    }

    /// An empty array of `size` slots, a power of two, never freed.
    pub(crate) fn leak(size: usize) -> &'static Self {
        assert!(size.is_power_of_two());
        let slots: Vec<AtomicPtr<Itab>> =
            (0..size).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
        let slots = Box::leak(slots.into_boxed_slice());
        Box::leak(Box::new(Self {
            mask: size - 1,
            slots: NonNull::from_ref(slots).cast(),
        }))
    }

    /// How many slots there are.
    pub(crate) fn size(&self) -> usize {
        self.mask + 1
    }

    #[inline]
    fn slot(&self, h: usize) -> &AtomicPtr<Itab> {
        // SAFETY: `h & mask` is below `mask + 1`, the length of the array, which lives for ever.
        unsafe { self.slots.add(h & self.mask).as_ref() }
    }

    #[inline]
    fn get(&self, h: usize) -> Option<Entry> {
        let at = NonNull::new(self.slot(h).load(Ordering::Acquire))?;
        // SAFETY: only `set` stores, and it stores what `as_ptr` gave.
        Some(unsafe { Entry::from_ptr(at) })
    }

    fn set(&self, h: usize, entry: Entry) {
        self.slot(h).store(entry.as_ptr(), Ordering::Release);
    }

    /// The entry of `key`, from any thread, without a lock.
    #[inline(always)]
    pub(crate) fn find(&self, key: Key<'_>) -> Option<Entry> {
        let mut h = key.probe as usize;
        let mut i = 1;
        loop {
            let entry = self.get(h)?;
            if entry.is(key) {
                return Some(entry);
            }
            h = h.wrapping_add(i);
            i += 1;
        }
    }

    /// Puts `entry` where its key stands, or else in the first empty slot of its probe sequence.
    /// Returns what stood there. The caller holds the table's lock, and sees to it that a quarter
    /// of the slots stays empty.
    pub(crate) fn put(&self, entry: Entry) -> Option<Entry> {
        let m = entry;
        let key = m.key();
        let mut h = key.probe as usize;
        let mut i = 1;
        loop {
            match self.get(h) {
                Some(other) if !other.is(key) => {
                    h = h.wrapping_add(i);
                    i += 1;
                }
                before => {
                    self.set(h, entry);
                    return before;
                }
            }
        }
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        (0..self.size()).filter_map(|h| self.get(h))
    }

    /// All entries, each with its place.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn iter_places(&self) -> impl Iterator<Item = (usize, Entry)> + '_ {
        (0..self.size()).filter_map(|h| Some((h, self.get(h)?)))
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("size", &self.size()).finish()
    }
}
