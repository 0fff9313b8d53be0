//! The page heap (Go's `mheap`): spans of 8 KiB pages out of arenas, under one lock.
//!
//! Spans come from the lowest arena with a long enough free run. A request above half an arena gets
//! a mapping of its own, aligned to an arena, so that no span crosses arenas and such a span can
//! grow by moving its page tables (`mremap`).
//!
//! Lock order: slots, central lists, heap, persistent memory. System calls that give memory back
//! are made without the heap lock, on pages that are marked in use meanwhile (as Go does).

use crate::arena::{self, ARENA_PAGES, ARENA_SIZE, Arena};
use crate::fixalloc::FixAlloc;
use crate::linear_alloc::LinearAlloc;
use crate::mspan::{NOBODY, Span};
use crate::sizeclasses::{NUM_SIZE_CLASSES, PAGE_SIZE, class_size};
use crate::sys::{self, Lock};
use core::cell::Cell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Go's first arena hint on 64-bit systems: recognisable in a dump, and seldom taken.
const FIRST_HINT: usize = 0xc0_0000_0000;
const MAX_ARENAS: usize = 1 << 21;

/// Byte counts of the heap, in pages unless said. Heap lock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// Pages in spans.
    pub(crate) in_use: usize,
    /// The most `in_use` has been since the scavenger last looked.
    pub(crate) peak: usize,
    /// Free pages that are backed by memory.
    pub(crate) dirty: usize,
    /// Arenas and mappings of their own.
    pub(crate) sys_bytes: usize,
    /// Pages of mappings of their own, part of `in_use`.
    pub(crate) mapped: usize,
    /// Bytes ever given back to the system.
    pub(crate) scavenged_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Inner {
    spans: FixAlloc<Span>,
    /// Arenas by number, in order of creation.
    arenas: Index,
    narenas: usize,
    /// No arena below this one has a free page.
    first_free: usize,
    hint: usize,
    /// Records of mappings of their own that were freed.
    spare: SpareArenas,
    pub(crate) counts: Counts,
    /// Objects of freed spans by class: allocated, freed.
    pub(crate) past: [(u64, u64); NUM_SIZE_CLASSES],
    pub(crate) huge_pages: bool,
}

/// The arenas in order of creation, and the longest free run of each, in reserved memory.
#[derive(Debug)]
struct Index {
    arenas: *const Cell<Option<&'static Arena>>,
    runs: *const Cell<u16>,
}

// SAFETY: reached under the heap lock only.
unsafe impl Send for Index {}

/// A few records to reuse for mappings of their own.
type SpareArenas = [Option<&'static Arena>; 8];

pub(crate) static HEAP: Lock<Inner> = Lock::new(Inner {
    spans: FixAlloc::new(),
    arenas: Index {
        arenas: core::ptr::null(),
        runs: core::ptr::null(),
    },
    narenas: 0,
    first_free: 0,
    hint: FIRST_HINT,
    spare: [None; 8],
    counts: Counts {
        in_use: 0,
        peak: 0,
        dirty: 0,
        sys_bytes: 0,
        mapped: 0,
        scavenged_bytes: 0,
    },
    past: [(0, 0); NUM_SIZE_CLASSES],
    huge_pages: false,
});

/// A copy of `dirty` to look at without the lock.
static DIRTY: AtomicUsize = AtomicUsize::new(0);

/// Free pages that are backed by memory, as of a moment ago.
pub(crate) fn dirty_pages() -> usize {
    DIRTY.load(Ordering::Relaxed)
}

/// A span of `npages` at a multiple of `align` pages for objects of `class`; `None` when the system
/// is out of memory.
pub(crate) fn alloc_span(npages: usize, align: usize, class: usize) -> Option<&'static Span> {
    let span = if npages > ARENA_PAGES / 2 || align > ARENA_PAGES / 2 {
        alloc_mapping(npages, align)?
    } else {
        let mut heap = HEAP.lock();
        let span = heap.alloc_pages(npages, align)?;
        DIRTY.store(heap.counts.dirty, Ordering::Relaxed);
        span
    };
    prepare(span, class);
    Some(span)
}

