//! Caches (Go's `mcache`, R123): what a slot allocates from without locks.
//!
//! Per class a cache has a current span, from which it pops, and a list of further spans with room.
//! Spans that ran full leave the lists but stay the cache's; the first object freed in one brings
//! it back, by the owner itself or by a remote freer's notice. A few free spans are kept for reuse
//! without a trip to the heap; the scavenger takes those from caches that do not use them, which is
//! why each is an atomic word that whoever swaps out owns.
//!
//! A cache is used by the thread that leased its slot, except for `notices` and `idle`.

use crate::mcentral::CENTRAL;
use crate::mheap;
use crate::mspan::{FULL, Link, NOBODY, Span, SpanList, bump};
use crate::remote::RemoteFree;
use crate::sizeclasses::{NUM_SIZE_CLASSES, class_pages};
use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

const IDLE: usize = 8;
/// Pages of the longest span kept, and of all kept together.
pub(crate) const IDLE_SPAN_PAGES: usize = 256;
const IDLE_PAGES: usize = 512;
/// Bytes carved at a time. More saves trips, less saves memory of programs that use little.
const CARVE: usize = 4096;

/// The current span of a class that has none: always full.
static EMPTY: Span = Span {
    free: Cell::new(0),
    allocs: AtomicU64::new(0),
    frees: AtomicU64::new(0),
    owner: AtomicUsize::new(NOBODY),
    elem_size: Cell::new(1),
    carve: Cell::new(0),
    limit: Cell::new(0),
    class: AtomicU32::new(0),
    needzero: Cell::new(true),
    mapping: Cell::new(0),
    base: Cell::new(0),
    npages: Cell::new(0),
    next: Cell::new(ptr::null()),
    prev: Cell::new(ptr::null()),
    notice_next: AtomicUsize::new(0),
    remote: RemoteFree::new(),
};

/// Objects and bytes over all time, of spans and large objects gone by. Owner; `MemStats` reads it.
#[derive(Debug)]
pub(crate) struct Past {
    pub(crate) allocs: AtomicU64,
    pub(crate) frees: AtomicU64,
}

#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Cache {
    /// Owner; `MemStats` reads which are `EMPTY`.
    current: [Cell<*const Span>; NUM_SIZE_CLASSES],
    /// Owner.
    partial: [SpanList; NUM_SIZE_CLASSES],
    /// Owner. Class 0 counts large objects.
    pub(crate) past: [Past; NUM_SIZE_CLASSES],
    /// Owner: bytes of large objects.
    pub(crate) large: Past,
    /// Free spans: address, pages << 48; or 0. The owner adds, anyone may swap out.
    idle: [AtomicU64; IDLE],
    /// Owner.
    pub(crate) slot: Cell<usize>,
    /// Remote freers push, the owner takes all: spans that ran full and have free objects again.
    notices: AtomicUsize,
}

// SAFETY: the field comments say who may touch what.
unsafe impl Sync for Cache {}

/// An object and whether its memory is known to be zero.
pub(crate) type Fresh = (usize, bool);

impl Cache {
    /// Makes zeroed memory a cache.
    pub(crate) fn init(&self, slot: usize) {
        self.slot.set(slot);
        for current in &self.current {
            current.set(&raw const EMPTY);
        }
    }

    fn id(&self) -> usize {
        ptr::from_ref(self) as usize
    }

    /// A free object of `class`; 0 when out of memory.
    #[inline(always)]
    pub(crate) fn alloc(&'static self, class: usize) -> usize {
        let object = self.pop(class);
        if object != 0 {
            return object;
        }
        self.refill(class).0
    }

    /// As [`alloc`](Self::alloc), and whether the object is zero.
    #[inline]
    pub(crate) fn alloc_fresh(&'static self, class: usize) -> Fresh {
        let object = self.pop(class);
        if object != 0 {
            return (object, false);
        }
        self.refill(class)
    }

    #[inline(always)]
    fn pop(&self, class: usize) -> usize {
        // SAFETY: current is a span at all times, and spans are never deallocated; class is below
        // NUM_SIZE_CLASSES by construction of the class tables.
        let span = unsafe { &*self.current.get_unchecked(class).get() };
        let object = span.free.get();
        if object != 0 {
            // SAFETY: a free object's first word is its link.
            span.free.set(unsafe { (object as *const Link).read() });
            span.count_alloc();
        }
        object
    }

