//! Scheduling: spawn, yield, rendezvous, blocking calls, hogs, memory. One file per subject.

mod gort;
#[cfg(feature = "peers")]
mod tokio;

use gort_benches::harness::{Entry, Procs, Program};

/// Goroutines of `spawn_all`, `skynet`'s leaves, hops of `ring`.
const MILLION: u64 = 1_000_000;
/// Goroutines in the ring.
const RING: u64 = 10_000;
/// Messages there and back.
const ROUND_TRIPS: u64 = 300_000;
/// Goroutines parked at once while memory is counted.
const PARKED: u64 = 100_000;
/// Callers and calls of `blocking_declared`, each of a millisecond.
const BLOCKING: (u64, u64) = (64, 50);
/// How long the hog keeps its processor.
const HOG: std::time::Duration = std::time::Duration::from_millis(1000);

/// Workload, unit, processors.
type Shape = (&'static str, &'static str, Procs);

const SHAPES: &[Shape] = &[
    ("spawn_all", "ns", Procs::Each),
    ("spawn_batch", "ns", Procs::Each),
    ("yield", "ns", Procs::Each),
    ("ping_pong", "ns", Procs::Each),
    ("ring", "ns", Procs::Each),
    ("skynet", "ms", Procs::Each),
    ("blocking_declared", "ms", Procs::Each),
    ("hog_ticker_worst", "ms", Procs::One),
    ("rss_stackful", "bytes", Procs::One),
    ("rss_future", "bytes", Procs::One),
];

pub(crate) fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    for &(workload, unit, procs) in SHAPES {
        let mut add = |subject, peer, program| {
            let name = ("sched", workload, subject);
            all.push(Entry::new(name, peer, procs, unit, program));
        };
        if let Some(run) = gort::workload(workload) {
            add("gort", false, Program::Here(run));
        }
        #[cfg(feature = "peers")]
        if let Some(run) = tokio::workload(workload) {
            add("tokio", true, Program::Here(run));
        }
        if workload != "rss_future" {
            add("go", true, Program::Go);
        }
    }
    all
}
