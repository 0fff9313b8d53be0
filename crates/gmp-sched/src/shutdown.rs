//! The end of a runtime: wait or abort, stop the threads, keep the record.

use crate::runtime2::{Hooks, Phase, Sched, new_sched};
use crate::p_status::PStatus;
use crate::fatal::warn;
use crate::status::GStatus;
use crate::{deadlock, goroutines, idle, park, records, starts, switch, sysmon};
use core::sync::atomic::Ordering;
use core::time::Duration;
use parking_lot::Mutex;
use std::thread;
use std::time::Instant;

/// How long Ms may take to end that have nothing to do any more, whatever the deadline.
const MS_END_WITHIN: Duration = Duration::from_secs(1);

/// Records of runtimes that ended, to be used again: they are type-stable like all others.
static FREE: Mutex<Vec<&'static Sched>> = Mutex::new(Vec::new());

/// What dropping a [`Runtime`](crate::Runtime) does with goroutines that still exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Shutdown {
    /// Unwind them: every park ends in an unwinding, futures are dropped, closures that have not
    /// started are dropped. What is left at the deadline is reported and leaked: a call that blocks, a
    /// loop that makes no calls cannot be unwound. The default, with ten seconds. In a program with
    /// `panic = "abort"` nothing can be unwound: goroutines that wait are left at once.
    Abort(Duration),
    /// Wait for them, at most so long; then abort, with as much time again.
    Wait(Duration),
    /// Panic if there are any.
    Refuse,
}

/// A record for a new runtime: one of an ended runtime, or a new one with room for `max_procs` Ps.
pub(crate) fn take_sched(max_procs: usize, hooks: &'static Hooks) -> &'static Sched {
    match FREE.lock().pop() {
        Some(sched) => {
            // First of all: from here on it is not what older handles mean.
            sched.epoch.fetch_add(1, Ordering::SeqCst);
            sched.set_hooks(hooks);
            sched
        }
        None => Box::leak(Box::new(new_sched(max_procs, hooks))),
    }
}

/// Waits until no goroutine is left; false at the deadline.
pub(crate) fn await_goroutines(sched: &'static Sched, within: Duration) -> bool {
    let start = Instant::now();
    let mut nap = Duration::from_micros(10);
    while sched.num_goroutine() > 0 {
        if start.elapsed() >= within {
            return false;
        }
        std::thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(5));
    }
    true
}

/// Runs `end` on another thread, because the caller's is one of the runtime's.
pub(crate) fn end_from_outside(sched: &'static Sched, end: impl FnOnce() + Send + 'static) {
    let thread = || thread::Builder::new().name("gmp-shutdown".into()).spawn(end);
    if let Err(e) = starts::result_from_foreground(thread) {
        warn(format_args!("no thread to end a runtime, which is leaked: {e}"));
        sched.set_phase(Phase::Aborting);
    }
}

/// Ends a runtime: abort, wait, stop the Ms, and keep the record for another if nothing is left.
pub(crate) fn end(sched: &'static Sched, within: Duration) {
    // Where panics abort, who waits now waits for ever.
    let within = if cfg!(panic = "abort") { within.min(MS_END_WITHIN / 10) } else { within };
    // 1. From here on every park unwinds, and what has not started is cancelled.
    sched.set_phase(Phase::Aborting);
    let start = Instant::now();
    let none_left = || {
        loop {
            // 2. Wake whoever waits. Again and again: a goroutine may have been between its look at the
            // phase and its park; the permit covers that, but one that was spawned meanwhile is new.
            for g in records::live_gs(sched) {
                // In `Syscall` it may wait together with its thread.
                if matches!(g.status(), GStatus::Waiting | GStatus::Syscall) {
                    park::unpark(g);
                }
            }
            let left = within.saturating_sub(start.elapsed());
            if await_goroutines(sched, left.min(Duration::from_millis(50))) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    };
    // 3. The Ms still run for whoever came in before the door is closed.
    if !goroutines::close(none_left, || sched.set_phase(Phase::Closed)) {
        warn(format_args!(
            "{} goroutines outlived the shutdown of their runtime and are leaked:\n{}",
            sched.num_goroutine(),
            deadlock::traceback(sched)
        ));
        // They go on, and sysmon watches them: they may wake others, and their timers them.
        return;
    }
    // 4. Nobody is left and nobody can come: the Ms end. They are idle or about to be. Nor does
    // anybody stop the world of what is no more.
    let _world = sched.world.lock();
    let mut inner = sched.lock.lock();
    sched.set_phase(Phase::Stopping);
    // A P may also be in the hands of sysmon, or of another thread, that wanted to start an M.
    while inner.mcount > 0 || sched.gate.idle_ps() < sched.procs.load(Ordering::Relaxed) {
        drop(inner);
        idle::dismiss_idle(sched);
        inner = sched.lock.lock();
        let n = inner.mcount;
        if n > 0 && start.elapsed() >= within.max(MS_END_WITHIN) {
            drop(inner);
            warn(format_args!(
                "{n} threads outlived the shutdown of their runtime and are leaked: code that is no \
                 goroutine's, a waker or the callback of a timer, does not return"
            ));
            sysmon::unwatch(sched);
            return;
        }
        sched.ended.wait_for(&mut inner, Duration::from_millis(1));
    }
    drop(inner);
    sysmon::unwatch(sched);
    // 5. All Ps are idle again: bury them, and keep the record.
    let mut inner = sched.lock.lock();
    while let Some(p) = inner.pidle_get(sched) {
        switch::give_stacks(p);
        records::give_gs(p);
        p.set_status(PStatus::Gcstop);
        p.set_status(PStatus::Dead);
    }
    debug_assert!(inner.globq.len() == 0 && sched.ps().all(|p| p.runq.is_empty()), "work outlived its runtime");
    sched.procs.store(0, Ordering::SeqCst);
    sched.set_phase(Phase::Free);
    drop(inner);
    FREE.lock().push(sched);
}

#[cfg(test)]
mod tests {
    use crate::runtime2::Phase;
    use crate::{Builder, idle};
    use core::time::Duration;
    use std::thread;

    #[test]
    fn the_end_waits_for_a_p_that_somebody_is_about_to_give_to_an_m() {
        let rt = Builder::new().procs(1).build().unwrap();
        let sched = rt.handle().sched;
        let p = sched.lock.lock().pidle_get(sched).expect("nothing has run yet");
        let ends = thread::spawn(move || drop(rt));
        while sched.phase() < Phase::Stopping {
            thread::yield_now();
        }
        // It never ends as long as we have the P, however long that is.
        thread::sleep(Duration::from_millis(100));
        assert!(!ends.is_finished(), "a P is not buried");
        idle::start_m(sched, p, false);
        ends.join().unwrap();
    }
}
