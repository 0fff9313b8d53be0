//! A snapshot of the scheduler's counters.

use crate::{records, retake};
use crate::runtime2::Sched;
use core::sync::atomic::Ordering;

/// Counters of one runtime, for tests and reports; read one after the other, so not of one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Goroutines started.
    pub goroutines_started: u64,
    /// Half a local queue moved to the global one.
    pub overflows: u64,
    /// Goroutines taken from the global queue because it was the 61st round.
    pub globq_fair: u64,
    /// Successful steals.
    pub steals: u64,
    /// Threads made.
    pub threads_made: u64,
    /// Syscalls after which the old P was taken back by one compare-exchange.
    pub syscall_reacquired: u64,
    /// Syscalls and retakes after which another idle P was taken.
    pub syscall_other_idle: u64,
    /// Syscalls and retakes after which the goroutine had to queue for a P.
    pub syscall_slow: u64,
    /// Ps handed to another M by sysmon, `blocking_now` or a pinned goroutine.
    pub handoffs: u64,
    /// Ps taken from under running code.
    pub retaken: u64,
    /// Goroutines that yielded because they were asked to.
    pub preempts: u64,
    /// Looks of sysmon.
    pub sysmon_ticks: u64,
    /// Times sysmon went to sleep because all was idle.
    pub sysmon_sleeps: u64,
    /// Records of goroutines ever made, of all runtimes: dead ones are used again.
    pub all_gs: usize,
    /// Idle Ps.
    pub idle_ps: usize,
    /// Ms that look for work.
    pub spinning_ms: usize,
    /// Idle threads.
    pub idle_ms: usize,
    /// Scheduling rounds of all Ps.
    pub sched_ticks: u64,
}

pub(crate) fn collect(sched: &'static Sched) -> Stats {
    let s = &sched.stats;
    let get = |c: &core::sync::atomic::AtomicU64| c.load(Ordering::Relaxed);
    Stats {
        goroutines_started: sched.goroutines_started().saturating_sub(get(&s.started_before)),
        overflows: get(&s.overflows),
        globq_fair: get(&s.globq_fair),
        steals: get(&s.steals),
        threads_made: get(&s.ms_made),
        syscall_reacquired: sched.ps().map(|p| get(&p.syscalltick)).sum(),
        syscall_other_idle: get(&s.syscall_other_idle),
        syscall_slow: get(&s.syscall_slow),
        handoffs: get(&s.handoffs),
        retaken: get(&s.retaken),
        preempts: get(&s.preempts),
        sysmon_ticks: get(&s.sysmon_ticks),
        sysmon_sleeps: get(&s.sysmon_sleeps),
        all_gs: records::all_gs_len(),
        idle_ps: sched.gate.idle_ps() as usize,
        spinning_ms: sched.gate.spinning() as usize,
        idle_ms: sched.lock.lock().nmidle as usize,
        sched_ticks: sched.ps().map(|p| u64::from(p.schedtick.load(Ordering::Relaxed))).sum(),
    }
}

/// `schedtrace` and `scheddetail` of Go's `proc.go`, for people.
pub(crate) fn trace(sched: &'static Sched) -> String {
    use core::fmt::Write;
    let inner = sched.lock.lock();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "procs={} idleprocs={} threads={} spinningthreads={} idlethreads={} runqueue={} goroutines={}",
        sched.procs.load(Ordering::Relaxed),
        sched.gate.idle_ps(),
        inner.mcount,
        sched.gate.spinning(),
        inner.nmidle,
        inner.globq.len(),
        sched.num_goroutine(),
    );
    for p in sched.ps() {
        let m = retake::m_of(p).map(|m| m.id.load(Ordering::Relaxed));
        let _ = writeln!(
            text,
            "  P{}: status={:?} schedtick={} syscalltick={} m={m:?} runqsize={} empty={}",
            p.id,
            p.status(),
            p.schedtick.load(Ordering::Relaxed),
            p.syscalltick.load(Ordering::Relaxed),
            p.runq.ring_len(),
            p.runq.is_empty(),
        );
    }
    for m in &inner.allm {
        let _ = writeln!(
            text,
            "  M{}: tid={} attention={} in_rt={} idle={}",
            m.id.load(Ordering::Relaxed),
            m.tid.load(Ordering::Relaxed),
            m.attention.peek(),
            m.attention.in_rt(),
            m.idle.get(),
        );
    }
    text
}
