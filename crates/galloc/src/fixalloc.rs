//! A free-list allocator of blocks of one size: Go's `mfixalloc.go` (1.12 to 1.27), R124.
//!
//! Blocks are cut from 16 KiB chunks of [`persistent_alloc`](crate::persistent_alloc) and kept on
//! a list, last in first out, linked through their first word. Memory is type-stable: a block
//! never becomes anything but a block of this allocator.

use crate::persistent_alloc;
use core::ptr::{self, NonNull};

/// Bytes taken from the system at once.
pub const FIX_ALLOC_CHUNK: usize = 16 << 10;

/// An allocator of blocks of one size.
///
/// ```
/// let mut a = galloc::FixAlloc::new(48, true, None);
/// let p = a.alloc().unwrap();
/// assert_eq!(a.in_use(), 48);
/// // SAFETY: `p` came from `a` and is not used again.
/// unsafe { a.free(p) };
/// assert_eq!(a.alloc(), Some(p));
/// ```
#[derive(Debug)]
pub struct FixAlloc {
    size: usize,
    zero: bool,
    /// Called once for each block, before it is first handed out.
    first: Option<fn(NonNull<u8>)>,
    /// Freed blocks, linked through their first word.
    list: *mut u8,
    /// What is left of the chunk: blocks never handed out, still zero.
    chunk: *mut u8,
    left: usize,
    in_use: usize,
}

// SAFETY: the pointers name memory that only this value hands out.
unsafe impl Send for FixAlloc {}

const _: () = {
    const fn send<T: Send>() {}
    send::<FixAlloc>();
};

impl FixAlloc {
    /// Blocks of `size` bytes, rounded up to a multiple of 8, aligned to the largest power of
    /// two up to 64 that divides that. With `zero` every block
    /// is zeroed when handed out; without, a reused block keeps its bytes but for the first word,
    /// which is what `first` is for: it sees each block once in its life.
    ///
    /// # Panics
    /// If `size` is 0 or over [`FIX_ALLOC_CHUNK`].
    #[must_use]
    pub const fn new(size: usize, zero: bool, first: Option<fn(NonNull<u8>)>) -> Self {
        assert!(
            size > 0 && size <= FIX_ALLOC_CHUNK,
            "FixAlloc: size out of range"
        );
        Self {
            size: size.next_multiple_of(8),
            zero,
            first,
            list: ptr::null_mut(),
            chunk: ptr::null_mut(),
            left: 0,
            in_use: 0,
        }
    }

    /// A block, or None if the system has no memory. O(1), or O(size) with `zero`.
    #[must_use = "a block that is dropped is lost"]
    pub fn alloc(&mut self) -> Option<NonNull<u8>> {
        if let Some(block) = NonNull::new(self.list) {
            // SAFETY: a listed block is this allocator's, aligned to 8, and its first word holds
            // the next one.
            unsafe {
                self.list = block.cast::<*mut u8>().read();
                if self.zero {
                    block.write_bytes(0, self.size);
                }
            }
            self.in_use += self.size;
            return Some(block);
        }
        if self.left < self.size {
            self.chunk = persistent_alloc(FIX_ALLOC_CHUNK, 64)?.as_ptr();
            self.left = FIX_ALLOC_CHUNK;
        }
        let block = NonNull::new(self.chunk)?;
        // SAFETY: the chunk has `left >= size` bytes from here.
        self.chunk = unsafe { self.chunk.add(self.size) };
        self.left -= self.size;
        self.in_use += self.size;
        if let Some(first) = self.first {
            first(block);
        }
        Some(block)
    }

    /// Takes a block back. O(1).
    ///
    /// # Safety
    /// The block came from this allocator's `alloc`, is not freed yet and not used any more.
    pub unsafe fn free(&mut self, block: NonNull<u8>) {
        // SAFETY: the block is `size >= 8` bytes that nobody uses.
        unsafe { block.cast::<*mut u8>().write(self.list) };
        self.list = block.as_ptr();
        self.in_use -= self.size;
    }

    /// Bytes of the blocks handed out.
    #[must_use]
    pub const fn in_use(&self) -> usize {
        self.in_use
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn r124_freed_blocks_come_back_last_first() {
        let mut a = FixAlloc::new(20, false, None);
        let (x, y) = (a.alloc().unwrap(), a.alloc().unwrap());
        assert_eq!(a.in_use(), 48);
        // SAFETY: both came from `a` and are not used in between.
        unsafe {
            a.free(x);
            a.free(y);
        }
        assert_eq!((a.alloc(), a.alloc()), (Some(y), Some(x)));
    }

    #[test]
    fn r124_first_sees_each_block_once() {
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        let mut a = FixAlloc::new(
            1024,
            false,
            Some(|_| {
                SEEN.fetch_add(1, Ordering::Relaxed);
            }),
        );
        for _ in 0..3 {
            let blocks: Vec<_> = (0..20).map(|_| a.alloc().unwrap()).collect();
            for b in blocks {
                // SAFETY: it came from `a` and is not used again.
                unsafe { a.free(b) };
            }
        }
        assert_eq!(SEEN.load(Ordering::Relaxed), 20);
        assert_eq!(a.in_use(), 0);
    }

    #[test]
    fn r124_a_zeroing_allocator_zeroes_reused_blocks() {
        let mut a = FixAlloc::new(64, true, None);
        let b = a.alloc().unwrap();
        // SAFETY: the block is 64 bytes, and is given back before it is taken again.
        unsafe {
            b.write_bytes(0xff, 64);
            a.free(b);
            let b = a.alloc().unwrap();
            assert_eq!(b.cast::<[u8; 64]>().read(), [0; 64]);
        }
    }
}
