//! The locks as types, and their `async` forms: traits, because the types are `lock_api`'s.

use super::condvar::RawCondvar;
use super::mutex::RawMutex;
use super::rwlock::RawRwLock;
use lock_api::{GuardSend, MutexGuard as Guard, RwLockReadGuard, RwLockWriteGuard};

/// A mutex whose waiters park: Go's normal and starvation modes, `lock_api`'s type.
///
/// `lock`, `try_lock_for` and `try_lock_until` **may park**; on a plain thread they block it. Without
/// contention, locking and unlocking are one atomic operation each. Guards may be sent to other
/// threads and held across parks and `.await`. There is no poison: a panic under the guard unlocks.
/// When its runtime is shut down by abort, a goroutine that waits in `lock` is unwound.
///
/// # Panics
/// `try_lock_for` and `try_lock_until`, if theirs is the first deadline that this crate watches, and the
/// thread for that cannot be started.
///
/// ```
/// use gmp_sched::{AsyncMutex, Mutex};
///
/// static TOTAL: Mutex<u64> = Mutex::new(0);
///
/// std::thread::scope(|s| {
///     s.spawn(|| *TOTAL.lock() += 1);
///     s.spawn(|| *TOTAL.lock() += 2);
/// });
/// assert_eq!(*TOTAL.lock(), 3);
///
/// // The same mutex in async code:
/// let rt = gmp_sched::Builder::new().build().unwrap();
/// rt.block_on(async { *TOTAL.lock_async().await += 4 });
/// assert_eq!(TOTAL.try_lock().map(|t| *t), Some(7));
/// ```
pub type Mutex<T> = lock_api::Mutex<RawMutex, T>;

/// What [`Mutex::lock`](lock_api::Mutex::lock) gives; dropping it unlocks.
pub type MutexGuard<'a, T> = lock_api::MutexGuard<'a, RawMutex, T>;

/// Many readers or one writer, whose waiters park; a waiting writer keeps new readers out, and one
/// that leaves lets the waiting readers in first.
///
/// `read`, `write` and their timed forms **may park**. Read-locking it twice on one goroutine can
/// deadlock: a writer may have come in between.
///
/// # Panics
/// The timed forms as [`Mutex`]'s. `read` and its like, if a quarter of a billion guards for reading are alive at once, or were forgotten.
///
/// ```
/// let names = gmp_sched::RwLock::new(vec!["G"]);
/// names.write().push("M");
/// assert_eq!(*names.read(), ["G", "M"]);
/// assert!(names.try_write_for(std::time::Duration::from_millis(1)).is_some());
/// ```
pub type RwLock<T> = lock_api::RwLock<RawRwLock, T>;

/// A condition variable for [`Mutex`]. `wait` **may park**.
///
/// Spurious wake-ups do not happen, but the condition may have changed again before the mutex is
/// locked: wait in a loop, or by `wait_while`.
///
/// # Panics
/// The timed forms as [`Mutex`]'s.
///
/// ```
/// use gmp_sched::{Condvar, Mutex};
///
/// let (ready, cond) = (Mutex::new(false), Condvar::new());
/// std::thread::scope(|s| {
///     s.spawn(|| {
///         *ready.lock() = true;
///         cond.notify_one();
///     });
///     let mut guard = ready.lock();
///     cond.wait_while(&mut guard, |ready| !*ready);
///     assert!(*guard);
/// });
/// ```
pub type Condvar = lock_api::Condvar<RawCondvar>;

/// The `async` form of [`Mutex`], for any executor.
pub trait AsyncMutex<T: ?Sized> {
    /// Locks it. Waits in the same queue as goroutines and threads.
    ///
    /// Cancel-safe: dropped before it is ready, the future has not locked anything. But one that was
    /// woken and is neither polled nor dropped may hold up those behind it.
    ///
    /// ```
    /// use gmp_sched::{AsyncMutex, Mutex};
    /// let names = Mutex::new(vec!["G"]);
    /// let rt = gmp_sched::Builder::new().build().unwrap();
    /// rt.block_on(async { names.lock_async().await.push("M") });
    /// assert_eq!(*names.lock(), ["G", "M"]);
    /// ```
    fn lock_async<'a>(&'a self) -> impl Future<Output = MutexGuard<'a, T>> + Send
    where
        T: Send + 'a;
}

