//! gtimer: operations on the heap that a P has (no thread waits on it), firing by a driver's thread.

use super::{Late, Timers, fire_million, idle, operations};

use ::gtimer::{Builder, Callback, Driver, Engine, Host, heap, now};
use gort_benches::harness::{Context, Rng};

use std::time::{Duration, Instant};

type Handle = <heap::Timers as Engine>::Handle;

struct Heap {
    timers: heap::Timers,
    live: Vec<Handle>,
    start: i64,
}

impl Timers for Heap {
    fn new(live: u64, rng: &mut Rng) -> Self {
        let (timers, start) = (heap::Timers::default(), now());
        let mut add = || {
            let due = start + super::deadline(rng).as_nanos() as i64;
            timers.insert(due, 0, Callback::none()).0
        };
        let live = (0..live).map(|_| add()).collect();
        Self {
            timers,
            live,
            start,
        }
    }

    fn add_stop(&mut self, after: Duration) {
        let due = self.start + after.as_nanos() as i64;
        let (timer, earliest) = self.timers.insert(due, 0, Callback::none());
        std::hint::black_box(earliest);
        assert!(heap::Timers::stop(&timer));
    }

    fn reset(&mut self, index: usize, after: Duration) {
        let due = self.start + after.as_nanos() as i64;
        assert!(self.timers.reset(&self.live[index], due).was_pending);
    }
}

fn fire(late: &'static Late, due: &mut dyn FnMut() -> Instant) {
    let driver: Driver<heap::Timers> = Builder::new().build_with().expect("a thread");
    let origin = (Instant::now(), now());
    for i in 0..late.late.len() {
        let due = due();
        let when = origin.1 + (due - origin.0).as_nanos() as i64;
        let timer = driver.handle();
        driver.arm(&timer, when, 0, Callback::once(move || late.record(i, due)));
        heap::Timers::detach(timer);
    }
    late.finish();
}

pub(super) fn workload(name: &str) -> Option<fn(&Context)> {
    match name {
        "fire_1e6_p50" => Some(|c| fire_million(c, fire)),
        "idle_10k_p50" => Some(|c| idle(c, fire)),
        other => operations::<Heap>(other),
    }
}
