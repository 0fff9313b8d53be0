//! A bump allocator over reserved address space: Go's `linearAlloc` (`malloc.go`), R125.
//!
//! Reserving costs no memory. Pages become usable as the bump passes them, and nothing is ever
//! freed. Invariant: `next <= mapped <= end`, and every page below `mapped` is usable.

use crate::sys;
use core::ptr::{self, NonNull};

/// Cuts blocks from the front of a reserved region, mapping pages as it advances.
///
/// Dropping it gives nothing back, as in Go: the blocks are good for as long as the process lives, and so are the
/// region's addresses.
///
/// ```
/// let mut a = galloc::LinearAlloc::reserve(1 << 30).unwrap();
/// let p = a.alloc(100, 8).unwrap();
/// let q = a.alloc(100, 64).unwrap();
/// assert_eq!(q.as_ptr() as usize - p.as_ptr() as usize, 128);
/// assert!(a.used() <= a.mapped() && a.mapped() < a.reserved());
/// ```
#[derive(Debug)]
pub struct LinearAlloc {
    base: usize,
    next: usize,
    mapped: usize,
    end: usize,
}

impl LinearAlloc {
    /// Reserves `size` bytes of addresses, rounded up to the system's pages. None if the system refuses.
    #[must_use]
    pub fn reserve(size: usize) -> Option<Self> {
        let size = size.checked_next_multiple_of(sys::page())?;
        let base = sys::reserve(size)?.as_ptr().expose_provenance();
        Some(Self {
            base,
            next: base,
            mapped: base,
            end: base + size,
        })
    }

    /// `size` zeroed bytes at a multiple of `align`; None when the region is used up, when the
    /// system has no memory, or if `align` is no power of two. O(1), one system call per new page.
    #[must_use = "a block that is dropped is lost"]
    pub fn alloc(&mut self, size: usize, align: usize) -> Option<NonNull<u8>> {
        if !align.is_power_of_two() {
            return None;
        }
        let at = self.next.checked_next_multiple_of(align)?;
        let to = at.checked_add(size).filter(|&to| to <= self.end)?;
        let mapped = to.next_multiple_of(sys::page());
        if mapped > self.mapped {
            let from = ptr::with_exposed_provenance_mut(self.mapped);
            // SAFETY: the pages lie in this allocator's own region.
            if !unsafe { sys::commit(from, mapped - self.mapped) } {
                return None;
            }
            self.mapped = mapped;
        }
        self.next = to;
        NonNull::new(ptr::with_exposed_provenance_mut(at))
    }

    /// Bytes handed out, gaps of alignment included.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.next - self.base
    }

    /// Bytes made usable so far.
    #[must_use]
    pub const fn mapped(&self) -> usize {
        self.mapped - self.base
    }

    /// Bytes reserved.
    #[must_use]
    pub const fn reserved(&self) -> usize {
        self.end - self.base
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn r125_next_mapped_and_end_add_up() {
        let page = sys::page();
        let mut a = LinearAlloc::reserve(3 * page - 5).unwrap();
        assert_eq!((a.used(), a.mapped(), a.reserved()), (0, 0, 3 * page));
        let p = a.alloc(10, 1).unwrap().as_ptr() as usize;
        assert_eq!((a.used(), a.mapped()), (10, page));
        let q = a.alloc(page, 16).unwrap();
        assert_eq!(q.as_ptr() as usize, p + 16);
        assert_eq!((a.used(), a.mapped()), (16 + page, 2 * page));
        // SAFETY: the block is this test's, page bytes, and mapped.
        unsafe { q.write_bytes(1, page) };
        assert!(a.alloc(2 * page, 1).is_none(), "past the end");
        assert!(a.alloc(8, 3).is_none(), "no power of two");
        assert!(
            a.alloc(2 * page - 16, 1).is_some(),
            "a refusal takes nothing"
        );
        assert_eq!(a.used(), a.reserved());
    }
}
