//! [`Galloc`] as an [`Allocator`]: for containers that take one (`hashbrown`, `allocator_api2`'s
//! own `Vec` and `Box`), whatever the program's global allocator is.

use crate::malloc::Galloc;
use allocator_api2::alloc::{AllocError, Allocator};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

/// A block of no bytes is an address; any other is as long as its class, which may be more than was
/// asked for.
fn block(p: *mut u8, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    let p = NonNull::new(p).ok_or(AllocError)?;
    // SAFETY: `p` is an object just allocated.
    let len = unsafe { Galloc.usable_size(p.as_ptr()) };
    debug_assert!(len >= layout.size());
    Ok(NonNull::slice_from_raw_parts(p, len))
}

fn empty(layout: Layout) -> NonNull<[u8]> {
    let p = NonNull::without_provenance(
        core::num::NonZero::new(layout.align()).unwrap_or(core::num::NonZero::<usize>::MIN),
    );
    NonNull::slice_from_raw_parts(p, 0)
}

// SAFETY: a block stays until it is freed, through whichever copy of the unit type; see `GlobalAlloc`.
unsafe impl Allocator for Galloc {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        // SAFETY: the size is not 0.
        block(unsafe { self.alloc(layout) }, layout)
    }

    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        // SAFETY: the size is not 0. The part beyond what was asked for is zeroed too.
        unsafe {
            let block = block(self.alloc_zeroed(layout), layout)?;
            let tail = block.len() - layout.size();
            block.cast::<u8>().add(layout.size()).write_bytes(0, tail);
            Ok(block)
        }
    }

    unsafe fn deallocate(&self, p: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: as the caller promises.
            unsafe { self.free(p.as_ptr()) }
        }
    }

    unsafe fn grow(
        &self,
        p: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.size() == 0 {
            return self.allocate(new);
        }
        // SAFETY: as the caller promises; the new size is at least the old one, which is not 0. An
        // alignment that grew makes `resize` move the object only if it has to change its class, so
        // it is checked here.
        unsafe {
            if p.addr().get().is_multiple_of(new.align()) {
                return block(self.resize(p.as_ptr(), new.align(), new.size()), new);
            }
            let moved = self.allocate(new)?;
            p.copy_to_nonoverlapping(moved.cast(), old.size());
            self.deallocate(p, old);
            Ok(moved)
        }
    }

    unsafe fn grow_zeroed(
        &self,
        p: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: as the caller promises; the bytes from the old size on are the new block's.
        unsafe {
            let grown = self.grow(p, old, new)?;
            let tail = grown.len() - old.size();
            grown.cast::<u8>().add(old.size()).write_bytes(0, tail);
            Ok(grown)
        }
    }

    unsafe fn shrink(
        &self,
        p: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: as the caller promises; `grow` copies as many bytes as fit.
        unsafe {
            if new.size() == 0 {
                self.deallocate(p, old);
                return Ok(empty(new));
            }
            if p.addr().get().is_multiple_of(new.align()) {
                return block(self.resize(p.as_ptr(), new.align(), new.size()), new);
            }
            let moved = self.allocate(new)?;
            p.copy_to_nonoverlapping(moved.cast(), new.size());
            self.deallocate(p, old);
            Ok(moved)
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use allocator_api2::{boxed::Box, vec::Vec};

    #[test]
    fn containers_live_in_it() {
        let mut v: Vec<u64, Galloc> = Vec::new_in(Galloc);
        for i in 0..100_000 {
            v.push(i);
        }
        v.truncate(1000);
        v.shrink_to_fit();
        assert!(v.iter().zip(0..).all(|(&a, b)| a == b));
        let b = Box::new_in([7u8; 100], Galloc);
        let unit = Box::new_in((), Galloc);
        drop((v, unit));
        assert_eq!(b[99], 7);
    }

    #[test]
    fn blocks_grow_and_shrink_with_their_bytes_and_alignments() {
        let at = |size, align| Layout::from_size_align(size, align).unwrap();
        let bytes = |b: NonNull<[u8]>, n| {
            // SAFETY: blocks are longer than that, and initialised by then.
            unsafe { core::slice::from_raw_parts(b.cast::<u8>().as_ptr(), n) }
        };
        for align in [1, 8, 64, 4096, 65536] {
            for size in [1, 24, 1000, 40_000] {
                // SAFETY: layouts are those of the call before.
                unsafe {
                    let b = Galloc.allocate_zeroed(at(size, 1)).unwrap();
                    assert!(b.len() >= size && bytes(b, b.len()).iter().all(|&b| b == 0));
                    b.cast::<u8>().write_bytes(5, size);
                    let b = Galloc
                        .grow_zeroed(b.cast(), at(size, 1), at(size * 3, align))
                        .unwrap();
                    assert!(b.cast::<u8>().addr().get().is_multiple_of(align));
                    assert!(bytes(b, size).iter().all(|&b| b == 5));
                    assert!(bytes(b, b.len())[size..].iter().all(|&b| b == 0));
                    let b = Galloc
                        .shrink(b.cast(), at(size * 3, align), at(size.div_ceil(2), 16))
                        .unwrap();
                    assert!(b.cast::<u8>().addr().get().is_multiple_of(16));
                    assert!(bytes(b, size.div_ceil(2)).iter().all(|&b| b == 5));
                    Galloc.deallocate(b.cast(), at(size.div_ceil(2), 16));
                }
            }
        }
    }
}
