//! A run of pages cut into objects of one size: Go's `mspan` (`mheap.go`), R121.
//!
//! Objects are handed out in two ways: from a list of freed ones, and by advancing `fresh` over
//! those never handed out, so that a new span touches no page before an object in it is used. Go
//! finds free objects by `allocBits` and count-trailing-zeros; intrusive lists measured 0.6 ns
//! faster, and the bitmap's one advantage, that it notices double frees, is the `hardened` feature.
//!
//! Owner's fields (`free`, `fresh`, `next`, `prev`) belong to whoever owns the span: the cache
//! named by `owner`, or with `owner` NOBODY the holder of its central list's lock, or, full and sealed,
//! nobody. See `remote` for how a full span finds a new owner.
//!
//! Records are type-stable: they come from a `FixAlloc` and stay spans for ever.

use crate::remote::{Block, RemoteList};
use crate::sizeclass::{PAGE_SIZE, class_size};
use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Owner of a span that no cache owns. Not a cache's address, and not the null of a thread without.
pub(crate) const NOBODY: usize = 1;

/// In `live` of a span that is the head of a cache's list, which keeps it when all its objects are back: a
/// free need not ask for more than whether `live` has come to 0.
const HEAD: u32 = 1 << 31;

/// The first cache line holds all that an owner's allocation or free touches; what others write
/// (`remote`) is on the second.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Span {
    /// The id of the owning cache, or NOBODY. Written by the owner or the adopter.
    pub(crate) owner: AtomicUsize,
    /// Freed objects; owner's.
    free: Cell<*mut Block>,
    /// Objects handed out, those on `remote` included, and [`HEAD`]. Written by the owner, read for
    /// statistics. Of a large object 1, or 0 while it is on a shelf.
    live: AtomicU32,
    /// Objects handed out at least once; owner's.
    fresh: Cell<u32>,
    /// Address of the first page; written when the span is made, under the heap lock.
    pub(crate) base: usize,
    /// Bytes of an object; as `base`. For class 0 unused.
    pub(crate) size: usize,
    /// Bytes of all pages; as `base`, and by the owner of a large object that is resized.
    bytes: AtomicUsize,
    /// Objects the pages hold; as `base`.
    nelems: u32,
    /// Size class, 0 for a large object; as `base`.
    pub(crate) class: u8,
    /// The object is a mapping of its own, outside the page heap; as `base`.
    pub(crate) huge: bool,
    /// The pages may hold old bytes; as `base`, and for a large object by who frees it.
    pub(crate) needzero: Cell<bool>,
    /// Link in a cache's or central list; owner's.
    pub(crate) prev: Cell<*mut Span>,
    /// Objects others freed.
    pub(crate) remote: RemoteList,
    /// As `prev`.
    pub(crate) next: Cell<*mut Span>,
    /// Sampled objects that are out; any thread.
    #[cfg(feature = "profile")]
    pub(crate) sampled: AtomicU32,
    #[cfg(feature = "hardened")]
    pub(crate) bits: crate::hardened::AllocBits,
}

#[cfg(not(loom))]
const _: () = assert!(core::mem::offset_of!(Span, remote) == 64);

