//! What a thread allocates from without a lock: Go's `mcache.go`, R123.
//!
//! A list of spans with room per class, the one in use at its head. A span that gets room again
//! goes to the end: until its turn comes more of its objects are freed, and one turn serves many
//! allocations. (Behind the head, it served one or two, and random frees took 1.4 times as long.)
//! The heads stand once more by the sizes they serve, so that a common request finds its span by one
//! load (mimalloc's idea), and a head is marked in its span, so that a free that leaves it without
//! objects is like any other.
//!
//! A cache belongs to the thread that leases its slot (see `slot`); nothing in it is shared but its
//! shelf. When the head runs out it takes what others freed into it, or else is sealed and
//! forgotten. A span that loses its last object goes back to the page heap unless it is the one in
//! use.

use crate::arena::span_of;
use crate::mcentral;
use crate::memlimit;
use crate::mheap;
#[cfg(feature = "profile")]
use crate::mprof;
use crate::remote::{Block, Freed};
use crate::scavenge;
use crate::shelf::{QUIET, Shelf};
use crate::sizeclass::{
    COMMON_WORDS, NUM_SIZE_CLASSES, SMALL_SIZE_MAX, class_of, words_for, words_of,
};
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
    /// For each of the common sizes, in words, the head of its class's list.
    heads: [Cell<*mut Span>; COMMON_WORDS],
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
            heads: [const { Cell::new(ptr::null_mut()) }; COMMON_WORDS],
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

    /// Changes the list of a class, and with it what else says which span is its head.
    fn change(&self, class: usize, f: impl FnOnce(&SpanList)) {
        let list = self.list(class);
        let before = list.head();
        f(list);
        let head = list.head();
        if !ptr::eq(head, before) {
            // SAFETY: the list's spans are this cache's, and so is the one that was its head.
            unsafe {
                if let Some(span) = before.as_ref() {
                    span.set_head(false);
                }
                if let Some(span) = head.as_ref() {
                    span.set_head(true);
                }
            }
            for place in &self.heads[words_for(class)] {
                place.set(head);
            }
        }
    }

    /// An object of at most `SMALL_SIZE_MAX` bytes at its natural alignment; null without memory.
    #[inline(always)]
    pub(crate) fn alloc_common(&self, size: usize) -> Object {
        debug_assert!(size <= SMALL_SIZE_MAX);
        // SAFETY: there is a place for each common size, and a head is this cache's own.
        unsafe {
            let head = self.heads.get_unchecked(words_of(size)).get();
            pop(head).unwrap_or_else(|| self.alloc_common_slow(size))
        }
    }

    /// Apart, so that the class is not looked for where it is not needed.
    #[inline(never)]
    fn alloc_common_slow(&self, size: usize) -> Object {
        self.alloc_slow(class_of(size.max(1)))
    }

    /// An object of a class; null without memory.
    #[inline(always)]
    pub(crate) fn alloc(&self, class: usize) -> Object {
        // SAFETY: spans in this cache's lists are its own.
        unsafe { pop(self.list(class).head()) }.unwrap_or_else(|| self.alloc_slow(class))
    }

    #[inline(never)]
    fn alloc_slow(&self, class: usize) -> Object {
        loop {
            let span = self.lists[class].head();
            if span.is_null() {
                if self.refill(class, mheap::alloc_span) || self.refill_anew(class) {
                    continue;
                }
                return (ptr::null_mut(), false);
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
                self.change(class, |list| list.remove(span));
                (*span).owner.store(NOBODY, Ordering::Relaxed);
                if !(*span).remote.seal() {
                    (*span).owner.store(self.id, Ordering::Relaxed);
                    self.change(class, |list| list.push_front(span));
                }
            }
        }
    }

    /// A span of the central list or, where that has none, from `make`; false without memory.
    fn refill(&self, class: usize, make: fn(usize) -> *mut Span) -> bool {
        let mut span = mcentral::get(class, self.id);
        if span.is_null() {
            span = make(class);
            if span.is_null() {
                return false;
            }
            // SAFETY: new, so nobody else's.
            unsafe { (*span).owner.store(self.id, Ordering::Relaxed) };
        }
        // SAFETY: owned, and on no list.
        self.change(class, |list| unsafe { list.push_front(span) });
        true
    }

    /// [`refill`](Self::refill) from what caches and shelves keep, this cache's too, and what the scavenger has in
    /// hand. This cache is as it may be found, for its list is empty and no more is begun.
    #[cold]
    fn refill_anew(&self, class: usize) -> bool {
        let any = scavenge::with_all_free(|| self.refill(class, mheap::take_span));
        memlimit::after_alloc();
        any
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
            if (*span).push(block) {
                self.retire(span);
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
            self.change((*span).class as usize, |list| list.remove(span));
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

    /// Takes back a large object of at most `CLASS` pages.
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
            let class = (*span).class as usize;
            let list = self.list(class);
            let spare = (*span).push(block);
            if list.len() >= MAX_SPANS {
                return mcentral::put(span);
            }
            (*span).owner.store(self.id, Ordering::Relaxed);
            self.change(class, |list| list.push_back(span));
            if spare && !ptr::eq(list.head(), span) {
                self.retire(span);
            }
        }
    }

    /// Gives all spans up: those without an object to the heap, the others to the central lists.
    pub(crate) fn flush(&self) {
        self.clear_shelf();
        self.tiny.give_up(|b| self.free_block(b));
        for (class, list) in self.lists.iter().enumerate() {
            while !list.head().is_null() {
                let span = list.head();
                // SAFETY: this cache's span.
                unsafe {
                    self.change(class, |list| list.remove(span));
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

/// The object freed last of a span, if there is a span and it has one.
///
/// # Safety
/// The caller owns the span.
#[inline(always)]
unsafe fn pop(span: *mut Span) -> Option<Object> {
    if span.is_null() {
        return None;
    }
    // SAFETY: as the caller promises.
    let p = unsafe { (*span).pop() };
    (!p.is_null()).then(|| handed(span, p, false))
}

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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::slot::with_cache;

    /// Every list, and what is known of its head elsewhere; the spans in all lists.
    fn check(cache: &Cache) -> usize {
        let mut spans = 0;
        for (class, list) in cache.lists.iter().enumerate().skip(1) {
            let head = list.head();
            for place in &cache.heads[words_for(class)] {
                assert!(ptr::eq(place.get(), head), "class {class}");
            }
            let mut span = head;
            // SAFETY: the spans of this thread's cache.
            while let Some(s) = unsafe { span.as_ref() } {
                assert_eq!(s.is_head(), ptr::eq(span, head), "class {class}");
                assert_eq!(s.class as usize, class);
                spans += 1;
                span = s.next.get();
            }
        }
        spans
    }

    #[test]
    fn heads_are_known_by_size_and_in_their_spans() {
        const SIZES: [usize; 6] = [0, 8, 100, 1024, 1025, 32_768];
        let alloc = |size: usize| {
            with_cache(|cache| {
                let (p, _) = if size <= SMALL_SIZE_MAX {
                    cache.alloc_common(size)
                } else {
                    cache.alloc(class_of(size))
                };
                check(cache);
                assert!(!p.is_null());
                p
            })
        };
        let free = |p: *mut u8| {
            with_cache(|cache| {
                // SAFETY: an object of this thread's cache, freed once.
                unsafe { cache.free(span_of(p.addr()), p) };
                check(cache);
            });
        };
        for size in SIZES {
            // Several spans each, the first ones sealed.
            let mut all: Vec<_> = (0..600).map(|_| alloc(size)).collect();
            let last = all.split_off(300);
            all.into_iter().rev().for_each(free);
            let mut again: Vec<_> = (0..200).map(|_| alloc(size)).collect();
            again.extend(last);
            again.into_iter().for_each(free);
        }
        with_cache(|cache| {
            assert_ne!(check(cache), 0, "heads stay when they are unused");
            cache.flush();
            assert_eq!(check(cache), 0);
        });
    }

    /// The objects of so many spans of a class that no other test uses; the last one is the head.
    fn spans_of(class: usize, spans: usize) -> Vec<Vec<*mut u8>> {
        let in_span = crate::class_pages(class) * crate::PAGE_SIZE / crate::class_size(class);
        with_cache(|cache| {
            cache.flush();
            let one = || cache.alloc(class).0;
            (0..spans)
                .map(|_| (0..in_span).map(|_| one()).collect())
                .collect()
        })
    }

    fn free_all(objects: impl IntoIterator<Item = *mut u8>) {
        with_cache(|cache| {
            for p in objects {
                // SAFETY: an object of this thread's cache, freed once.
                unsafe { cache.free(span_of(p.addr()), p) };
            }
        });
    }

    /// More of its objects are freed until its turn comes.
    #[test]
    fn a_span_with_room_again_waits_behind_the_others() {
        const CLASS: usize = class_of(21_760);
        let spans = spans_of(CLASS, 4);
        let at = |i: usize| span_of(spans[i][0].addr());
        let list = |cache: &Cache| {
            let (mut all, mut span) = (Vec::new(), cache.list(CLASS).head());
            // SAFETY: the spans of this thread's cache.
            while let Some(s) = unsafe { span.as_ref() } {
                all.push(span);
                span = s.next.get();
            }
            all
        };
        assert_eq!(with_cache(list), [at(3)], "full ones are on no list");
        free_all([spans[1][0], spans[0][0], spans[2][0], spans[1][1]]);
        assert_eq!(with_cache(list), [at(3), at(1), at(0), at(2)]);
        // Without an object it goes, unless it is the head.
        free_all(spans[0][1..].iter().copied());
        assert_eq!(with_cache(list), [at(3), at(1), at(2)]);
        free_all(spans[3].iter().copied());
        assert_eq!(with_cache(list), [at(3), at(1), at(2)]);
        free_all(spans[1][2..].iter().chain(&spans[2][1..]).copied());
        assert_eq!(with_cache(list), [at(3)]);
    }

    #[test]
    fn a_cache_keeps_a_bounded_number_of_spans() {
        const CLASS: usize = class_of(27_264);
        let spans = spans_of(CLASS, MAX_SPANS + 20);
        free_all(spans.iter().map(|s| s[0]));
        assert_eq!(with_cache(|c| c.list(CLASS).len()), MAX_SPANS);
        // The others have room for anybody.
        let central: Vec<_> = (0..20).map(|_| mcentral::get(CLASS, NOBODY)).collect();
        for span in central {
            assert!(!span.is_null());
            // SAFETY: taken from the central list just now.
            unsafe { mcentral::put(span) };
        }
        free_all(spans.iter().flat_map(|s| &s[1..]).copied());
    }
}
