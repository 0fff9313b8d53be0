//! How many threads there are and what they do: the figures that the deadlock detector needs (R52).
//!
//! `checkdead` in Go counts the Ms of its one runtime. Here several runtimes may share a process
//! with threads that are none of theirs, so the count is of the process: a deadlock needs every M
//! idle, nobody waiting for the clock or for I/O, and every other thread parked in one of these
//! runtimes. The counters are kept by whoever *causes* the change (an M counts as running from
//! the moment somebody takes it off the idle list), so "all idle" is never seen while a wake-up is
//! on its way. And whoever leaves one fewer awake looks whether all are asleep, and wakes sysmon then.
//!
//! Every counter only rises, and how many there are is the difference of two. So two readings that are
//! equal are those of one moment, and of all the time between: nothing has happened.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::seq_cst;
use crate::sysmon_note::Note;

/// The process's.
#[cfg(not(loom))]
pub(crate) static PROCESS: Counts = Counts {
    started: AtomicUsize::new(0),
    ended: AtomicUsize::new(0),
    idled: AtomicUsize::new(0),
    woken: AtomicUsize::new(0),
    parked: AtomicUsize::new(0),
    unparked: AtomicUsize::new(0),
    system: AtomicUsize::new(0),
    sysmon: Note::new(),
};

/// How often each has happened.
#[derive(Debug)]
pub(crate) struct Counts {
    started: AtomicUsize,
    ended: AtomicUsize,
    idled: AtomicUsize,
    woken: AtomicUsize,
    parked: AtomicUsize,
    unparked: AtomicUsize,
    system: AtomicUsize,
    /// How sysmon sleeps.
    pub(crate) sysmon: Note,
}

/// A moment's figures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Census {
    ended: usize,
    woken: usize,
    unparked: usize,
    started: usize,
    idled: usize,
    parked: usize,
    system: usize,
}

fn one_more(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::SeqCst);
    seq_cst();
}

impl Counts {
    #[cfg(all(test, loom))]
    pub(crate) fn new() -> Self {
        let [started, ended, idled, woken, parked, unparked, system] =
            core::array::from_fn(|_| AtomicUsize::new(0));
        Self {
            started,
            ended,
            idled,
            woken,
            parked,
            unparked,
            system,
            sysmon: Note::new(),
        }
    }

    pub(crate) fn take(&self) -> Census {
        seq_cst();
        // What ends comes before what begins, so that no difference is negative.
        Census {
            ended: self.ended.load(Ordering::SeqCst),
            woken: self.woken.load(Ordering::SeqCst),
            unparked: self.unparked.load(Ordering::SeqCst),
            started: self.started.load(Ordering::SeqCst),
            idled: self.idled.load(Ordering::SeqCst),
            parked: self.parked.load(Ordering::SeqCst),
            system: self.system.load(Ordering::SeqCst),
        }
    }

    pub(crate) fn m_starts(&self) {
        one_more(&self.started);
    }

    pub(crate) fn m_ends(&self) {
        one_more(&self.ended);
        self.fewer_awake();
    }

    pub(crate) fn m_idles(&self) {
        one_more(&self.idled);
        self.fewer_awake();
    }

    pub(crate) fn m_wakes(&self) {
        one_more(&self.woken);
    }

    /// A thread that is no M begins to wait for something in a runtime.
    pub(crate) fn thread_parks(&self) {
        one_more(&self.parked);
        self.fewer_awake();
    }

    /// Its wait ends: by whoever ends it.
    pub(crate) fn thread_unparks(&self) {
        one_more(&self.unparked);
    }

    /// A thread that belongs to the runtimes but never readies anybody by itself: sysmon, a scavenger.
    #[cfg(not(loom))]
    pub(crate) fn system_thread(&self) {
        one_more(&self.system);
    }

    /// The caller's thread, or one that it counts, may have been the last one awake: sysmon, which sleeps
    /// while no P runs, has to look whether anybody can wake them.
    fn fewer_awake(&self) {
        if self.take().all_asleep() {
            self.sysmon.wake();
        }
    }
}

impl Census {
    /// Threads that are no Ms and wait.
    pub(crate) fn parked(&self) -> usize {
        self.parked - self.unparked
    }

    fn ms(&self) -> usize {
        self.started - self.ended
    }

    /// Whether nobody whom the runtimes know of runs. An M that sleeps to a deadline counts as asleep:
    /// what is due then may have been stopped, so [`crate::poll::Poll::pending`] is asked.
    pub(crate) fn all_asleep(&self) -> bool {
        self.ms() + self.parked() > 0 && self.idled - self.woken == self.ms()
    }

    /// Threads that the runtimes know of.
    pub(crate) fn known_threads(&self) -> usize {
        self.ms() + self.parked() + self.system
    }
}
