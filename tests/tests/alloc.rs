//! What goroutines take from the allocator, counted. In a process of its own: it is the process's allocator.

use gort::{Runtime, go, yield_now};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// What this thread takes is its own matter, and not a goroutine's.
static SYSMON: AtomicI32 = AtomicI32::new(0);

struct Counting;

// SAFETY: `System`'s, with a count beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no arguments, no memory.
        if unsafe { libc::gettid() } != SYSMON.load(Ordering::Relaxed) {
            TAKEN.fetch_add(1, Ordering::Relaxed);
        }
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

/// The number of sysmon's thread, once that has given itself its name.
fn sysmon() -> i32 {
    loop {
        for task in std::fs::read_dir("/proc/self/task").unwrap() {
            let task = task.unwrap();
            let name = std::fs::read_to_string(task.path().join("comm"));
            if name.is_ok_and(|name| name.trim() == "gmp-sysmon") {
                return task.file_name().to_str().unwrap().parse().unwrap();
            }
        }
    }
}

/// Whether `f` can do without the allocator. Not the first time, nor while another thread takes something.
fn needs_none(f: impl Fn()) -> bool {
    (0..1_000).any(|_| {
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
        SYSMON.store(sysmon(), Ordering::Relaxed);
        rt.run(|| {
            let soon = Duration::from_micros(10);
            assert!(needs_none(|| gort::sleep(soon)), "a sleep");
            assert!(needs_none(yield_now), "a switch");
            let one = || assert_eq!(go(|| 7).join().unwrap(), 7);
            assert!(needs_none(one), "a goroutine");
        });
    }
}
