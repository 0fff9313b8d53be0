//! Time as the engines count it: nanoseconds since an origin that the caller chooses.
//!
//! Go's rules for the edges (`when` in `time/sleep.go`, `addtimer` and `runOneTimer` in
//! `runtime/time.go`, R54, R57): a duration that is zero or negative means now, a sum that
//! overflows means the end of time, and a late periodic timer skips the ticks it missed but stays
//! on its grid.

use core::time::Duration;

/// The end of time, 292 years after the origin: a timer set to it never fires, and
/// [`next_when`](crate::Engine::next_when) returns it when there is nothing to wait for.
pub const NEVER: i64 = i64::MAX;

/// The moment `delta` nanoseconds after `now`: `now` itself if `delta` is zero or negative,
/// [`NEVER`] if the sum overflows.
///
/// ```
/// assert_eq!(gtimer::when(100, 20), 120);
/// assert_eq!(gtimer::when(100, -20), 100);
/// assert_eq!(gtimer::when(100, i64::MAX), gtimer::NEVER);
/// ```
#[must_use]
pub const fn when(now: i64, delta: i64) -> i64 {
    if delta <= 0 {
        now
    } else {
        now.saturating_add(delta)
    }
}

/// A duration in nanoseconds; what does not fit is [`NEVER`].
///
/// ```
/// use std::time::Duration;
/// assert_eq!(gtimer::nanos(Duration::from_millis(1)), 1_000_000);
/// assert_eq!(gtimer::nanos(Duration::MAX), gtimer::NEVER);
/// ```
#[must_use]
pub const fn nanos(d: Duration) -> i64 {
    let n = d.as_nanos();
    if n > NEVER as u128 { NEVER } else { n as i64 }
}

/// A deadline that a caller hands in. A negative one is a sum that overflowed on the way, so it
/// becomes [`NEVER`], as Go 1.12's `addtimer` has it: left negative, it would be due at once.
pub(crate) const fn clamp(when: i64) -> i64 {
    if when < 0 { NEVER } else { when }
}

/// The first grid point `when + k * period` (`k >= 1`) that lies after `now`.
pub(crate) const fn next_tick(when: i64, period: i64, now: i64) -> i64 {
    let late = now.saturating_sub(when);
    let ticks = 1 + if late > 0 { late / period } else { 0 };
    when.saturating_add(period.saturating_mul(ticks))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn r54_negative_and_overflowing_deadlines_are_clamped() {
        assert_eq!(when(5, -1), 5);
        assert_eq!(when(5, 0), 5);
        assert_eq!(when(5, NEVER), NEVER);
        assert_eq!(clamp(-3), NEVER);
        assert_eq!(clamp(0), 0);
        assert_eq!(nanos(Duration::from_secs(1 << 40)), NEVER);
    }

    #[test]
    fn r57_a_late_tick_skips_to_the_next_grid_point() {
        assert_eq!(next_tick(100, 10, 100), 110);
        assert_eq!(next_tick(100, 10, 109), 110);
        assert_eq!(next_tick(100, 10, 110), 120);
        assert_eq!(next_tick(100, 10, 999), 1000);
        assert_eq!(next_tick(100, 10, 50), 110);
    }

    #[test]
    fn r54_a_period_that_overflows_never_fires_again() {
        assert_eq!(next_tick(100, NEVER, 100), NEVER);
        assert_eq!(next_tick(NEVER - 1, 10, NEVER - 1), NEVER);
    }
}
