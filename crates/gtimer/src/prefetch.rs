//! Asking the processor for memory that will be looked at soon.

/// Asks for the cache line at an address. Any address will do: nothing is read.
#[inline]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint that reads nothing, and faults at no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast::<i8>()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}

/// Asks for a value, two cache lines of it at most.
#[inline]
pub(crate) fn prefetch_value<T>(value: &T) {
    let at = core::ptr::from_ref(value).cast::<u8>();
    prefetch(at);
    if size_of::<T>() > 64 {
        prefetch(at.wrapping_add(64));
    }
}
