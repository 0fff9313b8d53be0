//! On goroutines: calls are declared by `gort::blocking`.

use super::{BLOCKING, CALL, Neighbours, Stop, TICK, Ticks, hog_ticker_worst, hogs_300_ticks};
use crate::sched::gort::runtime;
use gort_benches::harness::Context;

use ::gort::{JoinHandle, blocking, go, sleep};

use std::thread;
use std::time::{Duration, Instant};

pub(in crate::sched) fn workload(name: &str) -> Option<fn(&Context)> {
    Some(match name {
        "blocking_declared" => |c| calls(c, |d| blocking(|| thread::sleep(d))),
        "blocking_undeclared" => |c| calls(c, thread::sleep),
        "hog_ticker_worst" => |c| hog_ticker_worst(c, ticker),
        "hogs_300_ticks" => |c| hogs_300_ticks(c, ticker),
        _ => return None,
    })
}

fn calls(c: &Context, call: fn(Duration)) {
    let rt = runtime(c.procs);
    c.time(1_000_000, || {
        let made = rt.run(move || {
            let (callers, calls) = BLOCKING;
            let callers: Vec<_> = (0..callers)
                .map(|_| go(move || (0..calls).map(|_| call(TICK)).count()))
                .collect();
            callers
                .into_iter()
                .map(|h| h.join().unwrap())
                .sum::<usize>()
        });
        assert_eq!(made as u64, BLOCKING.0 * BLOCKING.1);
    });
}

pub(super) fn ticker(procs: usize, beside: Neighbours, stop: Stop) -> Ticks {
    runtime(procs).run(move || {
        let neighbours = start(beside, &stop);
        let mut ticks = Ticks::default();
        while !stop.is_set() {
            let due = Instant::now() + TICK;
            sleep(TICK);
            ticks.came(due, &stop);
        }
        neighbours.into_iter().for_each(|n| n.join().unwrap());
        ticks
    })
}

fn start(beside: Neighbours, stop: &Stop) -> Vec<JoinHandle<()>> {
    let (many, body): (usize, fn(&Stop)) = match beside {
        Neighbours::Nobody => (0, |_| ()),
        Neighbours::Hogs(many) => (many, Stop::hog),
        Neighbours::Undeclared(many) => (many, |stop| {
            while !stop.is_set() {
                thread::sleep(CALL);
            }
        }),
        Neighbours::Declared(many) => (many, |stop| {
            while !stop.is_set() {
                blocking(|| thread::sleep(CALL));
            }
        }),
    };
    let neighbour = |_| {
        let stop = stop.clone();
        go(move || body(&stop))
    };
    (0..many).map(neighbour).collect()
}
