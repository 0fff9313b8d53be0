//! Go's `persistentalloc` (malloc.go): small metadata that lives as long as the process.
//!
//! Requests are cut from 256 KiB chunks by bumping; those of 64 KiB and more get a mapping of their
//! own. There is no free, so whatever is built from it is type-stable: a stale pointer to it still
//! points at an object of that type.

use crate::linear_alloc::LinearAlloc;
use crate::sys::{self, Lock};
use core::sync::atomic::{AtomicUsize, Ordering};

const CHUNK: usize = 256 << 10;
const MAX_BLOCK: usize = 64 << 10;

/// The chunk being cut; locked for the few instructions of a bump. Last in the lock order.
pub(crate) static CURRENT: Lock<LinearAlloc> = Lock::new(LinearAlloc::empty());
static SYS: AtomicUsize = AtomicUsize::new(0);

/// `size` zero bytes at a multiple of `align` (at most 4096) that are never freed; `None` when the
/// system refuses. Safe to call while any lock of the heap is held.
///
/// ```
/// let p = galloc::persistent_alloc(40, 64).unwrap();
/// assert_eq!(p as usize % 64, 0);
/// ```
///
/// # Panics
/// If `align` is not a power of two up to 4096.
#[must_use]
pub fn persistent_alloc(size: usize, align: usize) -> Option<*mut u8> {
    assert!(
        align.is_power_of_two() && align <= 4096,
        "align is {align}, not a power of two up to 4096"
    );
    if size >= MAX_BLOCK {
        let size = size.checked_next_multiple_of(4096)?;
        let p = sys::map(0, size)?;
        SYS.fetch_add(size, Ordering::Relaxed);
        return Some(p as *mut u8);
    }
    let mut current = CURRENT.lock();
    if let Some(p) = current.alloc(size, align) {
        return Some(p);
    }
    *current = LinearAlloc::reserve(CHUNK)?;
    SYS.fetch_add(CHUNK, Ordering::Relaxed);
    current.alloc(size, align)
}

/// Bytes of address space that [`persistent_alloc`] has taken from the system.
#[must_use]
pub fn persistent_sys() -> usize {
    SYS.load(Ordering::Relaxed)
}
