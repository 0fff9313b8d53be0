//! Giving back without a thread of its own. A program of one test: mode and statistics are the
//! process's.

use galloc::{MemStats, Scavenger};
use std::time::{Duration, Instant};

#[global_allocator]
static A: galloc::Galloc = galloc::Galloc;

fn left() -> usize {
    let now = MemStats::read();
    (now.heap_idle - now.heap_released).saturating_sub((4 << 20) + now.heap_inuse / 10)
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn fill_and_free() {
    let many: Vec<_> = (0..60_000).map(|i| vec![i as u8; 1000]).collect();
    assert!(many.iter().all(|v| v[0] == v[999]));
}

#[test]
fn memory_goes_back_inline_or_step_by_step_or_not_at_all() {
    galloc::set_scavenger(Scavenger::Off);
    let before = threads();
    fill_and_free();
    let off = MemStats::read().total_released;
    assert!(left() > 20 << 20);
    fill_and_free();
    assert_eq!(MemStats::read().total_released, off, "off is off");

    // A runtime's own thread takes the steps.
    let mut steps = 0;
    while let Some(wait) = galloc::scavenge_step() {
        steps += 1;
        std::thread::sleep(wait);
    }
    assert_eq!(left(), 0);
    assert!(steps > 2, "a step is a part: {steps}");

    assert_eq!(galloc::set_scavenger(Scavenger::Inline), Scavenger::Off);
    fill_and_free();
    let start = Instant::now();
    while left() > 0 && start.elapsed() < Duration::from_secs(60) {
        // Spans come and go.
        drop(vec![1u8; 5 << 20]);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(left(), 0, "inline");
    assert_eq!(threads(), before, "no thread was made");
}
