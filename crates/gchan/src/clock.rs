//! Channels that deliver a time: once (`after`, `at`) or again and again (`tick`). No thread and no timer stands behind
//! them: a receiver knows when the next value is due and waits until then.
//!
//! As with Go's `time.Tick`, a slow receiver misses ticks instead of finding them heaped up, and the ticks stay on the
//! grid of the first, however late each is taken (R57; `runtime/time.go`, 1.27).

use crate::err::{RecvTimeoutError, TryRecvError};
use crate::park::Reason;
use crate::wait::wait_for_time;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The first of the times `when`, `when + period`, .. that lies after `now`; `now` itself if the period is zero. `now` is
/// not before `when`. `None` if no clock will ever show it.
fn next(when: Instant, period: Duration, now: Instant) -> Option<Instant> {
    let late = now.saturating_duration_since(when).as_nanos();
    let past = late.checked_rem(period.as_nanos()).unwrap_or(0);
    // What does not fit took centuries.
    let past = Duration::from_nanos(u64::try_from(past).unwrap_or(0));
    now.checked_add(period - past)
}

#[derive(Debug)]
pub(crate) struct Clock {
    /// When the next value is due; `None` once the only one was taken. Held for a few instructions.
    due: Mutex<Option<Instant>>,
    /// Between ticks; `None` for a single value. Constant.
    period: Option<Duration>,
}

impl Clock {
    pub(crate) fn new(due: Instant, period: Option<Duration>) -> Self {
        Self {
            due: Mutex::new(Some(due)),
            period,
        }
    }

    /// When the next value is due, if ever.
    pub(crate) fn due(&self) -> Option<Instant> {
        *self.due.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.due().is_some_and(|due| Instant::now() >= due)
    }

    pub(crate) fn try_recv(&self) -> Result<Instant, TryRecvError> {
        let mut due = self.due.lock().unwrap_or_else(|e| e.into_inner());
        let now = Instant::now();
        match *due {
            Some(when) if now >= when => {
                *due = self.period.and_then(|period| next(when, period, now));
                Ok(when)
            }
            _ => Err(TryRecvError::Empty),
        }
    }

    pub(crate) fn recv(&self, deadline: Option<Instant>) -> Result<Instant, RecvTimeoutError> {
        loop {
            if let Ok(when) = self.try_recv() {
                return Ok(when);
            }
            if deadline.is_some_and(|d| Instant::now() >= d) {
                return Err(RecvTimeoutError::Timeout);
            }
            let until = [self.due(), deadline].into_iter().flatten().min();
            wait_for_time(Reason::ChanReceive, until);
        }
    }
}
