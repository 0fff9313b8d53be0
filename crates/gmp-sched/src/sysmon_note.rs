//! How sysmon sleeps while all is idle, and how it is woken (`sysmonwait` and `sysmonnote` in Go).

use crate::{census, sys};
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::time::Instant;

/// Before another look, if it was not yet time to sleep.
const AGAIN: Duration = Duration::from_micros(20);

/// 0: awake, 1: asleep until somebody wakes it. A futex.
static ASLEEP: AtomicU32 = AtomicU32::new(0);

/// An M begins to work, or a thread parks that may be the last: sysmon has something to look at.
#[inline]
pub(crate) fn wake() {
    if ASLEEP.load(Ordering::SeqCst) == 1 && ASLEEP.swap(0, Ordering::SeqCst) == 1 {
        sys::futex_wake(&raw const ASLEEP);
    }
}

/// A thread parked, or an M joined the idle list: it may have been the last one awake, and sysmon,
/// which sleeps while no P runs, has to look whether anybody can wake them.
pub(crate) fn fell_asleep() {
    if census::take().all_asleep() {
        wake();
    }
}

/// Sleeps until [`wake`], if `idle` still holds once others can see that we sleep; for `limit` at the
/// most, if there is one. True if nobody woke it before. By sysmon.
pub(crate) fn sleep_if(limit: Option<Duration>, idle: impl FnOnce() -> bool) -> bool {
    ASLEEP.store(1, Ordering::SeqCst);
    if idle() {
        let end = limit.map(|l| Instant::now() + l);
        while ASLEEP.load(Ordering::SeqCst) == 1 {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            sys::futex_wait(&ASLEEP, 1, left);
        }
        return ASLEEP.swap(0, Ordering::SeqCst) == 1;
    }
    // Somebody is busy falling asleep or waking: let it.
    std::thread::sleep(AGAIN);
    ASLEEP.store(0, Ordering::SeqCst);
    false
}
