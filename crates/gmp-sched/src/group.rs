//! Goroutines for parts of one job: Go's `errgroup` (`golang.org/x/sync`).
//!
//! The first failure wins, and cancels the group's context. A panic, a `goexit` and a shutdown are
//! failures too. A member reports, gives its place up, and counts itself off, in this order, however
//! it ends: also if it is dropped without having run ([`Member`]'s destructor).
//!
//! Off a runtime members are threads.

use crate::calls;
use crate::context::{Canceler, Context};
use crate::join::JoinError;
use crate::locks::{Semaphore, WaitGroup};
use crate::scope::{my_id, start};
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Why a group failed: how its first member to fail did.
#[derive(Debug)]
pub enum GroupError<E> {
    /// It returned this.
    Failed(E),
    /// It panicked, called `goexit`, or its runtime was shut down.
    Died(JoinError),
}

impl<E: fmt::Display> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(e) => e.fmt(f),
            Self::Died(e) => e.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for GroupError<E> {}

/// Runs parts of one job as goroutines, and waits for them. Cloning shares it.
///
/// ```
/// use gmp_sched::{Context, Group, GroupError};
///
/// let (group, ctx) = Group::with_context(&Context::background());
/// let watching = ctx.clone();
/// group.go(|| Err("no such host"));
/// group.go(move || {
///     watching.wait(); // cancelled by the other's failure
///     Ok(())
/// });
/// assert!(matches!(group.wait(), Err(GroupError::Failed("no such host"))));
/// assert!(ctx.is_done());
/// ```
pub struct Group<E> {
    shared: Arc<Shared<E>>,
}

struct Shared<E> {
    running: WaitGroup,
    /// By the first member to fail; emptied by the first `wait` to return it.
    first: Mutex<Option<GroupError<E>>>,
    /// Set with `first`, and stays.
    failed: AtomicBool,
    /// Of the group's own context.
    canceler: Option<Canceler>,
    /// Places left, if there is a limit.
    places: Option<Semaphore>,
}

impl<E> Clone for Group<E> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<E> Shared<E> {
    fn report(&self, result: Result<(), GroupError<E>>) {
        let Err(e) = result else { return };
        let mut first = self.first.lock();
        if self.failed.swap(true, Ordering::Relaxed) {
            drop(first);
            return drop(e);
        }
        *first = Some(e);
        drop(first);
        self.cancel();
    }

    fn cancel(&self) {
        if let Some(canceler) = &self.canceler {
            canceler.cancel();
        }
    }
}

/// One member's duties, done when this is dropped.
struct Member<E> {
    shared: Arc<Shared<E>>,
    /// It occupies one of the places.
    placed: bool,
    result: Option<Result<(), GroupError<E>>>,
}

impl<E> Member<E> {
    fn enter(shared: &Arc<Shared<E>>, placed: bool) -> Self {
        shared.running.add(1);
        Self { shared: shared.clone(), placed, result: None }
    }

    fn ended(&mut self, result: std::thread::Result<Result<(), E>>) {
        self.result = Some(match result {
            Ok(result) => result.map_err(GroupError::Failed),
            Err(p) => Err(GroupError::Died(JoinError::from_payload(my_id(), p))),
        });
    }
}

impl<E> Drop for Member<E> {
    fn drop(&mut self) {
        let cancelled = || Err(GroupError::Died(JoinError::cancelled(my_id())));
        let result = self.result.take().unwrap_or_else(cancelled);
        self.shared.report(result);
        if self.placed
            && let Some(places) = &self.shared.places
        {
            places.release(1);
        }
        self.shared.running.done();
    }
}

