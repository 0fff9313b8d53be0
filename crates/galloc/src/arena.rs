//! Arenas of 64 MiB and the table from an address to its span: Go's `heapArena` (`mheap.go`),
//! R119.
//!
//! Address space is taken one arena at a time, from 0xc000000000 up where that is free. The table
//! has two levels of 2048 entries each over the 48-bit user half; a second level comes from
//! `persistent_alloc` at first need. An entry, once set, changes only from one record to another
//! under the heap lock, and records are never unmapped.
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
const LEVEL: usize = 2048;
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

type Second = [AtomicPtr<HeapArena>; LEVEL];

static TABLE: [AtomicPtr<Second>; LEVEL] = [const { AtomicPtr::new(ptr::null_mut()) }; LEVEL];

/// The span an address lies in; null if the address is not the allocator's.
#[inline]
pub(crate) fn span_of(at: usize) -> *mut Span {
    let i = at / ARENA_SIZE;
    let Some(first) = TABLE.get(i / LEVEL) else {
        return ptr::null_mut();
    };
    let second = first.load(Ordering::Acquire);
    if second.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: second levels and arena records are never unmapped once published.
    unsafe {
        let arena = (&(*second))[i % LEVEL].load(Ordering::Acquire);
        if arena.is_null() {
            return ptr::null_mut();
        }
        (*arena).spans[at % ARENA_SIZE / PAGE_SIZE].load(Ordering::Relaxed)
    }
}

/// Puts an arena (or with null, nothing) into the table. Heap lock. False without memory.
pub(crate) fn publish(base: usize, arena: *mut HeapArena) -> bool {
    let i = base / ARENA_SIZE;
    let Some(first) = TABLE.get(i / LEVEL) else {
        return false;
    };
    let mut second = first.load(Ordering::Relaxed);
    if second.is_null() {
        // All zero is LEVEL null pointers.
        let Some(new) = persistent_alloc(size_of::<Second>(), align_of::<Second>()) else {
            return false;
        };
        second = new.as_ptr().cast();
        first.store(second, Ordering::Release);
    }
    // SAFETY: as in `span_of`.
    unsafe { (&(*second))[i % LEVEL].store(arena, Ordering::Release) };
    true
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

/// The record of the arena an address lies in, which is in the table. Heap lock.
pub(crate) fn record_of(at: usize) -> *mut HeapArena {
    let i = at / ARENA_SIZE;
    let second = TABLE[i / LEVEL].load(Ordering::Relaxed);
    // SAFETY: as in `span_of`; the caller knows the arena to be there.
    unsafe { (&(*second))[i % LEVEL].load(Ordering::Relaxed) }
}
