//! Prices of the locks, each answer verified. `cargo bench -p gmp-sched --bench locks`
//!
//! - `mutex`: 100 goroutines take one mutex 10,000 times each and count; ns per lock, P = 1 and 2.
//! - `rwlock`: the same with a `RwLock`, all writers, and one write after nine reads.
//! - `uncontended`: lock and unlock by one thread; ours, parking_lot's and std's in turns, ns.
//! - `waiters`: CPU time that 8 goroutines and 8 threads use while they wait for a mutex, in 200 ms: at
//!   first, when sysmon looks for a deadlock, and when it has done so for its second.
//! - `unlock with a waiter`: one goroutine waits for each of so many mutexes, which are unlocked in an order
//!   that no cache knows; ns per unlock, P = 1. Where Go looks a waiter up in a table by address.
//!
//! Medians of the rounds, with the fastest and the slowest.

use gmp_sched::{Builder, Mutex, RwLock, go, yield_now};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const ROUNDS: usize = 15;

fn report(name: &str, mut ns: Vec<f64>) -> f64 {
    ns.sort_by(f64::total_cmp);
    let median = ns[ns.len() / 2];
    println!(
        "{name:32} {median:9.2} ({:.2} .. {:.2})",
        ns[0],
        ns[ns.len() - 1]
    );
    median
}

const GOROUTINES: usize = 100;
const LOCKS: usize = 10_000;

/// 100 goroutines call `lock` with 0, 1, .. 9,999; ns per call.
fn contended(procs: usize, lock: impl Fn(usize) + Copy + Send + 'static) -> f64 {
    // SAFETY: no thread-locals across a park.
    let rt = unsafe { Builder::new().procs(procs).build_stackful() }.unwrap();
    let took = rt.run(move || {
        let begin = Instant::now();
        let all: Vec<_> = (0..GOROUTINES)
            .map(|_| go(move || (0..LOCKS).for_each(lock)))
            .collect();
        all.into_iter().for_each(|h| h.join().unwrap());
        begin.elapsed()
    });
    took.as_nanos() as f64 / (GOROUTINES * LOCKS) as f64
}

fn mutex(procs: usize) -> f64 {
    static TOTAL: Mutex<usize> = Mutex::new(0);
    *TOTAL.lock() = 0;
    let ns = contended(procs, |_| *TOTAL.lock() += 1);
    assert_eq!(*TOTAL.lock(), GOROUTINES * LOCKS);
    ns
}

/// One of `every` is a write.
fn rwlock(procs: usize, every: usize) -> f64 {
    static TOTAL: RwLock<usize> = RwLock::new(0);
    *TOTAL.write() = 0;
    let ns = contended(procs, move |i| {
        if i % every == 0 {
            *TOTAL.write() += 1;
        } else {
            black_box(*TOTAL.read());
        }
    });
    assert_eq!(*TOTAL.read(), GOROUTINES * LOCKS / every);
    ns
}

/// One goroutine waits for each of `n` mutexes; ns per unlock.
fn with_a_waiter_each(n: usize) -> f64 {
    static COMING: AtomicUsize = AtomicUsize::new(0);
    // SAFETY: no thread-locals across a park.
    let rt = unsafe { Builder::new().procs(1).build_stackful() }.unwrap();
    let took = rt.run(move || {
        let locks: Vec<_> = (0..n).map(|_| Arc::new(Mutex::new(0))).collect();
        let mut held: Vec<_> = locks.iter().map(Mutex::lock_arc).collect();
        let waiters: Vec<_> = locks
            .iter()
            .map(|lock| {
                let lock = lock.clone();
                go(move || {
                    COMING.fetch_add(1, Ordering::Relaxed);
                    *lock.lock() += 1;
                })
            })
            .collect();
        // On one P who is coming has come when another runs.
        while COMING.load(Ordering::Relaxed) < n {
            yield_now();
        }
        COMING.store(0, Ordering::Relaxed);
        shuffle(&mut held);
        let begin = Instant::now();
        drop(held);
        let took = begin.elapsed();
        waiters.into_iter().for_each(|h| h.join().unwrap());
        assert!(locks.iter().all(|lock| *lock.lock() == 1));
        took
    });
    took.as_nanos() as f64 / n as f64
}

