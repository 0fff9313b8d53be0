//! Memory from Linux: what Go keeps in `mem_linux.go`.
//!
//! Mappings are private, anonymous, readable and writable from the start, and not reserved in
//! swap: Linux gives a page at its first touch, zeroed, and again after `MADV_DONTNEED`. So a page
//! has two states here, clean (never touched or given back: reads as zero, costs nothing) and
//! dirty, where Go needs four for portability. The system's pages may be longer than the heap's (16 and
//! 64 KiB on arm64), and it rounds lengths up to them: what is given back is cut to whole ones here.
//!
//! Under `--cfg gort_asan` the memory comes from `posix_memalign` instead, so that AddressSanitizer
//! knows it, and free objects are poisoned but for the word that links them.

use core::ptr::{self, NonNull};

const PROT_RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
#[cfg(not(gort_asan))]
const ANON: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

#[cfg(not(gort_asan))]
fn map(hint: usize, size: usize, prot: i32) -> Option<usize> {
    // SAFETY: an anonymous mapping at an address of the kernel's choice overlaps nothing; the hint
    // is no MAP_FIXED.
    let p = unsafe { libc::mmap(ptr::without_provenance_mut(hint), size, prot, ANON, -1, 0) };
    (p != libc::MAP_FAILED).then(|| p.expose_provenance())
}

#[cfg(gort_asan)]
fn map(_: usize, size: usize, _: i32) -> Option<usize> {
    alloc_aligned(0, size, 1 << 16)
}

#[cfg(gort_asan)]
unsafe extern "C" {
    fn __asan_poison_memory_region(at: *const u8, size: usize);
    fn __asan_unpoison_memory_region(at: *const u8, size: usize);
}

/// Tells AddressSanitizer, if it is there, that an object of `size` bytes is free.
///
/// # Safety
/// The object is the caller's.
#[inline(always)]
pub(crate) unsafe fn poison(at: *mut u8, size: usize) {
    #[cfg(gort_asan)]
    // SAFETY: as the caller promises; the first word links free objects.
    unsafe {
        __asan_poison_memory_region(at.add(8), size - 8);
    }
    #[cfg(not(gort_asan))]
    let _ = (at, size);
}

/// Tells it that the object is in use.
///
/// # Safety
/// As [`poison`].
#[inline(always)]
pub(crate) unsafe fn unpoison(at: *mut u8, size: usize) {
    #[cfg(gort_asan)]
    // SAFETY: as the caller promises.
    unsafe {
        __asan_unpoison_memory_region(at, size);
    }
    #[cfg(not(gort_asan))]
    let _ = (at, size);
}

/// `size` zeroed bytes, page-aligned (`sysAlloc`).
pub(crate) fn alloc(size: usize) -> Option<NonNull<u8>> {
    NonNull::new(ptr::with_exposed_provenance_mut(map(0, size, PROT_RW)?))
}

/// Address space that faults until [`commit`] (`sysReserve`).
pub(crate) fn reserve(size: usize) -> Option<NonNull<u8>> {
    NonNull::new(ptr::with_exposed_provenance_mut(map(
        0,
        size,
        libc::PROT_NONE,
    )?))
}

/// Makes reserved pages usable (`sysMap`). False if the system refuses.
///
/// # Safety
/// The pages must be part of a mapping the caller owns.
pub(crate) unsafe fn commit(at: *mut u8, size: usize) -> bool {
    // SAFETY: the caller owns the pages.
    cfg!(gort_asan) || unsafe { libc::mprotect(at.cast(), size, PROT_RW) == 0 }
}

#[cfg(gort_asan)]
pub(crate) fn alloc_aligned(_: usize, size: usize, align: usize) -> Option<usize> {
    let mut p = ptr::null_mut();
    // SAFETY: the new block is that long.
    unsafe {
        if libc::posix_memalign(&mut p, align.max(4096), size) != 0 {
            return None;
        }
        p.write_bytes(0, size);
    }
    Some(p.expose_provenance())
}