impl Span {
    /// A span no one owns yet. None only under `hardened`, if its bitmap finds no memory.
    pub(crate) fn new(base: usize, bytes: usize, class: usize, needzero: bool) -> Option<Self> {
        let size = class_size(class);
        let nelems = if class == 0 { 1 } else { (bytes / size) as u32 };
        Some(Self {
            base,
            bytes: AtomicUsize::new(bytes),
            size,
            nelems,
            class: class as u8,
            needzero: Cell::new(needzero),
            huge: false,
            owner: AtomicUsize::new(NOBODY),
            live: AtomicU32::new(u32::from(class == 0)),
            remote: RemoteList::new(),
            free: Cell::new(ptr::null_mut()),
            fresh: Cell::new(0),
            next: Cell::new(ptr::null_mut()),
            prev: Cell::new(ptr::null_mut()),
            #[cfg(feature = "profile")]
            sampled: AtomicU32::new(0),
            #[cfg(feature = "hardened")]
            bits: crate::hardened::AllocBits::new(if class == 0 { 0 } else { nelems })?,
        })
    }

    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_bytes(&self, bytes: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn pages(&self) -> usize {
        self.bytes() / PAGE_SIZE
    }

    /// Bytes a user of an object may use.
    #[inline]
    pub(crate) fn usable(&self) -> usize {
        if self.class == 0 {
            self.bytes()
        } else {
            self.size
        }
    }

    /// Objects handed out.
    pub(crate) fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed) & !HEAD
    }

    /// Of a large object: whether it is in use. Its owner alone.
    pub(crate) fn set_live(&self, live: bool) {
        self.live.store(u32::from(live), Ordering::Relaxed);
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn is_head(&self) -> bool {
        self.live.load(Ordering::Relaxed) & HEAD != 0
    }

    /// Says whether this is the head of a cache's list. The owner alone.
    pub(crate) fn set_head(&self, head: bool) {
        let live = self.live() | if head { HEAD } else { 0 };
        self.live.store(live, Ordering::Relaxed);
    }

    #[inline]
    fn count(&self, live: u32) {
        self.live.store(live, Ordering::Relaxed);
    }

    /// A freed object, if the list has one. The owner alone.
    #[inline]
    pub(crate) fn pop(&self) -> *mut u8 {
        let block = self.free.get();
        if !block.is_null() {
            // SAFETY: listed blocks are free objects of this span whose first word is the link.
            self.free.set(unsafe { (*block).next });
            self.count(self.live.load(Ordering::Relaxed) + 1);
        }
        block.cast()
    }

    /// An object never handed out before, if one is left. The owner alone.
    #[inline]
    pub(crate) fn bump(&self) -> *mut u8 {
        let i = self.fresh.get();
        if i == self.nelems {
            return ptr::null_mut();
        }
        self.fresh.set(i + 1);
        self.count(self.live.load(Ordering::Relaxed) + 1);
        ptr::with_exposed_provenance_mut(self.base + i as usize * self.size)
    }

    /// Takes an object back. True if that was the last one out and the span is not the head of a cache's
    /// list. The owner alone.
    ///
    /// # Safety
    /// `block` is an allocated object of this span that nobody uses.
    #[inline]
    pub(crate) unsafe fn push(&self, block: *mut Block) -> bool {
        // SAFETY: the object was given up, and is at least a word.
        unsafe { (*block).next = self.free.get() };
        self.free.set(block);
        let live = self.live.load(Ordering::Relaxed) - 1;
        self.count(live);
        live == 0
    }

    /// Moves what others freed to the owner's list. True if that was anything. The owner alone.
    pub(crate) fn collect(&self) -> bool {
        let mut block = self.remote.take();
        let any = !block.is_null();
        while !block.is_null() {
            // SAFETY: a taken list is ours; its blocks are objects given up by their users.
            unsafe {
                let next = (*block).next;
                self.push(block);
                block = next;
            }
        }
        any
    }

    /// No object is out. The owner alone, after `collect`.
    pub(crate) fn is_unused(&self) -> bool {
        self.live() == 0
    }
}

/// A doubly linked list of spans; whoever may use the list owns the spans in it.
#[derive(Debug)]
pub(crate) struct SpanList {
    head: Cell<*mut Span>,
    tail: Cell<*mut Span>,
    len: Cell<usize>,
}

impl SpanList {
    pub(crate) const fn new() -> Self {
        Self {
            head: Cell::new(ptr::null_mut()),
            tail: Cell::new(ptr::null_mut()),
            len: Cell::new(0),
        }
    }

    #[inline]
    pub(crate) fn head(&self) -> *mut Span {
        self.head.get()
    }

    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }

    /// # Safety
    /// The caller owns the list and the span, which is on no list.
    pub(crate) unsafe fn push_front(&self, span: *mut Span) {
        let head = self.head.get();
        // SAFETY: span records are never unmapped, and the caller owns both.
        unsafe {
            (*span).prev.set(ptr::null_mut());
            (*span).next.set(head);
            if head.is_null() {
                self.tail.set(span);
            } else {
                (*head).prev.set(span);
            }
        }
        self.head.set(span);
        self.len.set(self.len.get() + 1);
    }

    /// Puts a span at the end.
    ///
    /// # Safety
    /// As [`push_front`](Self::push_front).
    pub(crate) unsafe fn push_back(&self, span: *mut Span) {
        let tail = self.tail.get();
        if tail.is_null() {
            // SAFETY: as the caller promises.
            return unsafe { self.push_front(span) };
        }
        // SAFETY: as the caller promises; the tail is in the list.
        unsafe {
            (*span).prev.set(tail);
            (*span).next.set(ptr::null_mut());
            (*tail).next.set(span);
        }
        self.tail.set(span);
        self.len.set(self.len.get() + 1);
    }

    /// # Safety
    /// The caller owns the list, and the span is in it.
    pub(crate) unsafe fn remove(&self, span: *mut Span) {
        // SAFETY: the neighbours are in the list, so the caller owns them too.
        unsafe {
            let (prev, next) = ((*span).prev.get(), (*span).next.get());
            if prev.is_null() {
                self.head.set(next);
            } else {
                (*prev).next.set(next);
            }
            if next.is_null() {
                self.tail.set(prev);
            } else {
                (*next).prev.set(prev);
            }
        }
        self.len.set(self.len.get() - 1);
    }
}
