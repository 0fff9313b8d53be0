//! On tokio's tasks: calls are declared by `block_in_place`.

use super::{BLOCKING, CALL, Neighbours, Stop, TICK, Ticks, hog_ticker_worst, hogs_300_ticks};
use crate::sched::tokio::{on_worker, runtime};
use gort_benches::harness::Context;

use ::tokio::task::{JoinHandle, block_in_place};

use std::thread;
use std::time::{Duration, Instant};

pub(in crate::sched) fn workload(name: &str) -> Option<fn(&Context)> {
    Some(match name {
        "blocking_declared" => |c| calls(c, |d| block_in_place(|| thread::sleep(d))),
        "blocking_undeclared" => |c| calls(c, thread::sleep),
        "hog_ticker_worst" => |c| hog_ticker_worst(c, ticker),
        "hogs_300_ticks" => |c| hogs_300_ticks(c, ticker),
        _ => return None,
    })
}

fn calls(c: &Context, call: fn(Duration)) {
    let rt = runtime(c.procs);
    c.time(1_000_000, || {
        let made = on_worker(&rt, async move {
            let (callers, calls) = BLOCKING;
            // A task that never awaits is what a caller of blocking code is.
            let caller = || async move { (0..calls).map(|_| call(TICK)).count() };
            let callers: Vec<_> = (0..callers).map(|_| ::tokio::spawn(caller())).collect();
            let mut made = 0;
            for h in callers {
                made += h.await.unwrap();
            }
            made
        });
        assert_eq!(made as u64, BLOCKING.0 * BLOCKING.1);
    });
}

pub(super) fn ticker(procs: usize, beside: Neighbours, stop: Stop) -> Ticks {
    on_worker(&runtime(procs), async move {
        let neighbours = start(beside, &stop);
        let mut ticks = Ticks::default();
        while !stop.is_set() {
            let due = Instant::now() + TICK;
            ::tokio::time::sleep(TICK).await;
            ticks.came(due, &stop);
        }
        for n in neighbours {
            n.await.unwrap();
        }
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
                block_in_place(|| thread::sleep(CALL));
            }
        }),
    };
    let neighbour = |_| {
        let stop = stop.clone();
        ::tokio::spawn(async move { body(&stop) })
    };
    (0..many).map(neighbour).collect()
}
