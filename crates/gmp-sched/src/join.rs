//! Handles: waiting for a goroutine's end and taking its result.

use crate::bracket::{self, here};
use crate::foreign::Panicked;
use crate::{fork, park};
use crate::records;
use crate::runtime2::{G, Stack};
use crate::task::take_result;
use crate::unwind::Unwinding;
use crate::wait_reason::WaitReason;
use core::any::Any;
use core::fmt;
use core::marker::PhantomData;
use core::pin::Pin;
use core::sync::atomic::Ordering;
use core::task::{Context, Poll};

/// Why a goroutine has no result.
pub struct JoinError {
    id: u64,
    kind: Kind,
}

enum Kind {
    Panic(Box<dyn Any + Send>),
    Exited,
    Cancelled,
}

impl JoinError {
    pub(crate) fn from_payload(id: u64, payload: Box<dyn Any + Send>) -> Self {
        let kind = match payload.downcast::<Unwinding>() {
            Ok(u) => match *u {
                Unwinding::Exit => Kind::Exited,
                Unwinding::Abort => Kind::Cancelled,
            },
            Err(payload) => Kind::Panic(payload),
        };
        Self { id, kind }
    }

    pub(crate) fn exited(id: u64) -> Self {
        Self { id, kind: Kind::Exited }
    }

    pub(crate) fn cancelled(id: u64) -> Self {
        Self { id, kind: Kind::Cancelled }
    }

    /// The id of the goroutine that ended so; 0 for a thread, which a child of a scope or a group is
    /// where there is no runtime.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// It panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.kind, Kind::Panic(_))
    }

    /// It called [`goexit`](crate::goexit).
    #[must_use]
    pub fn is_exited(&self) -> bool {
        matches!(self.kind, Kind::Exited)
    }

    /// Its runtime was shut down before it ended.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind, Kind::Cancelled)
    }

    /// The panic's payload, as `std::panic::resume_unwind` takes it.
    ///
    /// # Errors
    /// `self`, if it did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        match self.kind {
            Kind::Panic(p) => Ok(p),
            kind => Err(Self { kind, ..self }),
        }
    }

    /// The panic's payload.
    ///
    /// # Panics
    /// If the goroutine did not panic.
    #[must_use]
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self.try_into_panic() {
            Ok(p) => p,
            Err(e) => panic!("into_panic: {e}"),
        }
    }

    fn message(&self) -> Option<&str> {
        let Kind::Panic(p) = &self.kind else { return None };
        p.downcast_ref::<&'static str>().copied().or_else(|| p.downcast_ref::<String>().map(|s| &**s))
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            0 => f.write_str("a thread")?,
            id => write!(f, "goroutine {id}")?,
        }
        match (&self.kind, self.message()) {
            (Kind::Panic(_), Some(m)) => write!(f, " panicked: {m}"),
            (Kind::Panic(_), None) => f.write_str(" panicked"),
            (Kind::Exited, _) => f.write_str(" called goexit"),
            (Kind::Cancelled, _) => f.write_str(" was cancelled by its runtime's shutdown"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

// SAFETY: by reference the payload is only asked whether it is a string, which is `Sync`; everything
// else takes the error itself.
unsafe impl Sync for JoinError {}

/// The handle of a goroutine: waits for its end and takes its result.
///
/// [`join`](Self::join) blocks, on goroutines and threads; in async code the handle is a future of
/// `Result<T, JoinError>`. Dropping it detaches the goroutine, which runs on; its result is dropped.
pub struct JoinHandle<T> {
    /// None once a poll has given the result.
    g: Option<&'static G>,
    _result: PhantomData<T>,
}

// SAFETY: the handle only takes a `T` out of the record, wherever it is.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: by reference it can be asked whether the goroutine is done, and nothing else.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> Unpin for JoinHandle<T> {}
impl<T> std::panic::UnwindSafe for JoinHandle<T> {}
impl<T> std::panic::RefUnwindSafe for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.g.map(|g| g.id.load(Ordering::Relaxed)))
            .field("is_finished", &self.is_finished())
            .finish()
    }
}

impl<T> JoinHandle<T> {
    /// # Safety
    /// The record holds a task with result `T`, and this is its only handle.
    pub(crate) unsafe fn new(g: &'static G) -> Self {
        Self { g: Some(g), _result: PhantomData }
    }

    /// The goroutine's id.
    ///
    /// # Panics
    /// If the handle has given its result, as a future.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.g().id.load(Ordering::Relaxed)
    }

    /// Whether it has ended, so that `join` returns at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.g.is_none_or(|g| g.join.is_done())
    }

    #[inline]
    fn g(&self) -> &'static G {
        self.g.expect("a JoinHandle was used after it gave its result as a future")
    }

    /// Waits for the goroutine to end and returns its result. **May park.**
    ///
    /// Inside a future this blocks the thread: `.await` the handle there instead.
    ///
    /// # Errors
    /// A [`JoinError`] if it panicked, called `goexit`, or was cancelled by its runtime's shutdown.
    ///
    /// # Panics
    /// If the handle has given its result before, as a future.
    pub fn join(self) -> Result<T, JoinError> {
        let g = self.g();
        // Once for all: a goroutine that parks comes back on the same stack.
        let at = here();
        if !g.join.is_done() {
            withdraw(g);
            let begin = |w: &core::task::Waker| match g.join.register(park::waker_into_words(w.clone())) {
                Ok(()) => false,
                Err(words) => {
                    drop(park::waker_from_words(words));
                    true
                }
            };
            park::wait_until_on(at, WaitReason::Join, begin, || g.join.is_done());
        }
        core::mem::forget(self);
        // SAFETY: this is the handle; it saw DONE; it is consumed.
        let result = unsafe { take_result(g) };
        free(at, g);
        result
    }
}

#[inline]
fn withdraw(g: &G) {
    if let Some(words) = g.join.withdraw() {
        drop(park::waker_from_words(words));
    }
}

/// The record of a goroutine that is done, and whose result was taken, on the stack `at`.
fn free(at: Option<&'static Stack>, g: &'static G) {
    if fork::is_child() {
        // The lock of the records may be held by a thread that is not here.
        return;
    }
    match bracket::enter_at(at) {
        Ok(rt) => {
            records::put_g(&rt, g);
            rt.leave();
        }
        Err(_) => records::put_g_foreign(g),
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let Some(g) = self.g else { return };
        let mut panicked = Panicked::default();
        panicked.run(|| withdraw(g));
        if g.join.detach() {
            // SAFETY: handle and runner are both done, so the result is ours.
            unsafe { (g.task().drop_result)(g) };
            free(here(), g);
        }
        panicked.go_on();
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    /// If it is polled again after it returned the result.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let g = this.g();
        let join = &g.join;
        if !join.is_done() {
            let same = join.registered().is_some_and(|words| {
                let waker = core::mem::ManuallyDrop::new(park::waker_from_words(words));
                waker.will_wake(cx.waker())
            });
            if same {
                return Poll::Pending;
            }
            withdraw(g);
            match join.register(park::waker_into_words(cx.waker().clone())) {
                Ok(()) => return Poll::Pending,
                Err(words) => drop(park::waker_from_words(words)),
            }
        }
        this.g = None;
        // SAFETY: as in `take`.
        let result = unsafe { take_result(g) };
        free(here(), g);
        Poll::Ready(result)
    }
}
