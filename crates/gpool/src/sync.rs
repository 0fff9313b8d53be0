//! The primitives that loom replaces: atomics, cells, the lock of a pool and the wait of its ager.
//!
//! Under `--cfg loom` these are loom's, so the models run the very code that ships. The slot
//! table's own lock is not among them: no model contends it.

#[cfg(not(loom))]
mod imp {
    pub(crate) use core::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence,
    };

    /// A cell with loom's interface: the pointer lives only as long as the closure.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    pub(crate) use parking_lot::MutexGuard;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex(parking_lot::Mutex<()>);

    impl Mutex {
        pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
            self.0.lock()
        }
    }

    /// One step of a wait for another thread that is a few instructions from done, unless the
    /// kernel has taken its processor away.
    #[derive(Debug, Default)]
    pub(crate) struct Wait(crossbeam_utils::Backoff);

    impl Wait {
        pub(crate) fn step(&self) {
            self.0.snooze();
        }
    }
}

#[cfg(loom)]
mod imp {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::MutexGuard;
    pub(crate) use loom::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence,
    };

    #[derive(Debug, Default)]
    pub(crate) struct Mutex(loom::sync::Mutex<()>);

    impl Mutex {
        pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
            self.0.lock().expect("no user code runs under this lock")
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Wait;

    impl Wait {
        pub(crate) fn step(&self) {
            loom::thread::yield_now();
        }
    }
}

pub(crate) use imp::*;
