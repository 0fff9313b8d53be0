//! Allocate, free, reallocate (Go's `malloc.go`): the fast paths, and what lies beside them.

use crate::arena;
use crate::mcache::{Cache, Fresh, IDLE_SPAN_PAGES};
use crate::mheap;
use crate::mspan::{FULL, Link, Span, bump};
use crate::sizeclasses::{MAX_SMALL_SIZE, PAGE_SIZE, class_of, class_of_aligned};
use crate::{hardened, scavenge, slots};
use core::sync::atomic::Ordering;

/// Above this an object that cannot grow where it lies moves by its page tables.
const NATURAL_ALIGN: usize = 16;

/// Where a request of this size and alignment goes: a class, or a large span.
#[inline(always)]
fn classify(size: usize, align: usize) -> Option<usize> {
    if align <= NATURAL_ALIGN {
        // Every class of 32 bytes and more is a multiple of 16, and rounding 24 up to 16's multiple
        // passes over the one that is not; below 16 bytes the size itself rounds up to a class.
        let size = if align > 8 { size.wrapping_add(15) & !15 } else { size };
        (size <= MAX_SMALL_SIZE).then(|| class_of(size))
    } else {
        class_of_aligned(size, align)
    }
}

/// `size` bytes at a multiple of `align`, a power of two; 0 when out of memory.
#[inline(always)]
pub(crate) fn alloc(size: usize, align: usize) -> usize {
    let Some(class) = classify(size, align) else {
        return alloc_large(size, align).0;
    };
    let object = match slots::current() {
        Some(cache) => cache.alloc(class),
        None => alloc_leasing(class).0,
    };
    hardened::on_alloc(object);
    object
}

/// As [`alloc`], zeroed.
#[inline]
pub(crate) fn alloc_zeroed(size: usize, align: usize) -> usize {
    let (object, zero) = match classify(size, align) {
        None => alloc_large(size, align),
        Some(class) => {
            let fresh = match slots::current() {
                Some(cache) => cache.alloc_fresh(class),
                None => alloc_leasing(class),
            };
            hardened::on_alloc(fresh.0);
            fresh
        }
    };
    if !zero && object != 0 {
        // SAFETY: the object is new and at least size bytes long.
        unsafe { core::ptr::write_bytes(object as *mut u8, 0, size) };
    }
    object
}

#[cold]
#[inline(never)]
fn alloc_leasing(class: usize) -> Fresh {
    match slots::lease() {
        Some(cache) => cache.alloc_fresh(class),
        None => (0, false),
    }
}

#[inline(never)]
fn alloc_large(size: usize, align: usize) -> Fresh {
    let Some(npages) = size.checked_add(PAGE_SIZE - 1).map(|n| n / PAGE_SIZE) else {
        return (0, false);
    };
    if npages > isize::MAX as usize / PAGE_SIZE {
        return (0, false);
    }
    let Some(cache) = slots::current().or_else(slots::lease) else {
        return (0, false);
    };
    let Some(span) = cache.new_span(npages.max(1), (align / PAGE_SIZE).max(1), 0) else {
        return (0, false);
    };
    span.allocs.store(1, Ordering::Relaxed);
    bump(&cache.past[0].allocs, 1);
    bump(&cache.large.allocs, span.elem_size.get() as u64);
    scavenge::after_alloc();
    let object = span.base.get();
    hardened::on_alloc(object);
    (object, !span.needzero.get())
}

/// Frees an object.
///
/// # Safety
/// It came from this module and was not freed since; nobody uses it any more.
#[inline(always)]
pub(crate) unsafe fn free(object: usize) {
    // SAFETY: the caller's contract (which hardened mode checks).
    let span = unsafe {
        hardened::on_free(object);
        arena::span_of(object)
    };
    let cache = slots::current();
    if let Some(cache) = cache
        && span.owner.load(Ordering::Relaxed) == core::ptr::from_ref(cache) as usize
    {
        // SAFETY: as above, and the cache owns the span.
        unsafe { cache.free(span, object) };
    } else {
        // SAFETY: as above.
        unsafe { free_slow(span, object, cache) };
    }
}

