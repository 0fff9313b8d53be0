//! What sysmon does for others: one chore of the process, such as giving memory back.
//!
//! Go's sysmon wakes the scavenger (1.12 to 1.27). Here it does the work itself, in parts as short as the
//! chore makes them, for meanwhile it watches nobody. It runs the chore when it is called for and then
//! after the times that the chore names, until it names none: an idle process shows no wake-ups.
//!
//! Who calls for it stores `WANTED` and then looks whether sysmon sleeps; sysmon says that it sleeps and
//! then looks at `WANTED`. All four are SeqCst, so one of the two sees the other.

use crate::foreign::quietly;
use crate::census::PROCESS;
use crate::sys;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::OnceLock;

static CHORE: OnceLock<fn() -> Option<Duration>> = OnceLock::new();
/// Set by any thread, cleared by sysmon.
static WANTED: AtomicBool = AtomicBool::new(false);

/// Gives sysmon a chore: a function it runs after [`call_chore`], and again after each time that the
/// function names, or somewhat later. False, and nothing changes, if there is one already.
///
/// It must not park, and should take well under a millisecond: meanwhile no P is taken from
/// a goroutine that computes or blocks. One that panics named no time.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// static SWEPT: AtomicBool = AtomicBool::new(false);
///
/// let rt = gmp_sched::Builder::new().build().unwrap();
/// gmp_sched::set_chore(|| {
///     SWEPT.store(true, Ordering::Relaxed);
///     None
/// });
/// gmp_sched::call_chore();
/// while !SWEPT.load(Ordering::Relaxed) {
///     std::thread::yield_now();
/// }
/// # drop(rt);
/// ```
pub fn set_chore(chore: fn() -> Option<Duration>) -> bool {
    CHORE.set(chore).is_ok()
}

/// Has the chore run soon, by sysmon. Any thread may call it, wherever it is: it allocates nothing and waits for
/// nobody. Before the process has built a runtime the call is kept.
pub fn call_chore() {
    WANTED.store(true, Ordering::SeqCst);
    PROCESS.sysmon.wake();
}

/// Somebody has called since the last run.
pub(crate) fn is_wanted() -> bool {
    WANTED.load(Ordering::SeqCst)
}

/// When to run it next; sysmon's.
#[derive(Default, Debug)]
pub(crate) struct Chore {
    due: Option<u64>,
}

impl Chore {
    /// Runs it if it was called for or its time has come.
    pub(crate) fn run(&mut self) {
        if !is_wanted() && self.left().is_none_or(|left| !left.is_zero()) {
            return;
        }
        WANTED.store(false, Ordering::SeqCst);
        let mut again = None;
        quietly(|| again = CHORE.get().and_then(|chore| chore()));
        self.due = again.map(|after| sys::nanotime().saturating_add(nanos(after)));
    }

    /// Until its next time.
    pub(crate) fn left(&self) -> Option<Duration> {
        let due = self.due?;
        Some(Duration::from_nanos(due.saturating_sub(sys::nanotime())))
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}
