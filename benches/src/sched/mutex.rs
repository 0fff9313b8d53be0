//! One mutex around a number: 100 goroutines, tasks or threads of the system lock it 10,000 times each and
//! add one. Nanoseconds per lock.

use gort_benches::harness::{Context, Entry, Procs, Program};

use std::sync::Arc;
use std::thread;

const LOCKERS: u64 = 100;
const LOCKS: u64 = 10_000;

pub(super) fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    let mut add = |subject, peer, procs, program| {
        let name = ("sched", "mutex", subject);
        all.push(Entry::new(name, peer, procs, "ns", program));
    };
    add("gort", false, Procs::Each, Program::Here(gort));
    #[cfg(feature = "tokio")]
    add("tokio", true, Procs::Each, Program::Here(tokio));
    #[cfg(feature = "may")]
    add("may", true, Procs::Each, Program::Here(may));
    // Threads of the system run on all its processors.
    add("std", true, Procs::Machine, Program::Here(std));
    #[cfg(feature = "parking_lot")]
    add(
        "parking_lot",
        true,
        Procs::Machine,
        Program::Here(parking_lot),
    );
    add("go", true, Procs::Each, Program::Go);
    all
}

/// Timed on its main goroutine, as Go's is: waking a thread to run it would be a twentieth of the whole.
fn gort(c: &Context) {
    super::gort::runtime(c.procs).run(|| {
        c.time(LOCKERS * LOCKS, || {
            let total = Arc::new(::gort::Mutex::new(0));
            let lockers: Vec<_> = (0..LOCKERS)
                .map(|_| {
                    let total = Arc::clone(&total);
                    ::gort::go(move || (0..LOCKS).for_each(|_| *total.lock() += 1))
                })
                .collect();
            lockers.into_iter().for_each(|h| h.join().unwrap());
            assert_eq!(*total.lock(), LOCKERS * LOCKS);
        });
    });
}

#[cfg(feature = "tokio")]
fn tokio(c: &Context) {
    let rt = super::tokio::runtime(c.procs);
    c.time(LOCKERS * LOCKS, || {
        let total = super::tokio::on_worker(&rt, async {
            let total = Arc::new(::tokio::sync::Mutex::new(0));
            let lockers: Vec<_> = (0..LOCKERS)
                .map(|_| {
                    let total = Arc::clone(&total);
                    ::tokio::spawn(async move {
                        for _ in 0..LOCKS {
                            *total.lock().await += 1;
                        }
                    })
                })
                .collect();
            for locker in lockers {
                locker.await.unwrap();
            }
            *total.lock().await
        });
        assert_eq!(total, LOCKERS * LOCKS);
    });
}

#[cfg(feature = "may")]
fn may(c: &Context) {
    super::may::configure(c.procs);
    c.time(LOCKERS * LOCKS, || {
        let total = super::may::on_worker(|| {
            let total = Arc::new(::may::sync::Mutex::new(0));
            let lockers: Vec<_> = (0..LOCKERS)
                .map(|_| {
                    let total = Arc::clone(&total);
                    super::may::go(move || (0..LOCKS).for_each(|_| *total.lock().unwrap() += 1))
                })
                .collect();
            lockers.into_iter().for_each(|h| h.join().unwrap());
            *total.lock().unwrap()
        });
        assert_eq!(total, LOCKERS * LOCKS);
    });
}

/// On threads: `lock` runs the closure with the number locked.
fn threads<M: Send + Sync + 'static>(
    c: &Context,
    new: fn(u64) -> M,
    lock: impl Fn(&M, fn(&mut u64)) -> u64 + Copy + Send + 'static,
) {
    c.time(LOCKERS * LOCKS, || {
        let total = Arc::new(new(0));
        let lockers: Vec<_> = (0..LOCKERS)
            .map(|_| {
                let total = Arc::clone(&total);
                thread::spawn(move || {
                    for _ in 0..LOCKS {
                        lock(&total, |n| *n += 1);
                    }
                })
            })
            .collect();
        lockers.into_iter().for_each(|h| h.join().unwrap());
        assert_eq!(lock(&total, |_| ()), LOCKERS * LOCKS);
    });
}

fn std(c: &Context) {
    threads(c, std::sync::Mutex::new, |m, f| {
        let mut n = m.lock().unwrap();
        f(&mut n);
        *n
    });
}

#[cfg(feature = "parking_lot")]
fn parking_lot(c: &Context) {
    threads(c, ::parking_lot::Mutex::new, |m, f| {
        let mut n = m.lock();
        f(&mut n);
        *n
    });
}
