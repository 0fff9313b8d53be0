//! `fork` where handlers that allocate are older than galloc's, which come with its first object. A program
//! of one test: handlers are the process's.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

#[global_allocator]
static A: galloc::Galloc = galloc::Galloc;

static PREPARED: AtomicUsize = AtomicUsize::new(0);
static FORKED: AtomicUsize = AtomicUsize::new(0);

/// Runs before `main`, and before anything of Rust's allocates.
#[used]
// SAFETY: what the section holds is functions, called one after the other when the program is loaded.
#[unsafe(link_section = ".init_array.00101")]
static EARLY: extern "C" fn() = early;

extern "C" fn early() {
    // SAFETY: the three take no arguments, and do what any code may.
    unsafe { libc::pthread_atfork(Some(prepare), Some(forked), Some(forked)) };
}

/// Leaves the short ways: new spans, large objects, a mapping, and what others hold.
fn allocate() {
    let some: Vec<Vec<u8>> = (0..64).map(|i| vec![1; 20_000 + i * 1000]).collect();
    let many: Vec<Box<[u8; 100]>> = (0..5000).map(|_| Box::new([1; 100])).collect();
    black_box((some, many, vec![1u8; 40 << 20]));
    galloc::release();
}

unsafe extern "C" fn prepare() {
    allocate();
    PREPARED.fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" fn forked() {
    allocate();
    FORKED.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn older_handlers_may_allocate() {
    // A program that hangs is ended, in time for any machine.
    // SAFETY: there is no handler that the signal would run.
    unsafe { libc::alarm(300) };
    let done = AtomicBool::new(false);
    thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    allocate();
                }
            });
        }
        for _ in 0..10 {
            // SAFETY: the child allocates, starts a thread and leaves by `_exit`.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    // Another thread finds no lock held, and this one holds none.
                    let other = thread::spawn(allocate).join();
                    allocate();
                    libc::_exit(i32::from(other.is_err()));
                }
                let mut status = -1;
                libc::waitpid(child, &mut status, 0);
                assert_eq!(status, 0);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(PREPARED.load(Ordering::Relaxed), 10);
    assert_eq!(FORKED.load(Ordering::Relaxed), 10);
}
