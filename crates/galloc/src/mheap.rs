//! The page heap: Go's `mheap.go` over `mpagealloc.go`, one lock.
//!
//! Runs of pages come from the lowest arena that has one. An object of half an arena is *huge*:
//! a mapping of its own at an arena's alignment, entered in the table by its first address, so
//! that it can grow through `mremap` and goes back to the system when it is freed.
//!
//! Lock order: CHOICE of `scavenge` (nothing allocates under it), the shared cache of `slot`, SCAVENGE, a central list, HEAP, the bitmaps of `hardened`
//! or the heap profile, the chunk of `persistent_alloc`. No user code runs under any of them.

use crate::arena::{self, ARENA_SIZE, HeapArena, RECORD_PAGES};
use crate::fixalloc::FixAlloc;
use crate::lock::Mutex;
use crate::memlimit::{self, Account};
use crate::pagealloc::ARENA_PAGES;
use crate::scavenge;
use crate::sizeclass::{PAGE_SIZE, class_pages};
use crate::span::Span;
use crate::sys::{self, Remapped};
use core::ptr;
use core::sync::atomic::Ordering;

/// Arenas of the page heap: 1 TiB. Huge objects do not count.
const MAX_ARENAS: usize = 16384;
/// Objects over this are huge: two of this size fill an arena.
const HUGE: usize = (ARENA_PAGES - RECORD_PAGES) / 2 * PAGE_SIZE;

#[derive(Debug)]
pub(crate) struct Heap {
    pub(crate) arenas: [*mut HeapArena; MAX_ARENAS],
    /// The longest free run of each arena, apart from the records to be read in one sweep.
    max: [u16; MAX_ARENAS],
    pub(crate) len: usize,
    pub(crate) spans: FixAlloc,
    /// Pages in use, and free pages that occupy memory.
    pub(crate) used: usize,
    pub(crate) free_dirty: usize,
    /// How many of the latter the system does not take back; at most all.
    pub(crate) stuck: usize,
    /// Huge objects: how many, and their bytes.
    pub(crate) huge: usize,
    pub(crate) huge_bytes: usize,
    /// Bytes given back by the scavenger so far.
    pub(crate) released: u64,
    /// The memory limit's.
    pub(crate) account: Account,
}

// SAFETY: the pointers name records that are the heap's, under its lock.
unsafe impl Send for Heap {}

pub(crate) static HEAP: Mutex<Heap> = Mutex::new(Heap {
    arenas: [ptr::null_mut(); MAX_ARENAS],
    max: [0; MAX_ARENAS],
    len: 0,
    spans: FixAlloc::new(size_of::<Span>(), false, None),
    used: 0,
    free_dirty: 0,
    stuck: 0,
    huge: 0,
    huge_bytes: 0,
    released: 0,
    account: Account::new(),
});

impl Heap {
    /// Runs `f` on the page bits of an arena and keeps `max` true.
    pub(crate) fn pages<R>(
        &mut self,
        i: usize,
        f: impl FnOnce(&mut crate::pagealloc::PageAlloc) -> R,
    ) -> R {
        // SAFETY: `pages` is only used under the heap lock, which `&mut self` stands for.
        let pages = unsafe { &mut *(*self.arenas[i]).pages.get() };
        let r = f(pages);
        self.max[i] = pages.max() as u16;
        r
    }

    /// Counts free pages that come into use, `dirty` of which occupy memory already.
    fn count_taken(&mut self, n: usize, dirty: usize) {
        self.used += n;
        self.take_dirty(dirty);
        self.account.took(n, n - dirty);
    }

    /// Pages that are free and dirty no longer.
    pub(crate) fn take_dirty(&mut self, n: usize) {
        self.free_dirty -= n;
        self.stuck = self.stuck.min(self.free_dirty);
    }

    /// The place in `arenas` of the arena that holds a span.
    fn index_of(&self, at: usize) -> usize {
        // SAFETY: a span's arena is in the table.
        unsafe { (*arena::record_of(at)).index }
    }

    fn grow(&mut self) -> Option<usize> {
        let i = self.len;
        if i == MAX_ARENAS {
            return None;
        }
        let base = arena::reserve(i)?;
        scavenge::advise(base, ARENA_SIZE);
        // SAFETY: mapped just now, and seen by nobody if it is not made an arena.
        unsafe {
            if !arena::make(base, i) {
                sys::unmap(base, ARENA_SIZE);
                return None;
            }
        }
        self.arenas[i] = arena::record_of(base);
        self.max[i] = (ARENA_PAGES - RECORD_PAGES) as u16;
        self.len += 1;
        Some(i)
    }

    fn take_run(&mut self, n: usize, align: usize) -> Option<(usize, usize)> {
        for i in 0..self.len {
            if self.max[i] as usize >= n
                && let Some(at) = self.pages(i, |p| p.find(n, align))
            {
                return Some((i, at));
            }
        }
        let at = RECORD_PAGES.next_multiple_of(align);
        if at + n > ARENA_PAGES {
            return None;
        }
        Some((self.grow()?, at))
    }

