//! "all goroutines are asleep - deadlock!" (R52), and the report on every goroutine.
//!
//! Go's `checkdead` and `tracebackothers`. Decided by sysmon when it finds nothing to watch, over
//! the whole process ([`crate::census`]): every M idle, nobody waiting for the clock or for I/O, and
//! no thread that is none of ours. As a last check every other thread must be asleep by the
//! kernel's account: a thread that was woken but has not run yet shows as running. How that comes to a
//! verdict is said in [`crate::suspicion`].

use crate::census::{Census, PROCESS};
use crate::records;
use crate::runtime2::{G, Sched};
use crate::status::GStatus;
use crate::suspicion::{Suspicion, Threads, Verdict};
use crate::sys;
use core::fmt::Write;
use core::panic::Location;
use core::sync::atomic::{AtomicU8, Ordering};
use std::io::Write as _;

/// What to do when all goroutines are asleep for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum OnDeadlock {
    /// Print the report and exit with status 2, as Go does.
    #[default]
    Exit,
    /// Print the report once and go on: for programs whose threads may be woken from outside, by a
    /// signal or a debugger.
    Report,
}

static ON_DEADLOCK: AtomicU8 = AtomicU8::new(0);

/// Sets it for the process.
pub(crate) fn set(what: OnDeadlock) {
    ON_DEADLOCK.store(what as u8, Ordering::Relaxed);
}

/// One look, at a moment's census. A deadlock is reported.
pub(crate) fn check(scheds: &[&'static Sched], now: Census, suspicion: &mut Suspicion) -> Verdict {
    let can_wake = || {
        scheds.iter().any(|s| can_wake(s))
            || now.parked() == 0 && scheds.iter().all(|s| s.num_goroutine() == 0)
    };
    let verdict = suspicion.look(&PROCESS, now, can_wake, others);
    if verdict == Verdict::Yes {
        report(scheds);
    }
    verdict
}

/// Whether something other than a goroutine could ready one of this runtime.
fn can_wake(sched: &'static Sched) -> bool {
    sched.nglobq.load(Ordering::SeqCst) > 0
        || sched.ps().any(|p| !p.runq.is_empty())
        || sched
            .hooks()
            .poll
            .is_some_and(|poll| sched.clock_ids().any(|id| poll.pending(id)))
}

/// The threads of the process, if the system lists them.
fn others() -> Option<Threads> {
    let me = sys::gettid();
    let mut threads = Threads { count: 0, asleep: true };
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let tid = task.ok()?.file_name().to_str()?.parse().ok()?;
        threads.count += 1;
        threads.asleep &= tid == me || sys::thread_state(tid) == Some(b'S');
    }
    Some(threads)
}

#[cold]
fn report(scheds: &[&'static Sched]) {
    let mut text = String::from("fatal error: all goroutines are asleep - deadlock!\n");
    for sched in scheds {
        text.push_str(&traceback(sched));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
    if ON_DEADLOCK.load(Ordering::Relaxed) == OnDeadlock::Exit as u8 {
        std::process::exit(2);
    }
}

/// One paragraph for each live goroutine of a runtime: id, state or wait reason, where it was spawned. Behind the first
/// hundred, one for neighbours of whom the same is to be said: there may be a million of them.
pub(crate) fn traceback(sched: &'static Sched) -> String {
    const ALONE: usize = 100;
    let mut gs: Vec<_> = records::live_gs(sched).map(Described::new).collect();
    gs.sort_unstable_by_key(|g| g.id);
    let (first, others) = gs.split_at(gs.len().min(ALONE));
    let mut text = String::new();
    for alike in first.chunks(1).chain(others.chunk_by(Described::precedes_its_like)) {
        let [g, .., last] = alike else {
            let _ = writeln!(text, "\ngoroutine {}{}", alike[0].id, alike[0]);
            continue;
        };
        let _ = writeln!(text, "\ngoroutines {} to {}{g}", g.id, last.id);
    }
    text
}

/// What a report says of a goroutine.
struct Described {
    id: u64,
    state: &'static str,
    spawned_at: Option<&'static Location<'static>>,
}

impl Described {
    fn new(g: &G) -> Self {
        let state = match g.status() {
            GStatus::Waiting => g.reason().as_str(),
            // It keeps its thread while it waits.
            GStatus::Syscall if g.park.still_on_thread() => g.reason().as_str(),
            other => other.as_str(),
        };
        // SAFETY: null or a `&'static Location` that the spawner stored.
        let spawned_at = unsafe { g.spawned_at.load(Ordering::Relaxed).as_ref() };
        Self { id: g.id.load(Ordering::Relaxed), state, spawned_at }
    }

    fn precedes_its_like(&self, next: &Self) -> bool {
        self.id + 1 == next.id && self.state == next.state && self.spawned_at == next.spawned_at
    }
}

impl core::fmt::Display for Described {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, " [{}]:", self.state)?;
        self.spawned_at.map_or(Ok(()), |at| write!(f, "\n\tspawned at {at}"))
    }
}

#[cfg(test)]
mod tests {
    use super::others;
    use core::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    #[test]
    fn threads_that_end_meanwhile_do_not_end_the_look() {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        thread::spawn(|| ()).join().unwrap();
                    }
                });
            }
            let seen = (0..2_000).map(|_| others()).all(|look| look.is_some());
            stop.store(true, Ordering::Relaxed);
            assert!(seen, "who ends is not there");
        });
    }
}
