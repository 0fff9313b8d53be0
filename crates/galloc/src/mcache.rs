//! What a thread allocates from without a lock: Go's `mcache.go`, R123.
//!
//! A list of spans with room per class, the one in use at its head. A span that gets room again
//! goes to the end: until its turn comes more of its objects are freed, and one turn serves many
//! allocations. (Behind the head, it served one or two, and random frees took 1.4 times as long.)
//!
//! A cache belongs to the thread that leases its slot (see `slot`); nothing in it is shared but its
//! shelf. When the head runs out it takes what others freed into it, or else is sealed and
//! forgotten. A span that loses its last object goes back to the page heap unless it is the one in
//! use.

use crate::arena::span_of;
use crate::mcentral;
use crate::mheap;
#[cfg(feature = "profile")]
use crate::mprof;
use crate::remote::{Block, Freed};
use crate::scavenge;
use crate::shelf::{QUIET, Shelf};
use crate::sizeclass::{NUM_SIZE_CLASSES, class_of};
use crate::span::{NOBODY, Span, SpanList};
use crate::sys;
use crate::tiny::{BLOCK, Tiny};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr;
use core::sync::atomic::Ordering;

/// Spans a cache keeps per class; more go to the central list, for others to use.
const MAX_SPANS: usize = 256;
/// Bytes freed into spans of others before the scavenger hears of it.
const STRAYED: usize = 1 << 20;

/// An object, and whether all its bytes are known to be zero.
pub(crate) type Object = (*mut u8, bool);

#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Cache {
    /// What `Span::owner` says of this cache's spans: the cache's address, or `usize::MAX` for the
    /// shared one.
    id: usize,
    /// Its number among the slots.
    pub(crate) slot: usize,
    lists: [SpanList; NUM_SIZE_CLASSES],
    /// Large objects freed; see `shelf` for who may do what.
    shelf: Shelf,
    /// The block of tiny objects being filled.
    tiny: Tiny,
    /// Bytes freed into spans of others since the scavenger heard of it.
    strayed: Cell<usize>,
    /// Bytes to the next sample of the heap profile; 0 at first, and `isize::MAX` while one is taken.
    #[cfg(feature = "profile")]
    to_sample: Cell<isize>,
}

impl Cache {
    pub(crate) const fn new(id: usize, slot: usize) -> Self {
        Self {
            id,
            slot,
            lists: [const { SpanList::new() }; NUM_SIZE_CLASSES],
            shelf: Shelf::new(),
            tiny: Tiny::new(),
            strayed: Cell::new(0),
            #[cfg(feature = "profile")]
            to_sample: Cell::new(0),
        }
    }

    #[inline(always)]
    fn list(&self, class: usize) -> &SpanList {
        debug_assert!(class < NUM_SIZE_CLASSES);
        // SAFETY: classes come from the tables of `sizeclass`, which name no others, and from spans
        // made of them.
        unsafe { self.lists.get_unchecked(class) }
    }

    /// An object of a class; null without memory.
    #[inline(always)]
    pub(crate) fn alloc(&self, class: usize) -> Object {
        let span = self.list(class).head();
        if !span.is_null() {
            // SAFETY: spans in this cache's lists are its own.
            let p = unsafe { (*span).pop() };
            if !p.is_null() {
                return handed(span, p, false);
            }
        }
        self.alloc_slow(class)
    }

    #[inline(never)]
    fn alloc_slow(&self, class: usize) -> Object {
        loop {
            let span = self.lists[class].head();
            if span.is_null() {
                if !self.refill(class) && !self.refill_anew(class) {
                    return (ptr::null_mut(), false);
                }
                continue;
            }
            // SAFETY: as above. `owner` is cleared before sealing, for once the span is sealed
            // another thread may adopt it and write there.
            unsafe {
                let p = (*span).pop();
                if !p.is_null() {
                    return handed(span, p, false);
                }
                let p = (*span).bump();
                if !p.is_null() {
                    return handed(span, p, !(*span).needzero.get());
                }
                if (*span).collect() {
                    continue;
                }
                self.lists[class].remove(span);
                (*span).owner.store(NOBODY, Ordering::Relaxed);
                if !(*span).remote.seal() {
                    (*span).owner.store(self.id, Ordering::Relaxed);
                    self.lists[class].push_front(span);
                }
            }
        }
    }

