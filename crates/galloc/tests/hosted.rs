//! Giving back by a thread of the program's own. A program of one test: mode and statistics are the
//! process's.

use galloc::{MemStats, Scavenger};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

#[global_allocator]
static A: galloc::Galloc = galloc::Galloc;

static HOST: OnceLock<Thread> = OnceLock::new();
static CALLS: AtomicUsize = AtomicUsize::new(0);
/// What `CALLS` was before the step that found nothing left to do. A host at work is not called, so at rest
/// it is what `CALLS` is.
static RESTED: AtomicUsize = AtomicUsize::new(usize::MAX);

fn call() {
    CALLS.fetch_add(1, Ordering::SeqCst);
    HOST.get().expect("set before").unpark();
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn fill_and_free() {
    let many: Vec<_> = (0..60_000).map(|i| vec![i as u8; 1000]).collect();
    assert!(many.iter().all(|v| v[0] == v[999]));
}

/// Looks again and again, for as long as even a stuck machine would need.
fn comes_true(what: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !what() {
        if start.elapsed() > Duration::from_secs(60) {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

fn rests() -> bool {
    RESTED.load(Ordering::SeqCst) == CALLS.load(Ordering::SeqCst)
}

/// All free memory beyond the goal goes back.
fn goes_back() -> bool {
    comes_true(|| {
        let now = MemStats::read();
        now.heap_idle - now.heap_released <= (4 << 20) + now.heap_inuse / 10
    })
}

#[test]
fn a_host_is_called_when_there_is_something_to_give_back() {
    let host = thread::spawn(|| {
        loop {
            let calls = CALLS.load(Ordering::SeqCst);
            match galloc::scavenge_step() {
                Some(wait) => thread::sleep(wait),
                None => {
                    RESTED.store(calls, Ordering::SeqCst);
                    thread::park();
                }
            }
        }
    });
    HOST.set(host.thread().clone()).unwrap();
    assert!(galloc::host_scavenger(call));
    assert!(!galloc::host_scavenger(call), "there is one");
    let before = threads();
    assert!(comes_true(rests));
    for _ in 0..3 {
        let calls = CALLS.load(Ordering::SeqCst);
        fill_and_free();
        assert!(goes_back());
        assert!(comes_true(rests), "it ends");
        assert!(CALLS.load(Ordering::SeqCst) > calls);
    }
    // Of large objects that this thread keeps for itself more than a MiB is told of at once.
    let calls = CALLS.load(Ordering::SeqCst);
    drop(vec![1u8; 1_900_000]);
    assert_eq!(CALLS.load(Ordering::SeqCst), calls + 1);
    assert!(comes_true(rests));
    assert_eq!(threads(), before, "no thread was made");

    // A child has no host.
    // SAFETY: the child allocates, reads and leaves by `_exit`.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            fill_and_free();
            libc::_exit(i32::from(!goes_back()));
        }
        let mut status = -1;
        libc::waitpid(child, &mut status, 0);
        assert_eq!(status, 0, "a child gives back by a thread of its own");
    }

    assert_eq!(galloc::set_scavenger(Scavenger::Off), Scavenger::Hosted);
    assert!(!galloc::host_scavenger(call), "off by choice stays off");
}
