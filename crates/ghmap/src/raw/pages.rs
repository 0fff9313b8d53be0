//! What the system is told about the pages of a large block. Linux with the `std` feature; elsewhere a
//! no-op.

use core::ptr::NonNull;

/// Huge pages are worth a word to the system from this size on.
const HUGE: usize = 4 << 20;

/// Says which pages a fresh block wants: 4 KiB ones, whose faults are short, unless `huge`.
pub(crate) fn advise(base: NonNull<u8>, len: usize, huge: bool) {
    if len >= HUGE {
        let start = base.as_ptr() as usize;
        let skip = (4096 - (start & 4095)) & 4095;
        sys::huge_pages(base, skip, (len - skip) & !4095, huge);
    }
}

#[cfg(all(feature = "std", target_os = "linux", not(miri)))]
mod sys {
    use core::ptr::NonNull;

    pub(super) fn huge_pages(base: NonNull<u8>, offset: usize, len: usize, huge: bool) {
        let advice = if huge {
            libc::MADV_HUGEPAGE
        } else {
            libc::MADV_NOHUGEPAGE
        };
        // SAFETY: either advice leaves the contents alone. A refusal changes nothing.
        unsafe { libc::madvise(base.as_ptr().wrapping_add(offset).cast(), len, advice) };
    }
}

#[cfg(not(all(feature = "std", target_os = "linux", not(miri))))]
mod sys {
    use core::ptr::NonNull;

    pub(super) fn huge_pages(_: NonNull<u8>, _: usize, _: usize, _: bool) {}
}
