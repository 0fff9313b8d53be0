//! Atomics and the slow path's lock, swapped for loom's under `--cfg loom`.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

#[cfg(loom)]
pub(crate) use model::Lock;
#[cfg(all(not(loom), not(feature = "std")))]
pub(crate) use spin::Lock;
#[cfg(all(not(loom), feature = "std"))]
pub(crate) use thread::Lock;

#[cfg(all(not(loom), feature = "std"))]
mod thread {
    use std::sync::{Mutex, PoisonError};

    /// std's mutex without poisoning: no user code runs under it, and what runs leaves the table
    /// whole after every store.
    #[derive(Debug)]
    pub(crate) struct Lock<T>(Mutex<T>);

    impl<T> Lock<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
            f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }
}

#[cfg(all(not(loom), not(feature = "std")))]
mod spin {
    use core::cell::UnsafeCell;
    use core::fmt;
    use core::sync::atomic::{AtomicBool, Ordering};

    /// A test-and-test-and-set lock, for targets without an operating system to park on. It is
    /// taken to add an entry, which happens once per pair of types in a program's life.
    pub(crate) struct Lock<T> {
        /// Set by whoever holds the lock; cleared by [`Unlock`], on panic too.
        held: AtomicBool,
        /// Read and written only by the holder.
        value: UnsafeCell<T>,
    }

    // SAFETY: `with` gives out `&mut T` to one thread at a time.
    unsafe impl<T: Send> Sync for Lock<T> {}

    struct Unlock<'a>(&'a AtomicBool);

    impl Drop for Unlock<'_> {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Release);
        }
    }

    impl<T> Lock<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self {
                held: AtomicBool::new(false),
                value: UnsafeCell::new(value),
            }
        }

        pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
            while self
                .held
                .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_err()
            {
                while self.held.load(Ordering::Relaxed) {
                    core::hint::spin_loop();
                }
            }
            let _unlock = Unlock(&self.held);
            // SAFETY: `held` went from false to true by this call's exchange, so no other call is
            // between its exchange and its `Unlock`; the reference does not outlive `_unlock`,
            // because `R` cannot borrow from a closure argument.
            f(unsafe { &mut *self.value.get() })
        }
    }

    impl<T> fmt::Debug for Lock<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Lock").finish_non_exhaustive()
        }
    }
}

#[cfg(loom)]
mod model {
    use loom::sync::Mutex;

    #[derive(Debug)]
    pub(crate) struct Lock<T>(Mutex<T>);

    impl<T> Lock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
            f(&mut self.0.lock().expect("no model panics under the lock"))
        }
    }
}
