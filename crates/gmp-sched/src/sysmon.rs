//! The thread that watches all the others: sysmon (R26, R29-R32).
//!
//! Re-creates `sysmon`, `retake` and `preemptone` of Go 1.19's `proc.go`, one thread for all
//! runtimes of the process. It holds no P. Every 20 us to 10 ms it looks at each P:
//!
//! - in a syscall for more than one look: lend it out, unless nothing waits for it (R31);
//! - running the same goroutine for 10 ms: ask it to yield (R32);
//! - running a goroutine that does not come to the runtime, while work waits that no idle P can
//!   take: take the P from under it ([`crate::attention`]). If the thread's CPU clock stands still it
//!   is blocked, and the syscall rule holds; if it computes, it has its 10 ms first (and a look's time to
//!   answer, if it has woken others), and afterwards a lower weight, because it now runs beside the Ps and
//!   not on one. From the middle of the slice on an M stands ready for the P;
//! - idle, and a timer of its is due, and the M that watched the clock was taken for a P with work: wake
//!   somebody.
//!
//! When every runtime is idle it looks for a deadlock ([`crate::deadlock`]) and then sleeps until an M
//! wakes: an idle process shows no wake-ups, unless goroutines wait beside threads that are none of ours, which end
//! unseen: every 16 s then. Between looks it does what it was asked to ([`crate::sysmon_chore`]),
//! and every second it counts the CPUs.

use crate::census::{Census, PROCESS};
use crate::foreign::quietly;
use crate::deadlock;
use crate::suspicion::{Suspicion, Verdict};
use crate::retake::{m_of, take_from_computing, try_take};
use crate::runtime2::{M, P, Sched, Seen};
use crate::p_status::PStatus;
use crate::sysmon_chore::{self, Chore};
use crate::{cpus, idle, stack, starts, retake, stop_world, switch, sys};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use parking_lot::Mutex;
use std::time::Instant;

/// A goroutine's slice, and how long a P may stay in a syscall with nobody waiting for it.
pub(crate) const SLICE: u64 = 10_000_000;
const DELAY_MIN: u64 = 20_000;
const DELAY_MAX: u64 = 10_000_000;
/// Looks at a CPU clock that stands still before its thread may count as blocked: a page fault or a
/// lock is over by then.
const STOOD: u32 = 3;
/// Looks without anything to do before the delay doubles.
const PATIENCE: u32 = 50;

/// How long all has to be idle before free stacks are given back to the kernel: whoever sleeps for
/// less will want them again.
const TRIM_AFTER: Duration = Duration::from_secs(1);