/// `size` zeroed bytes at a multiple of `align`, near `hint` if that is free.
#[cfg(not(gort_asan))]
pub(crate) fn alloc_aligned(hint: usize, size: usize, align: usize) -> Option<usize> {
    if hint != 0 {
        let p = map(hint, size, PROT_RW)?;
        if p.is_multiple_of(align) {
            return Some(p);
        }
        // SAFETY: mapped just now, and nobody else knows it.
        unsafe { unmap(p, size) };
    }
    let whole = size.checked_add(align)?;
    let p = map(0, whole, PROT_RW)?;
    let base = p.next_multiple_of(align);
    let (end, last) = ((base + size).next_multiple_of(page()), p + whole);
    // SAFETY: both ends lie in the mapping made just now, outside of what is handed out, and begin at a
    // page of the system's.
    unsafe {
        if base > p {
            unmap(p, base - p);
        }
        if last > end {
            unmap(end, last - end);
        }
    }
    Some(base)
}

/// Bytes of a page of the system's.
pub(crate) fn page() -> usize {
    // SAFETY: asks for a number that there is.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Runs `f` and puts errno back: a free must not change it.
pub(crate) fn keep_errno<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: this thread's errno.
    let before = unsafe { *libc::__errno_location() };
    let r = f();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = before };
    r
}

/// Gives the pages and the addresses back.
///
/// # Safety
/// The caller owns the pages and nobody uses them any more.
pub(crate) unsafe fn unmap(at: usize, size: usize) {
    #[cfg(gort_asan)]
    // SAFETY: as the caller promises; what is unmapped is a whole mapping there.
    unsafe {
        unpoison(ptr::with_exposed_provenance_mut(at), size);
        libc::free(ptr::with_exposed_provenance_mut(at));
    }
    #[cfg(not(gort_asan))]
    // SAFETY: as the caller promises.
    keep_errno(|| unsafe { libc::munmap(ptr::with_exposed_provenance_mut(at), size) });
}

/// Gives the pages back and keeps the addresses, which read as zero afterwards. False if the
/// system refused (locked pages), in which case the contents are unspecified.
///
/// # Safety
/// The caller owns the pages, and nothing in them is needed.
pub(crate) unsafe fn discard(at: usize, size: usize) -> bool {
    #[cfg(gort_asan)]
    // SAFETY: as the caller promises.
    unsafe {
        let p = ptr::with_exposed_provenance_mut(at);
        unpoison(p, size);
        p.write_bytes(0, size);
        true
    }
    #[cfg(not(gort_asan))]
    // SAFETY: as the caller promises.
    unsafe {
        discard_whole(at, size, page())
    }
}

/// [`discard`] where the system's pages are `page` bytes. What is not a whole one stays, and is zeroed.
///
/// # Safety
/// As [`discard`].
#[cfg(not(gort_asan))]
unsafe fn discard_whole(at: usize, size: usize, page: usize) -> bool {
    let end = at + size;
    let from = at.next_multiple_of(page).min(end);
    let to = (end - end % page).max(from);
    // SAFETY: all three parts are the caller's; private anonymous memory is zero after MADV_DONTNEED.
    unsafe {
        ptr::with_exposed_provenance_mut::<u8>(at).write_bytes(0, from - at);
        ptr::with_exposed_provenance_mut::<u8>(to).write_bytes(0, end - to);
        let whole = ptr::with_exposed_provenance_mut(from);
        from == to || libc::madvise(whole, to - from, libc::MADV_DONTNEED) == 0
    }
}

/// Asks for huge pages.
pub(crate) fn advise_huge(at: usize, size: usize) {
    // SAFETY: changes how Linux provides for the pages, not what is in them.
    unsafe {
        libc::madvise(
            ptr::with_exposed_provenance_mut(at),
            size,
            libc::MADV_HUGEPAGE,
        )
    };
}

/// What [`remap`] came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Remapped {
    Done,
    /// There is no room behind the mapping.
    NoRoom,
    /// The mapping has become several (`mlock`, `mprotect` or the like of a part), which Linux does not grow.
    Never,
}

