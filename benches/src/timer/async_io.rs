//! async-io's `Timer`: an ordered map behind a mutex, run by its reactor's thread.

use super::{Late, Timers, deadline, idle, operations};
use gort_benches::harness::{Context, Rng};

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Not with a million: adding them takes longer than the first has until it is due.
pub(super) fn workload(name: &str) -> Option<fn(&Context)> {
    match name {
        million if million.contains("1e6") => None,
        "idle_10k_p50" => Some(|c| idle(c, async_io_fire)),
        other => operations::<AsyncIo>(other),
    }
}

/// Polls once with a waker that does nothing.
fn arm(future: Pin<&mut impl Future>) {
    let mut context = std::task::Context::from_waker(Waker::noop());
    assert!(future.poll(&mut context).is_pending());
}

struct AsyncIo {
    live: Vec<::async_io::Timer>,
    start: Instant,
}

impl Timers for AsyncIo {
    fn new(live: u64, rng: &mut Rng) -> Self {
        let start = Instant::now();
        let mut add = || {
            let mut timer = ::async_io::Timer::at(start + deadline(rng));
            arm(Pin::new(&mut timer));
            timer
        };
        let live = (0..live).map(|_| add()).collect();
        Self { live, start }
    }

    fn add_stop(&mut self, after: Duration) {
        let mut timer = ::async_io::Timer::at(self.start + after);
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
        let mut timer = ::async_io::Timer::at(due);
        let state = Pin::new(&mut timer).poll(&mut std::task::Context::from_waker(&waker));
        assert!(matches!(state, Poll::Pending), "too slow to add them all");
        timers.push(timer);
    }
    late.finish();
}
