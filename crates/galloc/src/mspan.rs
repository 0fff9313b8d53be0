//! Spans: runs of pages that hold objects of one class, or one large object (Go's `mspan`, R121).
//!
//! Where Go finds free objects with a bitmap that the sweeper writes, a span here links its free
//! objects through their first words (the bitmap costs 0.6 ns more per pair and would only add the
//! double-free check, which the `hardened` feature gives) and is carved from its start as needed,
//! so that pages it has not reached cost no memory.
//!
//! ```text
//! base            carve                limit      base + npages * 8 KiB
//!  | live, free ... | never handed out   | tail too short for an object |
//! ```
//!
//! A small span is owned by the cache that allocates from it, or by nobody while it lies in a
//! central list. Its plain fields are written by its owner alone (by the heap or the central list,
//! under their locks, while nobody owns it), so the owner's frees are plain stores. Everybody else
//! frees through `remote`. `allocs` and `frees` only ever grow: their difference is the number of
//! live objects as the owner knows it, their sums make `MemStats`, and one comparison after a free
//! finds the span empty. Being a cache's current span counts as one more live object, so that a
//! current span never seems empty.
//!
//! Span records are type-stable: their memory is never given back.

use crate::remote::RemoteFree;
use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// `owner` of a span that no cache owns. Not 0: that is the cache of a thread without one.
pub(crate) const NOBODY: usize = 2;
/// Added to `owner` while the span is out of rotation: full when last looked at. It makes the fast
/// path of a free fail, so that the slow one can see to it.
pub(crate) const FULL: usize = 1;

/// What a free object holds: the address of the next one, or 0.
pub(crate) type Link = usize;

#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Span {
    /// Owner: first free object, or 0.
    pub(crate) free: Cell<usize>,
    /// Owner; `MemStats` reads it.
    pub(crate) allocs: AtomicU64,
    /// Owner; `MemStats` reads it.
    pub(crate) frees: AtomicU64,
    /// The owning cache's address, with `FULL`; or `NOBODY`. Written by the owner, or by a cache
    /// that takes the span over under the central lock.
    pub(crate) owner: AtomicUsize,
    /// Bytes per object; of a large span the whole. Heap, at allocation.
    pub(crate) elem_size: Cell<usize>,
    /// Owner: where objects never handed out begin.
    pub(crate) carve: Cell<usize>,
    /// Heap, at allocation: carve stops here.
    pub(crate) limit: Cell<usize>,
    /// Heap, at allocation: size class, 0 for large. Atomic for racing readers of `MemStats`.
    pub(crate) class: AtomicU32,
    /// Heap, at allocation: whether memory from `carve` on may be other than zero.
    pub(crate) needzero: Cell<bool>,
    /// Heap: the span is a mapping of its own of this many bytes (0: it lies in an arena).
    pub(crate) mapping: Cell<usize>,
    /// Heap, at allocation.
    pub(crate) base: Cell<usize>,
    /// Heap, at allocation; in-place growth under the heap lock.
    pub(crate) npages: Cell<usize>,
    /// The list that holds the span: owner's partial list, or the central list under its lock.
    pub(crate) next: Cell<*const Span>,
    pub(crate) prev: Cell<*const Span>,
    /// The freer that owes a notice: the next span of the owner's notices.
    pub(crate) notice_next: AtomicUsize,
    /// Any thread.
    pub(crate) remote: RemoteFree,
}

// SAFETY: the head of the file says who may touch which field when; the rest is atomic.
unsafe impl Sync for Span {}

impl Span {
    /// Live objects as the owner knows them: remote frees count once taken.
    #[inline]
    pub(crate) fn used(&self) -> u64 {
        self.allocs.load(Ordering::Relaxed) - self.frees.load(Ordering::Relaxed)
    }

    /// Owner: counts one allocation.
    #[inline(always)]
    pub(crate) fn count_alloc(&self) {
        bump(&self.allocs, 1);
    }

