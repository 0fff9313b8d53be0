//! The permit of `std::thread::park`, in a word of our own: an unpark before the park is not lost.
//!
//! Re-creates `notesleep`/`notewakeup` of Go's `runtime/lock_futex.go` (1.27).
//!
//! Memory order: the permit carries no data (what a waiter waits for has a word of its own, released and acquired), but
//! it must not be lost: `unpark` swaps with release, `park` takes with acquire, as `std` does.

use crate::sync::{AtomicU32, Ordering};
use std::time::Duration;

const EMPTY: u32 = 0;
const PERMIT: u32 = 1;
const PARKED: u32 = 2;

#[derive(Debug)]
pub(crate) struct Permit {
    /// `EMPTY`, `PERMIT` (unparked since the last park) or `PARKED` (the owner sleeps or is about to).
    /// `PARKED` is written by the owner alone, `PERMIT` by anyone.
    word: AtomicU32,
    #[cfg(loom)]
    owner: loom::thread::Thread,
}

impl Permit {
    /// In a model by its owner.
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU32::new(EMPTY),
            #[cfg(loom)]
            owner: loom::thread::current(),
        }
    }

    /// Sleeps until unparked, for at most `timeout`. Spurious returns happen. The owner's alone.
    pub(crate) fn park(&self, timeout: Option<Duration>) {
        let parked =
            self.word
                .compare_exchange(EMPTY, PARKED, Ordering::Acquire, Ordering::Acquire);
        if parked.is_ok() {
            self.sleep(timeout);
        }
        self.word.swap(EMPTY, Ordering::Acquire);
    }

    /// Ends a park, this one or the next.
    pub(crate) fn unpark(&self) {
        if self.word.swap(PERMIT, Ordering::Release) == PARKED {
            self.wake();
        }
    }
}

#[cfg(not(loom))]
impl Permit {
    fn sleep(&self, timeout: Option<Duration>) {
        sleep(&self.word, timeout);
    }

    fn wake(&self) {
        wake(&self.word);
    }
}

/// Loom's threads for the kernel's. Loom switches threads before an operation on an atomic, so whoever finds `PARKED` finds
/// the owner asleep.
#[cfg(loom)]
impl Permit {
    fn sleep(&self, timeout: Option<Duration>) {
        assert_eq!(timeout, None, "a model has no clock");
        loom::thread::park();
    }

    fn wake(&self) {
        self.owner.unpark();
    }
}

#[cfg(all(target_os = "linux", not(loom)))]
fn sleep(word: &AtomicU32, timeout: Option<Duration>) {
    let spec = timeout.map(|t| libc::timespec {
        tv_sec: t.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: t.subsec_nanos() as _,
    });
    let spec = spec
        .as_ref()
        .map_or(std::ptr::null(), std::ptr::from_ref::<libc::timespec>);
    // SAFETY: the word is borrowed for the call, and `spec` is null or points to a timespec on this frame.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            PARKED,
            spec,
        );
    }
}

#[cfg(all(target_os = "linux", not(loom)))]
fn wake(word: &AtomicU32) {
    // SAFETY: a wake only uses the word's address.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            1,
        );
    }
}

/// Without futexes all sleepers share a condition variable; correct, and fast enough off the tested platform.
#[cfg(not(any(target_os = "linux", loom)))]
mod condvar {
    use std::sync::{Condvar, Mutex};
    pub(super) static GATE: Mutex<()> = Mutex::new(());
    pub(super) static BELL: Condvar = Condvar::new();
}

#[cfg(not(any(target_os = "linux", loom)))]
fn sleep(word: &AtomicU32, timeout: Option<Duration>) {
    let gate = condvar::GATE.lock().unwrap_or_else(|e| e.into_inner());
    if word.load(Ordering::Acquire) != PARKED {
        return;
    }
    let timeout = timeout.unwrap_or(Duration::from_secs(3600));
    drop(condvar::BELL.wait_timeout(gate, timeout));
}

#[cfg(not(any(target_os = "linux", loom)))]
fn wake(_word: &AtomicU32) {
    drop(condvar::GATE.lock().unwrap_or_else(|e| e.into_inner()));
    condvar::BELL.notify_all();
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn loom_no_unpark_is_lost() {
        loom::model(|| {
            let permit = Arc::new(Permit::new());
            let told = Arc::new(AtomicU32::new(0));
            // Two who tell and unpark; a park may be used up by either, and by none.
            let others = [(); 2].map(|()| {
                let (permit, told) = (permit.clone(), told.clone());
                thread::spawn(move || {
                    told.fetch_add(1, Ordering::Release);
                    permit.unpark();
                })
            });
            while told.load(Ordering::Acquire) < 2 {
                permit.park(None);
            }
            others.into_iter().for_each(|other| other.join().unwrap());
        });
    }
}
