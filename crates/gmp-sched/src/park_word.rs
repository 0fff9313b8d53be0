//! The permit by which a goroutine is parked and readied.
//!
//! Takes the place of Go's `gopark`/`goready` hand-shake (`proc.go`, 1.19), where the waiter's lock
//! is held across the switch so that nobody can ready a goroutine that still runs. Here the word
//! closes that race, so callers of `park` need hold nothing, and stale wakes are harmless.
//!
//! ```text
//!             unpark                       publish
//!   NOTIFIED <-------- EMPTY -------------------------------> PARKED | THREAD
//!       |   take_permit  ^                                        |
//!       +----------------+---------------- unpark ----------------+
//! ```
//!
//! Invariants
//! - Only the goroutine's runner takes EMPTY to PARKED or THREAD and NOTIFIED to EMPTY; anybody
//!   takes EMPTY to NOTIFIED and PARKED or THREAD to EMPTY.
//! - Whoever takes PARKED to EMPTY owns the goroutine and must put it on a run queue. There is
//!   exactly one such winner for each park.
//! - A dead record holds NOTIFIED, which every unpark leaves as it is.
//!
//! Ordering. Everything an unparker did before `unpark` is visible to the goroutine after the park
//! that consumed it: each transition is a read-modify-write with release on the unparker's side
//! and acquire on the goroutine's, so even an unpark that finds NOTIFIED adds itself to the release
//! sequence. Giving the permit back by a plain store would lose such an unpark: the store may
//! drain after the goroutine looked at its condition.
//!
//! Rejected: one word for status and permit (every status change becomes a read-modify-write);
//! `swap(NOTIFIED)` in `unpark` (the winner would have to write EMPTY back, losing a later one);
//! publishing by a store before others are told of the wait, so that a goroutine may be readied while it
//! still runs and whoever runs it waits until it has left its stack, as Linux does (built and measured: a
//! round trip was no faster for one locked instruction of five less, and queues held what cannot run).

use crate::sync::atomic::{AtomicU32, Ordering};

const EMPTY: u32 = 0;
const NOTIFIED: u32 = 1;
const PARKED: u32 = 2;
const THREAD: u32 = 3;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct ParkWord(AtomicU32);

/// How the goroutine waits, which decides how it is woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waits {
    /// Off its stack: readied by a run queue.
    Queue,
    /// On its thread, which sleeps on this word as a futex.
    OnThread,
}

impl Waits {
    const fn word(self) -> u32 {
        match self {
            Self::Queue => PARKED,
            Self::OnThread => THREAD,
        }
    }
}

impl ParkWord {
    /// The word of a record that is not in use.
    pub(crate) fn dead() -> Self {
        Self(AtomicU32::new(NOTIFIED))
    }

    /// Begins a life: no permit. By the owner of a dead record.
    #[inline]
    pub(crate) fn begin(&self) {
        self.0.store(EMPTY, Ordering::Relaxed);
    }

    /// Ends a life: from here on every unpark is a no-op. By the runner.
    #[inline]
    pub(crate) fn end(&self) {
        self.0.store(NOTIFIED, Ordering::Relaxed);
    }

    /// Consumes a permit if there is one. By the runner.
    #[inline]
    pub(crate) fn take_permit(&self) -> bool {
        // Without a permit in sight the load alone decides: one that comes later stays for the
        // next look, which `publish` makes with a read-modify-write.
        self.0.load(Ordering::Relaxed) == NOTIFIED
            && self.0.swap(EMPTY, Ordering::Acquire) == NOTIFIED
    }

    /// Lets the goroutine wait; false (and the permit consumed) if it was unparked meanwhile.
    /// By the runner, or by the side that arrived after switching away from it.
    #[inline]
    pub(crate) fn publish(&self, waits: Waits) -> bool {
        match self
            .0
            .compare_exchange(EMPTY, waits.word(), Ordering::AcqRel, Ordering::Relaxed)
        {
            Ok(_) => true,
            Err(_) => {
                let taken = self.0.swap(EMPTY, Ordering::Acquire);
                debug_assert_eq!(taken, NOTIFIED, "parked twice");
                false
            }
        }
    }

    /// Gives the permit. `Some` if the caller thereby ended a wait and has to wake the goroutine
    /// in the way told. By anybody, at any time.
    #[inline]
    pub(crate) fn unpark(&self) -> Option<Waits> {
        // By far the most common, and a shorter way.
        if self.0.load(Ordering::Relaxed) == PARKED
            && self
                .0
                .compare_exchange(PARKED, EMPTY, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
            return Some(Waits::Queue);
        }
        self.unpark_other()
    }

