//! The lock of a channel: one byte, taken by an exchange and released by a plain store.
//!
//! Re-creates the part that `lock`/`unlock` of Go's `runtime/lock_futex.go` (1.27) play for `hchan.lock`, with one
//! deliberate difference: nobody sleeps on the word. Critical sections are some tens of nanoseconds and run no user
//! code (no value is cloned or dropped, no waker called, nothing allocated), so a lock is held for long only when its
//! holder was descheduled. A waiter spins, then gives its time slice away, then sleeps in growing steps up to a
//! millisecond.
//!
//! Rejected: a futex mutex. Its release must be an exchange to learn of sleepers, and on x86-64 the second locked
//! instruction was a third of the cost of an uncontended send.
//!
//! Memory order: acquire on the exchange, release on the store; everything under the lock is ordered by the pair.

#[cfg(loom)]
pub(crate) use model::RawLock;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct RawLock {
    /// Written by whoever takes or releases the lock.
    locked: AtomicBool,
}

#[cfg(not(loom))]
impl RawLock {
    pub(crate) fn new() -> Self {
        Self {
            locked: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) {
        if self.locked.swap(true, Ordering::Acquire) {
            self.lock_contended();
        }
        held::enter();
    }

    /// Releases the lock.
    ///
    /// Calling it without holding the lock would let two threads in, so only the guards of `hchan` and `select` do.
    #[inline]
    pub(crate) fn unlock(&self) {
        held::leave();
        self.locked.store(false, Ordering::Release);
    }

    /// Orders this lock among others; not 0.
    #[inline]
    pub(crate) fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    #[cold]
    fn lock_contended(&self) {
        let mut round = 0;
        loop {
            relax(round);
            round += 1;
            if !self.locked.load(Ordering::Relaxed) && !self.locked.swap(true, Ordering::Acquire) {
                return;
            }
        }
    }
}

/// Looks again only after a while: the holder then does a run of operations while the channel stays in its cache, which
/// is worth more than an early look. Too long a while shows in the slowest sends. Both measured, at capacity 512.
#[cfg(not(loom))]
fn relax(round: u32) {
    const SPINS: u32 = 6;
    const YIELDS: u32 = 64;
    if round < SPINS {
        (0..12).for_each(|_| std::hint::spin_loop());
    } else if round < SPINS + YIELDS {
        std::thread::yield_now();
    } else {
        let step = (round - SPINS - YIELDS).min(10);
        std::thread::sleep(std::time::Duration::from_micros(1 << step));
    }
}

/// The models are about what happens under the lock: here it is loom's own, because a loop that spins makes loom try
/// endless schedules.
#[cfg(loom)]
mod model {
    use loom::sync::{Mutex, MutexGuard};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static LAST: AtomicUsize = AtomicUsize::new(0);

    pub(crate) struct RawLock {
        mutex: Mutex<()>,
        /// Touched by the holder alone.
        guard: Cell<Option<MutexGuard<'static, ()>>>,
        /// Constant. Loom replays schedules, so the lock order must not depend on where the allocator put a channel.
        id: usize,
    }

    // SAFETY: `guard` is touched by whoever holds the mutex.
    unsafe impl Send for RawLock {}
    // SAFETY: as above.
    unsafe impl Sync for RawLock {}

    impl RawLock {
        pub(crate) fn new() -> Self {
            Self {
                mutex: Mutex::new(()),
                guard: Cell::new(None),
                id: LAST.fetch_add(1, Ordering::Relaxed) + 1,
            }
        }

        pub(crate) fn key(&self) -> usize {
            self.id
        }

        pub(crate) fn lock(&self) {
            let guard = self.mutex.lock().unwrap();
            // SAFETY: the guard is dropped by `unlock`, while the mutex is borrowed and so alive.
            let guard = unsafe {
                std::mem::transmute::<MutexGuard<'_, ()>, MutexGuard<'static, ()>>(guard)
            };
            self.guard.set(Some(guard));
        }

        pub(crate) fn unlock(&self) {
            drop(self.guard.take());
        }
    }

    impl std::fmt::Debug for RawLock {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("RawLock")
        }
    }
}

/// Counts, in debug builds, the channel locks that this thread holds, so that a wake under a lock (R8) trips.
pub(crate) mod held {
    #[cfg(all(debug_assertions, not(loom)))]
    mod imp {
        use std::cell::Cell;
        thread_local! { static HELD: Cell<u32> = const { Cell::new(0) } }

        pub(crate) fn enter() {
            HELD.set(HELD.get() + 1);
        }
        pub(crate) fn leave() {
            HELD.set(HELD.get() - 1);
        }
        pub(crate) fn assert_none() {
            assert_eq!(HELD.get(), 0, "a waiter was woken under a channel lock");
        }
    }

    #[cfg(any(not(debug_assertions), loom))]
    mod imp {
        #[cfg(not(loom))]
        #[inline(always)]
        pub(crate) fn enter() {}
        #[cfg(not(loom))]
        #[inline(always)]
        pub(crate) fn leave() {}
        #[inline(always)]
        pub(crate) fn assert_none() {}
    }

    pub(crate) use imp::assert_none;
    #[cfg(not(loom))]
    pub(crate) use imp::{enter, leave};
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn excludes_eight_threads_from_one_counter() {
        let lock = RawLock::new();
        let counter = AtomicU64::new(0);
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    for _ in 0..5_000 {
                        lock.lock();
                        // Not an atomic add: two threads inside would lose a count.
                        let seen = counter.load(Ordering::Relaxed);
                        counter.store(seen + 1, Ordering::Relaxed);
                        lock.unlock();
                    }
                });
            }
        });
        assert_eq!(counter.load(Ordering::Relaxed), 40_000);
    }
}
