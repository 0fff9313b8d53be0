//! Hardened mode: a bit per 8 bytes of every arena says which objects are allocated (Go's
//! `allocBits`, kept by the program's calls instead of a sweeper).
//!
//! With the `hardened` feature off, the functions are empty. With it, freeing what is not allocated
//! (twice, or never, or a pointer into an object) ends the program with a report, at the price of
//! one atomic bit operation per allocation and per free.

/// An object was allocated (0: none was).
#[inline(always)]
pub(crate) fn on_alloc(object: usize) {
    #[cfg(feature = "hardened")]
    imp::on_alloc(object);
    #[cfg(not(feature = "hardened"))]
    let _ = object;
}

/// An object is about to be freed.
#[inline(always)]
pub(crate) fn on_free(object: usize) {
    #[cfg(feature = "hardened")]
    imp::on_free(object);
    #[cfg(not(feature = "hardened"))]
    let _ = object;
}

#[cfg(feature = "hardened")]
mod imp {
    use crate::arena::{ARENA_SIZE, arena_of};
    use crate::sys;
    use core::sync::atomic::{AtomicU64, Ordering};

    /// The word and bit of an address.
    fn bit(address: usize) -> Option<(&'static AtomicU64, u64)> {
        let index = address % ARENA_SIZE / 8;
        Some((&arena_of(address)?.live[index / 64], 1 << (index % 64)))
    }

    pub(super) fn on_alloc(object: usize) {
        if object == 0 {
            return;
        }
        let Some((word, bit)) = bit(object) else {
            sys::fatal("allocated an object outside every arena", object);
        };
        if word.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            sys::fatal("heap corrupted: object allocated twice", object);
        }
    }

    pub(super) fn on_free(object: usize) {
        if object % 8 != 0 {
            sys::fatal("free of an invalid pointer", object);
        }
        let Some((word, bit)) = bit(object) else {
            sys::fatal("free of a pointer that galloc did not allocate", object);
        };
        if word.fetch_and(!bit, Ordering::Relaxed) & bit == 0 {
            sys::fatal("double free, or free of a pointer into an object,", object);
        }
    }
}
