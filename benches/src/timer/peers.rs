//! tokio's `Sleep`, tokio-util's `DelayQueue`, async-io's `Timer`. A future is polled once to be armed.

use super::{Late, Timers, deadline, fire_million, idle, operations};

use ::tokio::runtime::{Builder, Runtime};
use ::tokio::time::{Sleep, sleep_until};
use gort_benches::harness::{Context, Rng};
use tokio_util::time::{DelayQueue, delay_queue};

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

type Find = fn(&str) -> Option<fn(&Context)>;

pub(super) const SUBJECTS: [(&str, Find); 3] = [
    ("tokio", tokio),
    ("tokio-util", delay_queue),
    ("async-io", async_io),
];

fn tokio(workload: &str) -> Option<fn(&Context)> {
    match workload {
        "fire_1e6_p50" => Some(|c| fire_million(c, tokio_fire)),
        "idle_10k_p50" => Some(|c| idle(c, tokio_fire)),
        other => operations::<Sleeps>(other),
    }
}

fn delay_queue(workload: &str) -> Option<fn(&Context)> {
    match workload {
        "fire_1e6_p50" => Some(|c| fire_million(c, queue_fire)),
        "idle_10k_p50" => Some(|c| idle(c, queue_fire)),
        other => operations::<Queue>(other),
    }
}

/// Not with a million: adding them takes longer than the first has until it is due.
fn async_io(workload: &str) -> Option<fn(&Context)> {
    match workload {
        million if million.contains("1e6") => None,
        "idle_10k_p50" => Some(|c| idle(c, async_io_fire)),
        other => operations::<AsyncIo>(other),
    }
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.enable_time().build().expect("a runtime")
}

/// Polls once with a waker that does nothing.
fn arm(future: Pin<&mut impl Future>) {
    let mut context = std::task::Context::from_waker(Waker::noop());
    assert!(future.poll(&mut context).is_pending());
}

struct Sleeps {
    live: Vec<Pin<Box<Sleep>>>,
    start: Instant,
    rt: Runtime,
}

impl Timers for Sleeps {
    fn new(live: u64, rng: &mut Rng) -> Self {
        let (rt, start) = (runtime(), Instant::now());
        let entered = rt.enter();
        let mut add = || {
            let mut sleep = Box::pin(sleep_until((start + deadline(rng)).into()));
            arm(sleep.as_mut());
            sleep
        };
        let live = (0..live).map(|_| add()).collect();
        drop(entered);
        Self { live, start, rt }
    }

    fn add_stop(&mut self, after: Duration) {
        let _entered = self.rt.enter();
        let sleep = std::pin::pin!(sleep_until((self.start + after).into()));
        arm(sleep);
    }

    fn reset(&mut self, index: usize, after: Duration) {
        self.live[index].as_mut().reset((self.start + after).into());
    }
}

fn tokio_fire(late: &'static Late, due: &mut dyn FnMut() -> Instant) {
    let rt = runtime();
    for i in 0..late.late.len() {
        let due = due();
        drop(rt.spawn(async move {
            sleep_until(due.into()).await;
            late.record(i, due);
        }));
    }
    late.finish();
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

struct AsyncIo {
    live: Vec<async_io::Timer>,
    start: Instant,
}

impl Timers for AsyncIo {
    fn new(live: u64, rng: &mut Rng) -> Self {
        let start = Instant::now();
        let mut add = || {
            let mut timer = async_io::Timer::at(start + deadline(rng));
            arm(Pin::new(&mut timer));
            timer
        };
        let live = (0..live).map(|_| add()).collect();
        Self { live, start }
    }

    fn add_stop(&mut self, after: Duration) {
        let mut timer = async_io::Timer::at(self.start + after);
        arm(Pin::new(&mut timer));
    }

    fn reset(&mut self, index: usize, after: Duration) {
        self.live[index].set_at(self.start + after);
    }
}

/// Its lateness is taken in the waker that async-io calls.
struct Fired {
    late: &'static Late,
    number: usize,
    due: Instant,
}

impl Wake for Fired {
    fn wake(self: Arc<Self>) {
        self.late.record(self.number, self.due);
    }
}

fn async_io_fire(late: &'static Late, due: &mut dyn FnMut() -> Instant) {
    let mut timers = Vec::new();
    for number in 0..late.late.len() {
        let due = due();
        let waker = Waker::from(Arc::new(Fired { late, number, due }));
        let mut timer = async_io::Timer::at(due);
        let state = Pin::new(&mut timer).poll(&mut std::task::Context::from_waker(&waker));
        assert!(matches!(state, Poll::Pending), "too slow to add them all");
        timers.push(timer);
    }
    late.finish();
}