/// Frees an object of a span that is large, full, or another's.
///
/// # Safety
/// As for [`free`].
#[cold]
#[inline(never)]
unsafe fn free_slow(span: &'static Span, object: usize, cache: Option<&'static Cache>) {
    if span.class.load(Ordering::Relaxed) == 0 {
        return free_large(span, cache);
    }
    let owner = span.owner.load(Ordering::Relaxed);
    if let Some(cache) = cache
        && owner == core::ptr::from_ref(cache) as usize | FULL
    {
        // SAFETY: the caller's contract, and the cache owns the span.
        return unsafe { cache.free_in_full(span, object) };
    }
    // SAFETY: the object is free, ours until pushed, and at least a word long.
    let owed = span
        .remote
        .push(object, |next| unsafe { (object as *mut Link).write(next) });
    if owed {
        let owner = span.owner.load(Ordering::Relaxed) & !FULL;
        // SAFETY: an armed span is owned by a cache until the notice arrives.
        unsafe { &*(owner as *const Cache) }.notify(span);
    }
}

fn free_large(span: &'static Span, cache: Option<&'static Cache>) {
    let cache = match cache.or_else(slots::lease) {
        Some(cache) => cache,
        None => return mheap::free_span(span),
    };
    bump(&cache.past[0].frees, 1);
    bump(&cache.large.frees, span.elem_size.get() as u64);
    if span.npages.get() <= IDLE_SPAN_PAGES {
        cache.give_back(span);
    } else {
        span.allocs.store(0, Ordering::Relaxed);
        mheap::free_span(span);
        scavenge::after_free();
    }
}

/// Makes an object `size` bytes long, in place or elsewhere; 0, and the object unchanged, when out of
/// memory.
///
/// # Safety
/// As for [`free`]; `align` is the object's alignment, and it has `old_size` bytes worth keeping.
#[inline]
pub(crate) unsafe fn realloc(object: usize, old_size: usize, size: usize, align: usize) -> usize {
    // SAFETY: the caller's contract.
    let span = unsafe { arena::span_of(object) };
    let room = span.elem_size.get();
    if span.class.load(Ordering::Relaxed) != 0 {
        // In place unless more than half would be wasted.
        if size <= room && size >= room / 2 {
            return object;
        }
    } else if size > MAX_SMALL_SIZE && resize_large(span, size) {
        return object;
    }
    // SAFETY: the caller's contract.
    unsafe { realloc_move(span, object, old_size, size, align) }
}

#[inline(never)]
unsafe fn realloc_move(
    span: &'static Span,
    object: usize,
    old_size: usize,
    size: usize,
    align: usize,
) -> usize {
    let new = alloc(size, align);
    if new == 0 {
        return 0;
    }
    let keep = old_size.min(size);
    let moved = span.mapping.get() != 0
        && arena::find_span(new)
            .is_some_and(|to| to.mapping.get() != 0 && mheap::move_mapping(span, to));
    // SAFETY: two live objects of at least that length; then the old one is free.
    unsafe {
        if !moved {
            core::ptr::copy_nonoverlapping(object as *const u8, new as *mut u8, keep);
        }
        free(object);
    }
    new
}

fn resize_large(span: &'static Span, size: usize) -> bool {
    let Some(npages) = size.checked_add(PAGE_SIZE - 1).map(|n| n / PAGE_SIZE) else {
        return false;
    };
    let (old, old_bytes) = (span.npages.get(), span.elem_size.get());
    if npages == old {
        return true;
    }
    let grown = npages > old;
    if npages > isize::MAX as usize / PAGE_SIZE || !mheap::resize_span(span, npages) {
        return false;
    }
    if let Some(cache) = slots::current() {
        let (more, less) = (span.elem_size.get(), old_bytes);
        if grown {
            bump(&cache.large.allocs, (more - less) as u64);
        } else {
            bump(&cache.large.frees, (less - more) as u64);
        }
    }
    if grown {
        scavenge::after_alloc();
    } else {
        scavenge::after_free();
    }
    true
}
