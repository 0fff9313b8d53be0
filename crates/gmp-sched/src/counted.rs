//! How a thread that waits is counted, for as long as it does (R52): as parked, so that a deadlock is found,
//! and for no longer, for a report of a deadlock that is none ends the process.
//!
//! Three kinds of threads wait:
//! - one that sleeps on its own [`ParkWord`]: it counts itself before it sleeps, and who ends its wait takes it
//!   from the count, and is awake until then;
//! - an M, whose goroutine or future runs code that waits for others ([`Blocking`]): while the thread is in
//!   that code it counts as parked, and in what that calls of the runtime's, or in a nap within, as an M that
//!   runs;
//! - any other thread in such code ([`Foreign`]).
//!
//! What counts itself may not be asleep yet, or awake again. So sysmon asks the kernel as well
//! ([`crate::suspicion`]).

use crate::census::Counts;
use crate::park_word::{ParkWord, Waits};
use core::cell::Cell;

/// Sleeps until the word is unparked, if it is not yet; the thread is not counted otherwise. `sleep` is given
/// the word to sleep on, and may return at any time.
pub(crate) fn sleep_on(counts: &Counts, word: &ParkWord, mut sleep: impl FnMut(&ParkWord)) {
    counts.thread_parks();
    if !word.publish(Waits::OnThread) {
        counts.thread_unparks();
        return;
    }
    while word.still_on_thread() {
        sleep(word);
    }
}

/// Ends such a sleep: by whoever unparked the word. `wake` wakes the thread.
pub(crate) fn end_sleep(counts: &Counts, wake: impl FnOnce()) {
    counts.thread_unparks();
    wake();
}

/// The goroutine waits for others, so its thread counts as parked and not as an M.
const WAITS: u32 = 1 << 31;
/// So it is counted just now, and not within a call of the runtime's that what it waits with makes.
const COUNTED: u32 = 1 << 30;
/// How many sections.
const SECTIONS: u32 = COUNTED - 1;

/// What the code on a stack does that has no P: nested `blocking` sections, or waits. By the runner.
#[derive(Debug)]
pub(crate) struct Blocking(Cell<u32>);

impl Blocking {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(0))
    }

    /// The next goroutine begins with nothing.
    #[cfg(not(loom))]
    pub(crate) fn clear(&self) {
        self.0.set(0);
    }

    /// Whether it is in a section, or in a wait that began without one.
    #[inline(always)]
    pub(crate) fn any(&self) -> bool {
        self.0.get() > 0
    }

    pub(crate) fn in_section(&self) -> bool {
        self.0.get() & SECTIONS > 0
    }

    #[inline(always)]
    pub(crate) fn enter(&self) {
        self.0.set(self.0.get() + 1);
    }

    #[inline(always)]
    pub(crate) fn leave(&self) {
        self.0.set(self.0.get() - 1);
    }

    /// Calls `sleep` on the thread, which has no P. Meanwhile it counts as parked if it `waits` for others, and
    /// else as an M that runs, even within such a wait. `sleep` must not unwind.
    pub(crate) fn sleep(&self, counts: &Counts, waits: bool, sleep: impl FnOnce()) {
        let within = self.set_waits(counts, waits);
        sleep();
        self.set_waits(counts, within);
    }

    /// As [`sleep`](Self::sleep), for a `sleep` that counts the thread as parked itself ([`sleep_on`]) and calls
    /// nothing of the runtime's.
    pub(crate) fn sleep_as_thread(&self, counts: &Counts, sleep: impl FnOnce()) {
        self.sleep(counts, false, || {
            counts.m_ends();
            sleep();
            counts.m_starts();
        });
    }

    /// Returns what it was.
    fn set_waits(&self, counts: &Counts, waits: bool) -> bool {
        self.counts_again(counts);
        let before = self.0.get();
        self.0.set(if waits {
            before | WAITS
        } else {
            before & !WAITS
        });
        self.counts_as_told(counts);
        before & WAITS != 0
    }

    /// A call of the runtime's that the code made is over: within a wait the thread counts as parked again.
    pub(crate) fn counts_as_told(&self, counts: &Counts) {
        let flags = self.0.get();
        if flags & WAITS != 0 {
            self.0.set(flags | COUNTED);
            counts.m_ends();
            counts.thread_parks();
        }
    }

    /// The thread counts as an M that runs: it has slept, or what should have been asleep calls the runtime.
    pub(crate) fn counts_again(&self, counts: &Counts) {
        let flags = self.0.get();
        if flags & COUNTED != 0 {
            self.0.set(flags & !COUNTED);
            counts.m_starts();
            counts.thread_unparks();
        }
    }
}

/// Whether a thread that is no M is counted as parked, for as long as what it was given to wait with runs.
#[derive(Debug)]
pub(crate) struct Foreign(Cell<bool>);

impl Foreign {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(false))
    }

    /// Counts it as parked, or no longer; says whether it was. A wait within a wait is one wait.
    pub(crate) fn count(&self, counts: &Counts, parked: bool) -> bool {
        let was = self.0.replace(parked);
        match (was, parked) {
            (false, true) => counts.thread_parks(),
            (true, false) => counts.thread_unparks(),
            _ => {}
        }
        was
    }
}
