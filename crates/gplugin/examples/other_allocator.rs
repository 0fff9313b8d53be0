//! A plugin with an allocator of its own.

use std::alloc::{GlobalAlloc, Layout, System};

struct Mine;

// SAFETY: everything is passed on.
unsafe impl GlobalAlloc for Mine {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract, passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static MINE: Mine = Mine;

gplugin::plugin! {
    name: "other_allocator",
    allocator: MINE,
    symbols: {}
}
