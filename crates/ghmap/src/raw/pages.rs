//! What the system is told about the pages of a bucket array. Linux with the `std` feature; elsewhere
//! these are no-ops.
//!
//! A large array is given back in pieces while it is being evacuated, so that the final `munmap` finds
//! little to do: unmapping 256 MiB of touched pages in one go takes 18 ms, which would be one insert.
//! The pieces are dropped by `MADV_DONTNEED`, which works on memory of any allocator: the block stays
//! allocated, only its dead contents go.

use core::ptr::NonNull;

/// Arrays below this are handed to the allocator in one piece: unmapping them takes about 15 us.
pub(crate) const LARGE: usize = 128 << 10;
/// Pages are given back in runs of this many bytes.
const PIECE: usize = 64 << 10;
/// Huge pages are worth a word to the system from this size on.
const HUGE: usize = 4 << 20;

/// Gives back the pages of the first `to` bytes of the array that were not given back when its first
/// `from` bytes were dead.
///
/// # Safety
/// `base` is the start of a block of at least `to` bytes that the caller owns, and nothing reads what
/// these bytes hold any more.
#[inline]
pub(crate) unsafe fn release(base: NonNull<u8>, len: usize, from: usize, to: usize) {
    let start = base.as_ptr() as usize;
    let piece = |n: usize| (start + n) & !(PIECE - 1);
    if len >= LARGE && piece(from) != piece(to) {
        // Never a page that also holds what lies before the array. 4 KiB need not be the page size:
        // where pages are larger, a start in the middle of one is refused and nothing happens.
        let first = piece(from).max((start + 4095) & !4095);
        if first < piece(to) {
            // SAFETY: inside the block, and dead.
            unsafe { sys::drop_pages(base, first - start, piece(to) - first) };
        }
    }
}

/// Says which pages a fresh array wants: 4 KiB ones, whose faults are short, unless `huge`.
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

    /// # Safety
    /// The range lies in one block that the caller owns, and nothing reads its contents any more.
    pub(super) unsafe fn drop_pages(base: NonNull<u8>, offset: usize, len: usize) {
        // SAFETY: the caller's promise. A refusal only leaves the pages where they are.
        unsafe { libc::madvise(base.as_ptr().add(offset).cast(), len, libc::MADV_DONTNEED) };
    }

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

    /// # Safety
    /// None needed: nothing happens.
    pub(super) unsafe fn drop_pages(_: NonNull<u8>, _: usize, _: usize) {}

    pub(super) fn huge_pages(_: NonNull<u8>, _: usize, _: usize, _: bool) {}
}
