//! A process of its own: how many records it makes is a figure of the process.

use gmp_sched::{Runtime, go};

#[test]
fn r23_dead_records_are_used_again() {
    // SAFETY: nothing here uses thread-locals across a park.
    let stackful = |procs| unsafe { Runtime::builder().procs(procs).build_stackful() }.unwrap();
    let rt = stackful(2);
    rt.run(|| (0..300_000).for_each(|_| go(|| ()).join().unwrap()));
    let made = rt.handle().stats().all_gs;
    // A batch for each P's list and what the lists keep.
    assert!(
        made < 1_000,
        "{made} records for 300,000 goroutines, one at a time"
    );
    // A P keeps few of those that end on it: others have the rest.
    const MANY: usize = 50_000;
    let others: Vec<_> = (0..3).map(|_| stackful(1)).collect();
    for rt in &others {
        rt.run(|| {
            let all: Vec<_> = (0..MANY).map(|_| go(|| ())).collect();
            all.into_iter().for_each(|h| h.join().unwrap());
        });
    }
    let made = rt.handle().stats().all_gs;
    assert!(
        made < MANY + 2_000,
        "{made} records for three times {MANY} goroutines"
    );
}
