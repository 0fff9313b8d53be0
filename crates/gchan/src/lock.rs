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

#[cfg(not(loom))]
pub(crate) use ByteLock as RawLock;
#[cfg(loom)]
pub(crate) use model::RawLock;

#[cfg(any(not(loom), test))]
use crate::sync::{AtomicBool, Ordering};

#[cfg(any(not(loom), test))]
#[derive(Debug)]
pub(crate) struct ByteLock {
    /// Written by whoever takes or releases the lock.
    locked: AtomicBool,
}

#[cfg(any(not(loom), test))]
impl ByteLock {
    pub(crate) fn new() -> Self {
        Self {
            locked: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) {
        if !self.try_take() {
            self.lock_contended();
        }
        held::enter();
    }

    #[cfg(not(loom))]
    #[inline(always)]
    fn try_take(&self) -> bool {
        !self.locked.swap(true, Ordering::Acquire)
    }

    /// An exchange that finds the lock taken stores the `true` that is there already. Loom may put that store after the
    /// holder's release, though it follows the store that it replaced, and would see a lock that nobody holds and nobody
    /// gets. So it is told of an exchange that stores nothing then.
    #[cfg(loom)]
    fn try_take(&self) -> bool {
        self.locked
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
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
    #[cfg(not(loom))]
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
            // Loom may let a plain load see the old value for ever.
            let taken = !cfg!(loom) && self.locked.load(Ordering::Relaxed);
            if !taken && self.try_take() {
                return;
            }
        }
    }
}

/// Looks again only after a while: the holder then does a run of operations while the channel stays in its cache, which
/// is worth more than an early look. Who finds it taken again looks sooner: the run is over, and too long a while shows in
/// the slowest sends, one in a hundred of which looks twice. Both measured, at capacity 512.
#[cfg(not(loom))]
fn relax(round: u32) {
    const SPINS: u32 = 13;
    const YIELDS: u32 = 64;
    if round < SPINS {
        let pauses = if round == 0 { 7 } else { 3 };
        (0..pauses).for_each(|_| std::hint::spin_loop());
    } else if round < SPINS + YIELDS {
        std::thread::yield_now();
    } else {
        let step = (round - SPINS - YIELDS).min(10);
        std::thread::sleep(std::time::Duration::from_micros(1 << step));
    }
}

/// Loom cannot run a loop that spins unless each round lets the others go first.
#[cfg(all(loom, test))]
fn relax(_round: u32) {
    loom::thread::yield_now();
}

/// The channel's models are about what happens under the lock: for them it is loom's own, because the rounds of one that
/// spins multiply the schedules. `ByteLock` has models of its own below.
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
        #[cfg(any(not(loom), test))]
        #[inline(always)]
        pub(crate) fn enter() {}
        #[cfg(any(not(loom), test))]
        #[inline(always)]
        pub(crate) fn leave() {}
        #[inline(always)]
        pub(crate) fn assert_none() {}
    }

    pub(crate) use imp::assert_none;
    #[cfg(any(not(loom), test))]
    pub(crate) use imp::{enter, leave};
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::ByteLock;
    use crate::sync::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// What the lock guards; loom fails a model in which two touch it at once, or one before it sees the other's write.
    struct Guarded {
        lock: ByteLock,
        turns: UnsafeCell<usize>,
    }

    // SAFETY: `turns` is touched under the lock.
    unsafe impl Sync for Guarded {}
    // SAFETY: a number.
    unsafe impl Send for Guarded {}

    impl Guarded {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                lock: ByteLock::new(),
                turns: UnsafeCell::new(0),
            })
        }

        /// Under the lock.
        fn count(&self) -> usize {
            // SAFETY: by contract.
            self.turns.with_mut(|turns| unsafe {
                *turns += 1;
                *turns
            })
        }

        fn turn(&self) -> usize {
            self.lock.lock();
            let turns = self.count();
            self.lock.unlock();
            turns
        }
    }

    #[test]
    fn loom_the_raw_lock_gives_two_threads_turn_and_turn_about() {
        loom::model(|| {
            let guarded = Guarded::new();
            let other = guarded.clone();
            let other = thread::spawn(move || {
                other.turn();
                other.turn();
            });
            guarded.turn();
            guarded.turn();
            other.join().unwrap();
            assert_eq!(guarded.turn(), 5);
        });
    }

    /// Two who try once, because loom's waiters that take turns in yielding to one another never end.
    #[test]
    fn loom_the_raw_lock_lets_one_of_three_threads_in() {
        loom::model(|| {
            let guarded = Guarded::new();
            let others = [(); 2].map(|()| {
                let guarded = guarded.clone();
                thread::spawn(move || {
                    let in_it = guarded.lock.try_take();
                    if in_it {
                        guarded.count();
                        guarded.lock.unlock();
                    }
                    usize::from(in_it)
                })
            });
            guarded.turn();
            let got_in: usize = others.map(|other| other.join().unwrap()).iter().sum();
            assert_eq!(guarded.turn(), got_in + 2);
        });
    }
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