    #[cold]
    #[inline(never)]
    fn refill(&'static self, class: usize) -> Fresh {
        loop {
            // SAFETY: as in pop.
            let span = unsafe { &*self.current[class].get() };
            let carve = span.carve.get();
            if span.free.get() != 0 || span.collect() || span.extend(CARVE) {
                let object = self.pop(class);
                // One object alone was carved: then its link is the only word ever written, as 0.
                let fresh = object == carve && span.free.get() == 0 && !span.needzero.get();
                return (object, fresh);
            }
            if !self.set_aside(span) {
                continue;
            }
            self.take_notices();
            match self.next_span(class) {
                Some(span) => {
                    bump(&span.allocs, 1);
                    self.current[class].set(span);
                }
                None => {
                    self.current[class].set(&raw const EMPTY);
                    return (0, false);
                }
            }
        }
    }

    /// Takes the exhausted current span out of rotation. False if objects came back meanwhile.
    fn set_aside(&self, span: &'static Span) -> bool {
        if ptr::eq(span, &raw const EMPTY) {
            return true;
        }
        span.owner.store(self.id() | FULL, Ordering::Relaxed);
        if span.remote.arm() {
            let allocs = span.allocs.load(Ordering::Relaxed);
            span.allocs.store(allocs - 1, Ordering::Relaxed);
            return true;
        }
        span.owner.store(self.id(), Ordering::Relaxed);
        false
    }

    fn next_span(&'static self, class: usize) -> Option<&'static Span> {
        if let Some(span) = self.partial[class].pop_front() {
            return Some(span);
        }
        let central = CENTRAL[class].pop(self.id());
        let span = central.or_else(|| self.new_span(class_pages(class), 1, class))?;
        span.owner.store(self.id(), Ordering::Relaxed);
        Some(span)
    }

    /// A span from those kept or from the heap, owned by nobody.
    pub(crate) fn new_span(
        &'static self,
        npages: usize,
        align: usize,
        class: usize,
    ) -> Option<&'static Span> {
        if align == 1
            && let Some(span) = self.take_idle(npages)
        {
            span.needzero.set(true);
            mheap::prepare(span, class);
            return Some(span);
        }
        mheap::alloc_span(npages, align, class)
    }

    /// Frees an object of a span this cache owns.
    ///
    /// # Safety
    /// The object is a live one of that span, given up by its user.
    #[inline(always)]
    pub(crate) unsafe fn free(&'static self, span: &'static Span, object: usize) {
        // SAFETY: the caller's contract.
        if unsafe { span.push_free(object) } {
            self.retire(span);
        }
    }

    /// A span in the partial list became empty.
    #[cold]
    #[inline(never)]
    fn retire(&'static self, span: &'static Span) {
        let class = span.class.load(Ordering::Relaxed) as usize;
        self.partial[class].remove(span);
        self.give_back(span);
    }

    /// Frees an object of a span that this cache owns and has out of rotation.
    ///
    /// # Safety
    /// As for [`free`](Self::free).
    pub(crate) unsafe fn free_in_full(&'static self, span: &'static Span, object: usize) {
        let back = span.remote.disarm();
        // SAFETY: the caller's contract.
        let empty = unsafe { span.push_free(object) };
        if back {
            self.rejoin(span, empty);
        }
        // Else a remote freer was first, and its notice is on the way.
    }

    fn rejoin(&'static self, span: &'static Span, empty: bool) {
        span.owner.store(self.id(), Ordering::Relaxed);
        if empty {
            self.give_back(span);
        } else {
            self.partial[span.class.load(Ordering::Relaxed) as usize].push_back(span);
        }
    }

