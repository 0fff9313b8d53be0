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

use alloc::alloc::{alloc, handle_alloc_error};
use core::alloc::Layout;
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

/// The head of an array, which the array itself follows: one pointer leads to both, and a lookup
/// saves a load.
#[repr(C)]
struct Head {
    /// Length less one. Constant.
    mask: usize,
    /// `mask + 1` of them; stored under the table's lock.
    slots: [AtomicPtr<Itab>; 0],
}

/// The first array of the program, in place.
#[cfg(not(loom))]
#[repr(C)]
pub(crate) struct Starter {
    head: Head,
    slots: [AtomicPtr<Itab>; INIT_SIZE],
}

#[cfg(not(loom))]
impl Starter {
    /// An empty one.
    pub(crate) const fn new() -> Self {
        Self {
            head: Head {
                mask: INIT_SIZE - 1,
                slots: [],
            },
            slots: [const { AtomicPtr::new(ptr::null_mut()) }; INIT_SIZE],
        }
    }
}

/// An array of entries, alive for ever. Not a reference: it reaches beyond the head.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Slots(NonNull<Head>);

impl Slots {
    /// The array of a starter.
    #[cfg(not(loom))]
    pub(crate) const fn of(starter: &'static Starter) -> Self {
        // `Head` is the first field, and its slots have no size: the starter's follow at once.
        const { assert!(core::mem::offset_of!(Starter, slots) == core::mem::offset_of!(Head, slots)) };
        Self(NonNull::from_ref(starter).cast())
    }

    /// An empty array of `size` slots, a power of two, never freed.
    pub(crate) fn leak(size: usize) -> Self {
        assert!(size.is_power_of_two());
        let slots = Layout::array::<AtomicPtr<Itab>>(size).expect("a table fits in memory");
        let layout = Layout::new::<Head>().extend(slots).expect("as above").0;
        // SAFETY: the size is not 0.
        let at = unsafe { alloc(layout) };
        let Some(head) = NonNull::new(at.cast::<Head>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: the allocation holds a head and `size` slots behind it: the head's `slots` field,
        // which has no size, stands where `extend` put the array, both being aligned for a slot. All
        // of it is written before anybody sees it.
        unsafe {
            head.write(Head {
                mask: size - 1,
                slots: [],
            });
            let slots = (&raw mut (*head.as_ptr()).slots).cast::<AtomicPtr<Itab>>();
            for h in 0..size {
                slots.add(h).write(AtomicPtr::new(ptr::null_mut()));
            }
        }
        Self(head)
    }

    /// The array at the address that [`as_ptr`](Self::as_ptr) gave.
    ///
    /// # Safety
    /// `at` came from `as_ptr`.
    #[inline(always)]
    pub(crate) unsafe fn from_ptr(at: *mut ()) -> Self {
        // SAFETY: `as_ptr` gives no null.
        Self(unsafe { NonNull::new_unchecked(at.cast()) })
    }

    /// Its address, for publication.
    pub(crate) const fn as_ptr(self) -> *mut () {
        self.0.as_ptr().cast()
    }

    #[inline(always)]
    fn mask(self) -> usize {
        // SAFETY: the head was written by `leak` or `Starter::new`, and is constant.
        unsafe { (*self.0.as_ptr()).mask }
    }

    /// How many slots there are.
    pub(crate) fn size(self) -> usize {
        self.mask() + 1
    }

    #[inline(always)]
    fn slot(self, h: usize) -> &'static AtomicPtr<Itab> {
        // SAFETY: `h & mask` is below `mask + 1`, the length of the array behind the head, which was
        // written in full and lives for ever; `self.0` has the provenance of all of it.
        unsafe {
            let slots = (&raw const (*self.0.as_ptr()).slots).cast::<AtomicPtr<Itab>>();
            &*slots.add(h & self.mask())
        }
    }

    #[inline(always)]
    fn get(self, h: usize) -> Option<Entry> {
        let at = NonNull::new(self.slot(h).load(Ordering::Acquire))?;
        // SAFETY: only `set` stores, and it stores what `as_ptr` gave.
        Some(unsafe { Entry::from_ptr(at) })
    }

    fn set(self, h: usize, entry: Entry) {
        self.slot(h).store(entry.as_ptr(), Ordering::Release);
    }

    /// The entry of `key`, from any thread, without a lock.
    #[inline(always)]
    pub(crate) fn find(self, key: Key<'_>) -> Option<Entry> {
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
    pub(crate) fn put(self, entry: Entry) -> Option<Entry> {
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
    pub(crate) fn iter(self) -> impl Iterator<Item = Entry> {
        (0..self.size()).filter_map(move |h| self.get(h))
    }

    /// All entries, each with its place.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn iter_places(self) -> impl Iterator<Item = (usize, Entry)> {
        (0..self.size()).filter_map(move |h| Some((h, self.get(h)?)))
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("size", &self.size()).finish()
    }
}