impl<E: Send + 'static> Group<E> {
    fn build(canceler: Option<Canceler>, places: Option<Semaphore>) -> Self {
        let shared = Shared {
            running: WaitGroup::new(),
            first: Mutex::new(None),
            failed: AtomicBool::new(false),
            canceler,
            places,
        };
        Self { shared: Arc::new(shared) }
    }

    /// A group without members, context or limit.
    #[must_use]
    pub fn new() -> Self {
        Self::build(None, None)
    }

    /// A group that runs at most `limit` members at once.
    ///
    /// # Panics
    /// If `limit` is 0: nothing could ever run.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        assert!(limit > 0, "Group: a limit of 0 lets nothing run");
        Self::build(None, Some(Semaphore::new(limit)))
    }

    /// A group, and a context that is done when a member fails, when [`wait`](Self::wait) returns, when the
    /// last clone of the group and its last member are gone, or when `parent` is done.
    #[must_use]
    pub fn with_context(parent: &Context) -> (Self, Context) {
        let (ctx, canceler) = parent.with_cancel();
        (Self::build(Some(canceler), None), ctx)
    }

    /// As [`with_context`](Self::with_context) and [`with_limit`](Self::with_limit).
    ///
    /// # Panics
    /// If `limit` is 0.
    #[must_use]
    pub fn with_context_and_limit(parent: &Context, limit: usize) -> (Self, Context) {
        assert!(limit > 0, "Group: a limit of 0 lets nothing run");
        let (ctx, canceler) = parent.with_cancel();
        (Self::build(Some(canceler), Some(Semaphore::new(limit))), ctx)
    }

    /// Starts a member; off a runtime, as a thread. **May park**: with a limit it waits for a place.
    ///
    /// # Panics
    /// On a runtime for futures only; if there can be no more threads.
    #[track_caller]
    pub fn go<F>(&self, f: F)
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
    {
        if let Some(places) = &self.shared.places {
            places.acquire(1);
        }
        self.start(f);
    }

    /// Starts a member if there is a place for it; else gives the closure back.
    ///
    /// # Errors
    /// `f`, which was not started.
    ///
    /// # Panics
    /// As [`go`](Self::go).
    #[track_caller]
    pub fn try_go<F>(&self, f: F) -> Result<(), F>
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
    {
        if self.shared.places.as_ref().is_some_and(|p| !p.try_acquire(1)) {
            return Err(f);
        }
        self.start(f);
        Ok(())
    }

    #[track_caller]
    fn start<F>(&self, f: F)
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
    {
        let mut member = Member::enter(&self.shared, true);
        let run = move || member.ended(catch_unwind(AssertUnwindSafe(f)));
        // SAFETY: `'static`: nothing is borrowed.
        unsafe { start(run) };
    }

    /// Starts a future as a member, on the caller's runtime. With a limit, it waits for its place as a
    /// future; this call never does.
    ///
    /// # Panics
    /// Off a runtime.
    #[track_caller]
    pub fn spawn<F>(&self, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let mut member = Member::enter(&self.shared, false);
        let mut future = Box::pin(future);
        drop(calls::spawn(async move {
            if let Some(places) = &member.shared.places {
                places.acquire_async(1).await;
                member.placed = true;
            }
            let result = core::future::poll_fn(|cx| {
                match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                    Ok(poll) => poll.map(Ok),
                    Err(p) => core::task::Poll::Ready(Err(p)),
                }
            });
            let result = result.await;
            drop(future);
            member.ended(result);
        }));
    }

    /// Waits until no member runs, and cancels the group's context. **May park.**
    ///
    /// # Errors
    /// How the first member to fail did; the error goes to the first wait that can have it.
    pub fn wait(&self) -> Result<(), GroupError<E>> {
        self.shared.running.wait();
        self.outcome()
    }

    /// As [`wait`](Self::wait), in async code on any executor. Cancel-safe.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn wait_async(&self) -> Result<(), GroupError<E>> {
        self.shared.running.wait_async().await;
        self.outcome()
    }

    fn outcome(&self) -> Result<(), GroupError<E>> {
        self.shared.cancel();
        self.shared.first.lock().take().map_or(Ok(()), Err)
    }
}

impl<E: Send + 'static> Default for Group<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for Group<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("running", &self.shared.running.count())
            .field("failed", &self.shared.failed.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Group<u8>>();
};
