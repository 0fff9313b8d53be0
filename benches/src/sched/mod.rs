//! Scheduling: spawn, yield, rendezvous, memory (a file per subject); locks; bad neighbours and calls that
//! block.

mod futures;
mod gort;
#[cfg(feature = "may")]
mod may;
mod mutex;
pub(crate) mod stall;
#[cfg(feature = "tokio")]
mod tokio;

use gort_benches::harness::{Context, Entry, Procs, Program};

use std::time::Duration;

/// Goroutines of `spawn_all`, `skynet`'s leaves, hops of `ring`.
const MILLION: u64 = 1_000_000;
/// Goroutines in the ring.
const RING: u64 = 10_000;
/// Those that sleep at once, and how long.
const SLEEPERS: u64 = 100_000;
const SLEEP: Duration = Duration::from_millis(10);
/// Messages there and back.
const ROUND_TRIPS: u64 = 300_000;

/// Workload, unit, processors.
type Shape = (&'static str, &'static str, Procs);
/// Finds a subject's workload by name.
type Find = fn(&str) -> Option<fn(&Context)>;

const SHAPES: &[Shape] = &[
    ("spawn_all", "ns", Procs::Each),
    ("spawn_batch", "ns", Procs::Each),
    ("yield", "ns", Procs::Each),
    ("ping_pong", "ns", Procs::Each),
    ("ring", "ns", Procs::Each),
    ("skynet", "ms", Procs::Each),
    ("sleepers", "ms", Procs::Each),
    ("blocking_declared", "ms", Procs::Each),
    ("blocking_undeclared", "ms", Procs::Each),
    ("hog_ticker_worst", "ms", Procs::One),
    ("hogs_300_ticks", "ticks", Procs::Machine),
    ("rss_stackful", "bytes", Procs::One),
    ("rss_future", "bytes", Procs::One),
];

/// The peers in Rust.
const PEERS: &[(&str, Find)] = &[
    #[cfg(feature = "tokio")]
    ("tokio", tokio::workload),
    #[cfg(feature = "tokio")]
    ("tokio", stall::tokio::workload),
    #[cfg(feature = "may")]
    ("may", may::workload),
    #[cfg(feature = "may")]
    ("may", stall::may::workload),
];

pub(crate) fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    for &(workload, unit, procs) in SHAPES {
        let mut add = |subject, peer, program| {
            let name = ("sched", workload, subject);
            all.push(Entry::new(name, peer, procs, unit, program));
        };
        if let Some(run) = gort::workload(workload).or_else(|| stall::gort::workload(workload)) {
            add("gort", false, Program::Here(run));
        }
        if let Some(run) = futures::workload(workload) {
            add("gort (futures)", false, Program::Here(run));
        }
        for (subject, find) in PEERS {
            if let Some(run) = find(workload) {
                add(subject, true, Program::Here(run));
            }
        }
        if workload != "rss_future" {
            add("go", true, Program::Go);
        }
    }
    all.extend(mutex::entries());
    all
}
