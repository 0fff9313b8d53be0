//! Under AddressSanitizer, with arenas from its own allocator: a use after free is found.
//! For how to run it see the crate's README.
#![cfg(gort_asan)]

use galloc::Galloc;
use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;

/// Runs `f` in a child and says whether it came to an end by itself.
fn survives(f: impl FnOnce()) -> bool {
    // SAFETY: the child runs `f` and leaves by `_exit`, here or in the sanitizer.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            // The report is expected, so it is not shown.
            libc::close(2);
            f();
            libc::_exit(0);
        }
        let mut status = -1;
        libc::waitpid(child, &mut status, 0);
        status == 0
    }
}

#[test]
fn a_use_after_free_is_found() {
    for size in [16, 1000, 30_000, 100_000, 3 << 20] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let read = |early: bool| {
            // SAFETY: none with `early` false: the read is wrong on purpose, in a child.
            unsafe {
                let p = black_box(Galloc.alloc_zeroed(layout));
                if early {
                    assert_eq!(p.add(12).read_volatile(), 0);
                }
                Galloc.dealloc(p, layout);
                if !early {
                    black_box(p.add(12).read_volatile());
                }
            }
        };
        assert!(survives(|| read(true)), "{size}");
        assert!(!survives(|| read(false)), "{size}");
    }
}
