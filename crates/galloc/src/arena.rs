//! Arenas of 64 MiB and the table from an address to its span: Go's `heapArena` (`mheap.go`),
//! R119.
//!
//! Address space is taken one arena at a time, from 0xc000000000 up where that is free. The
//! table has two levels, as Go's on 64-bit Linux: an entry per arena over the user half of addresses, on x86-64
//! 16 MiB of zero pages of which those with an arena are ever touched, and in each arena's record an
//! entry per page. An arena's record is its first pages, so that a free finds the second level by the
//! object's address alone, and the one load that it must wait for is the page's entry. The first level
//! is asked where only the address is known: it may be a huge object's, whose entry is its span, or none of
//! the heap's. (With the records apart, as Go has them, a pair of 64 bytes took 0.2 ns longer.)
//!
//! Entries change under the heap lock alone. `spans` is read without a lock by whoever frees an object:
//! that thread got the pointer from the allocation, which came after the entry was written, so Relaxed
//! is enough.

use crate::pagealloc::{ARENA_PAGES, PageAlloc};
use crate::sizeclass::PAGE_SIZE;
use crate::span::Span;
use crate::sys;
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

pub(crate) const ARENA_SIZE: usize = ARENA_PAGES * PAGE_SIZE;
/// Pages of an arena that its record takes, the first ones.
pub(crate) const RECORD_PAGES: usize = size_of::<HeapArena>().div_ceil(PAGE_SIZE);
/// The first address hint.
const HINT: usize = 0xc0_0000_0000;

#[derive(Debug)]
pub(crate) struct HeapArena {
    /// The span of each page. Written under the heap lock, read by anyone.
    pub(crate) spans: [AtomicPtr<Span>; ARENA_PAGES],
    /// Under the heap lock.
    pub(crate) pages: UnsafeCell<PageAlloc>,
    /// Its place in the heap's list. Heap lock.
    pub(crate) index: usize,
}

/// Bits of an address that Linux hands out unless asked for more: 47 on x86-64, 48 on arm64.
const ADDRESS_BITS: usize = if cfg!(target_arch = "x86_64") { 47 } else { 48 };
/// Arenas in all addresses.
const ARENAS: usize = (1 << ADDRESS_BITS) / ARENA_SIZE;

/// What the table says of an arena of the page heap. No span has this address.
const ARENA: *mut Span = ptr::without_provenance_mut(1);

/// Null, `ARENA`, or the span of the huge object that begins there. Set under the heap lock, read by
/// anyone.
static TABLE: [AtomicPtr<Span>; ARENAS] = [const { AtomicPtr::new(ptr::null_mut()) }; ARENAS];

/// The span an address lies in; null if the address is not the allocator's.
#[inline(always)]
pub(crate) fn span_of(at: usize) -> *mut Span {
    let Some(entry) = TABLE.get(at / ARENA_SIZE) else {
        return ptr::null_mut();
    };
    let entry = entry.load(Ordering::Acquire);
    if entry != ARENA {
        return entry;
    }
    // SAFETY: the table says that an arena is there, and arenas are never unmapped.
    unsafe { span_in_arena(at) }
}

/// The span that an address in an arena lies in; null for a free page.
///
/// # Safety
/// The address is in an arena.
#[inline(always)]
pub(crate) unsafe fn span_in_arena(at: usize) -> *mut Span {
    // SAFETY: as the caller promises; an arena begins with its record.
    unsafe { (*record_of(at)).spans[at % ARENA_SIZE / PAGE_SIZE].load(Ordering::Relaxed) }
}

/// The record of the arena that an address lies in, if it lies in one.
#[inline(always)]
pub(crate) fn record_of(at: usize) -> *mut HeapArena {
    ptr::with_exposed_provenance_mut(at - at % ARENA_SIZE)
}

/// Puts the span of a huge object (or with null, nothing) into the table. Heap lock. False for an
/// address the table does not reach.
pub(crate) fn publish(base: usize, huge: *mut Span) -> bool {
    let entry = TABLE.get(base / ARENA_SIZE);
    if let Some(entry) = entry {
        entry.store(huge, Ordering::Release);
    }
    entry.is_some()
}

/// Makes the memory of an arena the heap's `index`th: its record, with all other pages free. Heap lock.
/// False for an address the table does not reach.
///
/// # Safety
/// `base` is the start of zeroed memory from [`reserve`], the caller's alone.
pub(crate) unsafe fn make(base: usize, index: usize) -> bool {
    let arena = record_of(base);
    // SAFETY: as the caller promises; zero is valid for every field.
    unsafe {
        (*arena).index = index;
        (*(*arena).pages.get()).reset(RECORD_PAGES);
    }
    publish(base, ARENA)
}

/// Memory for the `n`th arena. Heap lock.
pub(crate) fn reserve(n: usize) -> Option<usize> {
    sys::alloc_aligned(HINT + n * ARENA_SIZE, ARENA_SIZE, ARENA_SIZE)
        .or_else(|| sys::alloc_aligned(0, ARENA_SIZE, ARENA_SIZE))
}
