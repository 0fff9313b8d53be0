//! How the one thread of a driver waits, and is woken: a futex with an absolute deadline in
//! nanoseconds; elsewhere than on Linux a condition variable.
//!
//! Rejected: `epoll_pwait2`. It has the same nanoseconds and the same slack, and pays off only where
//! the thread waits for files too. Here nothing does, and a wake-up from another thread would be a
//! write to an eventfd, a wait that returns it and a read: three calls, against one for the futex and
//! none at all while the thread runs. A runtime that polls files passes `next_when` to its own poll
//! instead of using this.
//!
//! The word is `RUNNING`, `SLEEPING` or `NOTIFIED`. The thread stores `RUNNING` before it looks at
//! the timers, and goes to sleep by a CAS from `RUNNING`, which a wake in between has made fail. A
//! wake swaps in `NOTIFIED` and makes the system call only if it found `SLEEPING`: a thread that
//! runs is not bothered, and of many wakes only the first costs a call.
//!
//! Ordering: whoever wakes has changed the heap before, and the swap is a release; the thread reads
//! the word (Acquire) before it looks at the heap again. For changes that wake nobody because they
//! looked late enough, see [`Engine`](crate::Engine): `SLEEPING` is the published word, the
//! fence and the second look are in `sleep`.

use crate::sync::{AtomicU32, Ordering, fence};

const RUNNING: u32 = 0;
const SLEEPING: u32 = 1;
const NOTIFIED: u32 = 2;

#[derive(Debug)]
pub(crate) struct Waiter {
    /// The thread stores `RUNNING` and `SLEEPING`, wakers `NOTIFIED`.
    word: AtomicU32,
    sys: sys::Sleeper,
}

impl Waiter {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU32::new(RUNNING),
            sys: sys::Sleeper::new(),
        }
    }

    /// The thread is about to look at the timers: wakes from here on are not lost.
    pub(crate) fn begin(&self) {
        // A swap, to acquire what a waker wrote before its `NOTIFIED`.
        self.word.swap(RUNNING, Ordering::AcqRel);
    }

    /// Sleeps until `deadline` or a wake since `begin`, unless `earlier` says after all that there
    /// is something to do. May return early.
    pub(crate) fn sleep(&self, deadline: i64, earlier: impl FnOnce() -> bool) {
        let published =
            self.word
                .compare_exchange(RUNNING, SLEEPING, Ordering::SeqCst, Ordering::Relaxed);
        if published.is_err() {
            return;
        }
        fence(Ordering::SeqCst);
        if !earlier() {
            self.sys.wait(&self.word, SLEEPING, deadline);
        }
    }

    /// Wakes the thread, or keeps it from going to sleep.
    pub(crate) fn wake(&self) {
        if self.word.swap(NOTIFIED, Ordering::SeqCst) == SLEEPING {
            self.sys.wake(&self.word);
        }
    }
}

#[cfg(all(target_os = "linux", not(loom)))]
mod sys {
    use crate::when::NEVER;
    use core::ptr;
    use core::sync::atomic::AtomicU32;

    #[derive(Debug)]
    pub(super) struct Sleeper;

    /// A deadline as the kernel takes it. Where its seconds have 32 bits, the last of them stands for all later
    /// ones: cut off, they would be past or negative, and the thread would not sleep at all.
    pub(super) fn timespec(deadline: i64) -> libc::timespec {
        let seconds = (deadline / 1_000_000_000).cast_unsigned();
        libc::timespec {
            tv_sec: libc::time_t::try_from(seconds).unwrap_or(libc::time_t::MAX),
            tv_nsec: (deadline % 1_000_000_000) as libc::c_long,
        }
    }

    impl Sleeper {
        pub(super) const fn new() -> Self {
            Self
        }

        /// Waits while the word is `value`, until `deadline` on the monotonic clock.
        pub(super) fn wait(&self, word: &AtomicU32, value: u32, deadline: i64) {
            let until = timespec(deadline);
            let timeout = if deadline == NEVER {
                ptr::null()
            } else {
                ptr::from_ref(&until)
            };
            // SAFETY: the word and the timespec outlive the call. A return for whatever reason is an
            // early one, which the caller allows for.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    word.as_ptr(),
                    // With a bitset the timeout is absolute, on CLOCK_MONOTONIC.
                    libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
                    value,
                    timeout,
                    ptr::null::<u32>(),
                    libc::FUTEX_BITSET_MATCH_ANY,
                );
            }
        }

        pub(super) fn wake(&self, word: &AtomicU32) {
            // SAFETY: the kernel only compares the address with those of sleepers.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    word.as_ptr(),
                    libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                    1,
                );
            }
        }
    }
}

#[cfg(all(not(target_os = "linux"), not(loom)))]
mod sys {
    use core::sync::atomic::{AtomicU32, Ordering};
    use core::time::Duration;
    use std::sync::{Condvar, Mutex, PoisonError};

    #[derive(Debug)]
    pub(super) struct Sleeper {
        /// Held while the word is looked at before a wait, and by wakes.
        lock: Mutex<()>,
        woken: Condvar,
    }

    impl Sleeper {
        pub(super) const fn new() -> Self {
            Self {
                lock: Mutex::new(()),
                woken: Condvar::new(),
            }
        }

        pub(super) fn wait(&self, word: &AtomicU32, value: u32, deadline: i64) {
            let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            if word.load(Ordering::Acquire) != value {
                return;
            }
            let left = deadline.saturating_sub(crate::now());
            // One wait is enough: the caller allows for early returns.
            let left = Duration::from_nanos(u64::try_from(left).unwrap_or(0));
            drop(self.woken.wait_timeout(guard, left));
        }

        pub(super) fn wake(&self, _word: &AtomicU32) {
            drop(self.lock.lock());
            self.woken.notify_one();
        }
    }
}

/// Under loom a sleep ends only by a wake: a lost one is a thread that yields forever.
#[cfg(loom)]
mod sys {
    use crate::sync::{AtomicU32, Ordering};

    #[derive(Debug)]
    pub(super) struct Sleeper;

    impl Sleeper {
        pub(super) fn new() -> Self {
            Self
        }

        pub(super) fn wait(&self, word: &AtomicU32, value: u32, _deadline: i64) {
            while word.load(Ordering::Acquire) == value {
                loom::thread::yield_now();
            }
        }

        pub(super) fn wake(&self, _word: &AtomicU32) {}
    }
}

#[cfg(all(test, target_os = "linux", not(loom)))]
mod tests {
    use super::sys::timespec;

    /// On a machine whose seconds have 32 bits as well: a wait may be cut short there, by no more than it must.
    #[test]
    fn a_deadline_that_is_far_away_is_not_past() {
        for years in [1, 67, 69, 136, 137, 290] {
            let seconds = years * 365 * 24 * 3_600;
            let t = timespec(seconds * 1_000_000_000 + 7);
            assert_eq!(t.tv_nsec, 7);
            let least = i128::from(seconds.min(i64::from(i32::MAX)));
            assert!((least..=seconds.into()).contains(&t.tv_sec.into()));
        }
    }
}
