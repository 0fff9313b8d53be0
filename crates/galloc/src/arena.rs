//! Arenas: 64 MiB of address space each, reserved on demand, with their own metadata (R119), and
//! the two-level table that leads from a pointer to its span.
//!
//! Level one is indexed by the address's arena number (bits 26 to 46), level two, in the arena's
//! record, by its page. Level one is 16 MiB of zero-initialised statics, of which a program touches
//! one page per 32 GiB of heap; as in Go on Linux x86-64 there is no need for a third level.
//! A large object above half an arena gets arenas of its own: their first record is in the table.

use crate::mspan::Span;
use crate::pagealloc::PageBits;
use crate::sizeclasses::PAGE_SIZE;
use crate::sys;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

pub(crate) const ARENA_SHIFT: u32 = 26;
/// Bytes of an arena.
pub(crate) const ARENA_SIZE: usize = 1 << ARENA_SHIFT;
pub(crate) const ARENA_PAGES: usize = ARENA_SIZE / PAGE_SIZE;
const ADDRESS_BITS: u32 = 47;
const TABLE: usize = 1 << (ADDRESS_BITS - ARENA_SHIFT);

/// Metadata of one arena. Zero is its initial state; records live in mappings of their own, never
/// unmapped.
#[derive(Debug)]
pub(crate) struct Arena {
    /// Heap lock; read by anyone with a pointer into a live span.
    pub(crate) spans: [AtomicPtr<Span>; ARENA_PAGES],
    /// Heap lock.
    pub(crate) base: AtomicUsize,
    /// Heap lock: its place in the heap's list of arenas.
    pub(crate) number: AtomicUsize,
    /// Heap lock.
    pub(crate) pages: PageBits,
    /// One bit per 8 bytes, set while an object starts there. Any thread.
    #[cfg(feature = "hardened")]
    pub(crate) live: [core::sync::atomic::AtomicU64; ARENA_SIZE / 8 / 64],
}

static ARENAS: [AtomicPtr<Arena>; TABLE] = [const { AtomicPtr::new(ptr::null_mut()) }; TABLE];

impl Arena {
    /// A fresh record, in memory of its own.
    pub(crate) fn new() -> Option<&'static Arena> {
        let size = size_of::<Arena>().next_multiple_of(4096);
        let at = sys::map(0, size)?;
        // SAFETY: a new zeroed mapping of that size; zero is a valid Arena, and it stays for ever.
        Some(unsafe { &*(at as *const Arena) })
    }

    /// Heap lock: makes all pages from `base` on lead to `span`.
    pub(crate) fn set_spans(&self, base: usize, npages: usize, span: *const Span) {
        let first = page_index(base);
        for entry in &self.spans[first..first + npages] {
            entry.store(span.cast_mut(), Ordering::Relaxed);
        }
    }
}

/// Heap lock: enters or removes the arena at `base`.
pub(crate) fn register(base: usize, arena: Option<&'static Arena>) {
    let p = arena.map_or(ptr::null(), ptr::from_ref).cast_mut();
    ARENAS[base >> ARENA_SHIFT].store(p, Ordering::Release);
}

/// Whether the table can describe this address range.
pub(crate) fn addressable(base: usize, size: usize) -> bool {
    base.checked_add(size).is_some_and(|end| end <= 1 << ADDRESS_BITS)
}

#[inline(always)]
pub(crate) fn page_index(address: usize) -> usize {
    (address % ARENA_SIZE) / PAGE_SIZE
}

/// The arena that holds an address, if any.
#[inline]
pub(crate) fn arena_of(address: usize) -> Option<&'static Arena> {
    let p = ARENAS.get(address >> ARENA_SHIFT)?.load(Ordering::Acquire);
    // SAFETY: arena records are never deallocated.
    unsafe { p.as_ref() }
}

/// The span an address lies in, if it is this allocator's.
#[inline]
pub(crate) fn find_span(address: usize) -> Option<&'static Span> {
    let p = arena_of(address)?.spans[page_index(address)].load(Ordering::Relaxed);
    // SAFETY: span records are never deallocated.
    unsafe { p.as_ref() }
}

/// The span of a live object.
///
/// # Safety
/// The address is of an object this allocator handed out and that was not freed since.
#[inline(always)]
pub(crate) unsafe fn span_of(address: usize) -> &'static Span {
    // SAFETY: a live object's arena is in the table, and its page leads to its span. Relaxed loads
    // suffice: whoever handed us the object also handed us what was written before.
    unsafe {
        let arena = ARENAS
            .get_unchecked(address >> ARENA_SHIFT)
            .load(Ordering::Relaxed);
        &*(*arena)
            .spans
            .get_unchecked(page_index(address))
            .load(Ordering::Relaxed)
    }
}