    /// Owner: pushes an object that is free from now on. True if the span seems empty now.
    ///
    /// # Safety
    /// The object is of this span, and nobody uses it any more.
    #[inline(always)]
    pub(crate) unsafe fn push_free(&self, object: usize) -> bool {
        // SAFETY: the object is ours again and at least one word long.
        unsafe { (object as *mut Link).write(self.free.get()) };
        self.free.set(object);
        let frees = self.frees.load(Ordering::Relaxed) + 1;
        self.frees.store(frees, Ordering::Relaxed);
        frees == self.allocs.load(Ordering::Relaxed)
    }

    /// Owner: makes the remotely freed objects the span's own again. Whether there were any.
    pub(crate) fn collect(&self) -> bool {
        if self.remote.is_empty() {
            return false;
        }
        let taken = self.remote.take();
        let local = self.free.get();
        if local != 0 {
            let mut tail = taken.head as *mut Link;
            // SAFETY: taken objects are free, belong to the owner, and link to one another.
            unsafe {
                while *tail != 0 {
                    tail = *tail as *mut Link;
                }
                *tail = local;
            }
        }
        self.free.set(taken.head);
        bump(&self.frees, taken.count);
        true
    }

    /// Owner: carves more free objects when none are left, about `batch` bytes' worth and one at
    /// least. False if the span has nothing left to carve.
    pub(crate) fn extend(&self, batch: usize) -> bool {
        debug_assert_eq!(self.free.get(), 0);
        let size = self.elem_size.get();
        let first = self.carve.get();
        let left = (self.limit.get() - first) / size;
        if left == 0 {
            return false;
        }
        let n = (batch / size).clamp(1, left);
        let last = first + (n - 1) * size;
        let mut object = first;
        while object < last {
            // SAFETY: objects from carve to limit are free and this span's.
            unsafe { (object as *mut Link).write(object + size) };
            object += size;
        }
        // Written even where it reads as 0 already: a read first would fault the page in twice.
        // SAFETY: as above.
        unsafe { (last as *mut Link).write(0) };
        self.free.set(first);
        self.carve.set(last + size);
        true
    }

    /// Whether an allocation could be served, now or after carving, remote frees not counted.
    pub(crate) fn has_room(&self) -> bool {
        self.free.get() != 0 || self.carve.get() < self.limit.get()
    }
}

/// Adds to a counter that only this thread writes.
#[inline(always)]
pub(crate) fn bump(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

/// A doubly linked list of spans: first in, first out, so that a span that just got its first free
/// object has time to get more before it is allocated from again.
#[derive(Debug)]
pub(crate) struct SpanList {
    head: Cell<*const Span>,
    tail: Cell<*const Span>,
}

// SAFETY: a list belongs to a cache or to the holder of a lock; spans are Sync.
unsafe impl Send for SpanList {}

impl SpanList {
    pub(crate) const fn new() -> Self {
        Self {
            head: Cell::new(ptr::null()),
            tail: Cell::new(ptr::null()),
        }
    }

    pub(crate) fn push_back(&self, span: &'static Span) {
        let tail = self.tail.get();
        span.prev.set(tail);
        span.next.set(ptr::null());
        // SAFETY: spans are never deallocated.
        match unsafe { tail.as_ref() } {
            Some(tail) => tail.next.set(span),
            None => self.head.set(span),
        }
        self.tail.set(span);
    }

    pub(crate) fn pop_front(&self) -> Option<&'static Span> {
        // SAFETY: spans are never deallocated.
        let span = unsafe { self.head.get().as_ref() }?;
        self.remove(span);
        Some(span)
    }

    pub(crate) fn front(&self) -> *const Span {
        self.head.get()
    }

    /// Unlinks a member.
    pub(crate) fn remove(&self, span: &'static Span) {
        let (prev, next) = (span.prev.get(), span.next.get());
        // SAFETY: spans are never deallocated.
        match unsafe { prev.as_ref() } {
            Some(prev) => prev.next.set(next),
            None => self.head.set(next),
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(next) => next.prev.set(prev),
            None => self.tail.set(prev),
        }
    }
}
