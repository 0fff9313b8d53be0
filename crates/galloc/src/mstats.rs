//! Statistics: Go's `MemStats` (`mstats.go`), by its field names.
//!
//! Nothing is counted on the way of an allocation. The number of objects that are out is kept per
//! span for other reasons, and is summed up when somebody asks. So Go's `TotalAlloc`, `Mallocs` and `Frees`,
//! which only grow, are not here.

use crate::arena::{ARENA_SIZE, RECORD_PAGES};
use crate::mheap::HEAP;
use crate::pagealloc::ARENA_PAGES;
use crate::persistent_alloc::mapped;
use crate::sizeclass::{NUM_SIZE_CLASSES, PAGE_SIZE, class_size};
use crate::slot;
use core::sync::atomic::Ordering;

/// One size class in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BySize {
    /// Bytes of an object.
    pub size: usize,
    /// Spans of the class.
    pub spans: usize,
    /// Objects handed out and not known to be back (see [`MemStats::heap_objects`]).
    pub objects: usize,
}

/// The state of the heap, in bytes unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemStats {
    /// All address space taken: `heap_sys` and `other_sys`.
    pub sys: usize,
    /// Objects in use. An object freed by another thread counts until the owner of its span
    /// notices.
    pub heap_alloc: usize,
    /// The number of objects in use.
    pub heap_objects: usize,
    /// Address space taken.
    pub heap_sys: usize,
    /// Pages without an object, given back or never used ones included.
    pub heap_idle: usize,
    /// Pages of spans.
    pub heap_inuse: usize,
    /// Idle pages that occupy no memory.
    pub heap_released: usize,
    /// Given back by the scavenger since the start.
    pub total_released: u64,
    /// Records of spans in use.
    pub mspan_inuse: usize,
    /// Caches of threads, those kept for the next thread included.
    pub mcache_inuse: usize,
    /// Records of all kinds, and what was reserved for more of them. Never given back.
    pub other_sys: usize,
    /// The classes; class 0 stands for large objects, its size being 0.
    pub by_size: [BySize; NUM_SIZE_CLASSES],
}

impl MemStats {
    /// Reads the statistics. Holds the heap lock for a walk over all pages in use: O(heap).
    ///
    /// ```
    /// let s = galloc::MemStats::read();
    /// assert_eq!(s.heap_sys, s.heap_inuse + s.heap_idle);
    /// assert_eq!(s.sys, s.heap_sys + s.other_sys);
    /// assert!(s.mspan_inuse + s.mcache_inuse <= s.other_sys);
    /// assert!(s.heap_released <= s.heap_idle);
    /// ```
    #[must_use]
    pub fn read() -> Self {
        let heap = HEAP.lock();
        let mut by_size = [BySize::default(); NUM_SIZE_CLASSES];
        for (class, b) in by_size.iter_mut().enumerate() {
            b.size = class_size(class);
        }
        by_size[0].spans = heap.huge;
        by_size[0].objects = heap.huge;
        let mut heap_alloc = heap.huge_bytes;
        for &arena in &heap.arenas[..heap.len] {
            let mut page = 0;
            while page < ARENA_PAGES {
                // SAFETY: arena records are valid, and so are the spans they name while the heap
                // lock is held.
                let span = unsafe { (&(*arena).spans)[page].load(Ordering::Relaxed).as_ref() };
                let Some(span) = span else {
                    page += 1;
                    continue;
                };
                let live = span.live() as usize;
                let b = &mut by_size[span.class as usize];
                b.spans += 1;
                b.objects += live;
                heap_alloc += live * span.usable();
                page += span.pages().max(1);
            }
        }
        let records = heap.len * RECORD_PAGES * PAGE_SIZE;
        let heap_sys = heap.len * ARENA_SIZE - records + heap.huge_bytes;
        let heap_inuse = heap.used * PAGE_SIZE + heap.huge_bytes;
        let other_sys = mapped() + records;
        Self {
            sys: heap_sys + other_sys,
            heap_alloc,
            heap_objects: by_size.iter().map(|b| b.objects).sum(),
            heap_sys,
            heap_idle: heap_sys - heap_inuse,
            heap_inuse,
            heap_released: heap_sys - heap_inuse - heap.free_dirty * PAGE_SIZE,
            total_released: heap.released,
            mspan_inuse: heap.spans.in_use(),
            mcache_inuse: slot::bytes_of_caches(),
            other_sys,
            by_size,
        }
    }
}