    fn refill(&self, class: usize) -> bool {
        let mut span = mcentral::get(class, self.id);
        if span.is_null() {
            span = mheap::alloc_span(class);
            if span.is_null() {
                return false;
            }
            // SAFETY: new, so nobody else's.
            unsafe { (*span).owner.store(self.id, Ordering::Relaxed) };
        }
        // SAFETY: owned, and on no list.
        unsafe { self.lists[class].push_front(span) };
        true
    }

    /// [`refill`](Self::refill) from what caches and shelves keep, this cache's too. It is as it may be
    /// found, for its list is empty and no more is begun.
    #[cold]
    fn refill_anew(&self, class: usize) -> bool {
        scavenge::empty_caches();
        self.refill(class)
    }

    /// # Safety
    /// `p` is an allocated object of `span`, a span of a small class, and nobody uses it.
    #[inline]
    pub(crate) unsafe fn free(&self, span: *mut Span, p: *mut u8) {
        let block = p.cast::<Block>();
        // SAFETY: as the caller promises.
        unsafe {
            if (*span).owner.load(Ordering::Relaxed) == self.id {
                return self.free_own(span, block);
            }
            going(span, p);
            // Pushed, the object is gone, and its span may be too.
            let size = (*span).size;
            match (*span).remote.push(block) {
                Freed::Adopted => self.adopt(span, block),
                Freed::Pushed => self.stray(size),
            }
        }
    }

    /// Counts bytes freed into a span of others. If its owner allocates, it finds them. If nobody owns it,
    /// or a cache that no thread leases does, the scavenger must look.
    #[inline]
    fn stray(&self, size: usize) {
        let bytes = self.strayed.get() + size;
        if bytes < STRAYED {
            self.strayed.set(bytes);
        } else {
            self.strayed.set(0);
            scavenge::strayed();
        }
    }

    /// # Safety
    /// As [`free`](Self::free), and the span is this cache's: `owner` said so to the lessee, and
    /// only the lessee makes it this cache's id or stops it being that.
    #[inline(always)]
    pub(crate) unsafe fn free_own(&self, span: *mut Span, block: *mut Block) {
        // SAFETY: as the caller promises.
        unsafe {
            going(span, block.cast());
            if (*span).push(block) == 0 {
                let list = self.list((*span).class as usize);
                if !ptr::eq(list.head(), span) {
                    self.retire(span);
                }
            }
        }
    }

    /// # Safety
    /// This cache's span, of which no object is out, and not the head of its list.
    #[cold]
    #[inline(never)]
    unsafe fn retire(&self, span: *mut Span) {
        // SAFETY: as the caller promises.
        unsafe {
            self.lists[(*span).class as usize].remove(span);
            mheap::free_span(span);
        }
    }

    /// Counts bytes allocated; true if they are to be sampled, and no others before
    /// [`end_sample`](Self::end_sample).
    #[cfg(feature = "profile")]
    #[inline]
    pub(crate) fn count(&self, size: usize) -> bool {
        let before = self.to_sample.get();
        let left = before.saturating_sub_unsigned(size);
        if left > 0 {
            self.to_sample.set(left);
            return false;
        }
        let taken = mprof::is_taken(before == 0);
        if taken {
            self.to_sample.set(isize::MAX);
        } else {
            self.end_sample();
        }
        taken
    }

    /// Draws the distance to the next sample.
    #[cfg(feature = "profile")]
    pub(crate) fn end_sample(&self) {
        self.to_sample.set(mprof::next_sample());
    }

