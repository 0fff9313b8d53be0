//! A process of its own: how many records it makes is a figure of the process.

use gmp_sched::{Runtime, go};

#[test]
fn r23_dead_records_are_used_again() {
    // SAFETY: nothing here uses thread-locals across a park.
    let rt = unsafe { Runtime::builder().procs(2).build_stackful() }.expect("a runtime");
    rt.run(|| (0..300_000).for_each(|_| go(|| ()).join().unwrap()));
    let made = rt.handle().stats().all_gs;
    // A batch for each P's list and what the lists keep.
    assert!(
        made < 1_000,
        "{made} records for 300,000 goroutines, one at a time"
    );
}