/// How long the number of CPUs is believed in.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Runtimes to watch.
static SCHEDS: Mutex<Vec<&'static Sched>> = Mutex::new(Vec::new());
/// Set once the thread was started. Under the lock of `SCHEDS`.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Starts the thread, unless it runs.
///
/// # Errors
/// If there can be no thread; the next call tries again.
pub(crate) fn start() -> std::io::Result<()> {
    let _one_at_a_time = SCHEDS.lock();
    if !STARTED.load(Ordering::Relaxed) {
        let start = || std::thread::Builder::new().name("gmp-sysmon".into()).stack_size(64 << 10).spawn(main);
        start()?;
        PROCESS.system_thread();
        STARTED.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// Begins to watch a runtime.
pub(crate) fn watch(sched: &'static Sched) {
    SCHEDS.lock().push(sched);
    PROCESS.sysmon.wake();
}

/// Watches a runtime no more.
pub(crate) fn unwatch(sched: &'static Sched) {
    SCHEDS.lock().retain(|s| !core::ptr::eq(*s, sched));
}

fn main() {
    let mut delay = Delay::default();
    let mut suspicion = Suspicion::default();
    let mut earliest_end = None;
    let mut chore = Chore::default();
    let mut idle_since = None;
    let mut counted = Instant::now();
    let mut scheds = Vec::new();
    loop {
        chore.run();
        starts::run();
        // Into the memory of the last look: there are 50,000 a second.
        scheds.clone_from(&SCHEDS.lock());
        if scheds.iter().all(|s| all_idle(s)) {
            let seen = PROCESS.take();
            if deadlock::check(&scheds, seen, &mut suspicion) == Verdict::Unsure {
                // Whoever becomes busy meanwhile is watched at once.
                sleep(&scheds, seen, Some(suspicion.nap()));
                continue;
            }
            let since = *idle_since.get_or_insert_with(Instant::now);
            let warm = stack::any_warm() || scheds.iter().any(|s| keeps_stacks(s));
            let to_trim = warm.then(|| TRIM_AFTER.saturating_sub(since.elapsed()));
            let limit = to_trim.into_iter().chain(chore.left()).chain(suspicion.beside_strangers()).min();
            if !sleep(&scheds, seen, limit) {
                // Called to its chore it finds all as idle as before.
                idle_since = idle_since.filter(|_| sysmon_chore::is_wanted());
            } else if to_trim.is_some() && since.elapsed() >= TRIM_AFTER {
                scheds.iter().for_each(|s| give_stacks(s));
                stack::trim(|| scheds.iter().all(|s| all_idle(s)));
            }
            delay = Delay::default();
            continue;
        }
        idle_since = None;
        let mut nap = delay.next();
        if let Some(end) = earliest_end {
            nap = nap.min(u64::saturating_sub(end, sys::nanotime())).max(DELAY_MIN);
        }
        std::thread::sleep(Duration::from_nanos(nap));
        let now = sys::nanotime();
        let mut look = Look::default();
        for sched in &scheds {
            sched.stats.sysmon_ticks.fetch_add(1, Ordering::Relaxed);
            retake(sched, now, &mut look);
        }
        delay.after(look.took > 0);
        earliest_end = look.earliest_end;
        if counted.elapsed() >= COUNT_EVERY {
            follow_cpus(&scheds);
            counted = Instant::now();
        }
    }
}

/// Looks again how many CPUs the process may use, for the runtimes that nobody has told how many Ps they
/// should have (Go 1.25's `sysmonUpdateGOMAXPROCS`).
fn follow_cpus(scheds: &[&'static Sched]) {
    let mut followers = scheds.iter().filter(|s| s.follows_cpus.load(Ordering::Relaxed)).peekable();
    // Where no P can be taken from code that computes, stopping a world would have sysmon wait for that code.
    if followers.peek().is_some() && sys::membarrier() {
        let procs = cpus::default_procs();
        followers.for_each(|s| stop_world::follow_cpus(s, procs));
    }
}

fn all_idle(sched: &Sched) -> bool {
    sched.gate.idle_ps() >= sched.procs.load(Ordering::Relaxed)
        || sched.gcwaiting.load(Ordering::Relaxed)
}

/// Whether idle Ps keep free stacks.
fn keeps_stacks(sched: &Sched) -> bool {
    sched.lock.lock().idle_ps().any(|p| p.nstacks.get() > 0)
}

fn give_stacks(sched: &Sched) {
    sched.lock.lock().idle_ps().for_each(switch::give_stacks);
}

/// Deep sleep, until an M wakes or the last one falls asleep (`sysmonnote`), the chore is called for, or
/// to the limit: then it is true.
fn sleep(scheds: &[&'static Sched], seen: Census, limit: Option<Duration>) -> bool {
    // Whoever became busy, or fell asleep, before it could see that we sleep is seen by the second
    // look. So the last M to idle either finds us asleep and wakes us, or we find its census.
    PROCESS.sysmon.sleep_if(limit, || {
        let still = scheds.iter().all(|s| all_idle(s))
            && !sysmon_chore::is_wanted()
            && !starts::any()
            && PROCESS.take() == seen
            && SCHEDS.lock().len() == scheds.len();
        if still {
            for sched in scheds {
                sched.stats.sysmon_sleeps.fetch_add(1, Ordering::Relaxed);
            }
        }
        still
    })
}

/// How long to sleep between two looks (R30): 20 us, doubling after 50 idle looks, at most 10 ms.
#[derive(Default, Debug)]
struct Delay {
    idle: u32,
    delay: u64,
}

impl Delay {
    /// The next delay, in nanoseconds.
    fn next(&mut self) -> u64 {
        if self.idle == 0 {
            self.delay = DELAY_MIN;
        } else if self.idle > PATIENCE {
            self.delay = (self.delay * 2).min(DELAY_MAX);
        }
        self.delay
    }

    /// After a look that did or did not find something to do.
    fn after(&mut self, did: bool) {
        self.idle = if did { 0 } else { self.idle + 1 };
    }
}

/// What one look over all Ps came to.
#[derive(Default, Debug)]
struct Look {
    took: u32,
    /// The end of the earliest running slice that others wait for, or the earliest timer that nobody else waits for.
    earliest_end: Option<u64>,
}

impl Look {
    fn slice_ends(&mut self, at: u64) {
        self.earliest_end = Some(self.earliest_end.map_or(at, |e| e.min(at)));
    }
}

fn retake(sched: &'static Sched, now: u64, look: &mut Look) {
    adopt_strays(sched);
    for p in sched.ps() {
        match p.status() {
            PStatus::Syscall => {
                let took = retake_syscall(sched, p, now, look);
                look.took += u32::from(took);
            }
            PStatus::Running => retake_running(sched, p, now, look),
            PStatus::Idle => watch_clock(sched, p, now, look),
            _ => {}
        }
    }
}

/// Entries that came to the clock of a P that is gone: idle Ms would look there, busy ones do not.
fn adopt_strays(sched: &'static Sched) {
    let gone = sched.procs.load(Ordering::Acquire) as usize..sched.clock_ids().end;
    let Some(poll) = sched.hooks().poll else { return };
    for id in gone.filter(|id| poll.next_deadline(*id).is_some()) {
        quietly(|| poll.adopt(id, 0));
    }
}

/// The rule for a P in a syscall: `seen` is of an earlier look, `waits` says that its queue has
/// work, `others` that somebody else could take new work.
fn lend_out(seen: &Seen, tick: u64, now: u64, waits: bool, others: bool) -> bool {
    seen.syscalltick == tick && (waits || !others || now >= seen.syscallwhen + SLICE)
}

fn retake_syscall(sched: &'static Sched, p: &'static P, now: u64, look: &mut Look) -> bool {
    let tick = p.syscalltick.load(Ordering::Relaxed);
    let mut seen = p.seen.get();
    let others = sched.gate.idle_ps() + sched.gate.spinning() > 0;
    let waits = !p.runq.is_empty() || sched.nglobq.load(Ordering::Relaxed) > 0;
    let first = seen.syscallwhen == 0 || seen.syscalltick != tick;
    if first {
        if waits {
            // Whatever the delay has grown to: this is worth another look soon.
            look.slice_ends(now + DELAY_MIN);
        }
        seen.syscalltick = tick;
        seen.syscallwhen = now;
        p.seen.set(seen);
        return false;
    }
    if !lend_out(&seen, tick, now, waits, others) {
        return false;
    }
    seen.syscallwhen = 0;
    p.seen.set(seen);
    if !p.cas_status(PStatus::Syscall, PStatus::Idle) {
        return false;
    }
    idle::handoff_p(sched, p);
    true
}

fn retake_running(sched: &'static Sched, p: &'static P, now: u64, look: &mut Look) {
    let tick = p.schedtick.load(Ordering::Relaxed);
    let mut seen = p.seen.get();
    seen.syscallwhen = 0;
    let due = timer_due(sched, p, now, look);
    let waits = !p.runq.is_empty()
        || sched.nglobq.load(Ordering::Relaxed) > 0
        || due;
    if waits && sched.gate.idle_ps() > 0 {
        // Somebody idle can have it: a `runnext` whose owner computes on, say.
        idle::wakep(sched);
    }
    let m = m_of(p);
    if seen.schedtick != tick || seen.schedwhen == 0 {
        seen.schedtick = tick;
        seen.schedwhen = now;
        seen.cpu = u64::MAX;
        seen.stood = 0;
        seen.nexts = p.runq.nexts();
        seen.asked = false;
        p.seen.set(seen);
        if waits {
            look.slice_ends(now + SLICE);
        }
        return;
    }
    let over = now >= seen.schedwhen + SLICE;
    // Who wakes others may come to the runtime soon and yield by himself: he is given until the next look.
    let nexts = p.runq.nexts();
    let computes_on = over && (nexts == seen.nexts || seen.asked);
    seen.nexts = nexts;
    if over && let Some(m) = m {
        retake::request(m);
        seen.asked = true;
    }
    if waits && sched.gate.idle_ps() == 0 {
        let cpu = m.and_then(|m| sys::thread_cpu_time(m.tid.load(Ordering::Relaxed)));
        // A clock that has not moved since the last look: the thread is blocked, or waits for a CPU.
        let stood = cpu.is_some_and(|c| c == seen.cpu);
        seen.stood = if stood { seen.stood + 1 } else { 0 };
        // An M between two goroutines runs timers. It may wait for the lock of a heap, as would whoever got
        // its P, and lowering its weight while it holds that lock would hold up all the others.
        let in_goroutine = m.is_some_and(|m| !m.curg.load(Ordering::Relaxed).is_null());
        let blocked = in_goroutine
            && seen.stood >= STOOD
            && m.is_some_and(|m| !m.attention.in_rt() && is_asleep(m));
        seen.cpu = cpu.unwrap_or(u64::MAX);
        let took = (computes_on || blocked)
            && match m {
                Some(m) if in_goroutine && !blocked => take_from_computing(p, m),
                _ => try_take(p),
            };
        if took {
            look.took += 1;
            sched.stats.retaken.fetch_add(1, Ordering::Relaxed);
            seen.schedwhen = 0;
            p.seen.set(seen);
            idle::handoff_p(sched, p);
            return;
        }
        look.slice_ends(seen.schedwhen + SLICE);
        if now >= seen.schedwhen + SLICE / 2 {
            idle::make_spare_m(sched, now);
        }
    }
    p.seen.set(seen);
}

/// Whether a timer of this running P is due: then its next switch has to look at the clock. One that is
/// not is waited for.
fn timer_due(sched: &Sched, p: &P, now: u64, look: &mut Look) -> bool {
    let deadline = sched.hooks().poll.and_then(|poll| poll.next_deadline(p.id as usize));
    match deadline {
        Some(d) if d <= now => {
            p.poll_due.store(true, Ordering::Relaxed);
            true
        }
        Some(d) => {
            look.slice_ends(d);
            false
        }
        None => false,
    }
}

/// A timer of an idle P is seen to by the M that watches the clock, unless that was taken for a P with work.
fn watch_clock(sched: &'static Sched, p: &P, now: u64, look: &mut Look) {
    let deadline = sched.hooks().poll.and_then(|poll| poll.next_deadline(p.id as usize));
    match deadline {
        Some(d) if sched.sleeping_until.load(Ordering::SeqCst) <= d => {}
        Some(d) if d <= now => idle::wakep(sched),
        Some(d) => look.slice_ends(d),
        None => {}
    }
}

/// Whether the kernel has put the thread to sleep, and not only made it wait for its turn.
fn is_asleep(m: &M) -> bool {
    sys::thread_state(m.tid.load(Ordering::Relaxed)).is_some_and(|s| s != b'R')
}

#[cfg(test)]
mod tests {
    use super::{Delay, SLICE, Seen, lend_out};

    #[test]
    fn r30_delays_are_20_us_51_times_then_double_to_10_ms() {
        let mut d = Delay::default();
        let mut got = Vec::new();
        for _ in 0..62 {
            got.push(d.next() / 1000);
            d.after(false);
        }
        assert!(got[..51].iter().all(|x| *x == 20), "{got:?}");
        assert_eq!(got[51..], [40, 80, 160, 320, 640, 1280, 2560, 5120, 10_000, 10_000, 10_000]);
        d.after(true);
        assert_eq!(d.next(), 20_000);
    }

    #[test]
    fn r31_a_syscall_is_lent_out_after_one_tick_if_work_waits_else_after_10_ms() {
        let seen = Seen { syscalltick: 5, syscallwhen: 1_000, ..Seen::default() };
        assert!(!lend_out(&seen, 6, 1_000 + 2 * SLICE, true, false), "another syscall by now");
        assert!(lend_out(&seen, 5, 1_001, true, true), "its queue has work");
        assert!(lend_out(&seen, 5, 1_001, false, false), "nobody else could take new work");
        assert!(!lend_out(&seen, 5, 1_000 + SLICE - 1, false, true));
        assert!(lend_out(&seen, 5, 1_000 + SLICE, false, true));
    }
}
