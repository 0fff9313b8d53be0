//! What a program pays that makes runtimes and ends them, over and over. In a process of its own: it looks at the
//! process's memory. Not under AddressSanitizer, which keeps what is freed.
#![cfg(not(gort_asan))]

use gort::{Runtime, Shutdown, go};
use std::time::Duration;

/// Bytes that the process has in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn build() -> Runtime {
    // SAFETY: nothing bound to a thread is kept across a park.
    unsafe { Runtime::builder().procs(1).build_stackful() }.unwrap()
}

#[test]
fn runtimes_that_ended_leave_nothing_behind() {
    let round = || {
        let rt = build();
        rt.run(|| {
            drop(gort::time::after_func(Duration::from_secs(1_000), || ()));
            go(|| gort::sleep(Duration::from_micros(1))).join().unwrap();
        });
        drop(rt);
        build().shutdown(Shutdown::Abort(Duration::from_secs(1_000)));
        let refused = Runtime::builder().procs(5_000).build();
        assert!(refused.unwrap_err().to_string().contains("5000"));
    };
    (0..100).for_each(|_| round());
    let before = resident();
    (0..500).for_each(|_| round());
    let grown = resident().saturating_sub(before);
    assert!(
        grown < 4 << 20,
        "{grown} bytes more after 1,000 runtimes and 500 refusals"
    );
}
