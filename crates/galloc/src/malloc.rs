//! The allocator as the world sees it: Go's `mallocgc` without the collector (`malloc.go`).

use crate::arena::{span_in_arena, span_of};
use crate::mcache::Object;
#[cfg(feature = "profile")]
use crate::mprof;
use crate::pagealloc::ARENA_PAGES;
use crate::shelf::LARGEST;
use crate::sizeclass::{
    MAX_SMALL_SIZE, PAGE_SIZE, SMALL_SIZE_DIV, SMALL_SIZE_MAX, class_for, class_of,
    class_of_longer, is_small,
};
use crate::slot::{self, with_cache};
use crate::span::Span;
use crate::{mheap, sys};
use core::alloc::{GlobalAlloc, Layout};
use core::hint::cold_path;
use core::ptr;
use core::sync::atomic::Ordering;

/// The allocator: a name for the one heap of the process.
///
/// Any alignment is served, up to the system's address space; a size that overflows or memory that
/// is not there gives null. Objects may be freed by any thread.
///
/// ```
/// #[global_allocator]
/// static A: galloc::Galloc = galloc::Galloc;
///
/// fn main() {
///     let words: Vec<String> = ["gives", "memory", "back"].map(String::from).into();
///     assert_eq!(words.concat(), "givesmemoryback");
/// }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Galloc;

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Galloc>();
};

/// `size` bytes at a multiple of `align`, and whether they are known to be zero.
#[inline(always)]
fn allocate(size: usize, align: usize) -> Object {
    let object = allocate_unseen(size, align);
    #[cfg(feature = "profile")]
    profile(object.0, size);
    object
}

/// Samples a new object if its turn has come. Inlined, so that a stack begins with who asked.
#[cfg(feature = "profile")]
#[inline(always)]
fn profile(p: *mut u8, size: usize) {
    if !p.is_null() && with_cache(move |cache| cache.count(size)) {
        if mprof::sampled(p.addr(), size) {
            // Whoever frees the object gets it after this.
            span_of_object(p).sampled.fetch_add(1, Ordering::Relaxed);
        }
        with_cache(crate::mcache::Cache::end_sample);
    }
}

/// Takes an object out of the profile that is about to go.
#[cfg(feature = "profile")]
#[inline]
fn unprofile(span: &Span, p: *mut u8) {
    if span.sampled.load(Ordering::Relaxed) != 0 && mprof::freed(p.addr()) {
        span.sampled.fetch_sub(1, Ordering::Relaxed);
    }
}

#[inline(always)]
fn allocate_unseen(size: usize, align: usize) -> Object {
    if align > SMALL_SIZE_DIV {
        cold_path();
        return allocate_aligned(size, align);
    }
    if size <= SMALL_SIZE_MAX {
        return with_cache(move |cache| cache.alloc_common(size));
    }
    if size <= MAX_SMALL_SIZE {
        return with_cache(move |cache| cache.alloc(class_of_longer(size)));
    }
    allocate_large(size, SMALL_SIZE_DIV)
}

#[inline(never)]
fn allocate_aligned(size: usize, align: usize) -> Object {
    match class_for(size, align) {
        Some(class) => with_cache(move |cache| cache.alloc(class)),
        None => allocate_large(size, align),
    }
}

fn allocate_large(size: usize, align: usize) -> Object {
    let n = size.div_ceil(PAGE_SIZE).max(1);
    let mut span = ptr::null_mut();
    if n <= LARGEST {
        span = with_cache(move |cache| cache.alloc_large(n, align));
    }
    if span.is_null() {
        span = mheap::alloc_large(size, align);
    }
    if span.is_null() && n <= ARENA_PAGES {
        // An arena may have the room, but for what caches keep of it.
        span = mheap::alloc_large_at_last(size, align);
    }
    if span.is_null() {
        return (ptr::null_mut(), false);
    }
    // SAFETY: the new object is ours.
    unsafe {
        (*span).set_live(true);
        sys::unpoison(
            ptr::with_exposed_provenance_mut((*span).base),
            (*span).bytes(),
        );
        (
            ptr::with_exposed_provenance_mut((*span).base),
            !(*span).needzero.get(),
        )
    }
}

/// The span of an allocated object. Ends the process if there is none.
#[inline(always)]
fn span_of_object<'a>(p: *mut u8) -> &'a Span {
    let span = span_of(p.addr());
    if span.is_null() {
        sys::fatal("not an allocated object:", p.addr());
    }
    // SAFETY: the span of a live object is valid.
    unsafe { &*span }
}

/// The span of an object of a small class, which an arena holds: no table is asked. Where wrong frees
/// are looked for, it is, and the process ended if there is no span.
///
/// # Safety
/// `p` is an allocated object of a small class.
#[inline(always)]
unsafe fn span_of_small(p: *mut u8) -> *mut Span {
    if cfg!(any(feature = "hardened", debug_assertions)) {
        span_of_object(p);
    }
    // SAFETY: as the caller promises.
    unsafe { span_in_arena(p.addr()) }
}

/// # Safety
/// `p` is an allocated object that nobody uses any more.
#[inline(never)]
unsafe fn free(p: *mut u8) {
    // SAFETY: as the caller promises.
    unsafe { free_of(ptr::from_ref(span_of_object(p)).cast_mut(), p) }
}

