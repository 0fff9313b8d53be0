//! The seam for what a P looks at besides its queues: timers, and later I/O.

/// What `find_runnable` asks before it steals or sleeps.
///
/// Alone, gmp-sched has none: no timers. `gort` plugs in gtimer, one heap per P.
///
/// All times are nanoseconds of `CLOCK_MONOTONIC` ([`crate::nanotime`]). The calls are made with no
/// lock of the runtime's held and outside the scheduler's bracket, so implementations may ready goroutines,
/// wake wakers and drop values; they must not park.
pub trait Poll: core::any::Any + Sync {
    /// Runs what is due on `p` at `now`. Returns the next deadline of `p` (`None`: there is none)
    /// and how many entries ran. If it panics, it is called again for what is still due.
    fn poll(&self, p: usize, now: u64) -> (Option<u64>, usize);

    /// The earliest deadline of `p` as far as it can be seen without a lock. Called by every scheduling round, so
    /// it should be one load. Called inside the bracket, as is [`pending`](Self::pending): they only look.
    fn next_deadline(&self, p: usize) -> Option<u64>;

    /// Whether `p` may have entries whose firing could wake a goroutine: a runtime with such an
    /// entry is not deadlocked.
    fn pending(&self, p: usize) -> bool {
        self.next_deadline(p).is_some()
    }

    /// `from` is gone: its entries have to move to `to`. Called while the world is stopped, and, when more have come
    /// to `from` from code that has not noticed, while it runs: `to` may be polled at the same time.
    fn adopt(&self, from: usize, to: usize);
}
