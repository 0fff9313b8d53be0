//! Central lists (Go's `mcentral`, R122): per class, spans with room that no cache owns.
//!
//! Spans come here when a thread exits, or when an idle slot is drained, and leave when a cache runs
//! out. Objects in them are freed remotely; a sweep returns to the heap the spans that this emptied.

use crate::mheap;
use crate::mspan::{NOBODY, Span, SpanList};
use crate::sizeclasses::NUM_SIZE_CLASSES;
use crate::sys::Lock;
use core::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Central {
    pub(crate) list: Lock<SpanList>,
    /// Spans in the list, to look at without the lock.
    len: AtomicUsize,
}

pub(crate) static CENTRAL: [Central; NUM_SIZE_CLASSES] = [const {
    Central {
        list: Lock::new(SpanList::new()),
        len: AtomicUsize::new(0),
    }
}; NUM_SIZE_CLASSES];

impl Central {
    /// Takes a span out for `owner`.
    pub(crate) fn pop(&self, owner: usize) -> Option<&'static Span> {
        if self.len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let list = self.list.lock();
        let span = list.pop_front()?;
        self.len.fetch_sub(1, Ordering::Relaxed);
        span.owner.store(owner, Ordering::Relaxed);
        span.collect();
        Some(span)
    }

    /// Gives up a span with room. The caller owns it, and it is in no list.
    pub(crate) fn push(&self, span: &'static Span) {
        let list = self.list.lock();
        span.owner.store(NOBODY, Ordering::Relaxed);
        list.push_back(span);
        self.len.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the spans that have become empty to the heap.
    pub(crate) fn sweep(&self) {
        if self.len.load(Ordering::Relaxed) == 0 {
            return;
        }
        let list = self.list.lock();
        let mut at = list.front();
        // SAFETY: spans are never deallocated, and members stay members under the lock.
        while let Some(span) = unsafe { at.as_ref() } {
            at = span.next.get();
            span.collect();
            if span.used() == 0 {
                list.remove(span);
                self.len.fetch_sub(1, Ordering::Relaxed);
                mheap::free_span(span);
            }
        }
    }
}
