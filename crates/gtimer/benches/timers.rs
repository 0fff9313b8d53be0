//! The timer table: operations at a given number of live timers, and what firing costs.
//!
//! `cargo bench -p gtimer --bench timers -- [ops] [fire] [due] [idle]`; without an argument all of them.
//! Every figure is the median of the rounds, with the fastest and the slowest beside it, and every
//! workload checks its answer.

use gtimer::{Builder, Callback, Driver, Engine, Host, bucket, heap};
use std::hint::black_box;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI64, AtomicUsize};
use std::time::{Duration, Instant};

/// A small generator, so that every engine sees the same deadlines.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One to sixty-one seconds ahead: timeouts, most of which never fire.
    fn deadline(&mut self) -> i64 {
        1_000_000_000 + (self.next() % 60_000_000_000) as i64
    }
}

fn median(name: &str, live: usize, ops: usize, mut round: impl FnMut()) {
    let mut ns: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed().as_nanos() as f64 / ops as f64
        })
        .collect();
    ns.sort_by(f64::total_cmp);
    println!(
        "{name:<24} {live:>8} live  {:7.1} ns  ({:.1} to {:.1})",
        ns[3], ns[0], ns[6]
    );
}

fn ops<E: Engine>(engine: &str) {
    for live in [0_usize, 1_000, 100_000, 1_000_000] {
        let timers = E::default();
        let mut rng = Rng(0x9E37_79B9_7F4A_7C15);
        let handles: Vec<E::Handle> = (0..live)
            .map(|_| timers.insert(rng.deadline(), 0, Callback::none()).0)
            .collect();
        let n = 500_000;
        median(&format!("{engine} add + stop"), live, n, || {
            for _ in 0..n {
                let (timer, earliest) = timers.insert(rng.deadline(), 0, Callback::none());
                black_box(earliest);
                assert!(E::stop(&timer));
            }
        });
        assert!(timers.len() <= 2 * live + 16);
        if live > 0 {
            median(&format!("{engine} reset"), live, n, || {
                for _ in 0..n {
                    let timer = &handles[rng.next() as usize % live];
                    assert!(timers.reset(timer, rng.deadline()).was_pending);
                }
            });
        }
        let start = Instant::now();
        let (_, ran) = timers.check(i64::MAX - 1);
        assert_eq!(ran, live);
        if live > 0 {
            let each = start.elapsed().as_nanos() / live as u128;
            println!("{engine} fire, virtual          {live:>8} live  {each:7} ns");
        }
    }
}

/// A heap filled once and then run dry, all due over one virtual second in steps of 10 us.
fn virtual_fire<E: Engine>(engine: &str) {
    let n = 1_000_000;
    let mut rng = Rng(0x9E37_79B9_7F4A_7C15);
    let mut rounds: Vec<(u128, u128)> = (0..3)
        .map(|_| {
            let timers = E::default();
            let start = Instant::now();
            for _ in 0..n {
                let when = (rng.next() % 1_000_000_000) as i64;
                E::detach(timers.insert(when, 0, Callback::none()).0);
            }
            let filled = start.elapsed().as_nanos();
            let start = Instant::now();
            let ran: usize = (0..=100_000)
                .map(|step| timers.check(step * 10_000).1)
                .sum();
            assert_eq!(ran, n);
            (filled / n as u128, start.elapsed().as_nanos() / n as u128)
        })
        .collect();
    rounds.sort_unstable();
    println!(
        "{engine} insert, fire (virtual)  {n:>8} live  {:?} ns",
        rounds[1]
    );
}

/// How late each timer fired, in nanoseconds.
struct Late {
    /// Written by the driver's thread, at `fired`.
    late: Vec<AtomicI64>,
    fired: AtomicUsize,
}

/// The callback: its number is its deadline, as a closure would capture it.
unsafe fn record(arg: *mut (), due: usize) {
    // SAFETY: `arg` is the `Late` that `real_time` keeps until all timers have fired.
    let this = unsafe { &*arg.cast::<Late>() };
    let i = this.fired.load(Relaxed);
    this.late[i].store(gtimer::now() - due as i64, Relaxed);
    this.fired.store(i + 1, Release);
}

/// The processor time of this process so far, in nanoseconds.
fn cpu() -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `t` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// `n` timers due at random within one second, on a driver's thread; the others idle.
fn real_time<E: Engine>(name: &str, n: usize, low_slack: bool) {
    {
        let driver: Driver<E> = Builder::new()
            .low_slack(low_slack)
            .build_with()
            .expect("a thread");
        let mut rng = Rng(0x9E37_79B9_7F4A_7C15);
        let before = cpu();
        // Insertion is done before the first is due.
        let start = gtimer::now() + 500_000_000;
        let late = Late {
            late: (0..n).map(|_| AtomicI64::new(-1)).collect(),
            fired: AtomicUsize::new(0),
        };
        for _ in 0..n {
            let due = start + (rng.next() % 1_000_000_000) as i64;
            let arg = (&raw const late).cast_mut().cast();
            // SAFETY: `late` outlives the last firing, and the driver has one thread.
            let callback = unsafe { Callback::func(record, arg, due as usize) };
            let timer = driver.handle();
            driver.arm(&timer, due, 0, callback);
            E::detach(timer);
        }
        assert!(gtimer::now() < start, "too slow to measure");
        while late.fired.load(Acquire) < n {
            gtimer::sleep(Duration::from_millis(20));
        }
        let each = (cpu() - before) / n as u64;
        let mut ns: Vec<i64> = late.late.iter().map(|l| l.load(Relaxed)).collect();
        assert!(ns.iter().all(|&l| l >= 0), "early, or not at all");
        ns.sort_unstable();
        println!(
            "{name:<24} {n:>8} in 1 s  late p50 {:>7.1} p99 {:>7.1} max {:>7.1} us, cpu {each} ns each",
            ns[n / 2] as f64 / 1e3,
            ns[n * 99 / 100] as f64 / 1e3,
            ns[n - 1] as f64 / 1e3,
        );
    }
}

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let wanted = |name: &str| args.is_empty() || args.iter().any(|a| a == name);
    if wanted("ops") {
        ops::<heap::Timers>("heap");
        ops::<bucket::Timers>("bucket");
    }
    if wanted("fire") {
        virtual_fire::<heap::Timers>("heap");
        virtual_fire::<bucket::Timers>("bucket");
    }
    // What one run leaves in the allocator would be charged to the next: a process for each.
    let fresh = |name: &str| {
        for _ in 0..3 {
            let this = std::env::current_exe().expect("a path");
            let run = std::process::Command::new(this).arg(name).status();
            assert!(run.expect("a process").success());
        }
    };
    if wanted("due") {
        fresh("due-heap");
        fresh("due-bucket");
    }
    if wanted("idle") {
        fresh("idle-heap");
        fresh("idle-low-slack");
    }
    for arg in &args {
        match arg.as_str() {
            "due-heap" => real_time::<heap::Timers>("heap", 1_000_000, false),
            "due-bucket" => real_time::<bucket::Timers>("bucket", 1_000_000, false),
            "idle-heap" => real_time::<heap::Timers>("heap", 10_000, false),
            "idle-low-slack" => real_time::<heap::Timers>("heap, low slack", 10_000, true),
            _ => {}
        }
    }
}
