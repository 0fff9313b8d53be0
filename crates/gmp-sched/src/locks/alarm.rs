//! Wake-ups at a time: for waits with a deadline, and for contexts.
//!
//! The seam is [`Alarms`]: `gort` plugs in the timers of its runtimes, so that there the scheduler
//! itself watches the clock. Alone, one thread of this module does, started by the first deadline.
//! While no deadline is pending, that thread counts as parked, so it does not hide a deadlock; by
//! the rule of [`crate::census`] whoever gives it work ends that, before it may sleep itself.

use crate::{census, sys, sysmon_note};
use core::task::Waker;
use core::time::Duration;
use parking_lot::{Condvar, Mutex};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::OnceLock;

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
    Own((u64, u64)),
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
            Kind::Own(key) => remove(key),
            Kind::Never => {}
        }
    }
}

struct Driver {
    /// By time, then by number.
    entries: BTreeMap<(u64, u64), Waker>,
    next: u64,
    started: bool,
    /// The thread sleeps without a deadline, and counts as parked.
    idle: bool,
}

static DRIVER: Mutex<Driver> = Mutex::new(Driver {
    entries: BTreeMap::new(),
    next: 0,
    started: false,
    idle: false,
});
/// The thread sleeps here, with `DRIVER`.
static CHANGED: Condvar = Condvar::new();

/// # Panics
/// If it needs a thread that cannot be started.
fn insert(when: u64, waker: Waker) -> (u64, u64) {
    let mut d = DRIVER.lock();
    if !d.started {
        // First: if there is no thread, nothing is left behind, and the next deadline tries again.
        let thread = std::thread::Builder::new()
            .name("gmp-alarm".into())
            .spawn(run);
        if let Err(e) = thread {
            drop(d);
            panic!("no thread for deadlines: {e}");
        }
        d.started = true;
    }
    let key = (when, d.next);
    d.next += 1;
    d.entries.insert(key, waker);
    if core::mem::take(&mut d.idle) {
        census::thread_unparks();
    }
    if d.entries
        .first_key_value()
        .is_some_and(|(&first, _)| first == key)
    {
        CHANGED.notify_one();
    }
    key
}

fn remove(key: (u64, u64)) {
    let mut d = DRIVER.lock();
    let waker = d.entries.remove(&key);
    if waker.is_some() && d.entries.is_empty() {
        // It goes idle at once, instead of at a deadline that nobody waits for.
        CHANGED.notify_one();
    }
    drop(d);
    drop(waker);
}

fn run() {
    let mut d = DRIVER.lock();
    loop {
        let now = sys::nanotime();
        match d.entries.first_entry() {
            Some(first) if first.key().0 <= now => {
                let waker = first.remove();
                drop(d);
                // A waker is foreign code: if it panics, the others still want their wake-ups.
                let _ = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| waker.wake()));
                d = DRIVER.lock();
            }
            Some(first) => {
                let left = Duration::from_nanos(first.key().0 - now);
                CHANGED.wait_for(&mut d, left);
            }
            None => {
                d.idle = true;
                census::thread_parks();
                sysmon_note::fell_asleep();
                while d.idle {
                    CHANGED.wait(&mut d);
                }
            }
        }
    }
}