/// Makes a span ready for objects of `class`.
pub(crate) fn prepare(span: &Span, class: usize) {
    let (base, bytes) = (span.base.get(), span.npages.get() * PAGE_SIZE);
    let size = if class == 0 { bytes } else { class_size(class) };
    span.elem_size.set(size);
    span.carve.set(base);
    span.limit.set(base + bytes / size * size);
    span.free.set(0);
    span.class.store(class as u32, Ordering::Relaxed);
    span.owner.store(NOBODY, Ordering::Relaxed);
    span.allocs.store(0, Ordering::Relaxed);
    span.frees.store(0, Ordering::Relaxed);
}

/// Takes back a span that nobody owns, whose objects are all free.
pub(crate) fn free_span(span: &'static Span) {
    debug_assert_eq!(span.used(), 0);
    debug_assert!(span.remote.is_empty());
    if span.mapping.get() != 0 {
        return free_mapping(span);
    }
    let mut heap = HEAP.lock();
    heap.count_past(span);
    let (base, npages) = (span.base.get(), span.npages.get());
    heap.free_pages(base, npages);
    heap.drop_span(span);
    DIRTY.store(heap.counts.dirty, Ordering::Relaxed);
}

/// Grows or shrinks a large span where it lies. False if the pages behind it are taken.
pub(crate) fn resize_span(span: &'static Span, npages: usize) -> bool {
    let (base, old) = (span.base.get(), span.npages.get());
    if span.mapping.get() != 0 {
        return resize_mapping(span, npages) && set_length(span, npages);
    }
    let mut heap = HEAP.lock();
    let Some(arena) = arena::arena_of(base) else {
        return false;
    };
    let end = base + old * PAGE_SIZE;
    if npages > old {
        let page = arena::page_index(base) + old;
        if !arena.pages.is_free(page, npages - old) {
            return false;
        }
        heap.take(arena, page, npages - old);
        arena.set_spans(end, npages - old, span);
    } else {
        heap.free_pages(base + npages * PAGE_SIZE, old - npages);
    }
    DIRTY.store(heap.counts.dirty, Ordering::Relaxed);
    set_length(span, npages)
}

fn set_length(span: &Span, npages: usize) -> bool {
    span.npages.set(npages);
    span.elem_size.set(npages * PAGE_SIZE);
    span.limit.set(span.base.get() + npages * PAGE_SIZE);
    true
}

