//! With the feature `hardened`, wrong frees end the process with a report that names the address.
#![cfg(feature = "hardened")]

use galloc::Galloc;
use std::alloc::{GlobalAlloc, Layout};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::thread;

/// Runs `f` in a child, which must die by SIGABRT after a line on standard error; the line.
fn report(f: impl FnOnce()) -> String {
    let (mut reader, writer) = std::io::pipe().unwrap();
    // SAFETY: the child runs `f` and leaves by _exit or abort.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::dup2(writer.as_raw_fd(), 2);
            f();
            libc::_exit(0);
        }
        drop(writer);
        let mut line = String::new();
        reader.read_to_string(&mut line).unwrap();
        let mut status = 0;
        libc::waitpid(child, &mut status, 0);
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT);
        line
    }
}

/// The report says what is wrong, and where.
fn says(line: &str, what: &str, at: usize) {
    assert_eq!(line, format!("galloc: {what} {at:#018x}\n"));
}

const SIZES: [usize; 6] = [8, 100, 32_768, 100_000, 3 << 20, 40 << 20];

/// The same in the child, for nothing is allocated between.
fn object(layout: Layout) -> usize {
    // SAFETY: the size is not 0.
    let p = unsafe { Galloc.alloc(layout) };
    assert!(!p.is_null());
    p.expose_provenance()
}

fn free(at: usize, layout: Layout) {
    // SAFETY: none where the free is wrong, which is on purpose: the child must die of it.
    unsafe { Galloc.dealloc(std::ptr::with_exposed_provenance_mut(at), layout) }
}

fn resize(at: usize, layout: Layout, size: usize) {
    // SAFETY: none, as in `free`.
    unsafe { Galloc.realloc(std::ptr::with_exposed_provenance_mut(at), layout, size) };
}

#[test]
fn double_frees_are_reported() {
    for size in SIZES {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let (p, other) = (object(layout), object(layout));
        let line = report(|| {
            free(p, layout);
            free(p, layout);
        });
        // What went back to the system or to the page heap is no object any more.
        if size > 2 << 20 {
            says(&line, "not an allocated object:", p);
        } else {
            says(&line, "double free of", p);
        }
        free(other, layout);
        free(p, layout);
    }
}

#[test]
fn double_frees_by_another_thread_are_reported() {
    for size in [8, 100, 32_768, 100_000] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let (p, other) = (object(layout), object(layout));
        let line = report(|| {
            free(p, layout);
            drop(thread::spawn(move || free(p, layout)).join());
        });
        says(&line, "double free of", p);
        free(other, layout);
        free(p, layout);
    }
}

#[test]
fn frees_inside_an_object_are_reported() {
    for size in SIZES {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let p = object(layout);
        let line = report(|| free(p + 4, layout));
        if size <= 32_768 {
            says(&line, "free of a pointer that starts no object:", p + 4);
        } else {
            says(&line, "free inside a large object:", p + 4);
        }
        free(p, layout);
    }
}

#[test]
fn resizes_of_what_is_freed_are_reported() {
    for size in [8, 100, 32_768, 100_000] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let (p, other) = (object(layout), object(layout));
        // One that stays where it is, too.
        for new in [size, size * 2] {
            let line = report(|| {
                free(p, layout);
                resize(p, layout, new);
            });
            says(&line, "double free of", p);
        }
        free(other, layout);
        free(p, layout);
    }
}

#[test]
fn resizes_inside_an_object_are_reported() {
    for size in SIZES {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let p = object(layout);
        let line = report(|| resize(p + 4, layout, size + (8 << 20)));
        if size <= 32_768 {
            says(&line, "free of a pointer that starts no object:", p + 4);
        } else {
            says(&line, "free inside a large object:", p + 4);
        }
        free(p, layout);
    }
}

#[test]
fn frees_of_what_is_not_of_the_heap_are_reported() {
    static BYTES: [u64; 100] = [0; 100];
    let on_stack = 1u64;
    let layout = Layout::new::<u64>();
    for at in [
        (&raw const BYTES).addr(),
        (&raw const on_stack).addr(),
        8,
        usize::MAX - 7,
    ] {
        says(&report(|| free(at, layout)), "not an allocated object:", at);
    }
}

#[test]
fn sizes_that_overflow_give_null() {
    let layout = Layout::from_size_align(isize::MAX as usize - 7, 8).unwrap();
    // SAFETY: the size is not 0.
    unsafe {
        assert!(Galloc.alloc(layout).is_null());
        assert!(Galloc.alloc_zeroed(layout).is_null());
    }
}
