//! In a program of gort's that allocates with galloc, sysmon gives memory back. A program of one test: mode and
//! statistics are the process's.

use gort::alloc::{Galloc, MemStats, Scavenger, set_scavenger};
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static A: Galloc = Galloc;

fn fill_and_free() {
    let many: Vec<_> = (0..60_000).map(|i| vec![i as u8; 1000]).collect();
    assert!(many.iter().all(|v| v[0] == v[999]));
}

/// Looks again and again, for as long as even a stuck machine would need.
fn comes_true(pause: Duration, mut what: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !what() {
        if start.elapsed() > Duration::from_secs(60) {
            return false;
        }
        thread::sleep(pause);
    }
    true
}

fn goes_back() -> bool {
    comes_true(Duration::from_millis(10), || {
        let now = MemStats::read();
        now.heap_idle - now.heap_released <= (4 << 20) + now.heap_inuse / 10
    })
}

/// How often sysmon has gone to sleep.
fn naps() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    for task in tasks {
        let dir = task.unwrap().path();
        if std::fs::read_to_string(dir.join("comm")).unwrap().trim() == "gmp-sysmon" {
            let status = std::fs::read_to_string(dir.join("status")).unwrap();
            let line = status
                .lines()
                .find(|l| l.starts_with("voluntary_ctxt_switches"));
            return line
                .unwrap()
                .split_whitespace()
                .nth(1)
                .unwrap()
                .parse()
                .unwrap();
        }
    }
    panic!("no sysmon");
}

#[test]
fn sysmon_gives_free_memory_back_and_then_sleeps() {
    // SAFETY: nothing bound to a thread is kept across a park.
    let rt = unsafe { gort::Runtime::builder().procs(2).build_stackful() }.unwrap();
    rt.run(|| {
        gort::go(fill_and_free).join().unwrap();
        // While goroutines run.
        assert!(goes_back());
    });
    // While none does.
    rt.run(|| gort::go(fill_and_free).join().unwrap());
    assert!(goes_back());
    let mut seen = naps();
    assert!(
        comes_true(Duration::from_secs(2), || {
            let before = std::mem::replace(&mut seen, naps());
            before == seen
        }),
        "sysmon goes on waking"
    );
    // By a thread that is none of the runtime's, and after its end.
    fill_and_free();
    assert!(goes_back());
    drop(rt);
    fill_and_free();
    assert!(goes_back());
    assert_eq!(set_scavenger(Scavenger::Hosted), Scavenger::Hosted);
}
