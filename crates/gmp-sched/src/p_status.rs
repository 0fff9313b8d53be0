//! The state of a P, the edges between the states (R27), and the word that holds it.
//!
//! Re-creates the `_Pidle ...` constants of Go 1.19's `runtime2.go` and the compare-exchanges on
//! `p.status` in its `proc.go`.
//!
//! For most states the word is a record of what the P's owner does: owners change under the
//! runtime's lock, and write plainly. `Syscall` is the exception. A P in that state belongs to nobody,
//! and whoever takes it *out* of it by a compare-exchange owns it:
//!
//! ```text
//!              entersyscall                exitsyscall: the M that left it, or one that left it later
//!   Running ------------------> Syscall ------------------------> Idle    sysmon: to lend it out
//!                (a store)         |                                      (compare-exchange, all of them)
//!                                  +----------------------------> Gcstop  stop-the-world, or the M
//!                                                                         that saw it stopping
//! ```
//!
//! Ordering. The store to `Syscall` releases what the leaving M did to its P; the winner's
//! compare-exchange acquires it. An M that comes back may find that its P was lent out, used and left
//! in a syscall by somebody else, and take it all the same: in `Syscall` a P is nobody's, so it does not
//! matter whose it was.
//!
//! An M that enters a syscall stores the state and then looks whether the world is stopping, with no
//! fence between: if the look comes too early, the stopper, which looks again and again, takes the P.

use crate::attention::Attention;
use crate::sync::atomic::{AtomicU8, Ordering};
use core::fmt;

/// The state of a processor.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PStatus {
    /// On the idle list, or between two owners.
    Idle = 0,
    /// Owned by an M that runs goroutines or looks for one.
    Running = 1,
    /// Its M is in a syscall; any M may take it by one CAS.
    Syscall = 2,
    /// Halted by stop-the-world.
    Gcstop = 3,
    /// Beyond the current `procs`.
    Dead = 4,
}

impl PStatus {
    pub(crate) const fn from_u8(v: u8) -> Self {
        match v {
            0 => Self::Idle,
            1 => Self::Running,
            2 => Self::Syscall,
            3 => Self::Gcstop,
            4 => Self::Dead,
            _ => panic!("not a processor status"),
        }
    }

    /// Whether the edge `self -> to` is one the scheduler may take.
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        use PStatus::{Dead, Gcstop, Idle, Running, Syscall};
        matches!(
            (self, to),
            (Idle, Running)                 // acquirep
                | (Running, Idle)           // releasep, retake of a running P
                | (Running, Syscall)        // entersyscall
                | (Syscall, Idle)           // exitsyscall and sysmon: the P changes hands by way of idle
                | (Running | Syscall | Idle, Gcstop) // stop-the-world
                | (Gcstop, Idle)            // start-the-world
                | (Gcstop, Dead)            // set_procs lowers the count
                | (Dead, Gcstop) // set_procs raises it again
        )
    }

    /// The state's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Syscall => "syscall",
            Self::Gcstop => "gcstop",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Debug for PStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word; see the module's documentation.
#[derive(Debug)]
pub(crate) struct PWord(AtomicU8);

