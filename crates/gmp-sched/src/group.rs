//! Goroutines for parts of one job: Go's `errgroup` (`golang.org/x/sync`).
//!
//! The first failure wins; every wait gives it, and it is the cause of the group's context, as in
//! Go: so it is shared. A panic, a `goexit` and a shutdown are failures too. However a member ends, also
//! if it is dropped without having run, its closure or future goes first; then it reports, gives its
//! place up, and counts itself off, in this order ([`Member`]'s destructor). What others registered
//! with the context is called in the second step, and may panic: that stops no later step.
//!
//! Off a runtime members are threads.

use crate::calls;
use crate::context::{Canceler, Cause, Context};
use crate::join::JoinError;
use crate::foreign::quietly;
use crate::locks::{Semaphore, WaitGroup};
use crate::scope::{my_id, start};
use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

/// Why a group failed: how its first member to fail did.
///
/// [`Group::wait`] shares it; [`Arc::into_inner`] gives it to who has the last reference, which the
/// group and its context have too, as long as they exist.
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

impl<E: fmt::Debug + fmt::Display> core::error::Error for GroupError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Failed(_) => None,
            Self::Died(e) => Some(e),
        }
    }
}

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
/// assert!(matches!(*group.wait().unwrap_err(), GroupError::Failed("no such host")));
/// assert_eq!(ctx.cause().unwrap().to_string(), "no such host");
/// ```
pub struct Group<E> {
    shared: Arc<Shared<E>>,
}

struct Shared<E> {
    /// Those that run; apart, because a member is counted off when it has let go of the rest.
    running: Arc<WaitGroup>,
    /// By the first member to fail.
    first: OnceLock<Arc<GroupError<E>>>,
    /// The group's own context.
    own: Option<Own<E>>,
    /// Places left, if there is a limit.
    places: Option<Semaphore>,
}

/// A context of a group's own.
struct Own<E> {
    canceler: Canceler,
    /// An error as the cause of a cancellation.
    cause: fn(Arc<GroupError<E>>) -> Cause,
}

impl<E> Clone for Group<E> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<E> Shared<E> {
    fn report(&self, result: Result<(), GroupError<E>>) {
        let Err(e) = result else { return };
        let e = Arc::new(e);
        if self.first.set(e.clone()).is_ok()
            && let Some(own) = &self.own
        {
            own.canceler.cancel_by(&(own.cause)(e));
        }
    }
}

/// One member's duties, done when this is dropped: it reports and lets go of the group, then is
/// counted off. So whoever waited for all members has the group to himself.
struct Member<E> {
    shared: Arc<Shared<E>>,
    /// It occupies one of the places.
    placed: bool,
    result: Option<Result<(), GroupError<E>>>,
    /// After `shared`: fields are dropped in their order.
    _counted: Counted,
}

/// Is counted among those that run, until it is dropped.
struct Counted(Arc<WaitGroup>);

impl Drop for Counted {
    fn drop(&mut self) {
        // As in `Member`'s destructor.
        quietly(|| self.0.done());
    }
}

impl<E> Member<E> {
    fn enter(shared: &Arc<Shared<E>>, placed: bool) -> Self {
        shared.running.add(1);
        let counted = Counted(shared.running.clone());
        Self { shared: shared.clone(), placed, result: None, _counted: counted }
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
        // The panic hook has reported what panics here; a destructor lets it go no further.
        quietly(|| self.shared.report(result));
        if self.placed
            && let Some(places) = &self.shared.places
        {
            quietly(|| places.release(1));
        }
    }
}

/// What a member runs, and the member: dropped in this order.
struct Run<F, E> {
    what: F,
    member: Member<E>,
}

impl<E, F: FnOnce() -> Result<(), E>> Run<F, E> {
    fn call(self) {
        let Self { what, mut member } = self;
        member.ended(catch_unwind(AssertUnwindSafe(what)));
    }
}

