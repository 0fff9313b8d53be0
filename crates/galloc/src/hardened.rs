//! The allocation bitmap: Go's `allocBits` turned into a guard against wrong frees.
//!
//! A bit per object of a small span, set while the object is out. Atomic, because any thread may
//! free. A large object needs none: its entry in the arena table goes when it is freed.

use crate::fixalloc::FixAlloc;
use crate::lock::Mutex;
use crate::span::Span;
use crate::sys::fatal;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

/// 8192 objects of 8 bytes are the most a span holds.
const BYTES: usize = 1024;

pub(crate) static MAPS: Mutex<FixAlloc> = Mutex::new(FixAlloc::new(BYTES, true, None));

#[derive(Debug)]
pub(crate) struct AllocBits {
    words: Option<NonNull<AtomicU64>>,
    nelems: u32,
}

impl AllocBits {
    pub(crate) fn new(nelems: u32) -> Option<Self> {
        let words = if nelems == 0 {
            None
        } else {
            Some(MAPS.lock().alloc()?.cast())
        };
        Some(Self { words, nelems })
    }

    fn bit(&self, span: &Span, p: *mut u8) -> (&AtomicU64, u64) {
        let offset = p.addr() - span.base;
        let i = offset / span.size;
        let Some(words) = self
            .words
            .filter(|_| offset.is_multiple_of(span.size) && i < self.nelems as usize)
        else {
            fatal("free of a pointer that starts no object:", p.addr());
        };
        // SAFETY: `i` is below 8192, so its word is in the map.
        (unsafe { words.add(i / 64).as_ref() }, 1 << (i % 64))
    }

    pub(crate) fn handed(&self, span: &Span, p: *mut u8) {
        let (word, bit) = self.bit(span, p);
        if word.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            fatal("free list corrupted at", p.addr());
        }
    }

    /// Of an object that is used further, in another size perhaps.
    pub(crate) fn check(&self, span: &Span, p: *mut u8) {
        let (word, bit) = self.bit(span, p);
        if word.load(Ordering::Relaxed) & bit == 0 {
            fatal("double free of", p.addr());
        }
    }

    pub(crate) fn freed(&self, span: &Span, p: *mut u8) {
        let (word, bit) = self.bit(span, p);
        if word.fetch_and(!bit, Ordering::Relaxed) & bit == 0 {
            fatal("double free of", p.addr());
        }
    }
}

impl Drop for AllocBits {
    fn drop(&mut self) {
        if let Some(words) = self.words {
            // SAFETY: it came from there, and the span is going.
            unsafe { MAPS.lock().free(words.cast()) };
        }
    }
}
