//! Goroutines that borrow: `std::thread::scope`, and what Trio calls a nursery, for goroutines.
//!
//! **Why it is sound.** A child may use what outlives the call of [`scope`], so the call must not
//! end, by return or by unwinding, before every child has done all that touches borrowed data. What a
//! child does last is to count itself off; before that its closure has been consumed or dropped and
//! its result stored, or dropped if nobody has the handle any more ([`Child`]'s destructor has the
//! order). [`scope`] waits for that count by a park that the abort of a runtime, which unwinds every
//! other, does not end; on a goroutine that keeps its thread (`lock_os_thread`) it does, but only
//! after a second wait, made while unwinding, when parking goes through (`wait::steadfast`). A child that shutdown never starts is dropped, which counts it off as well; one that is
//! leaked keeps the scope waiting for ever. So forgetting handles, panics, `goexit`, aborts in any order
//! end no borrow early. There is no `async` form, because a future can be forgotten between two
//! polls, and then nobody would wait.
//!
//! Off a runtime children are threads.

use crate::bracket::here;
use crate::handle::{Handle, go_on};
use crate::join::JoinError;
use crate::foreign::quietly;
use crate::locks::{WaitGroup, wait};
use core::any::Any;
use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, Ordering};
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// Starts goroutines that may borrow; made by [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    shared: Arc<Shared>,
    /// Invariant, so that neither lifetime can be changed to a shorter or a longer one.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

#[derive(Default)]
struct Shared {
    /// Children that may still touch what they borrow.
    running: WaitGroup,
    /// A child panicked and nobody took its result.
    panicked: AtomicBool,
}

/// What a child leaves for its handle; the later of the two drops it, within the scope.
struct Packet<T> {
    shared: Arc<Shared>,
    /// One, until the result is there.
    pending: WaitGroup,
    result: Mutex<Option<Result<T, JoinError>>>,
}

impl<T> Drop for Packet<T> {
    fn drop(&mut self) {
        let result = self.result.get_mut().take();
        let unhandled = matches!(&result, Some(Err(e)) if e.is_panic());
        if quietly(|| drop(result)) || unhandled {
            self.shared.panicked.store(true, Ordering::Relaxed);
        }
    }
}

/// A child: its closure until it runs, then its duties.
struct Child<F, T> {
    f: Option<F>,
    result: Option<Result<T, JoinError>>,
    packet: Option<Arc<Packet<T>>>,
    shared: Arc<Shared>,
}

/// The id of the goroutine, stackful or a future, for errors; threads have none.
pub(crate) fn my_id() -> u64 {
    here().and_then(|s| s.g.get()).map_or(0, |g| g.id.load(Ordering::Relaxed))
}

impl<T, F: FnOnce() -> T> Child<F, T> {
    fn run(mut self) {
        if let Some(f) = self.f.take() {
            let result = catch_unwind(AssertUnwindSafe(f));
            self.result = Some(result.map_err(|p| JoinError::from_payload(my_id(), p)));
        }
    }
}

impl<F, T> Drop for Child<F, T> {
    fn drop(&mut self) {
        // 1. The closure, if it was not run: it may borrow.
        let f = self.f.take();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(f)));
        // 2. The result, for the handle.
        let result = self.result.take().unwrap_or_else(|| match dropped {
            Ok(()) => Err(JoinError::cancelled(my_id())),
            Err(p) => Err(JoinError::from_payload(my_id(), p)),
        });
        if let Some(packet) = self.packet.take() {
            *packet.result.lock() = Some(result);
            packet.pending.done();
            // 3. Drops the result too, if the handle is gone.
            drop(packet);
        }
        // 4. From here on the scope may end: `shared` is all that is touched, and is counted.
        self.shared.running.done();
    }
}

/// Starts `f` as a goroutine of the caller's runtime, or as a thread where there is none.
///
/// # Safety
/// Everything that `f` borrows outlives its run and its drop.
#[track_caller]
pub(crate) unsafe fn start<F: FnOnce() + Send>(f: F) {
    let at = here();
    match Handle::on(at) {
        // SAFETY: the caller's.
        Some(on) => drop(unsafe { go_on(on, at, f) }),
        None => {
            // SAFETY: the caller's.
            let started = unsafe { std::thread::Builder::new().spawn_unchecked(f) };
            drop(started.expect("no thread for a child: the process has as many as it may"));
        }
    }
}

