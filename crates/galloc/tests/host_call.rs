//! A host's call that does what it should not, in the middle of a free. A program of its own: the host is
//! the process's, and each test is one in a child.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

#[global_allocator]
static A: galloc::Galloc = galloc::Galloc;

/// What a child comes to that has `call` for its host's call and then does `work`: a status of `waitpid`.
fn end(call: fn(), work: fn()) -> i32 {
    // SAFETY: the child leaves by `_exit`, or by a signal.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let failed = std::panic::catch_unwind(|| {
                assert!(galloc::host_scavenger(call));
                work();
            });
            libc::_exit(i32::from(failed.is_err()));
        }
        let mut status = -1;
        libc::waitpid(child, &mut status, 0);
        status
    }
}

#[test]
fn a_panic_does_not_come_out_of_a_free() {
    fn call() {
        // What is said is expected, so it is not shown.
        std::panic::set_hook(Box::new(|_| ()));
        // SAFETY: the child's own standard error.
        unsafe { libc::close(2) };
        panic!("in the middle of a free");
    }
    let status = end(call, || ());
    assert!(
        libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT,
        "{status}"
    );
}

/// What is freed and given up in the call is not the cache that the free is at work on.
#[test]
fn a_call_may_allocate_and_release_slots() {
    fn call() {
        drop(black_box(vec![1u8; 1_900_000]));
        drop(black_box(vec![vec![1u8; 100]; 1000]));
        galloc::release();
        // The next free may call again.
        while galloc::scavenge_step().is_some() {}
        galloc::release_slot();
    }
    fn work() {
        thread::scope(|s| {
            for tag in 1..5u8 {
                s.spawn(move || {
                    for _ in 0..20 {
                        let all: Vec<_> = (0..2000).map(|_| vec![tag; 3000]).collect();
                        assert!(all.iter().all(|v| v.iter().all(|b| *b == tag)));
                        drop(all);
                        galloc::release();
                    }
                });
            }
        });
    }
    assert_eq!(end(call, work), 0);
}

/// Who becomes host is called at once, from a thread without a slot too.
#[test]
fn a_host_is_called_at_the_start() {
    static CALLED: AtomicUsize = AtomicUsize::new(0);
    // SAFETY: the child leaves by `_exit`.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            galloc::release_slot();
            let is_host = galloc::host_scavenger(|| {
                CALLED.fetch_add(1, Ordering::Relaxed);
            });
            libc::_exit(i32::from(!is_host || CALLED.load(Ordering::Relaxed) != 1));
        }
        let mut status = -1;
        libc::waitpid(child, &mut status, 0);
        assert_eq!(status, 0);
    }
}
