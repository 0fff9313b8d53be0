//! A process with nothing to do. In a process of its own: whoever else runs a test would wake its threads.

use gmp_sched::{Builder, go};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often each thread of the process, but for the one that runs the test, has gone to sleep by itself.
fn sleeps() -> BTreeMap<u32, u64> {
    let of = |tid: u32| {
        let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status")).ok()?;
        let name = status.strip_prefix("Name:\t")?;
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"))?;
        name.starts_with("gmp-")
            .then(|| (tid, line.trim().parse().unwrap()))
    };
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| of(task.unwrap().file_name().to_str()?.parse().ok()?))
        .collect()
}

#[test]
fn r26_an_idle_process_wakes_nobody() {
    // SAFETY: nothing here keeps anything bound to its thread across a park.
    let rt = unsafe { Builder::new().procs(2).build_stackful() }.unwrap();
    let sum: u32 = rt.run(|| {
        let all: Vec<_> = (0..1000).map(|i| go(move || i)).collect();
        all.into_iter().map(|h| h.join().unwrap()).sum()
    });
    assert_eq!(sum, 999 * 500);
    // A second after the last goroutine sysmon gives the stacks back. Then nobody does anything.
    let mut looks = 0;
    loop {
        let before = sleeps();
        std::thread::sleep(Duration::from_secs(2));
        if sleeps() == before {
            assert!(before.len() >= 2, "sysmon and an M: {before:?}");
            break;
        }
        looks += 1;
        assert!(looks < 30, "{before:?}, two seconds later {:?}", sleeps());
    }
    let stats = rt.handle().stats();
    assert!(stats.sysmon_sleeps > 0, "{stats:?}");
    assert_eq!((stats.idle_ps, stats.spinning_ms), (2, 0), "R21: {stats:?}");
}
