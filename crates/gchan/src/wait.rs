//! How a blocked call waits: a goroutine through the hook, a plain thread by spinning and then sleeping.
//!
//! Goroutines never spin: their processor has other work. A thread spins within a patience that it learns (see
//! `thread_parker`), because the partner in a rendezvous usually runs on the other core.

use crate::park::{self, Handle, Park, Reason};
use crate::waitq::{Outcome, Waiter};
use std::time::Instant;

/// Who blocks here. Found afresh for every wait, and not kept across one.
pub(crate) enum Blocker {
    Goroutine(Handle, &'static dyn Park),
    #[cfg(not(loom))]
    Thread(&'static crate::thread_parker::Record),
    #[cfg(loom)]
    Thread(std::sync::Arc<model::Parker>),
}

/// Runs `f` as whoever blocks here.
///
/// Not inlined, so that what it computes from thread-locals is not kept across a park of the caller.
#[inline(never)]
pub(crate) fn as_blocker<R>(f: impl FnOnce(&Blocker) -> R) -> R {
    if let Some(hook) = park::hook()
        && let Some(handle) = hook.current()
    {
        return f(&Blocker::Goroutine(handle, hook));
    }
    #[cfg(not(loom))]
    return crate::thread_parker::with(|record| f(&Blocker::Thread(record)));
    #[cfg(loom)]
    f(&Blocker::Thread(model::Parker::new()))
}

/// The goroutine that runs here, if it is one. Takes no lock and allocates nothing.
///
/// Inlined: it uses no thread-local itself, the hook's call is opaque, and what it returns stays in registers.
#[inline(always)]
pub(crate) fn goroutine() -> Option<Blocker> {
    let hook = park::hook()?;
    Some(Blocker::Goroutine(hook.current()?, hook))
}

/// This thread, which runs no goroutine, if it has waited before. Takes no lock and allocates nothing.
#[inline(never)]
pub(crate) fn known_thread() -> Option<Blocker> {
    #[cfg(not(loom))]
    return crate::thread_parker::known().map(Blocker::Thread);
    #[cfg(loom)]
    Some(Blocker::Thread(model::Parker::new()))
}

impl Blocker {
    /// A fresh word for one wait of this blocker.
    #[inline]
    pub(crate) fn waiter(&self) -> Waiter {
        match self {
            Blocker::Goroutine(handle, _) => {
                Waiter::asleep(Some(crate::waitq::Wake::Handle(*handle)))
            }
            #[cfg(not(loom))]
            Blocker::Thread(record) => Waiter::awake(record.handle()),
            #[cfg(loom)]
            Blocker::Thread(parker) => {
                Waiter::asleep(Some(crate::waitq::Wake::Waker(parker.clone().into())))
            }
        }
    }

    /// How to end a [`pause`](Self::pause).
    #[cfg(not(loom))]
    pub(crate) fn handle(&self) -> Handle {
        match self {
            Blocker::Goroutine(handle, _) => *handle,
            Blocker::Thread(record) => record.handle(),
        }
    }

    /// Sleeps until unparked, or for no reason.
    #[cfg(not(loom))]
    pub(crate) fn pause(&self) {
        match self {
            // SAFETY: a blocker is found afresh for every wait, by the waiter itself.
            Blocker::Goroutine(me, hook) => unsafe { hook.park(*me, Reason::ChanReceive, None) },
            Blocker::Thread(record) => {
                sleep_thread(record, Reason::ChanReceive, None);
            }
        }
    }

    /// Makes the word of a finished wait fresh again. The waiter is queued nowhere.
    #[inline]
    pub(crate) fn reopen(&self, waiter: &Waiter) {
        match self {
            Blocker::Goroutine(..) => waiter.reopen(),
            #[cfg(not(loom))]
            Blocker::Thread(_) => waiter.reopen_awake(),
            #[cfg(loom)]
            Blocker::Thread(parker) => {
                waiter.reopen();
                // SAFETY: the waiter is queued nowhere, so nobody else looks.
                unsafe { waiter.set_wake(crate::waitq::Wake::Waker(parker.clone().into())) };
            }
        }
    }

    /// Lets somebody empty a full buffer, if this is a thread and somebody does so fast. True if that made room.
    pub(crate) fn watches_drain(&self, len: impl Fn() -> usize) -> bool {
        #[cfg(not(loom))]
        if matches!(self, Blocker::Thread(_)) {
            return crate::thread_parker::watch_drain(len);
        }
        let _ = len;
        false
    }

    /// Waits a little for `ready`, if this is a thread.
    pub(crate) fn hesitate(&self, ready: impl Fn() -> bool) {
        match self {
            #[cfg(not(loom))]
            Blocker::Thread(record) => record.hesitate(ready),
            _ => {
                let _ = ready;
            }
        }
    }

    /// Parks a goroutine that came to stand in line just now, and looked at nothing since: a wake-up cannot be lost
    /// between, because nothing ran that could have parked and so used it up. A thread looks first.
    #[inline(always)]
    pub(crate) fn park_first(&self, reason: Reason, deadline: Option<Instant>) {
        if let Blocker::Goroutine(me, hook) = self {
            // SAFETY: a blocker is found afresh for every wait, by the waiter itself.
            unsafe { hook.park(*me, reason, deadline) };
        }
    }

    /// Waits until the waiter is done, which gives its result, or the deadline has passed.
    ///
    /// The hook's park may unwind; whoever queued the waiter has a guard for that.
    #[inline(always)]
    pub(crate) fn wait(
        &self,
        waiter: &Waiter,
        reason: Reason,
        deadline: Option<Instant>,
    ) -> Option<(Outcome, usize)> {
        match self {
            Blocker::Goroutine(me, hook) => loop {
                if let Some(result) = waiter.result() {
                    return Some(result);
                }
                if deadline.is_some_and(|d| Instant::now() >= d) {
                    return None;
                }
                // SAFETY: a blocker is found afresh for every wait, by the waiter itself.
                unsafe { hook.park(*me, reason, deadline) };
            },
            #[cfg(not(loom))]
            Blocker::Thread(record) => wait_thread(record, waiter, reason, deadline),
            #[cfg(loom)]
            Blocker::Thread(parker) => model::wait(parker, waiter, deadline),
        }
    }

    /// As [`wait`](Self::wait), for as long as it takes.
    #[cold]
    pub(crate) fn wait_on(&self, waiter: &Waiter, reason: Reason) -> Option<(Outcome, usize)> {
        self.wait(waiter, reason, None)
    }
}

#[cfg(not(loom))]
fn wait_thread(
    record: &'static crate::thread_parker::Record,
    waiter: &Waiter,
    reason: Reason,
    deadline: Option<Instant>,
) -> Option<(Outcome, usize)> {
    if !record.spin_until(|| waiter.is_done()) && waiter.fall_asleep() {
        while !waiter.is_done() && sleep_thread(record, reason, deadline) {}
    }
    waiter.result()
}

/// Sleeps once; false if the deadline has passed.
#[cfg(not(loom))]
fn sleep_thread(
    record: &'static crate::thread_parker::Record,
    reason: Reason,
    deadline: Option<Instant>,
) -> bool {
    let timeout = deadline.map(|d| d.saturating_duration_since(Instant::now()));
    if timeout.is_some_and(|t| t.is_zero()) {
        return false;
    }
    let mut sleep = || record.park(timeout);
    match park::hook() {
        Some(hook) => hook.blocking(reason, deadline, &mut sleep),
        None => sleep(),
    }
    true
}

/// Waits, on no channel at all, until the deadline; for ever without one.
pub(crate) fn wait_for_time(reason: Reason, deadline: Option<Instant>) {
    as_blocker(|blocker| {
        let waiter = blocker.waiter();
        while blocker.wait(&waiter, reason, deadline).is_none() {
            if deadline.is_some_and(|d| Instant::now() >= d) {
                return;
            }
        }
    });
}

#[cfg(loom)]
pub(crate) mod model {
    //! A parker that loom understands. It is a `Waker`, so the models also cover the tasks' way of being woken.
    use loom::sync::Notify;
    use std::sync::Arc;
    use std::task::Wake;

    pub(crate) struct Parker {
        bell: Notify,
    }

    impl Parker {
        pub(crate) fn new() -> Arc<Self> {
            Arc::new(Self {
                bell: Notify::new(),
            })
        }

        pub(crate) fn park(&self) {
            self.bell.wait();
        }
    }

    pub(super) fn wait(
        parker: &Parker,
        waiter: &crate::waitq::Waiter,
        deadline: Option<std::time::Instant>,
    ) -> Option<(crate::waitq::Outcome, usize)> {
        while !waiter.is_done() && deadline.is_none() {
            parker.park();
        }
        waiter.result()
    }

    impl Wake for Parker {
        fn wake(self: Arc<Self>) {
            self.bell.notify();
        }
    }
}
