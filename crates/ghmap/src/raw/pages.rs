//! What the system is told about the pages of a large block. Linux with the `std` feature; elsewhere a
//! no-op.
//!
//! A page fault takes its page from a list that the processor has of its own, and the one that finds the list
//! empty refills it. The kernel (since 6.7) doubles the number with every refill, up to 2,016 pages, which take it 0.3
//! to 0.5 ms; every page that is given back halves the number again. A map that grows only takes. So it gives
//! one page back for every so many that it takes, and no insertion waits for more than some hundred.

use core::ptr::NonNull;

/// Huge pages are worth a word to the system from this size on.
const HUGE: usize = 4 << 20;

/// The least that can be mapped: a page, or a part of one where pages are larger.
const PAGE: usize = 4096;

/// A page is given back for about so many bytes: some 300 pages of 4 KiB.
pub(crate) const STRIDE: usize = 1 << 20;

/// Gives a page back, for a step in filling a block of `len` bytes: if that is large, and of 4 KiB pages.
#[cold]
pub(crate) fn give_one_back(len: usize, huge: bool) {
    if len >= HUGE && !huge {
        sys::give_one_back();
    }
}

/// Says which pages a fresh block wants: 4 KiB ones, whose faults are short, unless `huge`.
pub(crate) fn advise(base: NonNull<u8>, len: usize, huge: bool) {
    if len >= HUGE {
        let (skip, len) = whole_pages(base.as_ptr() as usize, len);
        sys::huge_pages(base, skip, len, huge);
    }
}

/// The pages that lie inside a block with all their bytes: how far behind its start they begin, and their bytes.
/// What is beside the block is another's.
fn whole_pages(start: usize, len: usize) -> (usize, usize) {
    let skip = start.wrapping_neg() % PAGE;
    (skip, (len - skip) / PAGE * PAGE)
}

#[cfg(all(feature = "std", target_os = "linux", not(miri)))]
mod sys {
    use super::PAGE;
    use core::ptr::{NonNull, null_mut};
    use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
    use std::sync::OnceLock;

    /// A page to take and to give back: mapped once for the process, so that no allocator's memory is touched.
    pub(super) fn page() -> Option<&'static AtomicU8> {
        static THE_PAGE: OnceLock<Option<&AtomicU8>> = OnceLock::new();
        *THE_PAGE.get_or_init(|| {
            let (access, kind) = (
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            );
            // SAFETY: asks for fresh memory, wherever there is room.
            let at = unsafe { libc::mmap(null_mut(), PAGE, access, kind, -1, 0) };
            // SAFETY: zeroed, and never unmapped.
            (at != libc::MAP_FAILED).then(|| unsafe { &*at.cast::<AtomicU8>() })
        })
    }

    pub(super) fn give_one_back() {
        if let Some(page) = page() {
            // Written to, it is there.
            page.store(1, Relaxed);
            // SAFETY: a mapping of ours, in which only this byte is used: it reads as zero from now on.
            unsafe { libc::madvise(page.as_ptr().cast(), PAGE, libc::MADV_DONTNEED) };
        }
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

    pub(super) fn huge_pages(_: NonNull<u8>, _: usize, _: usize, _: bool) {}

    pub(super) fn give_one_back() {}
}

#[cfg(all(test, feature = "std", target_os = "linux", not(miri)))]
mod tests {
    use super::*;
    use crate::Global;
    use crate::raw::RawTable;
    use crate::raw::{ByClosure, Rehash};
    use core::sync::atomic::Ordering::Relaxed;

    /// Whether filling a map of `n` entries gives the page back: it is zero then.
    fn gives_back(n: u64, huge: bool) -> bool {
        let page = sys::page().expect("a page of memory");
        let mut table = RawTable::<u64, u64, Global>::new_in(Global);
        table.set_huge_pages(huge);
        page.store(7, Relaxed);
        let rehash = ByClosure(|n: &u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32));
        for i in 0..n {
            table.insert_unique(rehash.hash(&i), i, i, &rehash);
        }
        page.load(Relaxed) == 0
    }

    #[test]
    fn advice_names_every_page_of_a_block_and_no_byte_beside_it() {
        for start in [0, 1, 16, PAGE - 1, PAGE] {
            for len in [HUGE, HUGE + 1, HUGE + PAGE - 16, HUGE + PAGE - 1] {
                let (skip, n) = whole_pages(start, len);
                assert_eq!(((start + skip) % PAGE, n % PAGE), (0, 0));
                assert!(skip < PAGE && skip + n <= len && len - (skip + n) < PAGE);
            }
        }
    }

    /// In one test, because the page is the process's: no other one of this program fills a large block.
    #[test]
    fn a_map_gives_pages_back_while_it_fills_a_large_block_of_small_ones() {
        // The last block has 2^14 buckets of 144 bytes, less than 4 MiB, and then 2^16.
        assert!(!gives_back(200_000, false));
        assert!(!gives_back(500_000, true));
        assert!(gives_back(500_000, false));
    }
}
