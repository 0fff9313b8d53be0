//! Timers: the cost of adding, stopping and moving one beside so many others that live, and how late those
//! that fall due are run. One file per subject.

#[cfg(feature = "async-io")]
mod async_io;
#[cfg(feature = "tokio")]
mod delay_queue;
mod gtimer;
#[cfg(feature = "tokio")]
mod tokio;

use gort_benches::harness::{Context, Entry, Figure, Procs, Program, Rng, histogram, within};

use hdrhistogram::Histogram;

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const OPERATIONS: u64 = 300_000;
/// Nanoseconds.
const US: f64 = 1e3;
/// Between the start and the first deadline of `fire_1e6`: time to add them all, for every subject.
const LEAD: Duration = Duration::from_millis(1500);

const FIGURES: [Figure; 12] = [
    ("add_stop_0", "ns", Procs::One, "add_stop_0"),
    ("add_stop_1e3", "ns", Procs::One, "add_stop_1e3"),
    ("add_stop_1e5", "ns", Procs::One, "add_stop_1e5"),
    ("add_stop_1e6", "ns", Procs::One, "add_stop_1e6"),
    ("reset_1e3", "ns", Procs::One, "reset_1e3"),
    ("reset_1e5", "ns", Procs::One, "reset_1e5"),
    ("reset_1e6", "ns", Procs::One, "reset_1e6"),
    ("fire_1e6_p50", "us", Procs::Machine, "fire_1e6_p50"),
    ("fire_1e6_max", "us", Procs::Machine, "fire_1e6_p50"),
    ("fire_1e6_cpu", "ns", Procs::Machine, "fire_1e6_p50"),
    ("idle_10k_p50", "us", Procs::Machine, "idle_10k_p50"),
    ("idle_10k_p99", "us", Procs::Machine, "idle_10k_p50"),
];

/// Finds a subject's workload by name.
type Find = fn(&str) -> Option<fn(&Context)>;

/// The peers in Rust.
const PEERS: &[(&str, Find)] = &[
    #[cfg(feature = "tokio")]
    ("tokio", tokio::workload),
    #[cfg(feature = "tokio")]
    ("tokio-util", delay_queue::workload),
    #[cfg(feature = "async-io")]
    ("async-io", async_io::workload),
];

/// What a subject does with one timer, beside `live` others.
trait Timers: Sized {
    /// With `live` timers of [`deadline`]s.
    fn new(live: u64, rng: &mut Rng) -> Self;
    /// Adds a timer that is due in `after`, and stops it.
    fn add_stop(&mut self, after: Duration);
    /// Moves the timer of this number.
    fn reset(&mut self, index: usize, after: Duration);
}

/// One to sixty-one seconds ahead: time-outs, most of which never fire.
fn deadline(rng: &mut Rng) -> Duration {
    Duration::from_nanos(1_000_000_000 + rng.below(60_000_000_000))
}

fn add_stop<T: Timers>(c: &Context, live: u64) {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let mut timers = T::new(live, &mut rng);
    c.time(OPERATIONS, || {
        for _ in 0..OPERATIONS {
            timers.add_stop(deadline(&mut rng));
        }
    });
}

fn reset<T: Timers>(c: &Context, live: u64) {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let mut timers = T::new(live, &mut rng);
    c.time(OPERATIONS, || {
        for _ in 0..OPERATIONS {
            let index = rng.below(live) as usize;
            timers.reset(index, deadline(&mut rng));
        }
    });
}

/// Runs a workload that any [`Timers`] can; `None`: not one of those.
fn operations<T: Timers>(workload: &str) -> Option<fn(&Context)> {
    Some(match workload {
        "add_stop_0" => |c| add_stop::<T>(c, 0),
        "add_stop_1e3" => |c| add_stop::<T>(c, 1_000),
        "add_stop_1e5" => |c| add_stop::<T>(c, 100_000),
        "add_stop_1e6" => |c| add_stop::<T>(c, 1_000_000),
        "reset_1e3" => |c| reset::<T>(c, 1_000),
        "reset_1e5" => |c| reset::<T>(c, 100_000),
        "reset_1e6" => |c| reset::<T>(c, 1_000_000),
        _ => return None,
    })
}

/// How late each of `n` timers was run.
#[derive(Debug)]
struct Late {
    origin: Instant,
    /// By number; -1 until it is run. Written by whoever runs the timer.
    late: Vec<AtomicI64>,
    fired: AtomicUsize,
}

impl Late {
    fn new(n: usize) -> Self {
        Self {
            origin: Instant::now(),
            late: (0..n).map(|_| AtomicI64::new(-1)).collect(),
            fired: AtomicUsize::new(0),
        }
    }

    /// To be called when timer `i`, due at `due`, is run.
    fn record(&self, i: usize, due: Instant) {
        let late = Instant::now().checked_duration_since(due);
        let late = late.map_or(-2, |late| late.as_nanos() as i64);
        self.late[i].store(late, Ordering::Relaxed);
        self.fired.fetch_add(1, Ordering::Release);
    }

    fn done(&self) -> bool {
        self.fired.load(Ordering::Acquire) >= self.late.len()
    }

    /// Waits for all, and returns how many nanoseconds late they were.
    fn finish(&self) -> Histogram<u64> {
        while !self.done() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut all = histogram();
        for late in &self.late {
            let ns = u64::try_from(late.load(Ordering::Relaxed));
            all.record(ns.expect("run, and not early"))
                .expect("it resizes");
        }
        all
    }
}

/// A subject's `n` timers, with these deadlines; `record` is called when each is run.
type Fire = fn(late: &'static Late, due: &mut dyn FnMut() -> Instant);

fn fire_million(c: &Context, fire: Fire) {
    let n = 1_000_000;
    let before = cpu();
    let late = run(n, LEAD, fire);
    c.curve("fire_1e6_p50", &late, US);
    c.figure("fire_1e6_p50", within(&late, 0.5) / US);
    c.figure("fire_1e6_max", late.max() as f64 / US);
    c.figure("fire_1e6_cpu", (cpu() - before) * 1e9 / n as f64);
}

fn idle(c: &Context, fire: Fire) {
    let n = 10_000;
    let late = run(n, Duration::from_millis(100), fire);
    c.curve("idle_10k_p50", &late, US);
    c.figure("idle_10k_p50", within(&late, 0.5) / US);
    c.figure("idle_10k_p99", within(&late, 0.99) / US);
}

fn run(n: usize, lead: Duration, fire: Fire) -> Histogram<u64> {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let late: &'static Late = Box::leak(Box::new(Late::new(n)));
    let first = late.origin + lead;
    fire(late, &mut || {
        first + Duration::from_nanos(rng.below(1_000_000_000))
    });
    late.finish()
}

/// The processor seconds of this process so far.
fn cpu() -> f64 {
    // Of all threads, the ones that are gone included: user and system time, in hundredths of a second.
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has /proc");
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}

pub(crate) fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    for (workload, unit, procs, from) in FIGURES {
        let mut add = |subject, peer, program| {
            all.push(Entry {
                group: "timer",
                workload,
                from,
                subject,
                peer,
                procs,
                unit,
                program,
            });
        };
        if let Some(run) = gtimer::workload(from) {
            add("gtimer", false, Program::Here(run));
        }
        for (subject, find) in PEERS {
            if let Some(run) = find(from) {
                add(subject, true, Program::Here(run));
            }
        }
        add("go", true, Program::Go);
        add("go1.19", true, Program::Go119);
    }
    all
}