    fn alloc(&mut self, n: usize, align: usize, class: usize) -> *mut Span {
        let Some(record) = self.spans.alloc() else {
            return ptr::null_mut();
        };
        let made = self.take_run(n, align).and_then(|(i, at)| {
            let base = self.arenas[i].addr() + at * PAGE_SIZE;
            let dirty = self.pages(i, |p| p.alloc(at, n));
            self.count_taken(n, dirty);
            let Some(span) = Span::new(base, n * PAGE_SIZE, class, dirty > 0) else {
                self.pages(i, |p| p.free(at, n, true));
                self.used -= n;
                self.free_dirty += n;
                return None;
            };
            Some((i, at, span))
        });
        let Some((i, at, span)) = made else {
            // SAFETY: it came from there just now.
            unsafe { self.spans.free(record) };
            return ptr::null_mut();
        };
        let record = record.cast::<Span>().as_ptr();
        // SAFETY: a record is a Span's size and alignment, and ours alone.
        unsafe { record.write(span) };
        self.enter(i, at, if class == 0 { 1 } else { n }, record);
        record
    }

    /// Enters a span for its pages; a large object is only ever looked up by its first.
    fn enter(&self, i: usize, at: usize, n: usize, span: *mut Span) {
        // SAFETY: the record is valid.
        let spans = unsafe { &(&(*self.arenas[i]).spans)[at..at + n] };
        for s in spans {
            s.store(span, Ordering::Relaxed);
        }
    }

    /// # Safety
    /// The caller owns the span, and no object of it is in use.
    unsafe fn free(&mut self, span: *mut Span) {
        // SAFETY: the span is valid until its record is freed below.
        unsafe {
            let (base, n, class) = ((*span).base, (*span).pages(), (*span).class);
            let i = self.index_of(base);
            let at = base % ARENA_SIZE / PAGE_SIZE;
            self.enter(i, at, if class == 0 { 1 } else { n }, ptr::null_mut());
            self.pages(i, |p| p.free(at, n, true));
            self.used -= n;
            self.free_dirty += n;
            self.free_record(span);
        }
    }

    /// # Safety
    /// The span is off every list and table.
    unsafe fn free_record(&mut self, span: *mut Span) {
        // SAFETY: the record came from `spans`, and nobody uses it any more.
        unsafe {
            span.drop_in_place();
            self.spans.free(ptr::NonNull::new_unchecked(span.cast()));
        }
    }

    fn alloc_huge(&mut self, bytes: usize, align: usize) -> *mut Span {
        let Some(base) = sys::alloc_aligned(0, bytes, align.max(ARENA_SIZE)) else {
            return ptr::null_mut();
        };
        scavenge::advise(base, bytes);
        let span = self.enter_huge(base, bytes);
        if span.is_null() {
            // SAFETY: mapped just now.
            unsafe { sys::unmap(base, bytes) };
        }
        span
    }

    fn enter_huge(&mut self, base: usize, bytes: usize) -> *mut Span {
        let Some(mut span) = Span::new(base, bytes, 0, false) else {
            return ptr::null_mut();
        };
        span.huge = true;
        let Some(record) = self.spans.alloc() else {
            return ptr::null_mut();
        };
        let record = record.cast::<Span>().as_ptr();
        // SAFETY: the record is a Span's size and alignment, and ours.
        unsafe { record.write(span) };
        if !arena::publish(base, record) {
            // SAFETY: nobody has seen it.
            unsafe { self.free_record(record) };
            return ptr::null_mut();
        }
        self.huge += 1;
        self.huge_bytes += bytes;
        self.account.took(bytes / PAGE_SIZE, bytes / PAGE_SIZE);
        record
    }

    /// Takes a huge object out of the table; its memory stays.
    ///
    /// # Safety
    /// The caller owns the object.
    unsafe fn leave_huge(&mut self, span: *mut Span) {
        // SAFETY: the span is valid, and the caller's.
        unsafe {
            arena::publish((*span).base, ptr::null_mut());
            self.huge -= 1;
            self.huge_bytes -= (*span).bytes();
            self.free_record(span);
        }
    }
}

/// A span of a small class, owned by nobody yet. Null without memory.
pub(crate) fn alloc_span(class: usize) -> *mut Span {
    let span = take_span(class);
    memlimit::after_alloc();
    span
}

/// [`alloc_span`] that does not look at the memory limit.
pub(crate) fn take_span(class: usize) -> *mut Span {
    HEAP.lock().alloc(class_pages(class), 1, class)
}

/// A large object: its span, null without memory.
pub(crate) fn alloc_large(size: usize, align: usize) -> *mut Span {
    let span = take_large(size, align);
    memlimit::after_alloc();
    span
}

