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
    // A thread that ends leaves nothing in its cache.
    let inuse = MemStats::read().heap_inuse;
    let one = std::thread::spawn(|| {
        let sizes = (1..galloc::NUM_SIZE_CLASSES).map(galloc::class_size);
        let all: Vec<_> = sizes.map(|size| vec![1u8; size]).collect();
        assert!(all.iter().all(|v| v[0] == 1));
        drop(all);
        MemStats::read().heap_inuse
    });
    assert!(one.join().unwrap() > inuse + (4 << 20));
    assert!(MemStats::read().heap_inuse <= inuse + (1 << 20));
    fill_and_free();
    let off = MemStats::read().total_released;
    assert!(left() > 20 << 20);
    fill_and_free();
    assert_eq!(MemStats::read().total_released, off, "off is off");

    // A runtime's own thread takes the steps.
    let mut steps = 0;
    loop {
        let before = left();
        let Some(wait) = galloc::scavenge_step() else {
            break;
        };
        if left() < before {
            steps += 1;
            // At most 4 MiB, to the edge of a huge page, and a quarter of what is too much in 100 ms.
            assert!(before - left() <= 6 << 20);
            let in_a_tick = (before / 4).div_ceil(4 << 20).max(1) as u32;
            assert_eq!(wait, Duration::from_millis(100) / in_a_tick);
        }
        std::thread::sleep(wait);
    }
    assert_eq!(left(), 0);
    assert!(steps > 2, "a step is a part: {steps}");

    assert_eq!(galloc::set_scavenger(Scavenger::Inline), Scavenger::Off);
    // Who frees does a tick's work, at once as that is chosen, and not for each free.
    for _ in 0..2 {
        galloc::set_scavenger(Scavenger::Off);
        fill_and_free();
        let (start, before) = (Instant::now(), left());
        assert!(before > 20 << 20);
        galloc::set_scavenger(Scavenger::Inline);
        (0..100).for_each(|_| drop(vec![1u8; 5 << 20]));
        let ticks = start.elapsed().as_millis() as i32 / 100 + 1;
        assert!(left() < before, "the first tick is due");
        let least = before as f64 * 0.75f64.powi(ticks);
        // Each goes on to the edge of a huge page, and the objects are free memory too.
        let edges = (ticks as usize * 2 + 5) << 20;
        assert!(left() + edges >= least as usize, "{ticks} ticks");
    }
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
