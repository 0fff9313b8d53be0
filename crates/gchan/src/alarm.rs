//! Wakes tasks at a time, for `recv_async` on `after`, `at` and `tick`, where no runtime's timers are known.
//!
//! One thread for the process, started at the first use, sleeps until the earliest alarm. Blocking receives do not use
//! it: they know when to wake by themselves. A child of `fork` has no such thread: its next alarm starts one.

use crate::park::{self, Reason};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Instant;

struct Desk {
    /// By time, then by number.
    alarms: BTreeMap<(Instant, u64), Waker>,
    last: u64,
    /// The thread is there.
    running: bool,
    /// A fork knows what to do.
    fork_told: bool,
}

static DESK: Mutex<Desk> = Mutex::new(Desk {
    alarms: BTreeMap::new(),
    last: 0,
    running: false,
    fork_told: false,
});
static BELL: Condvar = Condvar::new();

fn desk() -> MutexGuard<'static, Desk> {
    DESK.lock().unwrap_or_else(|e| e.into_inner())
}

impl Desk {
    /// Starts the thread unless it runs. If that panics, all is as it was, and the next alarm tries again.
    fn ensure_thread(&mut self) {
        if self.running {
            return;
        }
        self.fork_told = self.fork_told || fork::tell();
        std::thread::Builder::new()
            .name("gchan-alarm".into())
            .spawn(run)
            .expect("no thread for alarms");
        self.running = true;
    }
}

#[cfg(target_os = "linux")]
mod fork {
    //! Who forks holds the desk meanwhile, so that the child finds it whole and free; and the child knows that the thread
    //! stayed behind.

    use super::{Desk, desk};
    use std::cell::UnsafeCell;
    use std::sync::MutexGuard;

    struct Held(UnsafeCell<Option<MutexGuard<'static, Desk>>>);

    // SAFETY: touched by the thread that holds the desk alone, from `prepare` to `parent` or `child`: these run on one
    // thread, which in the child is the only one.
    unsafe impl Sync for Held {}

    static HELD: Held = Held(UnsafeCell::new(None));

    /// False if there is no memory to note it.
    pub(super) fn tell() -> bool {
        // SAFETY: the handlers are functions of this program, which do not unwind.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) == 0 }
    }

    unsafe extern "C" fn prepare() {
        let desk = desk();
        // SAFETY: the desk is held.
        unsafe { *HELD.0.get() = Some(desk) };
    }

    unsafe extern "C" fn parent() {
        // SAFETY: the desk is held since `prepare`. The guard is taken out first, and dropped with nothing borrowed.
        let held = unsafe { (*HELD.0.get()).take() };
        drop(held);
    }

    unsafe extern "C" fn child() {
        // SAFETY: as in `parent`.
        let held = unsafe { (*HELD.0.get()).take() };
        if let Some(mut desk) = held {
            desk.running = false;
        }
    }
}

/// Elsewhere a child of `fork` has no alarms.
#[cfg(not(target_os = "linux"))]
mod fork {
    pub(super) fn tell() -> bool {
        true
    }
}

/// A waker to be woken at a time, unless dropped before.
#[derive(Debug)]
pub(crate) struct Alarm {
    key: (Instant, u64),
}

impl Alarm {
    /// # Panics
    /// If the thread is not there and cannot be started.
    pub(crate) fn set(when: Instant, waker: Waker) -> Self {
        let mut desk = desk();
        desk.ensure_thread();
        desk.last += 1;
        let key = (when, desk.last);
        desk.alarms.insert(key, waker);
        if desk
            .alarms
            .first_key_value()
            .is_some_and(|(first, _)| *first == key)
        {
            BELL.notify_one();
        }
        Self { key }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let waker = desk().alarms.remove(&self.key);
        drop(waker);
    }
}

/// Sleeps until an alarm is set. A runtime counts the thread as one that wakes nobody by itself, as long as there is none.
fn wait_for_alarms() {
    let mut sleep = || {
        let mut desk = desk();
        while desk.alarms.is_empty() {
            desk = BELL.wait(desk).unwrap_or_else(|e| e.into_inner());
        }
    };
    match park::hook() {
        Some(hook) => hook.blocking(Reason::Sleep, None, &mut sleep),
        None => sleep(),
    }
}

fn run() {
    let mut guard = desk();
    loop {
        let Some(first) = guard.alarms.first_entry() else {
            drop(guard);
            wait_for_alarms();
            guard = desk();
            continue;
        };
        let wait = first.key().0.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            let waker = first.remove();
            drop(guard);
            // A waker that panics must not end the alarms of everyone else, nor must what it panicked with.
            let woken = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(woken))) {
                std::mem::forget(second);
            }
            guard = desk();
        } else {
            guard = BELL
                .wait_timeout(guard, wait)
                .map_or_else(|e| e.into_inner().0, |(g, _)| g);
        }
    }
}
