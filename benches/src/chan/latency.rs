//! How long a send takes, its reader's clock included: eight threads send to one that receives, through a
//! channel of 512. A send that finds it full waits, and counts.

use super::{Channel, Gchan, Rx, Std, Tx};
use gort_benches::harness::{Context, Entry, Procs, Program, histogram, within};

use hdrhistogram::Histogram;

use std::thread;
use std::time::Instant;

const PRODUCERS: u64 = 8;
const EACH: u64 = 50_000;
const CAP: usize = 512;
/// Figures of one run, and the quantile of each.
const FIGURES: [(&str, f64); 2] = [("send_latency_p50", 0.5), ("send_latency_p99", 0.99)];

pub(super) fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    let mut add = |subject, peer, program| {
        for (workload, _) in FIGURES {
            all.push(Entry {
                from: FIGURES[0].0,
                ..Entry::new(
                    ("chan", workload, subject),
                    peer,
                    Procs::Machine,
                    "ns",
                    program,
                )
            });
        }
    };
    add("gchan", false, Program::Here(latency::<Gchan>));
    add("std", true, Program::Here(latency::<Std>));
    #[cfg(feature = "crossbeam-channel")]
    add(
        "crossbeam-channel",
        true,
        Program::Here(latency::<super::Crossbeam>),
    );
    #[cfg(feature = "kanal")]
    add("kanal", true, Program::Here(latency::<super::Kanal>));
    #[cfg(feature = "flume")]
    add("flume", true, Program::Here(latency::<super::Flume>));
    add("go", true, Program::Go);
    all
}

fn latency<C: Channel>(c: &Context) {
    sends::<C>();
    for _ in 0..c.samples {
        let took = sends::<C>();
        c.curve(FIGURES[0].0, &took, 1.0);
        for (workload, quantile) in FIGURES {
            c.figure(workload, within(&took, quantile));
        }
    }
}

/// The nanoseconds of every send.
fn sends<C: Channel>() -> Histogram<u64> {
    let (tx, rx) = C::bounded(CAP);
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|p| {
            let tx = tx.clone();
            thread::spawn(move || {
                let mut took = histogram();
                for x in 0..EACH {
                    let start = Instant::now();
                    tx.send(p * EACH + x);
                    took.record(start.elapsed().as_nanos() as u64)
                        .expect("it resizes");
                }
                took
            })
        })
        .collect();
    drop(tx);
    let sum: u64 = std::iter::from_fn(|| rx.recv()).sum();
    let all = PRODUCERS * EACH;
    assert_eq!(sum, all * (all - 1) / 2);
    let mut took = histogram();
    for producer in producers {
        took.add(producer.join().unwrap()).expect("it resizes");
    }
    took
}