impl Inner {
    fn alloc_pages(&mut self, npages: usize, align: usize) -> Option<&'static Span> {
        let record = self.spans.alloc()?;
        // SAFETY: zeroed memory is a valid Span, and span records are never deallocated.
        let span: &'static Span = unsafe { record.as_ref() };
        let Some((arena, page)) = self.find(npages, align).or_else(|| {
            self.grow()?;
            self.find(npages, align)
        }) else {
            self.drop_span(span);
            return None;
        };
        let clean = self.take(arena, page, npages);
        let base = arena.base.load(Ordering::Relaxed) + page * PAGE_SIZE;
        span.base.set(base);
        span.npages.set(npages);
        span.needzero.set(clean != npages);
        span.mapping.set(0);
        arena.set_spans(base, npages, span);
        Some(span)
    }

    fn find(&mut self, npages: usize, align: usize) -> Option<(&'static Arena, usize)> {
        let mut all_full = true;
        for number in self.first_free..self.narenas {
            let run = self.run(number).get() as usize;
            if run == 0 && all_full {
                self.first_free = number + 1;
            } else {
                all_full = false;
            }
            if run >= npages {
                let arena = self.arena(number)?;
                if let Some(page) = arena.pages.find(npages, align) {
                    return Some((arena, page));
                }
            }
        }
        None
    }

    /// Reserves one more arena.
    fn grow(&mut self) -> Option<()> {
        if self.arenas.arenas.is_null() {
            let words = MAX_ARENAS * size_of::<usize>();
            let mut region = LinearAlloc::reserve(words + MAX_ARENAS * 2)?;
            self.arenas.arenas = region.alloc(words, 64)?.cast();
            self.arenas.runs = region.alloc(MAX_ARENAS * 2, 64)?.cast();
        }
        let base = sys::map_aligned(self.hint, ARENA_SIZE, ARENA_SIZE)?;
        let arena = Arena::new().filter(|_| arena::addressable(base, ARENA_SIZE));
        let Some(arena) = arena else {
            // SAFETY: just mapped, given to nobody.
            unsafe { sys::unmap(base, ARENA_SIZE) };
            return None;
        };
        if self.huge_pages {
            sys::advise_huge(base, ARENA_SIZE);
        }
        self.hint = base + ARENA_SIZE;
        arena.base.store(base, Ordering::Relaxed);
        arena.pages.init();
        arena::register(base, Some(arena));
        let number = self.narenas;
        self.narenas += 1;
        // SAFETY: arenas are 64 MiB of 128 TiB, so number is below MAX_ARENAS; the cell is zero
        // memory, which is a valid None.
        unsafe { &*self.arenas.arenas.add(number) }.set(Some(arena));
        self.run(number).set(ARENA_PAGES as u16);
        arena.number.store(number, Ordering::Relaxed);
        self.counts.sys_bytes += ARENA_SIZE;
        Some(())
    }

    fn run(&self, number: usize) -> &Cell<u16> {
        // SAFETY: number is below narenas.
        unsafe { &*self.arenas.runs.add(number) }
    }

    fn arena(&self, number: usize) -> Option<&'static Arena> {
        // SAFETY: number is below narenas.
        unsafe { &*self.arenas.arenas.add(number) }.get()
    }

    /// Takes free pages of an arena into use; returns how many were not backed.
    fn take(&mut self, arena: &'static Arena, page: usize, npages: usize) -> usize {
        let clean = arena.pages.take(page, npages);
        self.run(arena.number.load(Ordering::Relaxed)).set(arena.pages.max_run() as u16);
        self.counts.in_use += npages;
        self.counts.peak = self.counts.peak.max(self.counts.in_use);
        self.counts.dirty -= npages - clean;
        clean
    }

    fn free_pages(&mut self, base: usize, npages: usize) {
        let Some(arena) = arena::arena_of(base) else {
            sys::fatal("free of pages outside every arena", base);
        };
        arena.set_spans(base, npages, core::ptr::null());
        self.put(arena, arena::page_index(base), npages, false);
        self.counts.dirty += npages;
    }

    fn put(&mut self, arena: &'static Arena, page: usize, npages: usize, scavenged: bool) {
        arena.pages.free(page, npages, scavenged);
        let number = arena.number.load(Ordering::Relaxed);
        self.run(number).set(arena.pages.max_run() as u16);
        self.first_free = self.first_free.min(number);
        self.counts.in_use -= npages;
    }

    fn drop_span(&mut self, span: &'static Span) {
        // SAFETY: the record came from this allocator, and no object or list leads to it any more.
        // Stale pointers to it are only compared: the memory stays a Span.
        unsafe { self.spans.free(NonNull::from(span)) };
    }

    fn count_past(&mut self, span: &Span) {
        let class = span.class.load(Ordering::Relaxed) as usize;
        if class != 0 {
            let (allocs, frees) = &mut self.past[class];
            *allocs += span.allocs.load(Ordering::Relaxed);
            *frees += span.frees.load(Ordering::Relaxed);
        }
    }

    /// Bytes of span records: in use, taken from the system.
    pub(crate) fn span_bytes(&self) -> (usize, usize) {
        (self.spans.in_use(), self.spans.sys())
    }

    /// Calls `f` for every span in an arena.
    pub(crate) fn each_span(&self, mut f: impl FnMut(&'static Span)) {
        for arena in (0..self.narenas).filter_map(|n| self.arena(n)) {
            let mut page = 0;
            while page < ARENA_PAGES {
                let p = arena.spans[page].load(Ordering::Relaxed);
                // SAFETY: span records are never deallocated; under the lock the entry is current.
                page += match unsafe { p.as_ref() } {
                    Some(span) => {
                        f(span);
                        span.npages.get().max(1)
                    }
                    None => 1,
                };
            }
        }
    }
}

