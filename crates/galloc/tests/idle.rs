//! Memory goes back by itself when the program does nothing. A program of one test: the statistics are
//! the process's.

use galloc::MemStats;
use std::sync::{Arc, Barrier, mpsc};
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

/// Has 40 threads at a time make objects, a span for each, and then end, or give their slots up and sleep until
/// `then` is through with the objects.
fn leave_behind(ends: bool, then: impl FnOnce(Vec<Vec<u8>>)) {
    let (start, end) = (Arc::new(Barrier::new(40)), Arc::new(Barrier::new(41)));
    let (done, made) = mpsc::channel();
    let mut threads: Vec<_> = (0..40)
        .map(|_| {
            let (start, end, done) = (start.clone(), end.clone(), done.clone());
            thread::spawn(move || {
                let sizes = (1..galloc::NUM_SIZE_CLASSES).map(galloc::class_size);
                done.send(sizes.map(|size| vec![1u8; size]).collect::<Vec<_>>())
                    .unwrap();
                start.wait();
                if !ends {
                    galloc::release_slot();
                    end.wait();
                }
            })
        })
        .collect();
    let objects: Vec<_> = made.iter().take(40).flatten().collect();
    if ends {
        threads.drain(..).for_each(|t| t.join().unwrap());
    }
    then(objects);
    if !ends {
        end.wait();
    }
    threads.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn idle_threads_keep_little() {
    // Objects that threads leave behind which end, or which give their slots up and sleep. Before anything else
    // wakes the scavenger; it has time to go to sleep again.
    for ends in [true, false] {
        thread::sleep(Duration::from_millis(500));
        let inuse = MemStats::read().heap_inuse;
        leave_behind(ends, |objects| {
            assert!(MemStats::read().heap_inuse > inuse + (32 << 20));
            drop(objects);
            assert!(
                comes_true(|now| now.heap_inuse <= inuse + (8 << 20)),
                "spans that nobody owns stay: {ends}"
            );
        });
    }

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

    // The thread that did it takes no signal of the program's.
    let mut tasks = std::fs::read_dir("/proc/self/task").unwrap();
    assert!(tasks.any(|task| blocks_signals(&task.unwrap().path())));

    // A child lacks it, and starts one.
    // SAFETY: the child allocates, reads and leaves by `_exit`.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            drop((0..60_000).map(|_| vec![1u8; 1000]).collect::<Vec<_>>());
            let gone = comes_true(|now| left(now) <= (4 << 20) + now.heap_inuse / 10);
            libc::_exit(i32::from(!gone));
        }
        let mut status = -1;
        libc::waitpid(child, &mut status, 0);
        assert_eq!(status, 0, "a child keeps its free memory");
    }
}

/// Whether a thread, a folder of `/proc`, blocks SIGHUP, SIGINT, SIGUSR1 and SIGTERM.
fn blocks_signals(task: &std::path::Path) -> bool {
    let status = std::fs::read_to_string(task.join("status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("SigBlk:"));
    let blocked = u64::from_str_radix(line.unwrap().trim(), 16).unwrap();
    [libc::SIGHUP, libc::SIGINT, libc::SIGUSR1, libc::SIGTERM]
        .iter()
        .all(|s| blocked >> (s - 1) & 1 == 1)
}
