//! Stopping every P at once, and changing how many there are (R25).
//!
//! `stopTheWorld`, `startTheWorld` and `procresize` of Go 1.19's `proc.go`. Stopped means: no
//! goroutine passes its next runtime entry. A P that idles or is in a syscall is taken at once; a
//! running one is asked, and taken from under code that makes no calls ([`crate::attention`]).

use crate::bracket::Rt;
use crate::runtime2::{Inner, M, P, Phase, Sched};
use crate::p_status::PStatus;
use crate::foreign::{Panicked, quietly};
use crate::census::PROCESS;
use crate::{fork, idle, records, retake, starts, switch};
use core::sync::atomic::Ordering;
use core::time::Duration;
use parking_lot::MutexGuard;

/// Gives the P of the calling M, which has seen the world stopping, to stop-the-world. It is stopping still: it waits
/// for this P. Returns the M, without a P.
pub(crate) fn surrender(rt: Rt) -> &'static M {
    let sched = rt.sched();
    let mut inner = sched.lock.lock();
    debug_assert!(sched.gcwaiting.load(Ordering::Relaxed), "the world went on without this P");
    let (m, p) = idle::release_p(rt);
    p.set_status(PStatus::Gcstop);
    inner.p_stopped(sched);
    m
}

/// The base loop of an M stops here (`gcstopm`).
pub(crate) fn gc_stop_m(rt: Rt) -> Result<Rt, &'static M> {
    let sched = rt.sched();
    if rt.m().spinning.replace(false) {
        sched.gate.stop_spinning();
    }
    let m = surrender(rt);
    idle::stop_m(m).ok_or(m)
}

/// An M that enters a syscall finds the world stopping: its P, which it has just left, stops too,
/// unless the stopper has taken it already.
#[cold]
pub(crate) fn stop_p_in_syscall(p: &'static P) {
    let sched = p.sched;
    let mut inner = sched.lock.lock();
    if sched.gcwaiting.load(Ordering::Acquire) && p.cas_status(PStatus::Syscall, PStatus::Gcstop) {
        inner.p_stopped(sched);
    }
}

/// Stops the world, runs `f`, starts it again. The caller holds no P: it is no M of this runtime, or
/// inside `blocking`.
///
/// # Panics
/// If the life of the runtime that `epoch` names is over. And if `f` does: then the world goes on.
pub(crate) fn with_world_stopped<R>(
    sched: &'static Sched,
    epoch: u64,
    f: impl FnOnce(&Stopped) -> R,
) -> R {
    fork::check();
    let one = sched.world.lock();
    assert!(
        sched.epoch.load(Ordering::SeqCst) == epoch && sched.phase() < Phase::Stopping,
        "the world of a runtime that has been shut down cannot be stopped"
    );
    f(&Stopped::new(sched, one))
}

/// A stopped world, until it is dropped. Whoever ends a runtime keeps others from this by
/// [`Sched::world`].
pub(crate) struct Stopped<'a> {
    sched: &'static Sched,
    _one: MutexGuard<'a, ()>,
}

impl<'a> Stopped<'a> {
    fn new(sched: &'static Sched, one: MutexGuard<'a, ()>) -> Self {
        stop(sched);
        Self { sched, _one: one }
    }

    /// Changes how many Ps there are: from 1 to [`Sched::allp`]'s length.
    ///
    /// # Panics
    /// If the hook does, when all is done.
    pub(crate) fn resize(&self, procs: u32) {
        let sched = self.sched;
        let old = sched.procs.load(Ordering::Relaxed);
        resize(sched, &mut sched.lock.lock(), procs);
        // Without the lock: what is adopted, or found useless, may run code that wants it.
        if let Some(poll) = sched.hooks().poll {
            let mut panicked = Panicked::default();
            (procs..old).for_each(|id| panicked.run(|| poll.adopt(id as usize, 0)));
            panicked.go_on();
        }
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        start(self.sched);
    }
}

/// Gives the runtime `procs` Ps, if it follows the CPUs and nobody is at its world just now. By sysmon.
pub(crate) fn follow_cpus(sched: &'static Sched, procs: u32) {
    if let Some(one) = sched.world.try_lock()
        && sched.phase() == Phase::Open
        && sched.follows_cpus.load(Ordering::Relaxed)
        && sched.procs.load(Ordering::Relaxed) != procs
    {
        // sysmon has more to do than this.
        quietly(|| Stopped::new(sched, one).resize(procs));
    }
}

