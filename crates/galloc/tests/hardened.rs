//! With the feature `hardened`, wrong frees end the process with a report.
#![cfg(feature = "hardened")]

use galloc::Galloc;
use std::alloc::{GlobalAlloc, Layout};

/// Runs `f` in a child, which must die by SIGABRT.
fn dies(f: impl FnOnce()) {
    // SAFETY: the child runs `f` and leaves by _exit or abort.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            f();
            libc::_exit(0);
        }
        let mut status = 0;
        libc::waitpid(child, &mut status, 0);
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT);
    }
}

#[test]
fn double_and_invalid_frees_are_fatal() {
    for size in [8, 100, 32_768, 100_000] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: none: the frees are wrong on purpose, and the child must die of them.
        dies(|| unsafe {
            let (p, _other) = (Galloc.alloc(layout), Galloc.alloc(layout));
            Galloc.dealloc(p, layout);
            Galloc.dealloc(p, layout);
        });
        // SAFETY: as above.
        dies(|| unsafe {
            let p = Galloc.alloc(layout);
            Galloc.dealloc(p.add(4), layout);
        });
    }
}