/// Grows or shrinks a whole mapping where it is.
///
/// # Safety
/// `at..at + old` is a mapping the caller owns.
pub(crate) unsafe fn remap(at: usize, old: usize, new: usize) -> Remapped {
    if cfg!(gort_asan) {
        return Remapped::Never;
    }
    // SAFETY: as the caller promises; errno is this thread's.
    unsafe {
        if libc::mremap(ptr::with_exposed_provenance_mut(at), old, new, 0) != libc::MAP_FAILED {
            Remapped::Done
        } else if *libc::__errno_location() == libc::ENOMEM {
            Remapped::NoRoom
        } else {
            Remapped::Never
        }
    }
}

/// Moves the pages of a whole mapping to `to`, a mapping of `new` bytes that they replace. No byte is copied.
/// False if the system refused; `to` is then nobody's, for Linux may have unmapped it and others mapped there.
///
/// # Safety
/// `at..at + old` and `to..to + new` are mappings the caller owns.
pub(crate) unsafe fn move_to(at: usize, old: usize, new: usize, to: usize) -> bool {
    let how = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    let to = ptr::with_exposed_provenance_mut::<libc::c_void>(to);
    // SAFETY: as the caller promises.
    let p = unsafe { libc::mremap(ptr::with_exposed_provenance_mut(at), old, new, how, to) };
    p != libc::MAP_FAILED
}

/// A line on standard error, of at most eight parts. Allocates nothing, and keeps `errno`.
#[cold]
pub(crate) fn tell(parts: &[&[u8]]) {
    let mut line = [libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: 0,
    }; 10];
    let all = [b"galloc: ".as_slice()]
        .into_iter()
        .chain(parts.iter().copied());
    for (piece, part) in line.iter_mut().zip(all.chain([b"\n".as_slice()])) {
        piece.iov_base = part.as_ptr().cast_mut().cast();
        piece.iov_len = part.len();
    }
    // SAFETY: the pieces are bytes to be read, or none. Whether anybody reads them does not matter.
    let _ = keep_errno(|| unsafe { libc::writev(2, line.as_ptr(), parts.len() as i32 + 2) });
}

/// Ends the process with a line on standard error. Allocates nothing.
#[cold]
pub(crate) fn fatal(what: &str, at: usize) -> ! {
    let mut line = [0u8; 96];
    let mut n = 0;
    let mut put = |b: u8| {
        if n < line.len() {
            line[n] = b;
            n += 1;
        }
    };
    for b in "galloc: ".bytes().chain(what.bytes()).chain(" 0x".bytes()) {
        put(b);
    }
    for shift in (0..16).rev() {
        put(b"0123456789abcdef"[at >> (shift * 4) & 15]);
    }
    put(b'\n');
    // SAFETY: the buffer holds `n` bytes; abort does not return.
    unsafe {
        libc::write(2, line.as_ptr().cast(), n);
        libc::abort()
    }
}

#[cfg(all(test, not(any(loom, gort_asan))))]
mod tests {
    use super::*;

    /// As on a system of longer pages, where a run of the heap's may share one with objects.
    #[test]
    fn discarding_leaves_the_neighbours() {
        const PAGES: usize = 32;
        let base = alloc_aligned(0, PAGES << 13, 64 << 10).unwrap();
        let p = ptr::with_exposed_provenance_mut::<u8>(base);
        for page in [page(), 16 << 10, 64 << 10] {
            for (from, to) in [(0, 1), (1, 2), (1, 9), (3, 16), (8, 24), (5, 32)] {
                // SAFETY: the mapping is this test's.
                unsafe {
                    p.write_bytes(1, PAGES << 13);
                    assert!(discard_whole(base + (from << 13), (to - from) << 13, page));
                    let bytes = core::slice::from_raw_parts(p, PAGES << 13);
                    let kept = |i| !(from << 13..to << 13).contains(&i);
                    assert!((0..PAGES << 13).all(|i| bytes[i] == u8::from(kept(i))));
                }
            }
        }
        // SAFETY: the mapping is this test's, and ends here.
        unsafe { unmap(base, PAGES << 13) };
    }
}
