//! Wake-ups at a time: for waits with a deadline, and for contexts.
//!
//! The seam is [`Alarms`]: `gort` plugs in the timers of its runtimes, so that there the scheduler
//! itself watches the clock. Alone, one thread of this module does, started by the first deadline.
//! Nothing is allocated, and no thread started, under its lock. While no deadline is pending, that thread counts as parked, so it does not hide a deadlock; by
//! the rule of [`crate::census`] whoever gives it work ends that, before it may sleep itself.

use super::deadlines::{Deadline, Deadlines};
use super::room::lock_with_room;
use crate::census::PROCESS;
use crate::foreign::quietly;
use crate::{starts, sys};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use core::time::Duration;
use parking_lot::{Condvar, Mutex};
use std::any::Any;
use std::sync::{Arc, OnceLock};

/// Who wakes at a time, other than this crate's own thread.
pub trait Alarms: Sync {
    /// Arranges that `waker` is woken at `when` ([`nanotime`](crate::nanotime)) or soon after, unless what
    /// is returned is dropped before. `None`: not here (the caller runs on no runtime of theirs);
    /// then this crate's thread does it. Called with no lock held, from anywhere.
    fn arm(&self, when: u64, waker: &Waker) -> Option<Box<dyn Any + Send>>;
}

static HOOK: OnceLock<&'static dyn Alarms> = OnceLock::new();

/// Plugs `alarms` in, for the process. False if something is plugged in already.
pub fn set_alarms(alarms: &'static dyn Alarms) -> bool {
    HOOK.set(alarms).is_ok()
}

/// A wake-up to come; dropping it cancels it.
pub(crate) struct Alarm(Kind);

enum Kind {
    /// What the hook returned; dropped to cancel.
    Plugged(Box<dyn Any + Send>),
    Own(Arc<Deadline>),
    /// Later than the clock can tell.
    Never,
}

impl Alarm {
    /// # Panics
    /// If it is the first one, watched here, and no thread can be started for that.
    pub(crate) fn set(when: u64, waker: &Waker) -> Self {
        if when == u64::MAX {
            return Self(Kind::Never);
        }
        match HOOK.get().and_then(|hook| hook.arm(when, waker)) {
            Some(plugged) => Self(Kind::Plugged(plugged)),
            None => Self(Kind::Own(insert(when, waker.clone()))),
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        match core::mem::replace(&mut self.0, Kind::Never) {
            Kind::Plugged(cancels) => drop(cancels),
            Kind::Own(deadline) => remove(&deadline),
            Kind::Never => {}
        }
    }
}

struct Driver {
    deadlines: Deadlines,
    /// The thread sleeps without a deadline, and counts as parked.
    idle: bool,
}

static DRIVER: Mutex<Driver> = Mutex::new(Driver {
    deadlines: Deadlines::new(),
    idle: false,
});
/// The thread sleeps here, with `DRIVER`.
static CHANGED: Condvar = Condvar::new();
/// The thread runs. By that thread.
static DRIVEN: AtomicBool = AtomicBool::new(false);

/// # Panics
/// If it needs a thread that cannot be started.
fn insert(when: u64, waker: Waker) -> Arc<Deadline> {
    let deadline = Deadline::new(when, waker);
    let ours = deadline.clone();
    // First: if there is no thread, nothing is left behind, and the next deadline tries again.
    start();
    let (_outgrown, mut d) = lock_with_room(|| DRIVER.lock(), |d| d.deadlines.full());
    let first = d.deadlines.insert(deadline);
    if core::mem::take(&mut d.idle) {
        PROCESS.thread_unparks();
    }
    if first {
        CHANGED.notify_one();
    }
    ours
}

/// Starts the thread, unless it runs. Those who find at the same time that it does not start one each,
/// of which the first to run stays.
fn start() {
    if DRIVEN.load(Ordering::Relaxed) {
        return;
    }
    let drive = || {
        if !DRIVEN.swap(true, Ordering::Relaxed) {
            run();
        }
    };
    let thread = move || {
        std::thread::Builder::new()
            .name("gmp-alarm".into())
            .spawn(drive)
    };
    if let Err(e) = starts::result_from_foreground(thread) {
        panic!("no thread for deadlines: {e}");
    }
}

fn remove(deadline: &Deadline) {
    let mut d = DRIVER.lock();
    let removed = d.deadlines.remove(deadline);
    if removed.is_some() && d.deadlines.is_empty() {
        // It goes idle at once, instead of at a deadline that nobody waits for.
        CHANGED.notify_one();
    }
    drop(d);
    drop(removed);
}

fn run() {
    let mut d = DRIVER.lock();
    loop {
        let now = sys::nanotime();
        match d.deadlines.first() {
            Some(first) if first.when <= now => {
                let first = first.clone();
                let removed = d.deadlines.remove(&first);
                drop(d);
                // A waker is foreign code: if it panics, the others still want their wake-ups.
                quietly(|| first.waker.wake_by_ref());
                quietly(|| drop((first, removed)));
                d = DRIVER.lock();
            }
            Some(first) => {
                let left = Duration::from_nanos(first.when - now);
                CHANGED.wait_for(&mut d, left);
            }
            None => {
                d.idle = true;
                PROCESS.thread_parks();
                while d.idle {
                    CHANGED.wait(&mut d);
                }
            }
        }
    }
}