fn shuffle<T>(all: &mut [T]) {
    let mut random = 1u64;
    for i in (1..all.len()).rev() {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
        all.swap(i, (random >> 33) as usize % (i + 1));
    }
}

fn per_lock(mut lock: impl FnMut()) -> f64 {
    const LOCKS: u32 = 2_000_000;
    let begin = Instant::now();
    (0..LOCKS).for_each(|_| lock());
    begin.elapsed().as_nanos() as f64 / f64::from(LOCKS)
}

fn uncontended() {
    let ours = Mutex::new(0u64);
    let parking_lot = parking_lot::Mutex::new(0u64);
    let std = std::sync::Mutex::new(0u64);
    let rw = RwLock::new(0u64);
    let parking_lot_rw = parking_lot::RwLock::new(0u64);
    let mut ns: [Vec<f64>; 7] = Default::default();
    for _ in 0..ROUNDS {
        ns[0].push(per_lock(|| *black_box(&ours).lock() += 1));
        ns[1].push(per_lock(|| *black_box(&parking_lot).lock() += 1));
        ns[2].push(per_lock(|| *black_box(&std).lock().unwrap() += 1));
        ns[3].push(per_lock(|| _ = black_box(*black_box(&rw).read())));
        ns[4].push(per_lock(|| {
            _ = black_box(*black_box(&parking_lot_rw).read())
        }));
        ns[5].push(per_lock(|| *black_box(&rw).write() += 1));
        ns[6].push(per_lock(|| *black_box(&parking_lot_rw).write() += 1));
    }
    assert_eq!(*ours.lock(), *parking_lot.lock());
    let names = [
        "Mutex",
        "parking_lot Mutex",
        "std Mutex",
        "read",
        "parking_lot read",
        "write",
        "parking_lot write",
    ];
    names
        .iter()
        .zip(ns)
        .for_each(|(name, ns)| _ = report(&format!("uncontended {name}"), ns));
}

fn cpu() -> Duration {
    let mut usage = std::mem::MaybeUninit::uninit();
    // SAFETY: getrusage fills in the struct.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let of = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    of(usage.ru_utime) + of(usage.ru_stime)
}

fn waiters() {
    // SAFETY: no thread-locals across a park.
    let rt = unsafe { Builder::new().procs(2).build_stackful() }.unwrap();
    let lock = Arc::new(Mutex::new(0));
    let held = lock.lock();
    let all: Vec<_> = (0..8)
        .map(|_| {
            rt.handle().go({
                let lock = lock.clone();
                move || *lock.lock() += 1
            })
        })
        .collect();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn({
                let lock = lock.clone();
                move || *lock.lock() += 1
            })
        })
        .collect();
    let uses = |after: u64| {
        std::thread::sleep(Duration::from_millis(after));
        let before = cpu();
        std::thread::sleep(Duration::from_millis(200));
        cpu() - before
    };
    let (first, then) = (uses(50), uses(1250));
    drop(held);
    all.into_iter().for_each(|h| h.join().unwrap());
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(*lock.lock(), 16);
    println!("16 waiters, CPU time in 200 ms: {first:?} at first, {then:?} later");
}

fn main() {
    for procs in [1, 2] {
        let ns = (0..ROUNDS).map(|_| mutex(procs)).collect();
        report(&format!("mutex 100 x 10k, P={procs}"), ns);
        for every in [1, 10] {
            let ns = (0..ROUNDS).map(|_| rwlock(procs, every)).collect();
            report(&format!("rwlock 1 write of {every}, P={procs}"), ns);
        }
    }
    uncontended();
    waiters();
    for n in [1_000, 100_000] {
        let ns = (0..ROUNDS).map(|_| with_a_waiter_each(n)).collect();
        report(&format!("unlock with a waiter, {n} mutexes"), ns);
    }
}
