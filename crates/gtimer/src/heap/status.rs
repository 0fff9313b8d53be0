//! The ten states of a timer and the edges between them (R59).
//!
//! Re-creates the status word of Go 1.15 to 1.22 (`runtime/time.go`). Go lists the edges in a
//! comment; here they are a table that every change passes, in all builds: a forbidden edge means
//! that the heap can no longer be trusted, and panics (Go's `badTimer`).
//!
//! | status | in a heap | who may change it |
//! |---|---|---|
//! | `NoStatus` never armed, or fired | no | anyone |
//! | `Waiting` | yes | anyone; firing and moving need the lock |
//! | `Running` about to fire (transient) | yes | who set it, under the lock |
//! | `Deleted` stopped, not yet removed | yes | anyone; removing needs the lock |
//! | `Removing` (transient) | yes | who set it, under the lock |
//! | `Removed` stopped and removed | no | anyone |
//! | `Modifying` (transient) | either | who set it |
//! | `ModifiedEarlier` new deadline before its place in the heap | yes | anyone; moving needs the lock |
//! | `ModifiedLater` new deadline not before its place | yes | anyone; moving needs the lock |
//! | `Moving` (transient) | either | who set it |
//!
//! A transient status is a lock on the timer's body: it is taken with Acquire and left with
//! Release. Nobody runs user code, allocates on the user's behalf, or waits for a heap's lock while
//! it holds one on a timer that is in a heap; so a thread that holds a heap's lock may wait for it.

use crate::sync::{AtomicU8, Ordering};
use core::fmt;

/// Where a timer of the [`heap`](crate::heap) engine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Status {
    /// Never armed, or fired; in no heap.
    NoStatus = 0,
    /// In a heap, to fire at its deadline.
    Waiting = 1,
    /// Being taken out to fire.
    Running = 2,
    /// Stopped, its entry still in the heap.
    Deleted = 3,
    /// Its entry is being removed.
    Removing = 4,
    /// Stopped, in no heap.
    Removed = 5,
    /// Being armed, reset or stopped.
    Modifying = 6,
    /// In a heap, at a place that is too late for its new deadline.
    ModifiedEarlier = 7,
    /// In a heap, at a place that is too early, or just right, for its new deadline.
    ModifiedLater = 8,
    /// Being moved to the right place, or to another heap.
    Moving = 9,
}

use Status::{
    Deleted, ModifiedEarlier, ModifiedLater, Modifying, Moving, NoStatus, Removed, Removing,
    Running, Waiting,
};

/// For each status the set of its successors, one bit each.
const EDGES: [u16; 10] = [
    bits(&[Modifying, Waiting]), // NoStatus: arm; Waiting at once for a new timer
    bits(&[Modifying, Running, Moving]), // Waiting: modify or stop, fire, move to another heap
    bits(&[NoStatus, Waiting]),  // Running: fired once, or periodic
    bits(&[Modifying, Removing]), // Deleted: armed again, or cleared
    bits(&[Removed]),            // Removing
    bits(&[Modifying]),          // Removed: armed again
    bits(&[Waiting, Deleted, ModifiedEarlier, ModifiedLater]), // Modifying
    bits(&[Modifying, Moving]),  // ModifiedEarlier
    bits(&[Modifying, Moving]),  // ModifiedLater
    bits(&[Waiting]),            // Moving
];

const fn bits(to: &[Status]) -> u16 {
    let mut set = 0;
    let mut i = 0;
    while i < to.len() {
        set |= 1 << to[i] as u16;
        i += 1;
    }
    set
}

impl Status {
    /// All ten, in numeric order.
    pub const ALL: [Self; 10] = [
        NoStatus,
        Waiting,
        Running,
        Deleted,
        Removing,
        Removed,
        Modifying,
        ModifiedEarlier,
        ModifiedLater,
        Moving,
    ];

    const fn from_u8(v: u8) -> Self {
        Self::ALL[v as usize]
    }

    /// Whether the edge `self -> to` is one that a timer may take.
    ///
    /// ```
    /// use gtimer::heap::Status;
    /// assert!(Status::Waiting.may_become(Status::Running));
    /// assert!(!Status::Deleted.may_become(Status::Running));
    /// ```
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        EDGES[self as usize] & (1 << to as u16) != 0
    }

    /// Whether the timer will fire unless somebody stops it.
    #[must_use]
    pub const fn is_pending(self) -> bool {
        matches!(self, Waiting | ModifiedEarlier | ModifiedLater)
    }
}

