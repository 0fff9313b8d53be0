//! When to wake another thread: idle Ps, spinning Ms, and the dance that loses no work.
//!
//! Re-creates the protocol that Go's `proc.go` (1.19) describes at "Worker thread parking/unparking".
//! An M that has no work *spins* for a while: it looks at everybody's queues before it sleeps.
//! At most one M is woken at a time, and only while nobody spins: the spinning one, when it finds
//! work, wakes the next.
//!
//! ```text
//!   submit                          stop spinning
//!   1. put work on a queue          1. give the P to the idle list
//!   2. fence                        2. spinning -= 1
//!   3. spinning == 0 and a P idle?  3. fence
//!      then spinning 0 -> 1,        4. look at all queues again;
//!      and start an M                  work? take a P back and spin
//! ```
//!
//! Of the two fences one comes first. If the submitter's: the sleeper's second look finds the work.
//! If the sleeper's: the submitter sees no spinner and an idle P. So work never sits on a queue while
//! a P idles and nobody is on the way. (`runnext` is the exception that the scheduler makes on
//! purpose: what is there will be run by its owner; sysmon covers an owner that computes on.)

use crate::sync::atomic::{AtomicU32, Ordering, fence};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Gate {
    idle_ps: AtomicU32,
    spinning: AtomicU32,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            idle_ps: AtomicU32::new(0),
            spinning: AtomicU32::new(0),
        }
    }

    /// After work was put on a queue: whether the caller has to start an M, which it then counts
    /// as spinning already.
    #[inline]
    pub(crate) fn submitted(&self) -> bool {
        fence(Ordering::SeqCst);
        self.idle_ps.load(Ordering::Relaxed) > 0
            && self.spinning.load(Ordering::Relaxed) == 0
            && self
                .spinning
                .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether one more M may spin: at most half as many as there are busy Ps.
    pub(crate) fn may_spin(&self, procs: u32) -> bool {
        let busy = procs.saturating_sub(self.idle_ps.load(Ordering::Relaxed));
        2 * self.spinning.load(Ordering::Relaxed) < busy
    }

    pub(crate) fn start_spinning(&self) {
        self.spinning.fetch_add(1, Ordering::AcqRel);
    }

    /// One M less spins. True if it was the last. The caller looks at all queues afterwards.
    pub(crate) fn stop_spinning(&self) -> bool {
        let before = self.spinning.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "more Ms stopped spinning than started");
        fence(Ordering::SeqCst);
        before == 1
    }

    /// A P joined the idle list. Under the runtime's lock.
    pub(crate) fn p_idle(&self) {
        self.idle_ps.fetch_add(1, Ordering::SeqCst);
    }

    /// A P left the idle list. Under the runtime's lock.
    pub(crate) fn p_busy(&self) {
        self.idle_ps.fetch_sub(1, Ordering::SeqCst);
    }

    /// Ordered with `p_busy` and sysmon's going to sleep: one of the two sees the other.
    pub(crate) fn idle_ps(&self) -> u32 {
        self.idle_ps.load(Ordering::SeqCst)
    }

    pub(crate) fn spinning(&self) -> u32 {
        self.spinning.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Gate;

    #[test]
    fn one_m_is_started_at_a_time_and_only_for_an_idle_p() {
        let g = Gate::new();
        assert!(!g.submitted(), "no P idles");
        g.p_idle();
        g.p_idle();
        assert!(g.submitted());
        assert!(!g.submitted(), "one is on the way");
        assert!(g.stop_spinning());
        assert!(g.submitted());
    }

    #[test]
    fn spinners_are_at_most_half_of_the_busy_ps() {
        let g = Gate::new();
        g.p_idle();
        assert!(g.may_spin(4));
        g.start_spinning();
        assert!(g.may_spin(4));
        g.start_spinning();
        assert!(!g.may_spin(4));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::Gate;
    use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// The spinning dance: after a submit and a sleeper's last look, either the sleeper saw the work
    /// or the submitter started an M.
    #[test]
    fn loom_spinning_dance_strands_no_work() {
        loom::model(|| {
            let s = Arc::new((Gate::new(), AtomicBool::new(false), AtomicU32::new(0)));
            s.0.start_spinning();
            let sleeper = {
                let s = s.clone();
                thread::spawn(move || {
                    s.0.p_idle();
                    s.0.stop_spinning();
                    s.1.load(Ordering::Relaxed)
                })
            };
            s.1.store(true, Ordering::Relaxed);
            let started = s.0.submitted();
            let seen = sleeper.join().unwrap();
            assert!(
                started || seen,
                "work on the queue, a P idle, nobody on the way"
            );
        });
    }

    /// Two submitters start at most one M between them while it spins.
    #[test]
    fn loom_two_submitters_start_one_m() {
        loom::model(|| {
            let s = Arc::new((Gate::new(), AtomicU32::new(0)));
            s.0.p_idle();
            s.0.p_idle();
            let ts: Vec<_> = (0..2)
                .map(|_| {
                    let s = s.clone();
                    thread::spawn(move || {
                        if s.0.submitted() {
                            s.1.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            for t in ts {
                t.join().unwrap();
            }
            assert_eq!(s.1.load(Ordering::Relaxed), 1);
        });
    }

    /// What `idle.rs` and `schedule.rs` do around the gate, with one P and one item of work.
    struct Runtime {
        gate: Gate,
        /// The P is idle; work is on the global queue. The runtime's lock.
        inner: Mutex<(bool, bool)>,
        run: AtomicBool,
    }

    impl Runtime {
        /// `start_m_for_idle_p`: the caller has a claim on the gate.
        fn start_m_for_idle_p(&self) {
            let mut inner = self.inner.lock().unwrap();
            if !core::mem::take(&mut inner.0) {
                self.gate.stop_spinning();
                return;
            }
            self.gate.p_busy();
            drop(inner);
            self.look_then_sleep(true);
        }

        /// An M that holds the P: runs the work if there is some, else gives the P up and looks again.
        fn look_then_sleep(&self, spinning: bool) {
            let mut inner = self.inner.lock().unwrap();
            if core::mem::take(&mut inner.1) {
                self.run.store(true, Ordering::Relaxed);
                if spinning {
                    self.gate.stop_spinning();
                }
                return;
            }
            inner.0 = true;
            self.gate.p_idle();
            drop(inner);
            if spinning {
                self.gate.stop_spinning();
            }
            let mut inner = self.inner.lock().unwrap();
            if inner.1 && core::mem::take(&mut inner.0) {
                self.gate.p_busy();
                inner.1 = false;
                self.run.store(true, Ordering::Relaxed);
            }
        }
    }

    /// What `shutdown::end` waits for, with one P. The runtime's lock.
    struct Ending {
        stopping: bool,
        p_idles: bool,
        ms: u32,
        /// The P was put away for good.
        buried: bool,
    }

    /// The end of a runtime against a thread that has seen its P idle and is about to start an M for it: either that
    /// comes too late, or the end waits for the M. In no case does an M have a P that is buried.
    #[test]
    fn loom_the_end_of_a_runtime_waits_for_an_m_that_is_being_started() {
        loom::model(|| {
            let s = Arc::new((
                Gate::new(),
                Mutex::new(Ending {
                    stopping: false,
                    p_idles: true,
                    ms: 0,
                    buried: false,
                }),
                Condvar::new(),
            ));
            s.0.p_idle();
            let starter = {
                let s = s.clone();
                thread::spawn(move || {
                    let (gate, inner, ended) = &*s;
                    assert!(gate.submitted() || inner.lock().unwrap().buried);
                    // `start_m_for_idle_p` and `start_m_locked`.
                    let mut at = inner.lock().unwrap();
                    if at.buried || at.stopping {
                        if gate.spinning() > 0 {
                            gate.stop_spinning();
                        }
                        return;
                    }
                    assert!(core::mem::take(&mut at.p_idles));
                    gate.p_busy();
                    at.ms += 1;
                    drop(at);
                    // The M: it finds that the runtime stops (`retire_p`), or nothing to do, and ends.
                    gate.stop_spinning();
                    let mut at = inner.lock().unwrap();
                    assert!(!at.buried, "an M has a P that is buried");
                    at.p_idles = true;
                    gate.p_idle();
                    drop(at);
                    // `m_exits`.
                    inner.lock().unwrap().ms -= 1;
                    ended.notify_all();
                })
            };
            let (gate, inner, ended) = &*s;
            let mut at = inner.lock().unwrap();
            at.stopping = true;
            while at.ms > 0 || gate.idle_ps() < 1 {
                at = ended.wait(at).unwrap();
            }
            drop(at);
            let mut at = inner.lock().unwrap();
            assert!(core::mem::take(&mut at.p_idles), "somebody has the P");
            gate.p_busy();
            at.buried = true;
            drop(at);
            starter.join().unwrap();
            assert_eq!(
                gate.spinning(),
                0,
                "a claim on the gate is left to the next life"
            );
        });
    }

    /// A claim that found no P is given back under the lock, so nobody who relied on it is let down.
    #[test]
    fn loom_a_claim_without_a_p_strands_no_work() {
        loom::model(|| {
            let rt = Arc::new(Runtime {
                gate: Gate::new(),
                inner: Mutex::new((false, false)),
                run: AtomicBool::new(false),
            });
            // One thread has claimed the gate for a P that another thread has taken since.
            rt.gate.start_spinning();
            let holder = {
                let rt = rt.clone();
                thread::spawn(move || rt.look_then_sleep(false))
            };
            let submitter = {
                let rt = rt.clone();
                thread::spawn(move || {
                    rt.inner.lock().unwrap().1 = true;
                    if rt.gate.submitted() {
                        rt.start_m_for_idle_p();
                    }
                })
            };
            rt.start_m_for_idle_p();
            holder.join().unwrap();
            submitter.join().unwrap();
            assert!(
                rt.run.load(Ordering::Relaxed),
                "the work sits there and the P idles"
            );
        });
    }
}
