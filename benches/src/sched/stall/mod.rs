//! What bad neighbours do: hogs that compute and never call the runtime, and calls that block, declared to the
//! runtime or not, beside a ticker of a millisecond. One file per subject.
//!
//! `bench-runner stall SUBJECT --procs N --seconds S` plays every scene and draws how late the ticker was, as
//! `cargo run --release -p gort --example stall` does; `bench-go stall --procs N --seconds S` is Go's.

pub(super) mod gort;
#[cfg(feature = "may")]
pub(super) mod may;
#[cfg(feature = "tokio")]
pub(super) mod tokio;

use gort_benches::harness::{Context, histogram};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(1);
/// Nanoseconds.
const MS: f64 = 1e6;
/// Callers and calls of `blocking_declared` and `blocking_undeclared`, each of a millisecond.
const BLOCKING: (u64, u64) = (64, 50);
/// How long `hog_ticker_worst`'s hog keeps its processor.
const HOG: Duration = Duration::from_secs(1);
const HOGS_300: Duration = Duration::from_secs(3);
/// A call of a scene's blocking neighbour.
const CALL: Duration = Duration::from_millis(20);

/// Who runs beside the ticker.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Neighbours {
    Nobody,
    Hogs(usize),
    /// They make blocking calls that the runtime is not told of.
    Undeclared(usize),
    Declared(usize),
}

/// The demonstration's scenes.
const SCENES: [(&str, Neighbours); 5] = [
    ("nobody else", Neighbours::Nobody),
    ("one hog", Neighbours::Hogs(1)),
    ("300 hogs", Neighbours::Hogs(300)),
    ("four that block, undeclared", Neighbours::Undeclared(4)),
    ("four that block, declared", Neighbours::Declared(4)),
];

/// A subject's ticker beside these neighbours, until told to stop.
type Ticker = fn(procs: usize, beside: Neighbours, stop: Stop) -> Ticks;

/// A flag that a thread of the system sets at the end of the time: whatever the runtime does, it ends.
#[derive(Clone, Debug)]
struct Stop {
    set: Arc<AtomicBool>,
    end: Instant,
}

impl Stop {
    fn after(time: Duration) -> (Self, thread::JoinHandle<()>) {
        let stop = Self {
            set: Arc::new(AtomicBool::new(false)),
            end: Instant::now() + time,
        };
        let set = Arc::clone(&stop.set);
        let thread = thread::spawn(move || {
            thread::sleep(time);
            set.store(true, Ordering::Relaxed);
        });
        (stop, thread)
    }

    fn is_set(&self) -> bool {
        self.set.load(Ordering::Relaxed)
    }

    /// Computes and never calls the runtime.
    fn hog(&self) {
        while !self.is_set() {
            std::hint::spin_loop();
        }
    }
}

/// What a ticker saw.
#[derive(Debug, Default)]
struct Ticks {
    /// How late each tick was, in milliseconds.
    late: Vec<f64>,
    /// How many came within the time: a starved one comes after it.
    in_time: usize,
}

impl Ticks {
    /// A tick that was due at `due` came now.
    fn came(&mut self, due: Instant, stop: &Stop) {
        self.late.push(due.elapsed().as_secs_f64() * 1e3);
        self.in_time += usize::from(Instant::now() < stop.end);
    }
}

fn run(ticker: Ticker, procs: usize, beside: Neighbours, time: Duration) -> Ticks {
    let (stop, stopper) = Stop::after(time);
    let ticks = ticker(procs, beside, stop);
    stopper.join().expect("it only sleeps");
    assert!(!ticks.late.is_empty(), "the ticker ran");
    ticks
}

fn hog_ticker_worst(c: &Context, ticker: Ticker) {
    for _ in 0..c.samples {
        let mut late = histogram();
        for ms in run(ticker, c.procs, Neighbours::Hogs(1), HOG).late {
            late.record((ms * MS) as u64).expect("it resizes");
        }
        c.curve("hog_ticker_worst", &late, MS);
        c.once(late.max() as f64 / MS);
    }
}

fn hogs_300_ticks(c: &Context, ticker: Ticker) {
    for _ in 0..c.samples {
        let ticks = run(ticker, c.procs, Neighbours::Hogs(300), HOGS_300);
        c.once(ticks.in_time as f64);
    }
}

/// Plays every scene on the subject named.
pub(crate) fn demonstrate(subject: &str, procs: usize, time: Duration) -> Result<(), String> {
    let ticker: Ticker = match subject {
        "gort" => gort::ticker,
        #[cfg(feature = "tokio")]
        "tokio" => tokio::ticker,
        #[cfg(feature = "may")]
        "may" => may::ticker,
        other => {
            return Err(format!(
                "no {other} here: gort, and if built in tokio and may"
            ));
        }
    };
    for (name, beside) in SCENES {
        if subject == "may" && matches!(beside, Neighbours::Declared(_)) {
            println!("\n{name}: may cannot be told");
            continue;
        }
        draw(name, &run(ticker, procs, beside, time).late);
    }
    Ok(())
}

/// Lateness by powers of two, as bars.
fn draw(name: &str, late: &[f64]) {
    let worst = late.iter().copied().fold(0.0, f64::max);
    println!("\n{name}: {} ticks, worst {worst:.2} ms late", late.len());
    let mut buckets = [0_usize; 24];
    for ms in late {
        let us = (ms * 1e3) as u64;
        buckets[(u64::BITS - us.leading_zeros()).min(23) as usize] += 1;
    }
    let most = buckets.iter().max().copied().unwrap_or(1).max(1);
    for (i, n) in buckets.iter().enumerate().filter(|(_, n)| **n > 0) {
        let bar = "#".repeat((n * 50).div_ceil(most));
        println!("  < {:>9.3} ms {n:>6} {bar}", f64::from(1_u32 << i) / 1e3);
    }
}