    /// A tiny object of a layout that `tiny::fits`; null without memory.
    pub(crate) fn alloc_tiny(&self, layout: Layout) -> *mut u8 {
        self.tiny.alloc(
            layout,
            || self.alloc(class_of(BLOCK)).0,
            |b| self.free_block(b),
        )
    }

    fn free_block(&self, block: *mut u8) {
        // SAFETY: a block of tiny objects is an object of the allocator, and none is left in it.
        unsafe { self.free(span_of(block.addr()), block) };
    }

    /// The span of a large object that was freed lately: at least `n` pages, at a multiple of
    /// `align`. Null if there is none.
    pub(crate) fn alloc_large(&self, n: usize, align: usize) -> *mut Span {
        let span = self.shelf.take(n, |span| {
            // SAFETY: what is on a shelf is a span that nobody else has.
            unsafe { (*to_span(span)).base.is_multiple_of(align) }
        });
        to_span(span)
    }

    /// Takes back a large object of at most `LARGEST` pages.
    ///
    /// # Safety
    /// The caller owns the object, and nobody uses it any more.
    pub(crate) unsafe fn free_large(&self, span: *mut Span) {
        // SAFETY: as the caller promises.
        let n = unsafe { (*span).pages() };
        if self.shelf.put(span.expose_provenance(), n, give_up) > QUIET && scavenge::is_asleep() {
            scavenge::wake();
        }
    }

    /// Any thread may do this.
    pub(crate) fn clear_shelf(&self) {
        self.shelf.clear(give_up);
    }

    /// Frees what has lain on the shelf since the last call; true if anything was there. Any thread
    /// may do this.
    pub(crate) fn age_shelf(&self) -> bool {
        self.shelf.age(give_up)
    }

    /// # Safety
    /// The seal of the span was broken by this thread, which holds `block` of it.
    #[inline(never)]
    unsafe fn adopt(&self, span: *mut Span, block: *mut Block) {
        // SAFETY: the span is this thread's alone.
        unsafe {
            let list = &self.lists[(*span).class as usize];
            let live = (*span).push(block);
            if list.len() >= MAX_SPANS {
                return mcentral::put(span);
            }
            (*span).owner.store(self.id, Ordering::Relaxed);
            list.push_back(span);
            if live == 0 && !ptr::eq(list.head(), span) {
                self.retire(span);
            }
        }
    }

    /// Gives all spans up: those without an object to the heap, the others to the central lists.
    pub(crate) fn flush(&self) {
        self.clear_shelf();
        self.tiny.give_up(|b| self.free_block(b));
        for list in &self.lists {
            while !list.head().is_null() {
                let span = list.head();
                // SAFETY: this cache's span.
                unsafe {
                    list.remove(span);
                    mcentral::put(span);
                }
            }
        }
    }
}

fn to_span(span: usize) -> *mut Span {
    ptr::with_exposed_provenance_mut(span)
}

/// What falls off a shelf goes to the page heap.
fn give_up(span: usize) {
    // SAFETY: a span that came off a shelf belongs to who took it.
    unsafe { mheap::free_span(to_span(span)) };
}

// SAFETY: a cache is its lessee's alone, and leases are handed on through Release and Acquire.
unsafe impl Send for Cache {}

/// What every object passes on its way out.
#[inline(always)]
fn handed(span: *mut Span, p: *mut u8, zero: bool) -> Object {
    // SAFETY: the caller owns the span.
    unsafe {
        #[cfg(feature = "hardened")]
        (*span).bits.handed(&*span, p);
        sys::unpoison(p, (*span).size);
    }
    (p, zero)
}

/// What every object passes on its way back.
///
/// # Safety
/// `p` is an allocated object of `span` that nobody uses any more; `hardened` checks that it is one.
#[inline(always)]
unsafe fn going(span: *mut Span, p: *mut u8) {
    // SAFETY: as the caller promises.
    unsafe {
        #[cfg(feature = "hardened")]
        (*span).bits.freed(&*span, p);
        sys::poison(p, (*span).size);
    }
}
