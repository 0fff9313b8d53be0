//! Doing something once: Go's `Once` (`sync/once.go`, Go 1.27), a flag and a lock.
//!
//! The flag is set after the work, by Release under the lock, and read by Acquire: whoever sees
//! it sees the work. Who comes meanwhile waits for the lock, hence for the work. Unlike in Go, work
//! that panics or is unwound has not been done, and the next caller does it; there is no poison.

use super::sema::Semaphore;
use core::cell::UnsafeCell;
use core::convert::Infallible;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

struct Release<'a>(&'a Semaphore);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.release(1);
    }
}

/// Runs one closure, once.
///
/// ```
/// static INIT: gmp_sched::Once = gmp_sched::Once::new();
/// INIT.call_once(|| println!("first"));
/// INIT.call_once(|| unreachable!());
/// assert!(INIT.is_completed());
/// ```
pub struct Once {
    /// By who did the work, under the lock.
    done: AtomicBool,
    /// One permit: a mutex that may be held across an `.await` of the caller's.
    lock: Semaphore,
}

impl Once {
    /// Nothing has been done.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            done: AtomicBool::new(false),
            lock: Semaphore::new(1),
        }
    }

    /// Runs `f` if nobody has; returns once it has been run. **May park.** Deadlocks if `f` calls
    /// this again.
    ///
    /// # Panics
    /// If `f` does; then it has not been done, and the next caller runs his.
    #[inline]
    pub fn call_once(&self, f: impl FnOnce()) {
        if !self.is_completed() {
            let Ok(()) = self.slow(|| {
                f();
                Ok::<(), Infallible>(())
            });
        }
    }

    #[cold]
    fn slow<E>(&self, f: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        self.lock.acquire(1);
        let _release = Release(&self.lock);
        if !self.is_completed() {
            f()?;
            self.done.store(true, Ordering::Release);
        }
        Ok(())
    }

    async fn slow_async(&self, f: impl Future<Output = ()> + Send) {
        self.lock.acquire_async(1).await;
        let _release = Release(&self.lock);
        if !self.is_completed() {
            f.await;
            self.done.store(true, Ordering::Release);
        }
    }

    /// As [`call_once`](Self::call_once), in async code on any executor. Dropped while it runs `f`,
    /// it has not been done.
    ///
    /// ```
    /// static INIT: gmp_sched::Once = gmp_sched::Once::new();
    /// let rt = gmp_sched::Builder::new().build().unwrap();
    /// rt.block_on(INIT.call_once_async(async { println!("first") }));
    /// assert!(INIT.is_completed());
    /// ```
    pub async fn call_once_async(&self, f: impl Future<Output = ()> + Send) {
        if !self.is_completed() {
            self.slow_async(f).await;
        }
    }

    /// Whether it has been done.
    #[inline]
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }
}

impl Default for Once {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("is_completed", &self.is_completed())
            .finish_non_exhaustive()
    }
}

/// A value that is written once: `std::sync::OnceLock` whose waiters park.
///
/// ```
/// static NAME: gmp_sched::OnceLock<String> = gmp_sched::OnceLock::new();
/// assert_eq!(NAME.get_or_init(|| "gort".into()), "gort");
/// assert_eq!(NAME.set("other".into()), Err("other".into()));
/// ```
pub struct OnceLock<T> {
    once: Once,
    /// Some once `once` is completed, and not written again. By who does the work.
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is written by one thread and read by others, and may be dropped on any.
unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// Without a value.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            once: Once::new(),
            value: UnsafeCell::new(None),
        }
    }

    /// The value, if it was written.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if !self.once.is_completed() {
            return None;
        }
        // SAFETY: after `done` nobody writes; seeing it (Acquire), we see the value.
        unsafe { (*self.value.get()).as_ref() }
    }

    /// The value, made by `f` if there is none. **May park.** Deadlocks if `f` calls this again.
    ///
    /// # Panics
    /// If `f` does; the next caller runs his.
    #[inline]
    pub fn get_or_init(&self, f: impl FnOnce() -> T) -> &T {
        let Ok(value) = self.get_or_try_init(|| Ok::<T, Infallible>(f()));
        value
    }

    /// As [`get_or_init`](Self::get_or_init), with a closure that may fail. **May park.**
    ///
    /// # Errors
    /// What `f` returned; then there is still no value.
    ///
    /// ```
    /// let port = gmp_sched::OnceLock::new();
    /// assert!(port.get_or_try_init(|| "http".parse::<u16>()).is_err());
    /// assert_eq!(port.get_or_try_init(|| "80".parse::<u16>()), Ok(&80));
    /// ```
    pub fn get_or_try_init<E>(&self, f: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        if self.get().is_none() {
            self.once.slow(|| {
                let value = f()?;
                // SAFETY: we hold the lock and `done` is not set: nobody else looks at the value.
                unsafe { *self.value.get() = Some(value) };
                Ok(())
            })?;
        }
        Ok(self.get().expect("completed with a value"))
    }

    /// As [`get_or_init`](Self::get_or_init), in async code on any executor. Dropped while it runs `f`,
    /// there is no value.
    ///
    /// ```
    /// let name = gmp_sched::OnceLock::new();
    /// let rt = gmp_sched::Builder::new().build().unwrap();
    /// assert_eq!(rt.block_on(name.get_or_init_async(async { "gort" })), &"gort");
    /// ```
    pub async fn get_or_init_async<F>(&self, f: F) -> &T
    where
        F: Future<Output = T> + Send,
        T: Send + Sync,
    {
        if self.get().is_none() {
            self.once
                .slow_async(async {
                    let value = f.await;
                    // SAFETY: as in `get_or_try_init`; no await comes between this and `done`.
                    unsafe { *self.value.get() = Some(value) };
                })
                .await;
        }
        self.get().expect("completed with a value")
    }

    /// Writes the value, if there is none. **May park.**
    ///
    /// # Errors
    /// The value, if there was one.
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value, for who owns the lock alone.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut().as_mut()
    }

    /// The value itself.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceLock").field(&self.get()).finish()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Once>();
    shared::<OnceLock<u8>>();
};