/// A timer's status word.
pub(super) struct Word(AtomicU8);

impl Word {
    pub(super) fn new(status: Status) -> Self {
        Self(AtomicU8::new(status as u8))
    }

    #[inline]
    pub(super) fn load(&self) -> Status {
        Status::from_u8(self.0.load(Ordering::Acquire))
    }

    /// Enters a transient status from a settled one. False if the timer is no longer at `from`.
    #[inline]
    pub(super) fn enter(&self, from: Status, to: Status) -> bool {
        legal(from, to);
        let entered = self
            .0
            .compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        #[cfg(all(test, not(loom)))]
        if entered {
            trace::record(from, to);
        }
        entered
    }

    /// Leaves a transient status that this thread holds.
    #[inline]
    pub(super) fn leave(&self, from: Status, to: Status) {
        legal(from, to);
        // Only the holder writes, so the word is still `from`: a plain store will do.
        debug_assert_eq!(self.load(), from, "timer data corruption");
        self.0.store(to as u8, Ordering::Release);
        #[cfg(all(test, not(loom)))]
        trace::record(from, to);
    }
}

#[inline]
fn legal(from: Status, to: Status) {
    if !from.may_become(to) {
        forbidden(from, to);
    }
}

#[cold]
fn forbidden(from: Status, to: Status) -> ! {
    panic!("timer data corruption: {from:?} -> {to:?}");
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}

/// The edges that this thread has taken.
#[cfg(all(test, not(loom)))]
mod trace {
    use super::Status;
    use std::cell::RefCell;

