//! Wakes tasks at a time, for `recv_async` on `after`, `at` and `tick`, where no runtime's timers are known.
//!
//! One thread for the process, started at the first use, sleeps until the earliest alarm. Blocking receives do not use
//! it: they know when to wake by themselves.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Instant;

struct Desk {
    /// By time, then by number.
    alarms: BTreeMap<(Instant, u64), Waker>,
    last: u64,
    running: bool,
}

static DESK: Mutex<Desk> = Mutex::new(Desk {
    alarms: BTreeMap::new(),
    last: 0,
    running: false,
});
static BELL: Condvar = Condvar::new();

fn desk() -> MutexGuard<'static, Desk> {
    DESK.lock().unwrap_or_else(|e| e.into_inner())
}

/// A waker to be woken at a time, unless dropped before.
#[derive(Debug)]
pub(crate) struct Alarm {
    key: (Instant, u64),
}

impl Alarm {
    pub(crate) fn set(when: Instant, waker: Waker) -> Self {
        let mut desk = desk();
        desk.last += 1;
        let key = (when, desk.last);
        desk.alarms.insert(key, waker);
        if !desk.running {
            desk.running = true;
            // Without a thread there is no alarm: as bad as no memory.
            std::thread::Builder::new()
                .name("gchan-alarm".into())
                .spawn(run)
                .expect("no thread for alarms");
        }
        if desk
            .alarms
            .first_key_value()
            .is_some_and(|(first, _)| *first == key)
        {
            BELL.notify_one();
        }
        Self { key }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let waker = desk().alarms.remove(&self.key);
        drop(waker);
    }
}

fn run() {
    let mut guard = desk();
    loop {
        let Some(first) = guard.alarms.first_entry() else {
            guard = BELL.wait(guard).unwrap_or_else(|e| e.into_inner());
            continue;
        };
        let wait = first.key().0.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            let waker = first.remove();
            drop(guard);
            // A waker that panics must not end the alarms of everyone else.
            drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(
                || waker.wake(),
            )));
            guard = desk();
        } else {
            guard = BELL
                .wait_timeout(guard, wait)
                .map_or_else(|e| e.into_inner().0, |(g, _)| g);
        }
    }
}
