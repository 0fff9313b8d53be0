//! tokio-util's `DelayQueue`: a wheel that one task owns.

use super::tokio::runtime;
use super::{Late, Timers, deadline, fire_million, idle, operations};
use gort_benches::harness::{Context, Rng};

use ::tokio::runtime::Runtime;
use tokio_util::time::{DelayQueue, delay_queue};

use std::time::{Duration, Instant};

pub(super) fn workload(name: &str) -> Option<fn(&Context)> {
    match name {
        "fire_1e6_p50" => Some(|c| fire_million(c, queue_fire)),
        "idle_10k_p50" => Some(|c| idle(c, queue_fire)),
        other => operations::<Queue>(other),
    }
}

struct Queue {
    queue: DelayQueue<u64>,
    live: Vec<delay_queue::Key>,
    start: Instant,
    rt: Runtime,
}

impl Timers for Queue {
    fn new(live: u64, rng: &mut Rng) -> Self {
        let (rt, start) = (runtime(), Instant::now());
        let entered = rt.enter();
        let mut queue = DelayQueue::new();
        let live = (0..live)
            .map(|i| queue.insert_at(i, (start + deadline(rng)).into()))
            .collect();
        drop(entered);
        Self {
            queue,
            live,
            start,
            rt,
        }
    }

    fn add_stop(&mut self, after: Duration) {
        let _entered = self.rt.enter();
        let key = self.queue.insert_at(7, (self.start + after).into());
        assert_eq!(self.queue.remove(&key).into_inner(), 7);
    }

    fn reset(&mut self, index: usize, after: Duration) {
        let _entered = self.rt.enter();
        self.queue
            .reset_at(&self.live[index], (self.start + after).into());
    }
}

fn queue_fire(late: &'static Late, due: &mut dyn FnMut() -> Instant) {
    let rt = runtime();
    rt.block_on(async {
        let mut queue = DelayQueue::new();
        for i in 0..late.late.len() {
            let due = due();
            queue.insert_at((i, due), due.into());
        }
        while let Some(expired) = std::future::poll_fn(|c| queue.poll_expired(c)).await {
            let (i, due) = expired.into_inner();
            late.record(i, due);
        }
    });
}