    #[inline(never)]
    fn unpark_other(&self) -> Option<Waits> {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let (next, wake) = match seen {
                PARKED => (EMPTY, Some(Waits::Queue)),
                THREAD => (EMPTY, Some(Waits::OnThread)),
                _ => (NOTIFIED, None),
            };
            match self
                .0
                .compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return wake,
                Err(now) => seen = now,
            }
        }
    }

    /// Whether the goroutine waits on its thread and nobody has unparked it. By anybody.
    #[inline]
    pub(crate) fn still_on_thread(&self) -> bool {
        self.0.load(Ordering::Acquire) == THREAD
    }

    /// The futex of a goroutine that waits on its thread, and the value it sleeps on.
    #[cfg(not(loom))]
    pub(crate) fn futex(&self) -> (&AtomicU32, u32) {
        (&self.0, THREAD)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{ParkWord, Waits};

    #[test]
    fn a_permit_given_before_the_park_prevents_it() {
        let w = ParkWord::dead();
        w.begin();
        assert_eq!(w.unpark(), None);
        assert!(!w.publish(Waits::Queue));
        assert!(w.publish(Waits::Queue), "the permit was consumed");
        assert_eq!(w.unpark(), Some(Waits::Queue));
    }

    #[test]
    fn two_unparks_wake_once_and_leave_one_permit() {
        let w = ParkWord::dead();
        w.begin();
        assert!(w.publish(Waits::OnThread));
        assert_eq!(w.unpark(), Some(Waits::OnThread));
        assert_eq!(w.unpark(), None);
        assert!(w.take_permit());
        assert!(!w.take_permit());
    }

    #[test]
    fn a_dead_record_ignores_wakes() {
        let w = ParkWord::dead();
        assert_eq!(w.unpark(), None);
        w.begin();
        w.end();
        assert_eq!(w.unpark(), None);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::{ParkWord, Waits};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use loom::thread;

    struct Shared {
        word: ParkWord,
        data: UnsafeCell<u32>,
        flag: AtomicBool,
        readied: AtomicU32,
    }

    /// Park against ready: the waiter is readied exactly once or never parks, and sees the data.
    #[test]
    fn loom_park_word_never_loses_a_wake() {
        loom::model(|| {
            let s = Arc::new(Shared {
                word: ParkWord::dead(),
                data: UnsafeCell::new(0),
                flag: AtomicBool::new(false),
                readied: AtomicU32::new(0),
            });
            s.word.begin();
            let t = {
                let s = s.clone();
                thread::spawn(move || {
                    // SAFETY: the waiter reads only after it acquired this thread's unpark.
                    s.data.with_mut(|d| unsafe { *d = 7 });
                    s.flag.store(true, Ordering::Relaxed);
                    if s.word.unpark().is_some() {
                        s.readied.fetch_add(1, Ordering::Release);
                    }
                })
            };
            let parked = s.word.publish(Waits::Queue);
            if parked {
                while s.readied.load(Ordering::Acquire) == 0 {
                    thread::yield_now();
                }
            }
            assert!(s.flag.load(Ordering::Relaxed));
            // SAFETY: ordered after the write by the permit.
            assert_eq!(s.data.with(|d| unsafe { *d }), 7);
            t.join().unwrap();
            assert_eq!(s.readied.load(Ordering::Relaxed), u32::from(parked));
        });
    }

    /// Two unparkers, one condition each: the goroutine that loops over park sees both.
    #[test]
    fn loom_two_unparkers_are_both_seen() {
        loom::model(|| {
            let s = Arc::new((
                ParkWord::dead(),
                [AtomicBool::new(false), AtomicBool::new(false)],
                AtomicU32::new(0),
            ));
            s.0.begin();
            let ts: Vec<_> = (0..2)
                .map(|i| {
                    let s = s.clone();
                    thread::spawn(move || {
                        s.1[i].store(true, Ordering::Relaxed);
                        if s.0.unpark().is_some() {
                            s.2.fetch_add(1, Ordering::Release);
                        }
                    })
                })
                .collect();
            let mut woken = 0;
            while !(s.1[0].load(Ordering::Relaxed) && s.1[1].load(Ordering::Relaxed)) {
                if !s.0.take_permit() && s.0.publish(Waits::Queue) {
                    while s.2.load(Ordering::Acquire) == woken {
                        thread::yield_now();
                    }
                    woken += 1;
                }
            }
            for t in ts {
                t.join().unwrap();
            }
            assert!(s.2.load(Ordering::Relaxed) >= woken);
        });
    }
}
