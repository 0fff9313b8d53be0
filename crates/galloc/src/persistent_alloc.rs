//! Memory that is never given back: Go's `persistentalloc` (`malloc.go`, 1.12 to 1.27).
//!
//! Chunks of 256 KiB are cut from the front under one lock; a request of 64 KiB or more gets a
//! mapping of its own, so that a chunk's tail is never thrown away for a big one. Go keeps a chunk
//! per P; the callers here are all slow paths, so one is enough.

use crate::lock::Mutex;
use crate::sys;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

const CHUNK: usize = 256 << 10;
const MAX_BLOCK: usize = 64 << 10;

/// Bytes taken from the system so far; any thread.
static MAPPED: AtomicUsize = AtomicUsize::new(0);
/// The chunk being cut: next free address and end. Under the lock.
pub(crate) static CHUNK_LEFT: Mutex<(usize, usize)> = Mutex::new((0, 0));

/// `size` zeroed bytes at a multiple of `align`, for the life of the process.
///
/// None if `align` is no power of two or over the system's page of 4 KiB, if `size` is 0 or
/// overflows, or if the system has no memory. Takes one lock, and maps 256 KiB now and then.
///
/// ```
/// let p = galloc::persistent_alloc(100, 64).unwrap();
/// assert_eq!(p.as_ptr() as usize % 64, 0);
/// ```
#[must_use]
pub fn persistent_alloc(size: usize, align: usize) -> Option<NonNull<u8>> {
    if size == 0 || !align.is_power_of_two() || align > 4096 {
        return None;
    }
    if size >= MAX_BLOCK {
        return map(size.checked_next_multiple_of(4096)?);
    }
    let mut chunk = CHUNK_LEFT.lock();
    let mut at = chunk.0.next_multiple_of(align);
    if chunk.0 == 0 || at + size > chunk.1 {
        at = map(CHUNK)?.as_ptr().expose_provenance();
        chunk.1 = at + CHUNK;
    }
    chunk.0 = at + size;
    NonNull::new(core::ptr::with_exposed_provenance_mut(at))
}

fn map(size: usize) -> Option<NonNull<u8>> {
    let p = sys::alloc(size)?;
    MAPPED.fetch_add(size, Ordering::Relaxed);
    Some(p)
}

/// Bytes that all blocks so far took from the system.
pub(crate) fn mapped() -> usize {
    MAPPED.load(Ordering::Relaxed)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_zero_aligned_and_apart() {
        let mut end = Vec::new();
        for (size, align) in [(1, 1), (40, 8), (4000, 4096), (65_535, 64), (100_000, 4096)] {
            let p = persistent_alloc(size, align).unwrap();
            let at = p.as_ptr() as usize;
            assert_eq!(at % align, 0);
            // SAFETY: the block is this test's alone and `size` long.
            let bytes = unsafe { core::slice::from_raw_parts_mut(p.as_ptr(), size) };
            assert!(bytes.iter().all(|&b| b == 0));
            bytes.fill(1);
            assert!(end.iter().all(|&(from, to)| at + size <= from || at >= to));
            end.push((at, at + size));
        }
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        assert!(persistent_alloc(0, 8).is_none());
        assert!(persistent_alloc(8, 3).is_none());
        assert!(persistent_alloc(8, 8192).is_none());
        assert!(persistent_alloc(usize::MAX, 8).is_none());
    }
}
