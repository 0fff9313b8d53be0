//! What a timer does when it fires.
//!
//! A callback is taken out of its timer under the heap's lock and run after the lock is released
//! (Go's `runOneTimer`). Taking it never runs user code: a waker or a boxed closure is moved, a
//! shared one has its count raised. Dropping one may run user code, so whoever swaps a callback
//! hands the old one out to be dropped with no lock and no timer status held.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::task::Waker;

/// A callback that can fire more than once, on any thread.
pub trait Fire: Send + Sync {
    /// Called when the timer fires. `seq` is the number given with the callback, `now` the time
    /// that the caller of `check` gave.
    ///
    /// It runs on the thread that called `check`, with no lock held, and delays the timers behind
    /// it: it should be short and must not block.
    fn fire(&self, seq: usize, now: i64);
}

impl<F: Fn() + Send + Sync> Fire for F {
    fn fire(&self, _seq: usize, _now: i64) {
        self();
    }
}

/// What a timer does when it fires: 32 bytes, no allocation for a waker or a plain function.
#[derive(Default)]
pub struct Callback(pub(crate) Kind);

#[derive(Default)]
pub(crate) enum Kind {
    /// Nothing left to do: never set, or a one-shot callback that has run.
    #[default]
    Nothing,
    Wake(Waker),
    Func {
        f: unsafe fn(*mut (), usize),
        arg: *mut (),
        seq: usize,
    },
    Once(Box<dyn FnOnce() + Send>),
    Shared {
        f: Arc<dyn Fire>,
        seq: usize,
    },
}

// SAFETY: every variant but `Func` is Send by its type. For `Func` the caller of `Callback::func`
// promised that `f(arg, seq)` may be called on any thread.
unsafe impl Send for Callback {}

impl Callback {
    /// A callback that does nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self(Kind::Nothing)
    }

    /// Wakes `waker`, once.
    #[must_use]
    pub fn wake(waker: Waker) -> Self {
        Self(Kind::Wake(waker))
    }

    /// Calls `f(arg, seq)`: the form for a runtime's own timers, which allocates nothing.
    ///
    /// # Safety
    ///
    /// Until the timer has been given another callback or has been freed, and until calls already
    /// under way have returned (stopping a timer does not wait for them), `f(arg, seq)` must be
    /// sound to call from any thread, any number of times, also concurrently.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// static WOKEN: AtomicUsize = AtomicUsize::new(0);
    /// unsafe fn ready(arg: *mut (), seq: usize) {
    ///     // SAFETY: `arg` is the static above.
    ///     unsafe { &*arg.cast::<AtomicUsize>() }.store(seq, Ordering::Relaxed);
    /// }
    ///
    /// let timers = gtimer::heap::Timers::new();
    /// let sleep = gtimer::heap::Handle::new(); // kept with the goroutine, used again and again
    /// let arg = (&raw const WOKEN).cast_mut().cast();
    /// // SAFETY: a static lives forever, and storing to an atomic is sound from any thread.
    /// timers.arm(&sleep, 10, 0, unsafe { gtimer::Callback::func(ready, arg, 7) });
    /// timers.check(10);
    /// assert_eq!(WOKEN.load(Ordering::Relaxed), 7);
    /// ```
    #[must_use]
    pub const unsafe fn func(f: unsafe fn(*mut (), usize), arg: *mut (), seq: usize) -> Self {
        Self(Kind::Func { f, arg, seq })
    }

    /// Calls `f`, once.
    #[must_use]
    pub fn once(f: impl FnOnce() + Send + 'static) -> Self {
        Self(Kind::Once(Box::new(f)))
    }

    /// Calls `f.fire(seq, now)` each time the timer fires; closures without arguments will do.
    #[must_use]
    pub fn shared(f: Arc<dyn Fire>, seq: usize) -> Self {
        Self(Kind::Shared { f, seq })
    }

    /// Whether it can fire more than once.
    pub(crate) const fn repeats(&self) -> bool {
        matches!(
            self.0,
            Kind::Nothing | Kind::Func { .. } | Kind::Shared { .. }
        )
    }

    /// What to run now; a callback that can fire again stays.
    pub(crate) fn fire(&mut self) -> Self {
        match &self.0 {
            Kind::Func { f, arg, seq } => Self(Kind::Func {
                f: *f,
                arg: *arg,
                seq: *seq,
            }),
            Kind::Shared { f, seq } => Self(Kind::Shared {
                f: Arc::clone(f),
                seq: *seq,
            }),
            Kind::Nothing | Kind::Wake(_) | Kind::Once(_) => core::mem::take(self),
        }
    }

    /// Runs what [`Callback::fire`] handed out.
    pub(crate) fn run(self, now: i64) {
        match self.0 {
            Kind::Nothing => {}
            Kind::Wake(waker) => waker.wake(),
            // SAFETY: the promise given to `Callback::func`.
            Kind::Func { f, arg, seq } => unsafe { f(arg, seq) },
            Kind::Once(f) => f(),
            Kind::Shared { f, seq } => f.fire(seq, now),
        }
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Nothing => "Callback::none",
            Kind::Wake(_) => "Callback::wake",
            Kind::Func { .. } => "Callback::func",
            Kind::Once(_) => "Callback::once",
            Kind::Shared { .. } => "Callback::shared",
        })
    }
}
