//! Spans with room that no cache owns, a list per class: Go's `mcentral.go` (1.12).
//!
//! Go's central list also holds the full spans. Here a full span is on no list (see `remote`), so a
//! list is short: it holds what caches gave up. Threads that free into such a span push to its
//! remote list, which is looked at when a cache takes the span or the scavenger sweeps.

use crate::lock::Mutex;
use crate::mheap;
use crate::sizeclass::NUM_SIZE_CLASSES;
use crate::span::{NOBODY, Span, SpanList};
use core::ptr;
use core::sync::atomic::Ordering;

// SAFETY: the spans of a list belong to whoever holds the list.
unsafe impl Send for SpanList {}

pub(crate) static CENTRAL: [Mutex<SpanList>; NUM_SIZE_CLASSES] =
    [const { Mutex::new(SpanList::new()) }; NUM_SIZE_CLASSES];

/// Gives a span up, to the heap if no object of it is out.
///
/// # Safety
/// The caller owns the span, which is on no list and not sealed.
pub(crate) unsafe fn put(span: *mut Span) {
    // SAFETY: as the caller promises; `owner` is cleared under the lock that owns it next.
    unsafe {
        (*span).collect();
        if (*span).is_unused() {
            return mheap::free_span(span);
        }
        let list = CENTRAL[(*span).class as usize].lock();
        (*span).owner.store(NOBODY, Ordering::Relaxed);
        list.push_front(span);
    }
}

/// A span of a class for the caller to own; null if there is none.
pub(crate) fn get(class: usize, owner: usize) -> *mut Span {
    let list = CENTRAL[class].lock();
    let span = list.head();
    if span.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: this thread holds the list and so owns its spans.
    unsafe {
        list.remove(span);
        (*span).owner.store(owner, Ordering::Relaxed);
        (*span).collect();
    }
    span
}

/// Frees the spans that have become unused. They go to the heap after the list's lock is left, for
/// that may start the scavenger's thread, and `pthread_create` allocates.
pub(crate) fn sweep() {
    for central in &CENTRAL {
        let list = central.lock();
        let unused = SpanList::new();
        let mut span = list.head();
        while !span.is_null() {
            // SAFETY: as in `get`; an unused span has no remote frees left to come.
            unsafe {
                let next = (*span).next.get();
                (*span).collect();
                if (*span).is_unused() {
                    list.remove(span);
                    unused.push_front(span);
                }
                span = next;
            }
        }
        drop(list);
        while !unused.head().is_null() {
            let span = unused.head();
            // SAFETY: taken off the central list above, so this thread's alone.
            unsafe {
                unused.remove(span);
                mheap::free_span(span);
            }
        }
    }
}
