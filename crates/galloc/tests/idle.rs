//! Memory goes back by itself when the program does nothing. A program of one test: the statistics are
//! the process's.

use galloc::MemStats;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static A: galloc::Galloc = galloc::Galloc;

/// Looks again and again, for as long as even a stuck machine would need.
fn comes_true(what: impl Fn(&MemStats) -> bool) -> bool {
    let start = Instant::now();
    while !what(&MemStats::read()) {
        if start.elapsed() > Duration::from_secs(60) {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

#[test]
fn idle_threads_keep_little() {
    // Large objects of a thread that then sleeps: they lie on its shelf.
    let (done, wait) = mpsc::channel::<()>();
    let (freed, is_freed) = mpsc::channel();
    let before = MemStats::read();
    let sleeper = thread::spawn(move || {
        drop([vec![1u8; 1_900_000], vec![2u8; 1_900_000]]);
        freed.send(()).unwrap();
        let _ = wait.recv();
    });
    is_freed.recv().unwrap();
    assert!(
        comes_true(|now| now.by_size[0].spans <= before.by_size[0].spans),
        "large objects stay on the shelf"
    );
    drop(done);
    sleeper.join().unwrap();

    // Many small ones, freed by this thread.
    let many: Vec<_> = (0..60_000).map(|i| vec![i as u8; 1000]).collect();
    assert!(many.iter().all(|v| v[0] == v[999]));
    drop(many);
    let left = |now: &MemStats| now.heap_idle - now.heap_released;
    assert!(
        comes_true(|now| left(now) <= (4 << 20) + now.heap_inuse / 10),
        "free memory stays"
    );
}