/// # Safety
/// As [`free`]; the span is the object's.
#[inline(always)]
unsafe fn free_of(span: *mut Span, p: *mut u8) {
    // Blocks are linked by address, so their provenance is that of the heap's mappings.
    p.expose_provenance();
    // SAFETY: as the caller promises. A span that names this thread's cache as its owner is of a
    // small class and stays the cache's while this thread is here.
    unsafe {
        #[cfg(feature = "profile")]
        unprofile(&*span, p);
        let cache = slot::own();
        if (*span).owner.load(Ordering::Relaxed) == cache.addr() {
            return (*cache).free_own(span, p.cast());
        }
        free_slow(span, p);
    }
}

/// # Safety
/// As [`free`]; the span is the object's.
#[inline(never)]
unsafe fn free_slow(span: *mut Span, p: *mut u8) {
    // SAFETY: as the caller promises.
    unsafe {
        if (*span).class == 0 {
            free_large(span, p);
        } else {
            with_cache(move |cache| cache.free(span, p));
        }
    }
}

/// # Safety
/// As [`free`]; the span is the object's, of class 0.
unsafe fn free_large(span: *mut Span, p: *mut u8) {
    // SAFETY: as the caller promises.
    unsafe {
        check_large(&*span, p);
        (*span).set_live(false);
        (*span).needzero.set(true);
        sys::poison(p, (*span).bytes());
        if (*span).pages() <= LARGEST {
            with_cache(move |cache| cache.free_large(span));
        } else {
            mheap::free_span(span);
        }
    }
}

/// Ends the process unless `p` is the large object of the span.
fn check_large(span: &Span, p: *mut u8) {
    if span.base != p.addr() {
        sys::fatal("free inside a large object:", p.addr());
    }
    if span.is_unused() {
        sys::fatal("double free of", p.addr());
    }
}

/// Under `hardened`, ends the process unless `p` is an allocated object.
#[inline(always)]
fn check_resized(p: *mut u8) {
    #[cfg(feature = "hardened")]
    {
        let span = span_of_object(p);
        if span.class == 0 {
            check_large(span, p);
        } else {
            span.bits.check(span, p);
        }
    }
    #[cfg(not(feature = "hardened"))]
    let _ = p;
}

/// # Safety
/// As [`GlobalAlloc::realloc`] with a layout of `align` and any size; `used` bytes are kept.
unsafe fn resize(p: *mut u8, used: usize, align: usize, size: usize) -> *mut u8 {
    // SAFETY: as the caller promises; the two objects are apart.
    unsafe {
        let span = ptr::from_ref(span_of_object(p)).cast_mut();
        let class = class_for(size, align);
        if (*span).class == 0 {
            check_large(&*span, p);
            // It may move, and its span's record go; no sample must stay behind.
            #[cfg(feature = "profile")]
            unprofile(&*span, p);
            if class.is_none()
                && align <= crate::arena::ARENA_SIZE
                && let Some(at) = mheap::resize_large(span, size)
            {
                let new = ptr::with_exposed_provenance_mut(at);
                sys::unpoison(new, span_of_object(new).usable());
                #[cfg(feature = "profile")]
                profile(new, size);
                return new;
            }
        } else if class.is_some_and(|c| c == (*span).class as usize) {
            return p;
        }
        let (new, _) = allocate(size, align);
        if !new.is_null() {
            ptr::copy_nonoverlapping(p, new, used.min(size));
            free(p);
        }
        new
    }
}

// SAFETY: objects are apart, at least as long and aligned as asked (`class_for`, `alloc_large`),
// and stay until they are freed. Nothing panics or allocates through the global allocator.
unsafe impl GlobalAlloc for Galloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocate(layout.size(), layout.align()).0
    }

    #[inline]
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises. What an object of this layout lies in, `class_for` says; it
        // said so too when the object came to have it.
        unsafe {
            if is_small(layout.size(), layout.align()) {
                free_of(span_of_small(p), p);
            } else {
                cold_path();
                free(p);
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (p, zero) = allocate(layout.size(), layout.align());
        if !zero && !p.is_null() {
            // SAFETY: the object is that long.
            unsafe { p.write_bytes(0, layout.size()) };
        }
        p
    }

    #[inline]
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check_resized(p);
        if layout.align() <= SMALL_SIZE_DIV
            && layout.size().max(size) <= MAX_SMALL_SIZE
            && class_of(size) == class_of(layout.size())
        {
            return p;
        }
        // SAFETY: as the caller promises.
        unsafe { resize(p, layout.size(), layout.align(), size) }
    }
}

impl Galloc {
    /// Bytes that may be used at `p`, at least as many as were asked for. O(1).
    ///
    /// # Safety
    /// `p` is an object of this allocator that is not freed.
    #[must_use]
    pub unsafe fn usable_size(&self, p: *mut u8) -> usize {
        span_of_object(p).usable()
    }

    /// Frees an object without its layout, as C's `free` does.
    ///
    /// # Safety
    /// `p` is an object of this allocator, not null and not used any more.
    pub unsafe fn free(&self, p: *mut u8) {
        // SAFETY: as the caller promises.
        unsafe { free(p) }
    }

    /// Resizes an object without its layout: at least `size` bytes at a multiple of `align`. Null, and
    /// the object stays, without memory.
    ///
    /// # Safety
    /// `p` is an object of this allocator that is not freed, and lies at a multiple of `align`, a power
    /// of two; `size` is not 0.
    #[must_use]
    pub unsafe fn resize(&self, p: *mut u8, align: usize, size: usize) -> *mut u8 {
        check_resized(p);
        // SAFETY: as the caller promises.
        unsafe { resize(p, self.usable_size(p), align, size) }
    }
}