impl<E: Send + Sync + 'static> Group<E> {
    fn build(own: Option<Own<E>>, places: Option<Semaphore>) -> Self {
        let shared = Shared {
            running: Arc::new(WaitGroup::new()),
            first: OnceLock::new(),
            own,
            places,
        };
        Self { shared: Arc::new(shared) }
    }

    fn own_context(parent: &Context) -> (Context, Own<E>)
    where
        E: fmt::Debug + fmt::Display,
    {
        let (ctx, canceler) = parent.with_cancel();
        (ctx, Own { canceler, cause: |e| e })
    }

    /// A group without members, context or limit.
    #[must_use]
    pub fn new() -> Self {
        Self::build(None, None)
    }

    /// A group that runs at most `limit` members at once.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// static INSIDE: AtomicUsize = AtomicUsize::new(0);
    ///
    /// let group = gmp_sched::Group::<()>::with_limit(2);
    /// for _ in 0..10 {
    ///     group.go(|| {
    ///         assert!(INSIDE.fetch_add(1, Ordering::SeqCst) < 2);
    ///         INSIDE.fetch_sub(1, Ordering::SeqCst);
    ///         Ok(())
    ///     });
    /// }
    /// group.wait().unwrap();
    /// ```
    ///
    /// # Panics
    /// If `limit` is 0: nothing could ever run.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        assert!(limit > 0, "Group: a limit of 0 lets nothing run");
        Self::build(None, Some(Semaphore::new(limit)))
    }

    /// A group, and a context that is done when a member fails, when [`wait`](Self::wait) returns, when the
    /// last clone of the group and its last member are gone, or when `parent` is done. Its
    /// [cause](Context::cause) is the error of that member, a [`GroupError<E>`].
    #[must_use]
    pub fn with_context(parent: &Context) -> (Self, Context)
    where
        E: fmt::Debug + fmt::Display,
    {
        let (ctx, own) = Self::own_context(parent);
        (Self::build(Some(own), None), ctx)
    }

    /// As [`with_context`](Self::with_context) and [`with_limit`](Self::with_limit).
    ///
    /// # Panics
    /// If `limit` is 0.
    #[must_use]
    pub fn with_context_and_limit(parent: &Context, limit: usize) -> (Self, Context)
    where
        E: fmt::Debug + fmt::Display,
    {
        assert!(limit > 0, "Group: a limit of 0 lets nothing run");
        let (ctx, own) = Self::own_context(parent);
        (Self::build(Some(own), Some(Semaphore::new(limit))), ctx)
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
    /// ```
    /// let group = gmp_sched::Group::<()>::with_limit(1);
    /// let (ctx, cancel) = gmp_sched::Context::background().with_cancel();
    /// group.go(move || {
    ///     ctx.wait();
    ///     Ok(())
    /// });
    /// let refused = group.try_go(|| Ok(())).unwrap_err();
    /// cancel.cancel();
    /// group.wait().unwrap();
    /// assert!(group.try_go(refused).is_ok());
    /// group.wait().unwrap();
    /// ```
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
        let member = Member::enter(&self.shared, true);
        let run = Run { what: f, member };
        // SAFETY: `'static`: nothing is borrowed.
        unsafe { start(move || run.call()) };
    }

    /// Starts a future as a member, on the caller's runtime. With a limit, it waits for its place as a
    /// future; this call never does.
    ///
    /// ```
    /// use gmp_sched::{Group, GroupError};
    /// let rt = gmp_sched::Builder::new().build().unwrap();
    /// rt.block_on(async {
    ///     let group = Group::with_limit(2);
    ///     for i in 0..4 {
    ///         group.spawn(async move { if i == 3 { Err("three") } else { Ok(()) } });
    ///     }
    ///     let e = group.wait_async().await.unwrap_err();
    ///     assert!(matches!(*e, GroupError::Failed("three")));
    /// });
    /// ```
    ///
    /// # Panics
    /// Off a runtime.
    #[track_caller]
    pub fn spawn<F>(&self, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let member = Member::enter(&self.shared, false);
        let run = Run { what: Box::pin(future), member };
        drop(calls::spawn(async move {
            // As a whole: so that it is dropped in its order, whenever that is.
            let mut run = run;
            if let Some(places) = &run.member.shared.places {
                places.acquire_async(1).await;
                run.member.placed = true;
            }
            let result = core::future::poll_fn(|cx| {
                let future = run.what.as_mut();
                match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                    Ok(poll) => poll.map(Ok),
                    Err(p) => core::task::Poll::Ready(Err(p)),
                }
            });
            let result = result.await;
            let Run { what, mut member } = run;
            quietly(|| drop(what));
            member.ended(result);
        }));
    }

    /// Waits until no member runs, and cancels the group's context. **May park.**
    ///
    /// # Errors
    /// How the first member to fail did: the same to all who wait, then and later.
    pub fn wait(&self) -> Result<(), Arc<GroupError<E>>> {
        self.shared.running.wait();
        self.outcome()
    }

    /// As [`wait`](Self::wait), in async code on any executor. Cancel-safe.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn wait_async(&self) -> Result<(), Arc<GroupError<E>>> {
        self.shared.running.wait_async().await;
        self.outcome()
    }

    fn outcome(&self) -> Result<(), Arc<GroupError<E>>> {
        if let Some(own) = &self.shared.own {
            own.canceler.cancel();
        }
        self.shared.first.get().map_or(Ok(()), |e| Err(e.clone()))
    }
}

impl<E: Send + Sync + 'static> Default for Group<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for Group<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("running", &self.shared.running.count())
            .field("failed", &self.shared.first.get().is_some())
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Group<u8>>();
};
