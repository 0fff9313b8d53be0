//! The faces of the tiny allocator (see `tiny` for how it works).

use crate::malloc::Galloc;
use crate::slot::with_cache;
use crate::tiny::{self, MAX_ALIGN, TINY_SIZE};
use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// Memory for an object under 16 bytes, uninitialised, beside others in one block. None without
/// memory, and for layouts of 16 bytes or more, of none, or aligned to more than 8.
///
/// O(1). For bytes, flags and small numbers that are allocated one by one and live for about as long
/// as their neighbours. [`TinyBox`] is the safe face.
///
/// ```
/// use std::alloc::Layout;
/// let p = galloc::tiny_alloc(Layout::new::<u16>()).unwrap();
/// // SAFETY: the object is 2 bytes, and not used after it is freed.
/// unsafe {
///     p.cast::<u16>().write(7);
///     galloc::tiny_free(p);
/// }
/// assert_eq!(galloc::tiny_alloc(Layout::new::<u128>()), None);
/// ```
#[must_use]
pub fn tiny_alloc(layout: Layout) -> Option<NonNull<u8>> {
    if !tiny::fits(layout) {
        return None;
    }
    NonNull::new(with_cache(move |cache| cache.alloc_tiny(layout)))
}

/// Gives an object of [`tiny_alloc`] back; any thread may. O(1), one atomic operation.
///
/// # Safety
/// `p` came from `tiny_alloc`, is not freed yet and not used any more.
pub unsafe fn tiny_free(p: NonNull<u8>) {
    // SAFETY: as the caller promises; a block is an object of the allocator.
    unsafe {
        if let Some(block) = tiny::free(p.as_ptr()) {
            Galloc.free(block);
        }
    }
}

/// A `Box` of a value under 16 bytes that has no destructor, several to one block.
///
/// ```
/// let mut bytes: Vec<galloc::TinyBox<u8>> = (0..100).map(galloc::TinyBox::new).collect();
/// *bytes[7] += 1;
/// assert_eq!(*bytes[7], 8);
/// ```
///
/// Larger values do not compile:
/// ```compile_fail
/// galloc::TinyBox::new([0u64; 2]);
/// ```
/// nor do values with a destructor:
/// ```compile_fail
/// galloc::TinyBox::new(Box::new(1));
/// ```
pub struct TinyBox<T: Copy> {
    p: NonNull<T>,
    owns: PhantomData<T>,
}

// SAFETY: a box is its value's only owner, and any thread may free it.
unsafe impl<T: Copy + Send> Send for TinyBox<T> {}
// SAFETY: through a shared box only the value is reached.
unsafe impl<T: Copy + Sync> Sync for TinyBox<T> {}

impl<T: Copy> TinyBox<T> {
    const FITS: () = assert!(
        size_of::<T>() < TINY_SIZE && align_of::<T>() <= MAX_ALIGN,
        "TinyBox: the value is 16 bytes or more"
    );

    /// Puts a value into a block. O(1).
    ///
    /// # Panics
    /// Without memory, as `Box::new` (through `handle_alloc_error`).
    #[must_use]
    pub fn new(value: T) -> Self {
        let () = Self::FITS;
        let layout = Layout::new::<T>();
        let p = if layout.size() == 0 {
            NonNull::dangling()
        } else {
            match tiny_alloc(layout) {
                Some(p) => p.cast(),
                None => std::alloc::handle_alloc_error(layout),
            }
        };
        // SAFETY: room for a value, or a value of no bytes.
        unsafe { p.write(value) };
        Self {
            p,
            owns: PhantomData,
        }
    }
}

impl<T: Copy> Drop for TinyBox<T> {
    fn drop(&mut self) {
        if size_of::<T>() > 0 {
            // SAFETY: it came from `tiny_alloc` and ends here.
            unsafe { tiny_free(self.p.cast()) };
        }
    }
}

impl<T: Copy> Deref for TinyBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: written by `new`, and this box's own.
        unsafe { self.p.as_ref() }
    }
}

impl<T: Copy> DerefMut for TinyBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { self.p.as_mut() }
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for TinyBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TinyBox").field(&**self).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sizeclass::class_of;
    use crate::tiny::BLOCK;
    use std::collections::HashSet;
    use std::thread;

    fn block_of<T: Copy>(b: &TinyBox<T>) -> usize {
        b.p.addr().get() & !(BLOCK - 1)
    }

    /// Go's `TestTinyAlloc`: sixteen bytes one by one share blocks.
    #[test]
    fn r123_tiny_objects_share_blocks() {
        let bytes: Vec<_> = (0..16u8).map(TinyBox::new).collect();
        let blocks: HashSet<_> = bytes.iter().map(block_of).collect();
        assert!(blocks.len() <= 2, "{} blocks", blocks.len());
        assert!(bytes.iter().zip(0..).all(|(b, i)| **b == i));
    }

    #[test]
    fn tiny_objects_are_apart_and_aligned() {
        let mut all = Vec::new();
        for i in 0..1000u32 {
            for (size, align) in [(1, 1), (2, 2), (15, 1), (4, 4), (8, 8), (12, 4), (3, 1)] {
                let layout = Layout::from_size_align(size, align).unwrap();
                let p = tiny_alloc(layout).unwrap();
                assert!(p.addr().get().is_multiple_of(align));
                // SAFETY: the object is that long.
                unsafe { p.write_bytes(i as u8, size) };
                all.push((p, size, i as u8));
            }
        }
        for (p, size, tag) in all {
            // SAFETY: written above, freed once.
            unsafe {
                let bytes = core::slice::from_raw_parts(p.as_ptr(), size);
                assert!(bytes.iter().all(|&b| b == tag));
                tiny_free(p);
            }
        }
    }

    #[test]
    fn a_block_comes_back_when_its_last_object_goes() {
        // More objects than memory would do for, were blocks not freed: 64 bytes each at worst.
        for _ in 0..1_000 {
            let batch: Vec<_> = (0..1000u64).map(TinyBox::new).collect();
            assert_eq!(batch.iter().map(|b| **b).sum::<u64>(), 499_500);
        }
        let live = crate::MemStats::read().by_size[class_of(BLOCK)].objects;
        assert!(live < 100_000, "{live} blocks are out");
    }

    #[test]
    fn tiny_objects_may_be_freed_by_any_thread() {
        let made = thread::spawn(|| (0..10_000u32).map(TinyBox::new).collect::<Vec<_>>());
        let made = made.join().unwrap();
        assert!(made.iter().zip(0..).all(|(b, i)| **b == i));
        let (left, right): (Vec<_>, Vec<_>) = made.into_iter().partition(|b| **b % 2 == 0);
        let other = thread::spawn(move || drop(left));
        drop(right);
        other.join().unwrap();
    }

    #[test]
    fn what_is_not_tiny_is_refused() {
        for (size, align) in [(0, 1), (16, 8), (8, 16), (100, 1)] {
            let layout = Layout::from_size_align(size, align).unwrap();
            assert_eq!(tiny_alloc(layout), None);
        }
        assert_eq!(*TinyBox::new(()), ());
    }
}
