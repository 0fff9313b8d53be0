//! Objects under 16 bytes, several to a block: the tiny allocator of Go's `mallocgc` (`malloc.go`,
//! 1.12 to 1.27), R123.
//!
//! Go puts tiny objects without pointers into blocks of 16 bytes and lets the collector find out
//! when a block holds none any more. Here the last byte of a block counts, so blocks are four times
//! as long to make that byte cheap: 63 of 64 bytes serve, and one object that stays keeps 64. A byte
//! alone costs 1.02 bytes instead of a class's 8.
//!
//! The block being filled is the cache's, which holds [`HELD`] of its count, so that it stays while
//! objects in it come and go; giving it up returns what was not handed out. Allocating changes no
//! shared word, freeing one. The decrement is AcqRel: who frees the block sees every use of it.
//!
//! Rejected: doing this behind `GlobalAlloc`. It would need to know at `dealloc` which objects are
//! tiny, by a bit per span on every free, and a long-lived byte would keep its neighbours' memory.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicU8, Ordering};

/// Objects are smaller than this.
pub const TINY_SIZE: usize = 16;
pub(crate) const MAX_ALIGN: usize = 8;
/// Bytes of a block.
pub(crate) const BLOCK: usize = 64;
/// Where a block's count is.
const COUNT: usize = BLOCK - 1;
/// The cache's share of a count; over the number of objects a block holds.
const HELD: u8 = 128;

/// A cache's block; its owner's alone.
#[derive(Debug)]
pub(crate) struct Tiny {
    block: Cell<*mut u8>,
    /// Bytes used.
    used: Cell<usize>,
    /// Objects handed out.
    handed: Cell<u8>,
}

impl Tiny {
    pub(crate) const fn new() -> Self {
        Self {
            block: Cell::new(ptr::null_mut()),
            used: Cell::new(0),
            handed: Cell::new(0),
        }
    }

    /// An object of a layout that [`fits`]. `alloc` gives a new block (null without memory, and so
    /// is the answer then), `free` takes one back. To find one, `alloc` may give the old block up.
    pub(crate) fn alloc(
        &self,
        layout: Layout,
        alloc: impl FnOnce() -> *mut u8,
        free: impl FnOnce(*mut u8),
    ) -> *mut u8 {
        let mut at = self.used.get().next_multiple_of(layout.align());
        if self.block.get().is_null() || at + layout.size() > COUNT {
            let new = alloc();
            if new.is_null() {
                return new;
            }
            self.give_up(free);
            // SAFETY: the new block is this cache's alone.
            unsafe { new.add(COUNT).write(HELD) };
            self.block.set(new);
            self.handed.set(0);
            at = 0;
        }
        self.used.set(at + layout.size());
        self.handed.set(self.handed.get() + 1);
        // SAFETY: the object ends before the count.
        unsafe { self.block.get().add(at) }
    }

    /// Gives the block up; `free` takes it if no object in it is left.
    pub(crate) fn give_up(&self, free: impl FnOnce(*mut u8)) {
        let block = self.block.replace(ptr::null_mut());
        if !block.is_null() && drop_count(block, HELD - self.handed.get()) {
            free(block);
        }
    }
}

/// Whether an object is tiny, and not nothing.
pub(crate) const fn fits(layout: Layout) -> bool {
    layout.size() < TINY_SIZE && layout.size() > 0 && layout.align() <= MAX_ALIGN
}

/// Gives one object back; the block if it was the last one in it.
///
/// # Safety
/// `p` is an object of [`Tiny::alloc`] that nobody uses any more.
pub(crate) unsafe fn free(p: *mut u8) -> Option<*mut u8> {
    // Blocks lie at multiples of their size.
    let block = p.map_addr(|at| at & !(BLOCK - 1));
    drop_count(block, 1).then_some(block)
}

/// True if the count falls to 0.
fn drop_count(block: *mut u8, by: u8) -> bool {
    // SAFETY: a block has its count at its end for as long as anybody holds a share of it.
    let count = unsafe { AtomicU8::from_ptr(block.add(COUNT)) };
    count.fetch_sub(by, Ordering::AcqRel) == by
}