    /// Any thread: tells the owner that a span that ran full has a free object.
    pub(crate) fn notify(&self, span: &'static Span) {
        let mut head = self.notices.load(Ordering::Relaxed);
        loop {
            span.notice_next.store(head, Ordering::Relaxed);
            let new = ptr::from_ref(span) as usize;
            match self.notices.compare_exchange_weak(
                head,
                new,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    fn take_notices(&'static self) {
        if self.notices.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut at = self.notices.swap(0, Ordering::Acquire);
        // SAFETY: members of the list are spans, which are never deallocated.
        while let Some(span) = unsafe { (at as *const Span).as_ref() } {
            at = span.notice_next.load(Ordering::Relaxed);
            span.collect();
            self.rejoin(span, span.used() == 0);
        }
    }

    /// Takes back an empty span that is in no list, or one of a freed large object.
    pub(crate) fn give_back(&self, span: &'static Span) {
        let class = span.class.load(Ordering::Relaxed) as usize;
        if class != 0 {
            let past = &self.past[class];
            bump(&past.allocs, span.allocs.load(Ordering::Relaxed));
            bump(&past.frees, span.frees.load(Ordering::Relaxed));
        }
        span.allocs.store(0, Ordering::Relaxed);
        span.frees.store(0, Ordering::Relaxed);
        span.owner.store(NOBODY, Ordering::Relaxed);
        if !self.put_idle(span) {
            mheap::free_span(span);
            crate::scavenge::after_free();
        }
    }

    fn put_idle(&self, span: &'static Span) -> bool {
        let npages = span.npages.get();
        if npages > IDLE_SPAN_PAGES {
            return false;
        }
        let mut total = npages;
        let mut room = None;
        for word in &self.idle {
            match word.load(Ordering::Relaxed) {
                0 => room = Some(word),
                w => total += (w >> 48) as usize,
            }
        }
        match room {
            Some(word) if total <= IDLE_PAGES => {
                let w = ptr::from_ref(span) as u64 | (npages as u64) << 48;
                word.store(w, Ordering::Release);
                true
            }
            _ => false,
        }
    }

    fn take_idle(&self, npages: usize) -> Option<&'static Span> {
        for word in &self.idle {
            if (word.load(Ordering::Relaxed) >> 48) as usize == npages
                && let Some(span) = take_word(word)
            {
                return Some(span);
            }
        }
        None
    }

    /// Any thread: returns the kept spans to the heap.
    pub(crate) fn steal_idle(&self) {
        for word in &self.idle {
            if word.load(Ordering::Relaxed) != 0
                && let Some(span) = take_word(word)
            {
                mheap::free_span(span);
            }
        }
    }

    /// Gives everything up but the spans that are full: those come back by notice.
    pub(crate) fn flush(&'static self) {
        self.take_notices();
        for class in 1..NUM_SIZE_CLASSES {
            // SAFETY: as in pop.
            let span = unsafe { &*self.current[class].get() };
            self.current[class].set(&raw const EMPTY);
            if !ptr::eq(span, &raw const EMPTY) {
                self.leave_current(span);
            }
            while let Some(span) = self.partial[class].pop_front() {
                self.give_up(span);
            }
        }
        self.steal_idle();
    }

    fn leave_current(&'static self, span: &'static Span) {
        loop {
            if span.collect() || span.has_room() {
                let allocs = span.allocs.load(Ordering::Relaxed);
                span.allocs.store(allocs - 1, Ordering::Relaxed);
                return self.give_up(span);
            }
            if self.set_aside(span) {
                return;
            }
        }
    }

    /// Hands a span with room, which is in no list, to the central list or the heap.
    fn give_up(&'static self, span: &'static Span) {
        span.collect();
        if span.used() == 0 {
            self.give_back(span);
        } else {
            CENTRAL[span.class.load(Ordering::Relaxed) as usize].push(span);
        }
    }

    /// Current spans of a class, each of which counts as one object more than there is.
    pub(crate) fn has_current(&self, class: usize) -> bool {
        !ptr::eq(self.current[class].get(), &raw const EMPTY)
    }
}

fn take_word(word: &AtomicU64) -> Option<&'static Span> {
    let w = word.swap(0, Ordering::Acquire);
    let span = (w & ((1 << 48) - 1)) as *const Span;
    // SAFETY: the words hold spans, which are never deallocated; whoever swapped it out owns it.
    unsafe { span.as_ref() }
}
