//! What a runtime gives back when it falls idle. In a process of its own: it looks at the process's memory.

use gmp_sched::{Barrier, Builder, go};
use std::sync::Arc;
use std::time::Duration;

/// Bytes that the process has in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Touches 64 KiB of the stack.
#[inline(never)]
fn deep() -> u8 {
    let frame = std::hint::black_box([1u8; 64 << 10]);
    frame[std::hint::black_box(7)]
}

#[test]
fn free_stacks_go_back_to_the_kernel_and_serve_again() {
    // SAFETY: nothing bound to a thread is kept across a park.
    let rt = unsafe { Builder::new().procs(2).build_stackful() }.unwrap();
    const MANY: usize = 1000;
    let burst = || {
        let all_there = Arc::new(Barrier::new(MANY));
        let goroutine = |_| {
            let all_there = all_there.clone();
            go(move || {
                let deep = deep();
                all_there.wait();
                deep
            })
        };
        let handles: Vec<_> = (0..MANY).map(goroutine).collect();
        let sum: usize = handles
            .into_iter()
            .map(|h| h.join().unwrap() as usize)
            .sum();
        assert_eq!(sum, MANY);
    };
    rt.run(burst);
    let full = resident();
    assert!(full > MANY * (64 << 10), "{full}");
    // Of all of them, those that lie with a P included.
    let enough = full - MANY * (60 << 10);
    let mut looks = 0;
    while resident() > enough {
        looks += 1;
        assert!(
            looks < 600,
            "{} of {full} bytes are still there",
            resident()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    rt.run(burst);
}
