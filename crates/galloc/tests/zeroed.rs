//! Zeroed objects of memory that is known to be zero are not written to. A program of one test: what is resident is
//! the process's. (AddressSanitizer's memory is.)
#![cfg(not(gort_asan))]

use std::alloc::{GlobalAlloc, Layout};

#[global_allocator]
static A: galloc::Galloc = galloc::Galloc;

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn fresh_memory_is_not_zeroed_again_and_used_memory_is() {
    galloc::set_scavenger(galloc::Scavenger::Off);
    // A small class, a shelf's size, an arena's, and a mapping of its own: 80 MiB each.
    for (n, size) in [
        (2560, 32 << 10),
        (80, 1 << 20),
        (8, 10 << 20),
        (1, 80 << 20),
    ] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let take = |out: &mut Vec<*mut u8>| {
            // SAFETY: the size is not 0.
            out.extend((0..n).map(|_| unsafe { A.alloc_zeroed(layout) }));
            assert!(out.iter().all(|p| !p.is_null()));
        };
        let is_zero = |p: &*mut u8| {
            // SAFETY: the object is that long, and zeroed.
            unsafe { std::slice::from_raw_parts(*p, size) }
                .iter()
                .all(|&b| b == 0)
        };
        let give = |out: &mut Vec<*mut u8>| {
            for p in out.drain(..) {
                // SAFETY: the object is that long; freed once.
                unsafe {
                    p.write_bytes(1, size);
                    A.dealloc(p, layout);
                }
            }
        };
        let mut all = Vec::with_capacity(n);
        let before = resident();
        take(&mut all);
        assert!(
            resident() < before + (16 << 20),
            "{n} of {size} were written to"
        );
        assert!(all.iter().all(is_zero));
        give(&mut all);
        take(&mut all);
        assert!(all.iter().all(is_zero), "{n} of {size} hold old bytes");
        give(&mut all);
        // Given back, it is zero again, without being written to.
        galloc::release();
        let before = resident();
        take(&mut all);
        assert!(
            resident() < before + (16 << 20),
            "{n} of {size} were written to again"
        );
        assert!(all.iter().all(is_zero));
        give(&mut all);
        galloc::release();
    }
}
