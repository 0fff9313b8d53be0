//! How many threads there are and what they do: the figures that the deadlock detector needs (R52).
//!
//! `checkdead` in Go counts the Ms of its one runtime. Here several runtimes may share a process
//! with threads that are none of theirs, so the count is of the process: a deadlock needs every M
//! idle, nobody waiting for the clock or for I/O, and every other thread parked in one of these
//! runtimes. The counters are kept by whoever *causes* the change (an M counts as running from
//! the moment somebody takes it off the idle list), so "all idle" is never seen while a wake-up is
//! on its way.

use core::sync::atomic::{AtomicUsize, Ordering};

static MS: AtomicUsize = AtomicUsize::new(0);
static IDLE_MS: AtomicUsize = AtomicUsize::new(0);
static PARKED: AtomicUsize = AtomicUsize::new(0);
static SYSTEM: AtomicUsize = AtomicUsize::new(0);
/// Changes whenever somebody wakes.
static WAKES: AtomicUsize = AtomicUsize::new(0);

/// A moment's figures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Census {
    pub(crate) ms: usize,
    pub(crate) idle_ms: usize,
    pub(crate) parked: usize,
    pub(crate) system: usize,
    wakes: usize,
}

pub(crate) fn take() -> Census {
    Census {
        wakes: WAKES.load(Ordering::SeqCst),
        ms: MS.load(Ordering::SeqCst),
        idle_ms: IDLE_MS.load(Ordering::SeqCst),
        parked: PARKED.load(Ordering::SeqCst),
        system: SYSTEM.load(Ordering::SeqCst),
    }
}

impl Census {
    /// Whether nobody whom the runtimes know of runs. An M that sleeps to a deadline counts as asleep:
    /// what is due then may have been stopped, so [`crate::poll::Poll::pending`] is asked.
    pub(crate) fn all_asleep(&self) -> bool {
        self.ms + self.parked > 0 && self.idle_ms == self.ms
    }

    /// Threads that the runtimes know of.
    pub(crate) fn known_threads(&self) -> usize {
        self.ms + self.parked + self.system
    }
}

pub(crate) fn m_starts() {
    MS.fetch_add(1, Ordering::SeqCst);
}

pub(crate) fn m_ends() {
    MS.fetch_sub(1, Ordering::SeqCst);
}

pub(crate) fn m_idles() {
    IDLE_MS.fetch_add(1, Ordering::SeqCst);
}

pub(crate) fn m_wakes() {
    WAKES.fetch_add(1, Ordering::SeqCst);
    IDLE_MS.fetch_sub(1, Ordering::SeqCst);
}

/// A thread that is no M begins to wait for something in a runtime.
pub(crate) fn thread_parks() {
    PARKED.fetch_add(1, Ordering::SeqCst);
}

/// Its wait ends: by whoever ends it.
pub(crate) fn thread_unparks() {
    WAKES.fetch_add(1, Ordering::SeqCst);
    PARKED.fetch_sub(1, Ordering::SeqCst);
}

/// A thread that belongs to the runtimes but never readies anybody by itself: sysmon, a scavenger.
pub(crate) fn system_thread() {
    SYSTEM.fetch_add(1, Ordering::SeqCst);
}
