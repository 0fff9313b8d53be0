//! The faces: `GlobalAlloc`, and `allocator_api2::Allocator` with the feature of that name.

use crate::{arena, malloc};
use core::alloc::{GlobalAlloc, Layout};

/// The allocator. It has no state of its own: every value of the type is the same heap.
///
/// ```
/// #[global_allocator]
/// static GLOBAL: galloc::Galloc = galloc::Galloc;
///
/// let v: Vec<u32> = (0..1000).collect();
/// assert_eq!(v.iter().sum::<u32>(), 499_500);
/// assert!(galloc::owns(v.as_ptr().cast()));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Galloc;

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Galloc>();
};

// SAFETY: malloc returns distinct live objects of at least the size and alignment asked, never
// unwinds, and keeps contents over realloc.
unsafe impl GlobalAlloc for Galloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        malloc::alloc(layout.size(), layout.align()) as *mut u8
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, _: Layout) {
        // SAFETY: the caller's contract.
        unsafe { malloc::free(ptr as usize) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        malloc::alloc_zeroed(layout.size(), layout.align()) as *mut u8
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's contract.
        unsafe { malloc::realloc(ptr as usize, layout.size(), new_size, layout.align()) as *mut u8 }
    }
}

/// Whether a pointer lies in memory that this allocator manages and has in use.
///
/// ```
/// let on_the_stack = 1u8;
/// assert!(!galloc::owns(&raw const on_the_stack));
/// ```
#[must_use]
pub fn owns(ptr: *const u8) -> bool {
    arena::find_span(ptr as usize).is_some()
}

/// The bytes that can be used at `ptr`: at least what was asked for.
///
/// # Safety
/// `ptr` came from this allocator and was not freed since.
///
/// ```
/// use std::alloc::{GlobalAlloc, Layout};
/// let layout = Layout::new::<[u8; 100]>();
/// unsafe {
///     let p = galloc::Galloc.alloc(layout);
///     assert_eq!(galloc::usable_size(p), 112);
///     galloc::Galloc.dealloc(p, layout);
/// }
/// ```
#[inline]
#[must_use]
pub unsafe fn usable_size(ptr: *const u8) -> usize {
    // SAFETY: the caller's contract.
    unsafe { arena::span_of(ptr as usize) }.elem_size.get()
}

#[cfg(feature = "allocator-api2")]
mod api2 {
    use super::Galloc;
    use allocator_api2::alloc::{AllocError, Allocator};
    use core::alloc::{GlobalAlloc, Layout};
    use core::ptr::NonNull;

    fn slice(ptr: *mut u8, size: usize) -> Result<NonNull<[u8]>, AllocError> {
        let ptr = NonNull::new(ptr).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(ptr, size))
    }

    fn dangling(layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        slice(core::ptr::without_provenance_mut(layout.align()), 0)
    }

    // SAFETY: every Galloc is the same heap, so blocks outlive clones and moves.
    unsafe impl Allocator for Galloc {
        #[inline]
        fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
            if layout.size() == 0 {
                return dangling(layout);
            }
            // SAFETY: the size is not zero.
            slice(unsafe { self.alloc(layout) }, layout.size())
        }

        #[inline]
        fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
            if layout.size() == 0 {
                return dangling(layout);
            }
            // SAFETY: the size is not zero.
            slice(unsafe { self.alloc_zeroed(layout) }, layout.size())
        }

        #[inline]
        unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
            if layout.size() != 0 {
                // SAFETY: the caller's contract.
                unsafe { self.dealloc(ptr.as_ptr(), layout) }
            }
        }

        #[inline]
        unsafe fn grow(
            &self,
            ptr: NonNull<u8>,
            old: Layout,
            new: Layout,
        ) -> Result<NonNull<[u8]>, AllocError> {
            // SAFETY: the caller's contract.
            unsafe { resize(self, ptr, old, new) }
        }

        #[inline]
        unsafe fn shrink(
            &self,
            ptr: NonNull<u8>,
            old: Layout,
            new: Layout,
        ) -> Result<NonNull<[u8]>, AllocError> {
            // SAFETY: the caller's contract.
            unsafe { resize(self, ptr, old, new) }
        }
    }

    unsafe fn resize(
        galloc: &Galloc,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.size() != 0 && new.size() != 0 && new.align() <= old.align() {
            // SAFETY: the block is live with the old layout, and a block aligned for the old one is
            // aligned for the new one.
            return slice(
                unsafe { galloc.realloc(ptr.as_ptr(), old, new.size()) },
                new.size(),
            );
        }
        let to = galloc.allocate(new)?;
        // SAFETY: both blocks are live, and have that many bytes.
        unsafe {
            let keep = old.size().min(new.size());
            core::ptr::copy_nonoverlapping(ptr.as_ptr(), to.as_ptr().cast(), keep);
            galloc.deallocate(ptr, old);
        }
        Ok(to)
    }
}
