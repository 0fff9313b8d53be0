//! The monotonic clock of the system.

/// Nanoseconds on the system's monotonic clock.
///
/// On Linux that is `CLOCK_MONOTONIC`, counted from boot: it is never set back, and it **stands
/// still while the system is suspended**, so that a timer of one minute set before a night's sleep
/// still takes a minute of waking time. (Go's timers do the same there.) Elsewhere it is
/// `std::time::Instant`, counted from the first call.
///
/// ```
/// let before = gtimer::now();
/// assert!(gtimer::now() >= before);
/// ```
#[must_use]
pub fn now() -> i64 {
    sys::now()
}

#[cfg(target_os = "linux")]
mod sys {
    pub(super) fn now() -> i64 {
        let mut t = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `t` is a valid place for the answer. The clock exists on every Linux, so the call
        // cannot fail.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut t) };
        // Neither is negative; on 32-bit machines both are half as wide.
        (t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64).cast_signed()
    }
}

#[cfg(not(target_os = "linux"))]
mod sys {
    use std::sync::OnceLock;
    use std::time::Instant;

    pub(super) fn now() -> i64 {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        crate::nanos(ORIGIN.get_or_init(Instant::now).elapsed())
    }
}
