//! What goroutines take from the allocator, counted. In a process of its own: it is the process's allocator.

use gort::{Runtime, go, yield_now};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: `System`'s, with a count beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOC: Counting = Counting;

/// Whether `f` can do without the allocator. Not the first time, nor while another thread takes something.
fn needs_none(f: impl Fn()) -> bool {
    (0..10_000).any(|_| {
        let before = TAKEN.load(Ordering::Relaxed);
        f();
        TAKEN.load(Ordering::Relaxed) == before
    })
}

/// R63; and records and stacks are used again.
#[test]
fn r63_a_sleep_a_switch_and_a_goroutine_allocate_nothing() {
    for procs in [1, 2] {
        // SAFETY: nothing here keeps anything bound to a thread across a park.
        let rt = unsafe { Runtime::builder().procs(procs).build_stackful() }.unwrap();
        rt.run(|| {
            let soon = Duration::from_micros(10);
            assert!(needs_none(|| gort::sleep(soon)), "a sleep");
            assert!(needs_none(yield_now), "a switch");
            let one = || assert_eq!(go(|| 7).join().unwrap(), 7);
            assert!(needs_none(one), "a goroutine");
        });
    }
}
