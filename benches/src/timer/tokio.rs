//! tokio's `sleep`: an entry in the wheel of its driver, reset in place.

use super::{Late, Timers, deadline, fire_million, idle, operations};
use gort_benches::harness::{Context, Rng};

use ::tokio::runtime::{Builder, Runtime};
use ::tokio::time::{Sleep, sleep_until};

use std::pin::Pin;
use std::task::Waker;
use std::time::{Duration, Instant};

pub(super) fn workload(name: &str) -> Option<fn(&Context)> {
    match name {
        "fire_1e6_p50" => Some(|c| fire_million(c, tokio_fire)),
        "idle_10k_p50" => Some(|c| idle(c, tokio_fire)),
        other => operations::<Sleeps>(other),
    }
}

pub(super) fn runtime() -> Runtime {
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