impl<T: ?Sized> AsyncMutex<T> for Mutex<T> {
    async fn lock_async<'a>(&'a self) -> MutexGuard<'a, T>
    where
        T: Send + 'a,
    {
        // SAFETY: the raw lock is locked, and unlocked by the guard that is made of it.
        unsafe {
            self.raw().lock_future().await;
            self.make_guard_unchecked(GuardSend::new())
        }
    }
}

/// The `async` forms of [`RwLock`], for any executor. Cancel-safe, as [`AsyncMutex::lock_async`].
///
/// ```
/// use gmp_sched::{AsyncRwLock, RwLock};
/// let names = RwLock::new(vec!["G"]);
/// let rt = gmp_sched::Builder::new().build().unwrap();
/// rt.block_on(async {
///     names.write_async().await.push("M");
///     assert_eq!(names.read_async().await.len(), 2);
/// });
/// ```
pub trait AsyncRwLock<T: ?Sized> {
    /// Locks it for reading.
    fn read_async<'a>(&'a self) -> impl Future<Output = RwLockReadGuard<'a, RawRwLock, T>> + Send
    where
        T: Send + Sync + 'a;

    /// Locks it for writing.
    fn write_async<'a>(&'a self) -> impl Future<Output = RwLockWriteGuard<'a, RawRwLock, T>> + Send
    where
        T: Send + Sync + 'a;
}

impl<T: ?Sized> AsyncRwLock<T> for RwLock<T> {
    async fn read_async<'a>(&'a self) -> RwLockReadGuard<'a, RawRwLock, T>
    where
        T: Send + Sync + 'a,
    {
        // SAFETY: the raw lock is read-locked, and unlocked by the guard that is made of it.
        unsafe {
            self.raw().read_future().await;
            self.make_read_guard_unchecked(GuardSend::new())
        }
    }

    async fn write_async<'a>(&'a self) -> RwLockWriteGuard<'a, RawRwLock, T>
    where
        T: Send + Sync + 'a,
    {
        // SAFETY: the raw lock is write-locked, and unlocked by the guard that is made of it.
        unsafe {
            self.raw().write_future().await;
            self.make_write_guard_unchecked(GuardSend::new())
        }
    }
}

/// The `async` form of [`Condvar`], for any executor.
///
/// ```
/// use gmp_sched::{AsyncCondvar, AsyncMutex, Condvar, Mutex, spawn};
/// use std::sync::Arc;
///
/// let rt = gmp_sched::Builder::new().build().unwrap();
/// rt.block_on(async {
///     let shared = Arc::new((Mutex::new(false), Condvar::new()));
///     let waiter = spawn({
///         let shared = shared.clone();
///         async move {
///             let mut ready = shared.0.lock_async().await;
///             while !*ready {
///                 ready = shared.1.wait_async(ready).await;
///             }
///         }
///     });
///     *shared.0.lock_async().await = true;
///     shared.1.notify_one();
///     waiter.await.unwrap();
/// });
/// ```
pub trait AsyncCondvar {
    /// Unlocks, waits for a notification, locks again. Dropped meanwhile, the future leaves the mutex
    /// unlocked, and passes on a notification that it may have been given.
    fn wait_async<'a, T: ?Sized + Send>(
        &self,
        guard: Guard<'a, RawMutex, T>,
    ) -> impl Future<Output = Guard<'a, RawMutex, T>> + Send;
}

impl AsyncCondvar for Condvar {
    fn wait_async<'a, T: ?Sized + Send>(
        &self,
        guard: Guard<'a, RawMutex, T>,
    ) -> impl Future<Output = Guard<'a, RawMutex, T>> + Send {
        let mutex = Guard::mutex(&guard);
        async move {
            let heard = self.raw().heard(move || drop(guard)).await;
            let guard = mutex.lock_async().await;
            heard.arrived();
            guard
        }
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Mutex<u8>>();
    shared::<RwLock<u8>>();
    shared::<Condvar>();
    shared::<MutexGuard<'static, u8>>();
};
