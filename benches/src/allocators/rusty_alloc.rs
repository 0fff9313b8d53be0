//! The workloads of `alloc` with rusty_alloc as the program's allocator. Its package offers functions and no
//! `GlobalAlloc`, so a thin one is here, with the variant of `free` that its documentation names for Rust.

use rusty_alloc::alloc as ra;

use std::alloc::{GlobalAlloc, Layout};

struct RustyAlloc;

/// Whether `malloc` alone aligns well enough.
const fn natural(layout: Layout) -> bool {
    layout.align() <= 16 && layout.size() >= layout.align()
}

// SAFETY: malloc's contract covers GlobalAlloc's: blocks are of the size asked for, aligned to 16 from 16 bytes
// on and to their size rounded to a word below, or to the alignment asked for; null where there is no memory.
unsafe impl GlobalAlloc for RustyAlloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if natural(layout) {
            return ra::malloc(layout.size());
        }
        // SAFETY: a layout's alignment is a power of two.
        unsafe { ra::malloc_aligned_pow2(layout.size(), layout.align()) }
    }
    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if natural(layout) {
            return ra::zalloc(layout.size());
        }
        ra::zalloc_aligned(layout.size(), layout.align())
    }
    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller got `block` from here, and gives it up.
        unsafe { ra::free_inline_flags_first(block) }
    }
    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= 16 && size >= layout.align() {
            // SAFETY: the caller got `block` from here, and gives it up.
            return unsafe { ra::realloc(block, size) };
        }
        // SAFETY: as above.
        unsafe { ra::realloc_aligned(block, size, layout.align()) }
    }
}

#[global_allocator]
static GLOBAL: RustyAlloc = RustyAlloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gort_benches::alloc::main("rusty_alloc")
}