/// Calls `f` with a [`Scope`], in which it can start goroutines that borrow from here; waits for all
/// of them, then returns what `f` returned. **May park.** Inside a future it blocks the thread.
///
/// That wait cannot be cancelled: not by shutdown, which unwinds this call only once the
/// children are done.
///
/// # Panics
/// As `f` does, after the wait. If a child panicked and its handle was not joined. If children
/// are started on a runtime for futures only.
///
/// ```
/// let mut rows = vec![3, 1, 2];
/// let mut sum = 0;
/// gmp_sched::scope(|s| {
///     s.go(|| rows.sort());
///     s.go(|| sum += 6);
/// });
/// assert_eq!((rows, sum), (vec![1, 2, 3], 6));
/// ```
///
/// What lives within the scope cannot be borrowed:
///
/// ```compile_fail
/// gmp_sched::scope(|s| {
///     let local = 1;
///     s.go(|| assert_eq!(local, 1));
/// });
/// ```
///
/// Nor can a handle leave it:
///
/// ```compile_fail
/// let handle = gmp_sched::scope(|s| s.go(|| 1));
/// ```
pub fn scope<'env, F, R>(f: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    let scope = Scope { shared: Arc::default(), scope: PhantomData, env: PhantomData };
    let result: Result<R, Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    wait::steadfast(|| scope.shared.running.outlast());
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(_) if scope.shared.panicked.load(Ordering::Relaxed) => {
            panic!("a goroutine of this scope panicked and nobody joined it")
        }
        Ok(value) => value,
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a goroutine that may borrow what outlives the scope; off a runtime, a thread. May
    /// park on a goroutine, to answer a request to yield.
    ///
    /// ```
    /// let words = ["go", "rust"];
    /// let lengths = gmp_sched::scope(|s| {
    ///     let all: Vec<_> = words.iter().map(|w| s.go(|| w.len())).collect();
    ///     all.into_iter().map(|h| h.join().unwrap()).sum::<usize>()
    /// });
    /// assert_eq!(lengths, 6);
    /// ```
    ///
    /// # Panics
    /// On a runtime for futures only; if there can be no more threads.
    #[track_caller]
    pub fn go<T, F>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let shared = self.shared.clone();
        let packet = Arc::new(Packet {
            shared: shared.clone(),
            pending: WaitGroup::new(),
            result: Mutex::new(None),
        });
        packet.pending.add(1);
        let handle = ScopedJoinHandle { packet: packet.clone(), scope: PhantomData };
        shared.running.add(1);
        let child = Child { f: Some(f), result: None, packet: Some(packet), shared };
        // SAFETY: what `'scope` covers lives until `scope` has waited for the child, which counts
        // itself off after the last use; the closure is run or dropped once, and holds nothing else.
        unsafe { start(move || child.run()) };
        handle
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("running", &self.shared.running.count()).finish_non_exhaustive()
    }
}

/// The handle of a goroutine in a [`Scope`]. Dropping it leaves the goroutine to the scope.
pub struct ScopedJoinHandle<'scope, T> {
    packet: Arc<Packet<T>>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits for the goroutine and takes its result. **May park.**
    ///
    /// # Errors
    /// A [`JoinError`] if it panicked, called `goexit`, or was cancelled by shutdown. A panic that is
    /// taken so does not make [`scope`] panic.
    ///
    /// ```
    /// gmp_sched::scope(|s| {
    ///     let e = s.go(|| panic!("no such row")).join().unwrap_err();
    ///     assert!(e.is_panic());
    /// });
    /// ```
    pub fn join(self) -> Result<T, JoinError> {
        self.packet.pending.wait();
        self.packet.result.lock().take().expect("the child left a result")
    }

    /// Whether it has a result, so that `join` returns at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.packet.pending.count() == 0
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle")
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Scope<'static, 'static>>();
    shared::<ScopedJoinHandle<'static, u8>>();
};
