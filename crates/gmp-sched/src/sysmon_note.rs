//! How sysmon sleeps while all is idle, and how it is woken (`sysmonwait` and `sysmonnote` in Go).

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{futex_wait, futex_wake, seq_cst, sleep};
use core::time::Duration;
use std::time::Instant;

/// Before another look, if it was not yet time to sleep.
const AGAIN: Duration = Duration::from_micros(20);

/// 0: awake, 1: asleep until somebody wakes it. A futex.
#[derive(Debug)]
pub(crate) struct Note(AtomicU32);

impl Note {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// An M begins to work, or a thread parks that may be the last: sysmon has something to look at.
    #[inline]
    pub(crate) fn wake(&self) {
        seq_cst();
        if self.0.load(Ordering::SeqCst) == 1 && self.0.swap(0, Ordering::SeqCst) == 1 {
            futex_wake(&raw const self.0);
        }
    }

    /// Sleeps until [`wake`](Self::wake), if `idle` still holds once others can see that we sleep; for
    /// `limit` at the most, if there is one. True if nobody woke it before. By sysmon.
    pub(crate) fn sleep_if(&self, limit: Option<Duration>, idle: impl FnOnce() -> bool) -> bool {
        self.0.store(1, Ordering::SeqCst);
        seq_cst();
        if idle() {
            let end = limit.map(|l| Instant::now() + l);
            while self.0.load(Ordering::SeqCst) == 1 {
                let left = end.map(|end| end.saturating_duration_since(Instant::now()));
                if left.is_some_and(|left| left.is_zero()) {
                    break;
                }
                futex_wait(&self.0, 1, left);
            }
            return self.0.swap(0, Ordering::SeqCst) == 1;
        }
        // Somebody is busy falling asleep or waking: let it.
        sleep(AGAIN);
        self.0.store(0, Ordering::SeqCst);
        false
    }
}
