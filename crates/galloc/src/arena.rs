//! Arenas of 64 MiB and the table from an address to its span: Go's `heapArena` (`mheap.go`),
//! R119.
//!
//! Address space is taken one arena at a time, from 0xc000000000 up where that is free. The
//! table has two levels, as Go's on 64-bit Linux: an entry per arena over the 47-bit user half,
//! 16 MiB of zero pages of which those with an arena are ever touched, and in each arena's record an
//! entry per page. (A split first level, which Go uses where memory is not lazily given, cost every
//! free one more dependent load.) An entry, once set, changes only from one record to another under
//! the heap lock, and records are never unmapped.
//!
//! `spans` is read without a lock by whoever frees an object: that thread got the pointer from the
//! allocation, which came after the entry was written, so Relaxed is enough.

use crate::pagealloc::{ARENA_PAGES, PageAlloc};
use crate::sizeclass::PAGE_SIZE;
use crate::span::Span;
use crate::{persistent_alloc, sys};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

pub(crate) const ARENA_SIZE: usize = ARENA_PAGES * PAGE_SIZE;
/// The first address hint.
const HINT: usize = 0xc0_0000_0000;

#[derive(Debug)]
pub(crate) struct HeapArena {
    /// Address of the first page. Heap lock, before the arena is in the table.
    pub(crate) base: usize,
    /// Its place in the heap's list. Heap lock.
    pub(crate) index: usize,
    /// The span of each page. Written under the heap lock, read by anyone.
    pub(crate) spans: [AtomicPtr<Span>; ARENA_PAGES],
    /// Under the heap lock.
    pub(crate) pages: UnsafeCell<PageAlloc>,
}

/// Arenas in 47 bits of addresses.
const ARENAS: usize = (1 << 47) / ARENA_SIZE;

/// Entries are set under the heap lock and read by anyone.
static TABLE: [AtomicPtr<HeapArena>; ARENAS] = [const { AtomicPtr::new(ptr::null_mut()) }; ARENAS];

/// The span an address lies in; null if the address is not the allocator's.
#[inline(always)]
pub(crate) fn span_of(at: usize) -> *mut Span {
    let arena = record_of(at);
    if arena.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: arena records are never unmapped once published.
    unsafe { (*arena).spans[at % ARENA_SIZE / PAGE_SIZE].load(Ordering::Relaxed) }
}

/// The record of the arena an address lies in; null if there is none.
#[inline(always)]
pub(crate) fn record_of(at: usize) -> *mut HeapArena {
    match TABLE.get(at / ARENA_SIZE) {
        Some(entry) => entry.load(Ordering::Acquire),
        None => ptr::null_mut(),
    }
}

/// Puts an arena (or with null, nothing) into the table. Heap lock. False for an address the table
/// does not reach.
pub(crate) fn publish(base: usize, arena: *mut HeapArena) -> bool {
    let entry = TABLE.get(base / ARENA_SIZE);
    if let Some(entry) = entry {
        entry.store(arena, Ordering::Release);
    }
    entry.is_some()
}

/// A record with no pages taken and no spans. Heap lock.
pub(crate) fn new_record(base: usize) -> *mut HeapArena {
    let Some(p) = persistent_alloc(size_of::<HeapArena>(), align_of::<HeapArena>()) else {
        return ptr::null_mut();
    };
    let arena = p.as_ptr().cast::<HeapArena>();
    // SAFETY: zeroed memory of the right size, ours alone; zero is valid for every field.
    unsafe {
        (*arena).base = base;
        (*(*arena).pages.get()).reset();
    }
    arena
}

/// Memory for the `n`th arena. Heap lock.
pub(crate) fn reserve(n: usize) -> Option<usize> {
    sys::alloc_aligned(HINT + n * ARENA_SIZE, ARENA_SIZE, ARENA_SIZE)
        .or_else(|| sys::alloc_aligned(0, ARENA_SIZE, ARENA_SIZE))
}
