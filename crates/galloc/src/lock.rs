//! A mutex that never allocates: the three-state futex lock of Drepper's "Futexes Are Tricky",
//! which Go's `lock_futex.go` follows too.
//!
//! States: 0 free, 1 held, 2 held and perhaps awaited. `parking_lot` is no choice here, because it
//! allocates when it first parks a thread; std's mutex cannot be held across `fork` from a C
//! callback. The holder is the one who moved 0 to 1 or 2 by an Acquire operation; leaving is a
//! Release swap, so what one holder wrote the next one sees.
//!
//! Between `fork`'s handlers the forking thread holds every lock (see `fork`), and passes: it is the holder,
//! and what it does under the lock is over before it leaves, so a second guard is as good as the first. The
//! lock stays held when that guard goes.

use crate::fork;
use crate::sys::keep_errno;
use core::cell::UnsafeCell;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

pub(crate) struct Mutex<T> {
    /// 0, 1 or 2; any thread.
    state: AtomicU32,
    /// The holder alone.
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands the value to one thread at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            state: AtomicU32::new(0),
            value: UnsafeCell::new(value),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let is_free = self.try_acquire();
        Guard {
            lock: self,
            passes: !is_free && self.wait_or_pass(),
        }
    }

    /// None, without waiting, where somebody holds the lock, the caller perhaps.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        self.try_acquire().then(|| Guard {
            lock: self,
            passes: false,
        })
    }

    /// The value, for what needs no lock.
    pub(crate) const fn as_ptr(&self) -> *const T {
        self.value.get()
    }

    /// Somebody waits for the lock.
    #[cfg(all(test, not(any(loom, gort_asan))))]
    pub(crate) fn is_awaited(&self) -> bool {
        self.state.load(Ordering::Relaxed) == 2
    }

    /// Locks without a guard, for `fork`'s prepare handler.
    pub(crate) fn acquire(&self) {
        if !self.try_acquire() {
            self.wait();
        }
    }

    #[inline]
    fn try_acquire(&self) -> bool {
        self.state
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// True if this thread holds the lock since `fork`'s prepare handler; else it gets the lock.
    #[cold]
    fn wait_or_pass(&self) -> bool {
        let passes = fork::is_forking();
        if !passes {
            self.wait();
        }
        passes
    }

    /// # Safety
    /// The caller, or in a child of `fork` its parent, holds the lock through [`acquire`](Self::acquire)
    /// or a guard that does not pass.
    pub(crate) unsafe fn release(&self) {
        if self.state.swap(0, Ordering::Release) == 2 {
            futex(&self.state, libc::FUTEX_WAKE, 1);
        }
    }

    #[cold]
    fn wait(&self) {
        for _ in 0..100 {
            core::hint::spin_loop();
            if self.state.load(Ordering::Relaxed) == 0 && self.try_acquire() {
                return;
            }
        }
        while self.state.swap(2, Ordering::Acquire) != 0 {
            futex(&self.state, libc::FUTEX_WAIT, 2);
        }
    }
}

/// Waits while `word` is `value`, or wakes `value` waiters.
fn futex(word: &AtomicU32, op: i32, value: u32) {
    let op = op | libc::FUTEX_PRIVATE_FLAG;
    let none = core::ptr::null::<libc::timespec>();
    // SAFETY: the word lives for the call; spurious returns are allowed for by every caller.
    keep_errno(|| unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), op, value, none);
    });
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

pub(crate) struct Guard<'a, T> {
    lock: &'a Mutex<T>,
    /// The lock was this thread's before, and stays it.
    passes: bool,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard's thread holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard's thread holds the lock, and no lock is taken under itself, so this is its only
        // guard in use; it is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        if !self.passes {
            // SAFETY: this guard took the lock.
            unsafe { self.lock.release() }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        static COUNT: Mutex<u64> = Mutex::new(0);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..20_000 {
                        let mut count = COUNT.lock();
                        let seen = *count;
                        *count = core::hint::black_box(seen) + 1;
                    }
                });
            }
        });
        let count = COUNT.lock();
        assert!(COUNT.try_lock().is_none());
        assert!(COUNT.try_lock().is_none(), "it was not let go of");
        assert_eq!(*count, 80_000);
        drop(count);
        assert!(COUNT.try_lock().is_some());
    }
}
