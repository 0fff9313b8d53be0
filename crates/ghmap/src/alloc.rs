//! The allocator seam: `allocator-api2`'s trait when that feature is on, else a private stand-in
//! that only [`Global`] implements, so that `HashMap<K, V, S>` names the same type either way.

use crate::TryReserveError;
use core::alloc::Layout;
use core::ptr::NonNull;

#[cfg(feature = "allocator-api2")]
pub use allocator_api2::alloc::{Allocator, Global};

#[cfg(not(feature = "allocator-api2"))]
pub use fallback::{Allocator, Global};

#[cfg(not(feature = "allocator-api2"))]
mod fallback {
    use core::alloc::Layout;
    use core::ptr::NonNull;

    /// Where a map's memory comes from. Without the `allocator-api2` feature only [`Global`] is one.
    ///
    /// # Safety
    /// As `core::alloc::GlobalAlloc`: a block stays valid and unshared until it is deallocated.
    pub unsafe trait Allocator: sealed::Sealed {
        /// A block for `layout`, zeroed on request.
        #[doc(hidden)]
        fn allocate_block(&self, layout: Layout, zeroed: bool) -> Option<NonNull<u8>>;
        /// Gives a block back.
        ///
        /// # Safety
        /// `ptr` came from this allocator with this `layout` and is not used again.
        #[doc(hidden)]
        unsafe fn deallocate_block(&self, ptr: NonNull<u8>, layout: Layout);
    }

    mod sealed {
        pub trait Sealed {}
        impl Sealed for super::Global {}
    }

    /// The program's global allocator.
    #[derive(Copy, Clone, Debug, Default)]
    pub struct Global;

    // SAFETY: forwards to the global allocator.
    unsafe impl Allocator for Global {
        fn allocate_block(&self, layout: Layout, zeroed: bool) -> Option<NonNull<u8>> {
            // SAFETY: no caller asks for a block of size zero (`allocate` below).
            NonNull::new(unsafe {
                if zeroed {
                    stdalloc::alloc::alloc_zeroed(layout)
                } else {
                    stdalloc::alloc::alloc(layout)
                }
            })
        }

        unsafe fn deallocate_block(&self, ptr: NonNull<u8>, layout: Layout) {
            // SAFETY: the caller's promise.
            unsafe { stdalloc::alloc::dealloc(ptr.as_ptr(), layout) }
        }
    }
}

/// A block of `layout`, which is never of size zero.
///
/// # Errors
/// The allocator refused.
pub(crate) fn allocate<A: Allocator>(
    alloc: &A,
    layout: Layout,
    zeroed: bool,
) -> Result<NonNull<u8>, TryReserveError> {
    debug_assert_ne!(layout.size(), 0);
    #[cfg(feature = "allocator-api2")]
    let block = if zeroed {
        alloc.allocate_zeroed(layout)
    } else {
        alloc.allocate(layout)
    }
    .ok()
    .map(NonNull::cast::<u8>);
    #[cfg(not(feature = "allocator-api2"))]
    let block = alloc.allocate_block(layout, zeroed);
    block.ok_or(TryReserveError::AllocError { layout })
}

/// Gives a block back.
///
/// # Safety
/// `ptr` came from [`allocate`] with this allocator and `layout` and is not used again.
pub(crate) unsafe fn deallocate<A: Allocator>(alloc: &A, ptr: NonNull<u8>, layout: Layout) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "allocator-api2")]
        alloc.deallocate(ptr, layout);
        #[cfg(not(feature = "allocator-api2"))]
        alloc.deallocate_block(ptr, layout);
    }
}