    std::thread_local! {
        static TAKEN: RefCell<Vec<(Status, Status)>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn record(from: Status, to: Status) {
        TAKEN.with_borrow_mut(|taken| taken.push((from, to)));
    }

    /// What `f` takes, in order.
    pub(super) fn of(f: impl FnOnce()) -> Vec<(Status, Status)> {
        TAKEN.take();
        f();
        TAKEN.take()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{Callback, heap::Handle, heap::Timers};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    /// Every edge of Go's list, spelt out.
    const GO: [(Status, Status); 18] = [
        (NoStatus, Waiting),          // addtimer
        (Waiting, Modifying),         // deltimer, modtimer
        (ModifiedEarlier, Modifying), // deltimer, modtimer
        (ModifiedLater, Modifying),   // deltimer, modtimer
        (Modifying, Deleted),         // deltimer
        (Modifying, ModifiedEarlier), // modtimer
        (Modifying, ModifiedLater),   // modtimer
        (NoStatus, Modifying),        // modtimer
        (Removed, Modifying),         // modtimer
        (Deleted, Modifying),         // modtimer
        (Modifying, Waiting),         // modtimer, of a timer in no heap
        (Deleted, Removing),          // cleantimers, adjusttimers, runtimer
        (Removing, Removed),          // cleantimers, adjusttimers, runtimer
        (ModifiedEarlier, Moving),    // cleantimers, adjusttimers, runtimer
        (ModifiedLater, Moving),      // cleantimers, adjusttimers, runtimer
        (Moving, Waiting),            // cleantimers, adjusttimers, runtimer
        (Waiting, Running),           // runtimer
        (Running, NoStatus),          // runtimer, one shot
    ];
    const MORE: [(Status, Status); 2] = [
        (Running, Waiting), // runtimer, periodic
        (Waiting, Moving),  // moveTimers
    ];

    #[test]
    fn r59_the_edges_are_gos_and_no_others() {
        for from in Status::ALL {
            for to in Status::ALL {
                let listed = GO.contains(&(from, to)) || MORE.contains(&(from, to));
                assert_eq!(from.may_become(to), listed, "{from:?} -> {to:?}");
            }
        }
    }

    /// R59: each operation on each settled status takes the edges that Go lists for it; together they
    /// take every legal edge. A new timer is born at `Waiting`, the one edge without a word.
    #[test]
    fn r59_every_operation_takes_the_edges_listed_for_it() {
        let (heap, other) = (Timers::new(), Timers::new());
        let shared = || Callback::shared(Arc::new(|| {}), 0);
        let mut all = vec![(NoStatus, Waiting)];
        let mut expect = |edges: &[(Status, Status)], f: &dyn Fn()| {
            let taken = trace::of(f);
            assert_eq!(taken, edges);
            all.extend(taken);
        };
        let stop = |timer: &Handle| assert!(timer.stop());
        let timer = Handle::new();
        let arm = |when| {
            let _ = heap.arm(&timer, when, 0, shared());
        };
        let reset = |when| {
            let _ = heap.reset(&timer, when);
        };
        let run = |now| {
            heap.check(now);
        };

        expect(&[(NoStatus, Modifying), (Modifying, Waiting)], &|| arm(50));
        expect(&[(Waiting, Running), (Running, NoStatus)], &|| run(50));
        arm(50);
        expect(&[(Waiting, Modifying), (Modifying, ModifiedLater)], &|| {
            reset(60)
        });
        expect(
            &[(ModifiedLater, Modifying), (Modifying, ModifiedEarlier)],
            &|| reset(40),
        );
        expect(
            &[(ModifiedEarlier, Modifying), (Modifying, ModifiedLater)],
            &|| reset(70),
        );
        // Its old deadline has come: `runtimer` moves it.
        expect(&[(ModifiedLater, Moving), (Moving, Waiting)], &|| run(55));
        expect(
            &[(Waiting, Modifying), (Modifying, ModifiedEarlier)],
            &|| reset(20),
        );
        // Its new deadline has come: `adjusttimers` moves it.
        expect(
            &[
                (ModifiedEarlier, Moving),
                (Moving, Waiting),
                (Waiting, Running),
                (Running, NoStatus),
            ],
            &|| run(55),
        );
        arm(60);
        expect(&[(Waiting, Modifying), (Modifying, Deleted)], &|| {
            stop(&timer)
        });
        expect(&[(Deleted, Modifying), (Modifying, ModifiedLater)], &|| {
            reset(80)
        });
        expect(&[(ModifiedLater, Modifying), (Modifying, Deleted)], &|| {
            stop(&timer)
        });
        expect(
            &[(Deleted, Modifying), (Modifying, ModifiedEarlier)],
            &|| reset(30),
        );
        expect(
            &[(ModifiedEarlier, Modifying), (Modifying, Deleted)],
            &|| stop(&timer),
        );
        expect(&[(Deleted, Removing), (Removing, Removed)], &|| run(100));
        expect(&[(Removed, Modifying), (Modifying, Waiting)], &|| arm(10));
        expect(&[(Waiting, Moving), (Moving, Waiting)], &|| {
            assert!(other.adopt(&heap))
        });
        reset(90);
        expect(&[(ModifiedLater, Moving), (Moving, Waiting)], &|| {
            assert!(heap.adopt(&other))
        });
        stop(&timer);
        let ticker = heap.insert(200, 5, shared()).0;
        run(150);
        expect(&[(Waiting, Running), (Running, Waiting)], &|| run(201));
        // None of these changes anything: the timer is in no heap, or stopped already.
        expect(&[], &|| assert!(!timer.stop()));
        stop(&ticker);
        expect(&[], &|| assert!(!ticker.stop()));

        for from in Status::ALL {
            for to in Status::ALL {
                assert_eq!(
                    all.contains(&(from, to)),
                    from.may_become(to),
                    "{from:?} -> {to:?}"
                );
            }
        }
    }

    #[test]
    fn r59_every_forbidden_edge_is_fatal_and_leaves_the_word_alone() {
        for from in Status::ALL {
            for to in Status::ALL.into_iter().filter(|to| !from.may_become(*to)) {
                let word = Word(AtomicU8::new(from as u8));
                assert!(catch_unwind(AssertUnwindSafe(|| word.enter(from, to))).is_err());
                assert!(catch_unwind(AssertUnwindSafe(|| word.leave(from, to))).is_err());
                assert_eq!(word.load(), from);
            }
        }
    }

    #[test]
    fn r59_every_legal_edge_is_taken_once() {
        for from in Status::ALL {
            for to in Status::ALL.into_iter().filter(|to| from.may_become(*to)) {
                let word = Word(AtomicU8::new(from as u8));
                assert!(word.enter(from, to), "{from:?} -> {to:?}");
                assert!(!word.enter(from, to), "{from:?} is left");
                assert_eq!(word.load(), to);
            }
        }
    }
}
