//! The short lock of a heap.
//!
//! With `std` it is `std::sync::Mutex` (a futex on Linux), poison ignored: nothing that can panic
//! on a user's behalf runs under it. Without `std` there is nobody to sleep with, and it spins:
//! a critical section is one sift of the heap. Under loom it is loom's mutex.

#[cfg(all(feature = "std", not(loom)))]
pub(crate) use with_std::{Guard, Lock};

#[cfg(all(not(feature = "std"), not(loom)))]
pub(crate) use spin::{Guard, Lock};

#[cfg(loom)]
pub(crate) use with_loom::{Guard, Lock};

#[cfg(all(feature = "std", not(loom)))]
mod with_std {
    use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

    pub(crate) type Guard<'a, T> = MutexGuard<'a, T>;

    #[derive(Debug)]
    pub(crate) struct Lock<T>(Mutex<T>);

    impl<T> Lock<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        #[inline]
        pub(crate) fn lock(&self) -> Guard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
            match self.0.try_lock() {
                Ok(guard) => Some(guard),
                Err(TryLockError::Poisoned(e)) => Some(e.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        }
    }
}

#[cfg(all(not(feature = "std"), not(loom)))]
mod spin {
    use core::cell::UnsafeCell;
    use core::fmt;
    use core::ops::{Deref, DerefMut};
    use core::sync::atomic::{AtomicBool, Ordering};

    pub(crate) struct Lock<T> {
        /// Set by the holder; Acquire on taking, Release on leaving.
        held: AtomicBool,
        /// Touched only by the holder.
        value: UnsafeCell<T>,
    }

    // SAFETY: `held` admits one holder at a time, and its Acquire / Release pair orders one
    // holder's accesses before the next one's; so sharing the lock only moves `T` between threads.
    unsafe impl<T: Send> Sync for Lock<T> {}

    impl<T> Lock<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self {
                held: AtomicBool::new(false),
                value: UnsafeCell::new(value),
            }
        }

        pub(crate) fn lock(&self) -> Guard<'_, T> {
            loop {
                if let Some(guard) = self.try_lock() {
                    return guard;
                }
                while self.held.load(Ordering::Relaxed) {
                    core::hint::spin_loop();
                }
            }
        }

        pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
            (!self.held.swap(true, Ordering::Acquire)).then_some(Guard(self))
        }
    }

    impl<T> fmt::Debug for Lock<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Lock").finish_non_exhaustive()
        }
    }

    pub(crate) struct Guard<'a, T>(&'a Lock<T>);

    impl<T> Deref for Guard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            // SAFETY: a guard exists only while its thread holds the lock.
            unsafe { &*self.0.value.get() }
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: as in `deref`; `&mut self` keeps this guard's own accesses apart.
            unsafe { &mut *self.0.value.get() }
        }
    }

    impl<T> Drop for Guard<'_, T> {
        fn drop(&mut self) {
            self.0.held.store(false, Ordering::Release);
        }
    }
}

#[cfg(loom)]
mod with_loom {
    use loom::sync::{Mutex, MutexGuard};

    pub(crate) type Guard<'a, T> = MutexGuard<'a, T>;

    #[derive(Debug)]
    pub(crate) struct Lock<T>(Mutex<T>);

    impl<T> Lock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> Guard<'_, T> {
            self.0.lock().unwrap_or_else(|e| e.into_inner())
        }

        pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
            self.0.try_lock().ok()
        }
    }
}