/// [`alloc_large`] where all else has failed: from what caches and shelves keep, and what the scavenger has in
/// hand, too. The caller is at work on no cache that may not be found.
#[cold]
pub(crate) fn alloc_large_at_last(size: usize, align: usize) -> *mut Span {
    let span = scavenge::with_all_free(|| take_large(size, align));
    memlimit::after_alloc();
    span
}

fn take_large(size: usize, align: usize) -> *mut Span {
    let Some(bytes) = size.max(1).checked_next_multiple_of(PAGE_SIZE) else {
        return ptr::null_mut();
    };
    if bytes > isize::MAX as usize {
        return ptr::null_mut();
    }
    let is_huge = bytes.max(align) > HUGE;
    let mut span = ptr::null_mut();
    if is_huge {
        span = HEAP.lock().alloc_huge(bytes, align);
    }
    // Where no more addresses are to be had, an arena may have the room.
    if !is_huge || span.is_null() && bytes <= ARENA_SIZE && align <= ARENA_SIZE {
        let (n, align) = (bytes / PAGE_SIZE, align.div_ceil(PAGE_SIZE));
        span = HEAP.lock().alloc(n, align, 0);
    }
    span
}

/// # Safety
/// The caller owns the span, and nobody uses an object of it any more.
pub(crate) unsafe fn free_span(span: *mut Span) {
    // SAFETY: as the caller promises; a huge object's mapping is unmapped after the table has
    // forgotten it, and before anybody could map there again.
    unsafe {
        if (*span).huge {
            let (base, bytes) = ((*span).base, (*span).bytes());
            let mut heap = HEAP.lock();
            heap.leave_huge(span);
            drop(heap);
            sys::unmap(base, bytes);
            return;
        }
        let mut heap = HEAP.lock();
        heap.free(span);
        let wanted = scavenge::is_wanted(&heap);
        drop(heap);
        if wanted {
            scavenge::wake();
        }
    }
}

/// Resizes a large object without copying. Some(its address) on success, which for a huge one may
/// be a new one.
///
/// # Safety
/// The caller owns the object, whose span this is.
pub(crate) unsafe fn resize_large(span: *mut Span, size: usize) -> Option<usize> {
    let new = size.max(1).checked_next_multiple_of(PAGE_SIZE)?;
    // SAFETY: the span is valid and the caller's.
    let (base, old, huge) = unsafe { ((*span).base, (*span).bytes(), (*span).huge) };
    if new == old {
        return Some(base);
    }
    if huge != (new > HUGE) {
        return None;
    }
    // SAFETY: as the caller promises.
    let at = unsafe {
        if huge {
            resize_huge(span, new)?
        } else {
            resize_in_place(span, new)?
        }
    };
    if new > old {
        memlimit::after_alloc();
    } else if scavenge::is_wanted(&HEAP.lock()) {
        scavenge::wake();
    }
    Some(at)
}

/// # Safety
/// As [`resize_large`], for an object that is not huge.
unsafe fn resize_in_place(span: *mut Span, new: usize) -> Option<usize> {
    // SAFETY: the span is valid and the caller's.
    let (base, old) = unsafe { ((*span).base, (*span).bytes()) };
    let mut heap = HEAP.lock();
    let i = heap.index_of(base);
    let at = base % ARENA_SIZE / PAGE_SIZE;
    let (had, wants) = (old / PAGE_SIZE, new / PAGE_SIZE);
    if wants < had {
        heap.pages(i, |p| p.free(at + wants, had - wants, true));
        heap.used -= had - wants;
        heap.free_dirty += had - wants;
    } else {
        let more = wants - had;
        if !heap.pages(i, |p| p.is_free(at + had, more)) {
            return None;
        }
        let dirty = heap.pages(i, |p| p.alloc(at + had, more));
        heap.count_taken(more, dirty);
    }
    // SAFETY: as above.
    unsafe { (*span).set_bytes(new) };
    Some(base)
}

/// # Safety
/// As [`resize_large`], for a huge object.
unsafe fn resize_huge(span: *mut Span, new: usize) -> Option<usize> {
    let mut heap = HEAP.lock();
    // SAFETY: the span and its mapping are the caller's.
    unsafe {
        let (base, old) = ((*span).base, (*span).bytes());
        match sys::remap(base, old, new) {
            Remapped::Done => {
                (*span).set_bytes(new);
                heap.huge_bytes = heap.huge_bytes - old + new;
                let more = new.saturating_sub(old) / PAGE_SIZE;
                heap.account.took(more, more);
                return Some(base);
            }
            Remapped::NoRoom => {}
            Remapped::Never => return None,
        }
        let to = sys::alloc_aligned(0, new, ARENA_SIZE)?;
        let moved = heap.enter_huge(to, new);
        if moved.is_null() {
            sys::unmap(to, new);
            return None;
        }
        if !sys::move_to(base, old, new, to) {
            heap.leave_huge(moved);
            return None;
        }
        heap.leave_huge(span);
        Some(to)
    }
}