/// A span in a mapping of its own.
fn alloc_mapping(npages: usize, align: usize) -> Option<&'static Span> {
    let bytes = npages.checked_mul(PAGE_SIZE)?;
    let size = bytes.checked_next_multiple_of(ARENA_SIZE)?;
    let align = align.checked_mul(PAGE_SIZE)?.max(ARENA_SIZE);
    let base = sys::map_aligned(0, size, align)?;
    let made = arena::addressable(base, size)
        .then(|| {
            let mut heap = HEAP.lock();
            let record = heap.spans.alloc()?;
            let spare = heap.spare.iter_mut().find_map(Option::take);
            let Some(arena) = spare.or_else(Arena::new) else {
                // SAFETY: just allocated, given to nobody.
                unsafe { heap.spans.free(record) };
                return None;
            };
            heap.counts.in_use += npages;
            heap.counts.mapped += npages;
            heap.counts.sys_bytes += size;
            Some((record, arena))
        })
        .flatten();
    let Some((record, arena)) = made else {
        // SAFETY: just mapped, given to nobody.
        unsafe { sys::unmap(base, size) };
        return None;
    };
    // SAFETY: zeroed memory is a valid Span, and span records are never deallocated.
    let span: &'static Span = unsafe { record.as_ref() };
    span.base.set(base);
    span.npages.set(npages);
    span.needzero.set(false);
    span.mapping.set(size);
    arena.base.store(base, Ordering::Relaxed);
    arena.set_spans(base, 1, span);
    arena::register(base, Some(arena));
    Some(span)
}

fn free_mapping(span: &'static Span) {
    let (base, size, npages) = (span.base.get(), span.mapping.get(), span.npages.get());
    let arena = arena::arena_of(base);
    arena::register(base, None);
    // SAFETY: the span's only object is free, so nothing refers to its mapping.
    unsafe { sys::unmap(base, size) };
    let mut heap = HEAP.lock();
    if let Some(arena) = arena {
        arena.set_spans(base, 1, core::ptr::null());
        // A record that finds no room here is leaked: eight hold all but pathological programs.
        if let Some(room) = heap.spare.iter_mut().find(|s| s.is_none()) {
            *room = Some(arena);
        }
    }
    heap.counts.in_use -= npages;
    heap.counts.mapped -= npages;
    heap.counts.sys_bytes -= size;
    heap.counts.scavenged_bytes += (npages * PAGE_SIZE) as u64;
    heap.drop_span(span);
}

/// Moves a large object that has a mapping of its own into `to`, a fresh one that is longer, by its
/// page tables. False if the system refuses: copy then.
pub(crate) fn move_mapping(from: &'static Span, to: &'static Span) -> bool {
    let bytes = from.npages.get().min(to.npages.get()) * PAGE_SIZE;
    // SAFETY: both mappings are ours; the object moves with its memory, and `to` is fresh.
    unsafe { sys::move_pages(from.base.get(), bytes, to.base.get()) }
}

/// Grows or shrinks within a mapping of its own. False if it is too short.
fn resize_mapping(span: &'static Span, npages: usize) -> bool {
    let (base, old) = (span.base.get(), span.npages.get());
    if npages * PAGE_SIZE > span.mapping.get() {
        return false;
    }
    if npages < old {
        // SAFETY: the object no longer reaches these pages.
        unsafe { sys::decommit(base + npages * PAGE_SIZE, (old - npages) * PAGE_SIZE) };
    }
    let counts = &mut HEAP.lock().counts;
    counts.in_use = counts.in_use + npages - old;
    counts.mapped = counts.mapped + npages - old;
    true
}

/// Gives one run of free pages back, at most `most` pages, from the top. Returns the bytes.
pub(crate) fn scavenge_one(most: usize, dense: bool) -> usize {
    let Some((arena, page, n)) = ({
        let mut heap = HEAP.lock();
        heap.find_dirty(most, dense)
    }) else {
        return 0;
    };
    let base = arena.base.load(Ordering::Relaxed) + page * PAGE_SIZE;
    // SAFETY: free pages, marked in use, so that nobody allocates them meanwhile.
    let done = unsafe { sys::decommit(base, n * PAGE_SIZE) };
    let mut heap = HEAP.lock();
    heap.put(arena, page, n, done);
    if done {
        heap.counts.scavenged_bytes += (n * PAGE_SIZE) as u64;
    } else {
        heap.counts.dirty += n;
    }
    DIRTY.store(heap.counts.dirty, Ordering::Relaxed);
    if done { n * PAGE_SIZE } else { 0 }
}

impl Inner {
    fn find_dirty(&mut self, most: usize, dense: bool) -> Option<(&'static Arena, usize, usize)> {
        if self.counts.dirty == 0 {
            return None;
        }
        for number in (0..self.narenas).rev() {
            let arena = self.arena(number)?;
            if let Some((page, n)) = arena.pages.find_dirty(ARENA_PAGES, most, dense) {
                let peak = self.counts.peak;
                self.take(arena, page, n);
                self.counts.peak = peak;
                return Some((arena, page, n));
            }
        }
        None
    }
}