fn stop(sched: &'static Sched) {
    let mut inner = sched.lock.lock();
    inner.stopwait = sched.procs.load(Ordering::Relaxed);
    sched.gcwaiting.store(true, Ordering::SeqCst);
    while let Some(p) = inner.pidle_get(sched) {
        p.set_status(PStatus::Gcstop);
        inner.stopwait -= 1;
    }
    while inner.stopwait > 0 {
        for p in sched.ps() {
            match p.status() {
                PStatus::Syscall if p.cas_status(PStatus::Syscall, PStatus::Gcstop) => {
                    inner.stopwait -= 1;
                }
                PStatus::Running if retake::try_take(p) => {
                    p.set_status(PStatus::Gcstop);
                    inner.stopwait -= 1;
                }
                _ => {}
            }
        }
        if inner.stopwait > 0 {
            // A P may be on its way to an M whose thread sysmon has to start, and who waits here may be sysmon.
            if starts::any() && !retake::in_background() {
                MutexGuard::unlocked(&mut inner, starts::run);
            }
            sched.ended.wait_for(&mut inner, Duration::from_micros(100));
        }
    }
}

fn start(sched: &'static Sched) {
    let mut with_work = Vec::new();
    {
        let mut inner = sched.lock.lock();
        sched.gcwaiting.store(false, Ordering::SeqCst);
        for p in sched.ps().collect::<Vec<_>>().into_iter().rev() {
            p.set_status(PStatus::Idle);
            if p.runq.is_empty() {
                inner.pidle_put(sched, p);
            } else {
                with_work.push(p);
            }
        }
    }
    for p in with_work {
        idle::start_m(sched, p, false);
    }
    // Somebody has to look at the global queue and the clock, and sysmon, which took all for idle, at the Ps.
    idle::start_m_for_idle_p(sched, false);
    PROCESS.sysmon.wake();
}

/// Makes `procs` be `n`. All Ps are `Pgcstop` and stay so; those beyond `n` die, and what they held
/// moves on. (`procresize`)
fn resize(sched: &'static Sched, inner: &mut Inner, n: u32) {
    let old = sched.procs.load(Ordering::Relaxed);
    for id in 0..n {
        make_p(sched, id);
        if id >= old && sched.p(id).status() == PStatus::Dead {
            sched.p(id).set_status(PStatus::Gcstop);
        }
    }
    for id in n..old {
        let p = sched.p(id);
        loop {
            let next = p.runq.get_next();
            let g = if next.is_null() { p.runq.get() } else { next };
            // SAFETY: queues hold pointers to G records, which are never freed.
            let Some(g) = (unsafe { g.as_ref() }) else { break };
            inner.globq.push(g);
        }
        switch::give_stacks(p);
        records::give_gs(p);
        p.set_status(PStatus::Dead);
    }
    sched.nglobq.store(inner.globq.len(), Ordering::Release);
    sched.procs.store(n, Ordering::SeqCst);
    sched.clocks.fetch_max(n, Ordering::AcqRel);
}

/// Makes sure that a P with this id exists; a new one is `Pgcstop`.
pub(crate) fn make_p(sched: &'static Sched, id: u32) -> &'static P {
    let slot = &sched.allp[id as usize];
    // SAFETY: null or a P made here, never freed.
    if let Some(p) = unsafe { slot.load(Ordering::Acquire).as_ref() } {
        return p;
    }
    let p: &'static P = Box::leak(Box::new(P::new(id, sched)));
    p.set_status(PStatus::Gcstop);
    slot.store(core::ptr::from_ref(p).cast_mut(), Ordering::Release);
    p
}

#[cfg(test)]
mod tests {
    use crate::{Builder, go, sysmon};
    use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use core::time::Duration;
    use std::sync::Arc;
    use std::thread;
    use std::time::Instant;

    #[test]
    fn r25_what_a_p_held_that_is_gone_is_run() {
        const EACH: u32 = 3;
        // SAFETY: nothing bound to a thread is kept across a park.
        let rt = unsafe { Builder::new().procs(2).build_stackful() }.unwrap();
        let sched = rt.handle().sched;
        // It would take the Ps before.
        sysmon::unwatch(sched);
        let (filled, ran) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let resized = Arc::new(AtomicBool::new(false));
        let fill = || {
            let (filled, ran, resized) = (filled.clone(), ran.clone(), resized.clone());
            move || {
                // One on each P.
                filled.fetch_add(1, Ordering::SeqCst);
                while filled.load(Ordering::SeqCst) < 2 {
                    thread::yield_now();
                }
                for _ in 0..EACH {
                    let ran = ran.clone();
                    drop(go(move || ran.fetch_add(1, Ordering::SeqCst)));
                }
                filled.fetch_add(1, Ordering::SeqCst);
                while !resized.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
            }
        };
        let fillers = [rt.go(fill()), rt.go(fill())];
        while filled.load(Ordering::SeqCst) < 4 {
            thread::yield_now();
        }
        rt.handle().set_procs(1).unwrap();
        let start = Instant::now();
        while ran.load(Ordering::SeqCst) < 2 * EACH {
            assert!(start.elapsed() < Duration::from_secs(60), "something is left");
            thread::yield_now();
        }
        resized.store(true, Ordering::SeqCst);
        fillers.into_iter().for_each(|h| h.join().unwrap());
        sysmon::watch(sched);
    }
}