impl PWord {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(PStatus::Idle as u8))
    }

    #[inline]
    pub(crate) fn get(&self) -> PStatus {
        PStatus::from_u8(self.0.load(Ordering::Acquire))
    }

    /// Takes an edge of the table. By the P's owner.
    #[inline]
    #[track_caller]
    pub(crate) fn set(&self, to: PStatus) {
        debug_assert!(
            self.get().may_become(to),
            "no edge {:?} -> {to:?}",
            self.get()
        );
        self.0.store(to as u8, Ordering::Release);
    }

    /// Takes a running P from under the M that holds it: which one, if that worked. By a taker
    /// ([`crate::attention`]); the P is his, but still says `Running`.
    ///
    /// Who holds it is asked before and after the request: an M that gives its P up clears the request first, so
    /// as long as the request stands, this is the M's P. The state is read before the second answer, and written
    /// last when a P is acquired: the first may be the M that left the P in a syscall, until somebody else has
    /// it, and that M may hold another P by now.
    pub(crate) fn take_running<'a, M>(
        &self,
        holder: impl Fn() -> Option<&'a M>,
        attention: impl Fn(&'a M) -> &'a Attention,
        barrier: impl FnOnce() -> bool,
    ) -> Option<&'a M> {
        let m = holder()?;
        attention(m).request();
        let still =
            self.get() == PStatus::Running && holder().is_some_and(|now| core::ptr::eq(now, m));
        (still && attention(m).take(barrier)).then_some(m)
    }

    /// Takes an edge that others may take too; false if they did. By anybody.
    #[inline]
    pub(crate) fn exchange(&self, from: PStatus, to: PStatus) -> bool {
        debug_assert!(from.may_become(to), "no edge {from:?} -> {to:?}");
        self.0
            .compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::PStatus;
    #[cfg(debug_assertions)]
    use super::PWord;

    const ALL: [PStatus; 5] = [
        PStatus::Idle,
        PStatus::Running,
        PStatus::Syscall,
        PStatus::Gcstop,
        PStatus::Dead,
    ];

    #[test]
    fn r27_processor_edges_are_exactly_these() {
        let edges: Vec<_> = ALL
            .iter()
            .flat_map(|a| ALL.iter().map(move |b| (*a, *b)))
            .filter(|(a, b)| a.may_become(*b))
            .map(|(a, b)| format!("{a:?}>{b:?}"))
            .collect();
        assert_eq!(
            edges.join(" "),
            "idle>running idle>gcstop running>idle running>syscall running>gcstop \
             syscall>idle syscall>gcstop gcstop>idle gcstop>dead dead>gcstop"
        );
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "no edge idle -> syscall")]
    fn r27_an_edge_that_is_not_there_trips() {
        PWord::new().set(PStatus::Syscall);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "no edge syscall -> running")]
    fn r27_nor_can_it_be_taken_from_others() {
        PWord::new().exchange(PStatus::Syscall, PStatus::Running);
    }

    #[test]
    fn numbers_round_trip() {
        for p in ALL {
            assert_eq!(PStatus::from_u8(p as u8), p);
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::{PStatus, PWord};
    use crate::attention::{Attention, PREEMPT};
    use loom::cell::UnsafeCell;
    use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// `membarrier`, where the other side uses a fence too.
    fn barrier() -> bool {
        fence(Ordering::SeqCst);
        true
    }

    /// A P, and the data that only its owner may touch: loom reports two owners at once as a race.
    struct Processor {
        word: PWord,
        data: UnsafeCell<u32>,
    }

    impl Processor {
        fn running() -> Self {
            let word = PWord::new();
            word.set(PStatus::Running);
            Self {
                word,
                data: UnsafeCell::new(0),
            }
        }

        fn touch(&self) {
            // SAFETY: the protocol under test; loom reports a race.
            self.data.with_mut(|d| unsafe { *d += 1 });
        }

        /// `entersyscall`, by the owner.
        fn enter_syscall(&self) {
            self.touch();
            self.word.set(PStatus::Syscall);
        }

        /// The fast `exitsyscall`: true if the P is the caller's again.
        fn exit_syscall(&self) -> bool {
            if !self.word.exchange(PStatus::Syscall, PStatus::Idle) {
                return false;
            }
            self.word.set(PStatus::Running);
            self.touch();
            true
        }
    }

    /// Syscall exit against sysmon, which lends the P to an M that enters a syscall itself: each
    /// time it leaves `Syscall` it has one owner, even if that M takes back what another left.
    #[test]
    fn loom_a_p_in_a_syscall_is_taken_by_one() {
        loom::model(|| {
            let p = Arc::new(Processor::running());
            let owned = Arc::new(AtomicU32::new(0));
            p.enter_syscall();
            let sysmon = {
                let (p, owned) = (p.clone(), owned.clone());
                thread::spawn(move || {
                    if !p.word.exchange(PStatus::Syscall, PStatus::Idle) {
                        return;
                    }
                    // The M that it is lent to.
                    p.word.set(PStatus::Running);
                    p.enter_syscall();
                    owned.fetch_add(u32::from(p.exit_syscall()), Ordering::Relaxed);
                })
            };
            owned.fetch_add(u32::from(p.exit_syscall()), Ordering::Relaxed);
            sysmon.join().unwrap();
            assert_eq!(owned.load(Ordering::Relaxed), 1, "one has it in the end");
            assert_eq!(p.word.get(), PStatus::Running);
        });
    }

    /// What `stop_world.rs`, `syscall.rs` and `idle.rs` do, with one P.
    struct World {
        p: Processor,
        attention: Attention,
        /// Whether the M holds the P: `P::m`.
        held: AtomicBool,
        gcwaiting: AtomicBool,
        /// How many Ps the stopper still waits for. The runtime's lock.
        stopwait: Mutex<u32>,
        /// `Sched::ended`.
        ended: Condvar,
    }

    impl World {
        fn new() -> Self {
            Self {
                p: Processor::running(),
                attention: Attention::new(),
                held: AtomicBool::new(true),
                gcwaiting: AtomicBool::new(false),
                stopwait: Mutex::new(0),
                ended: Condvar::new(),
            }
        }

        /// `stop`: returns when the P is `Gcstop`.
        fn stop(&self) {
            let mut stopwait = self.stopwait.lock().unwrap();
            *stopwait = 1;
            self.gcwaiting.store(true, Ordering::SeqCst);
            self.ended.notify_all();
            // The real one looks again and again. Here two looks have to do, since the M of the models
            // always comes to its next call.
            for _ in 0..2 {
                if *stopwait > 0 && self.take_as_it_is() {
                    *stopwait -= 1;
                }
            }
            while *stopwait > 0 {
                stopwait = self.ended.wait(stopwait).unwrap();
            }
            drop(stopwait);
            assert_eq!(self.p.word.get(), PStatus::Gcstop);
            self.p.touch();
        }

        /// One look of the stopper's.
        fn take_as_it_is(&self) -> bool {
            match self.p.word.get() {
                PStatus::Syscall => self.p.word.exchange(PStatus::Syscall, PStatus::Gcstop),
                PStatus::Running if self.try_take() => {
                    self.p.word.set(PStatus::Gcstop);
                    true
                }
                _ => false,
            }
        }

        /// `Inner::p_stopped`.
        fn p_stopped(&self, stopwait: &mut u32) {
            *stopwait -= 1;
            self.ended.notify_all();
        }

        /// `retake::try_take`.
        fn try_take(&self) -> bool {
            let holder = || self.held.load(Ordering::SeqCst).then_some(&self.attention);
            if self.p.word.take_running(holder, |a| a, barrier).is_none() {
                return false;
            }
            self.held.store(false, Ordering::Release);
            self.p.word.set(PStatus::Idle);
            true
        }

        /// The M opens its bracket: true if the P is its own.
        fn enter(&self) -> bool {
            let ours = match self.attention.enter() {
                0 => true,
                PREEMPT => self.attention.claim(),
                _ => false,
            };
            if !ours {
                self.attention.leave();
            }
            ours
        }

        /// A runtime call that may park: touches the P, and stops if it is asked to. True if the M
        /// still has its P.
        fn call(&self) -> bool {
            if !self.enter() {
                return false;
            }
            self.p.touch();
            if self.gcwaiting.load(Ordering::Acquire) {
                self.surrender();
                return false;
            }
            self.attention.leave();
            true
        }

        /// `surrender`, with `release_p`.
        fn surrender(&self) {
            let mut stopwait = self.stopwait.lock().unwrap();
            let _ = self.attention.claim();
            self.attention.give_up();
            self.attention.leave();
            self.held.store(false, Ordering::Release);
            self.p.word.set(PStatus::Idle);
            self.p.word.set(PStatus::Gcstop);
            self.p_stopped(&mut stopwait);
        }
    }

    /// Waits until the M can see that the world is stopping.
    fn see_it_stopping(w: &World) {
        let mut stopwait = w.stopwait.lock().unwrap();
        while !w.gcwaiting.load(Ordering::Relaxed) {
            stopwait = w.ended.wait(stopwait).unwrap();
        }
    }

    /// Stop-the-world against an M that makes runtime calls: asked, taken from under it, or given up.
    #[test]
    fn loom_stop_the_world_has_every_p_to_itself() {
        loom::model(|| {
            let w = Arc::new(World::new());
            let m = {
                let w = w.clone();
                thread::spawn(move || {
                    if w.call() {
                        see_it_stopping(&w);
                        assert!(!w.call(), "the M went on although the world is stopping");
                    }
                })
            };
            w.stop();
            m.join().unwrap();
        });
    }

    /// A P that M 1 left in a syscall is taken out of it by M 0, while M 1 gets another P. Whoever takes the
    /// first P from under M 0 must not have asked M 1: that would cost M 1 its new P, and M 0's would have two
    /// owners.
    #[test]
    fn loom_a_taker_asks_the_m_that_holds_the_p() {
        struct Two {
            p: Processor,
            /// `P::m`.
            m: AtomicU32,
            attention: [Attention; 2],
        }
        loom::model(|| {
            let w = Arc::new(Two {
                p: Processor::running(),
                m: AtomicU32::new(1),
                attention: [Attention::new(), Attention::new()],
            });
            for a in &w.attention {
                a.enter();
                a.give_up();
                a.leave();
            }
            w.p.enter_syscall();
            let m0 = {
                let w = w.clone();
                thread::spawn(move || {
                    assert!(w.p.word.exchange(PStatus::Syscall, PStatus::Idle));
                    // `acquire_p`.
                    w.m.store(0, Ordering::Release);
                    w.p.word.set(PStatus::Running);
                    w.p.touch();
                    w.attention[0].returned();
                })
            };
            let m1 = {
                let w = w.clone();
                thread::spawn(move || w.attention[1].returned())
            };
            // `retake::take`.
            let holder = || w.attention.get(w.m.load(Ordering::SeqCst) as usize);
            if let Some(from) = w.p.word.take_running(holder, |a| a, barrier) {
                w.p.touch();
                let asked = core::ptr::eq(from, &raw const w.attention[0]);
                assert!(asked, "M 1 has lost a P for which nobody asked");
            }
            m0.join().unwrap();
            m1.join().unwrap();
        });
    }

    /// Stop-the-world against an M on its way into a syscall and out of it again. The attention word is
    /// out of the game here: in a syscall it says SYSCALL, and a stopper leaves it alone.
    #[test]
    fn loom_stop_the_world_meets_a_syscall() {
        loom::model(|| {
            let w = Arc::new(World::new());
            w.attention.enter();
            w.attention.give_up();
            let m = {
                let w = w.clone();
                thread::spawn(move || {
                    w.p.enter_syscall();
                    if w.gcwaiting.load(Ordering::SeqCst) {
                        let mut stopwait = w.stopwait.lock().unwrap();
                        if w.p.word.exchange(PStatus::Syscall, PStatus::Gcstop) {
                            w.p_stopped(&mut stopwait);
                        }
                    }
                    if w.p.exit_syscall() {
                        see_it_stopping(&w);
                        w.p.touch();
                        w.surrender();
                    }
                })
            };
            w.stop();
            m.join().unwrap();
        });
    }
}
