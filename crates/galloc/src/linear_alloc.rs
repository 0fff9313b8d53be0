//! Go's `linearAlloc` (malloc.go): a bump allocator over a reserved region, which never frees (R125).

use crate::sys;

/// Bumps a pointer through a reserved region. What it hands out is zero, aligned, and never freed.
///
/// Go maps pages ahead of the pointer as it advances; on Linux a reserved page is backed on first
/// touch, so `mapped` only records how far that can have happened.
///
/// ```
/// let mut region = galloc::LinearAlloc::reserve(1 << 20).unwrap();
/// let a = region.alloc(100, 64).unwrap();
/// let b = region.alloc(8, 4096).unwrap();
/// assert_eq!(a as usize % 64, 0);
/// assert_eq!(b as usize % 4096, 0);
/// assert_eq!(region.used(), 4096 + 8);
/// assert!(region.alloc(1 << 20, 8).is_none(), "the region is full");
/// ```
#[derive(Debug)]
pub struct LinearAlloc {
    base: usize,
    next: usize,
    mapped: usize,
    end: usize,
}

const OS_PAGE: usize = 4096;

impl LinearAlloc {
    /// Reserves `size` bytes (rounded up to 4 KiB) of address space; memory follows as it is touched.
    /// `None` if the system refuses.
    #[must_use]
    pub fn reserve(size: usize) -> Option<Self> {
        let size = size.max(1).checked_next_multiple_of(OS_PAGE)?;
        let base = sys::map(0, size)?;
        Some(Self::over(base, size))
    }

    /// A bump allocator over no memory, which is always full.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            base: 0,
            next: 0,
            mapped: 0,
            end: 0,
        }
    }

    const fn over(base: usize, size: usize) -> Self {
        Self {
            base,
            next: base,
            mapped: base,
            end: base + size,
        }
    }

    /// The next `size` bytes at a multiple of `align`, zero; `None` when the region has no room.
    ///
    /// # Panics
    /// If `align` is not a power of two.
    #[must_use]
    pub fn alloc(&mut self, size: usize, align: usize) -> Option<*mut u8> {
        assert!(align.is_power_of_two(), "align is {align}, not a power of two");
        let at = self.next.checked_add(align - 1)? & !(align - 1);
        let next = at.checked_add(size)?;
        if next > self.end {
            return None;
        }
        self.next = next;
        if next > self.mapped {
            self.mapped = next.next_multiple_of(OS_PAGE);
        }
        Some(at as *mut u8)
    }

    /// Bytes handed out, padding included.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.next - self.base
    }

    /// Bytes from the start that may be backed by memory.
    #[must_use]
    pub const fn mapped(&self) -> usize {
        self.mapped - self.base
    }

    /// Bytes reserved in all.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.end - self.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r125_next_mapped_and_end_advance_by_the_book() {
        let mut l = LinearAlloc::over(1 << 20, 3 * OS_PAGE);
        assert_eq!(l.alloc(10, 8), Some((1 << 20) as *mut u8));
        assert_eq!((l.used(), l.mapped()), (10, OS_PAGE));
        assert_eq!(l.alloc(OS_PAGE, 16), Some(((1 << 20) + 16) as *mut u8));
        assert_eq!((l.used(), l.mapped()), (OS_PAGE + 16, 2 * OS_PAGE));
        assert_eq!(l.alloc(2 * OS_PAGE, 1), None, "too long, and nothing is spent");
        assert_eq!(l.used(), OS_PAGE + 16);
        assert!(l.alloc(2 * OS_PAGE - 16, 1).is_some(), "the last byte can be had");
        assert_eq!((l.used(), l.mapped()), (l.capacity(), l.capacity()));
        assert_eq!(l.alloc(1, 1), None);
    }
}
