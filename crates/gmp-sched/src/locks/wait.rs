//! From a function that is polled to one that blocks: how all locks here have one algorithm and
//! two faces.
//!
//! A lock's slow path is written once, as a function of a waker that says ready or pending. Its
//! `async` form polls it from a future; its blocking form calls [`block`], which waits as whoever
//! runs here (a goroutine parks, a thread sleeps). A wait with a deadline sets an [`Alarm`], which
//! wakes it like anybody else; a thread that belongs to no runtime sleeps by its own clock.
//!
//! **Shutdown.** The abort of a runtime unwinds every park. Two waits here must not end so: the join of a
//! [`scope`](crate::scope), whose children borrow, and the second half of a condition variable's
//! wait, which has to return *or unwind* with the mutex locked. Waiting in a destructor meanwhile would
//! do, but a goroutine that unwinds keeps its thread: as many threads as scopes, and 15,000 of them
//! end the process. So there are three ways ([`OnAbort`]) for a wait to meet an abort.

use core::task::{Poll, Waker};

#[cfg(not(loom))]
pub(crate) use real::{
    block, block_unless_aborted, can_spin, go_on_aborting, nanos_from_now, nanos_until, now,
    outlast, steadfast,
};

#[cfg(loom)]
pub(crate) use model::{block, can_spin, now};

#[cfg(not(loom))]
mod real {
    use super::{Poll, Waker};
    use crate::bracket;
    use crate::bracket::here;
    use crate::locks::alarm::Alarm;
    use crate::runtime2::{G, Stack};
    use crate::wait_reason::WaitReason;
    use crate::{park, sys, syscall, unwind};
    use core::cell::RefCell;
    use core::sync::atomic::{AtomicU32, Ordering};
    use core::time::Duration;
    use parking_lot::{Condvar, Mutex};
    use std::sync::Arc;
    use std::task::Wake;
    use std::time::Instant;

    /// What a wait keeps between two wake-ups.
    struct Waiting<F, R> {
        poll: F,
        waker: Option<Waker>,
        alarm: Option<Alarm>,
        result: Option<R>,
    }

    impl<R, F: FnMut(&Waker) -> Poll<R>> Waiting<F, R> {
        fn look(&mut self, waker: &Waker) -> bool {
            if let Poll::Ready(r) = (self.poll)(waker) {
                self.result = Some(r);
            }
            self.result.is_some()
        }
    }

    /// What a wait does when the runtime that it parks on is being aborted.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum OnAbort {
        /// Unwinds: what every park does.
        Unwind,
        /// Ends, as if its time had run out.
        End,
        /// Waits on.
        Stay,
    }

    /// Waits until `poll` is ready; `None` once the deadline (of [`sys::nanotime`]) has passed.
    /// May park, and unwinds from there if the runtime is being aborted.
    pub(crate) fn block<R>(
        reason: WaitReason,
        deadline: Option<u64>,
        poll: impl FnMut(&Waker) -> Poll<R>,
    ) -> Option<R> {
        block_as(OnAbort::Unwind, reason, deadline, poll)
    }

    /// As [`block`], but `None` where that would unwind: the caller puts things in order, then
    /// calls [`go_on_aborting`].
    pub(crate) fn block_unless_aborted<R>(
        reason: WaitReason,
        deadline: Option<u64>,
        poll: impl FnMut(&Waker) -> Poll<R>,
    ) -> Option<R> {
        block_as(OnAbort::End, reason, deadline, poll)
    }

    /// As [`block`], but goes on waiting during an abort.
    ///
    /// Unless the goroutine may not change threads: then an abort unwinds it as usual. [`steadfast`]
    /// takes care of that.
    pub(crate) fn outlast<R>(reason: WaitReason, poll: impl FnMut(&Waker) -> Poll<R>) -> R {
        block_as(OnAbort::Stay, reason, None, poll).expect("without a deadline it ends when ready")
    }

    /// Unwinds the caller if it is a goroutine whose runtime is being aborted.
    pub(crate) fn go_on_aborting() {
        if let Some((_, g)) = park::current() {
            unwind::check(g);
        }
    }

    fn block_as<R>(
        on_abort: OnAbort,
        reason: WaitReason,
        deadline: Option<u64>,
        poll: impl FnMut(&Waker) -> Poll<R>,
    ) -> Option<R> {
        if let Some(deadline) = deadline
            && here().is_none()
        {
            return block_thread(deadline, poll);
        }
        let waiting = RefCell::new(Waiting {
            poll,
            waker: None,
            alarm: None,
            result: None,
        });
        let late = || deadline.is_some_and(|d| sys::nanotime() >= d);
        let begin = |waker: &Waker| {
            let mut w = waiting.borrow_mut();
            if w.look(waker) || late() {
                return true;
            }
            w.alarm = deadline.map(|d| Alarm::set(d, waker));
            w.waker = Some(waker.clone());
            false
        };
        let ready = || {
            let mut w = waiting.borrow_mut();
            let waker = w.waker.take().expect("begin stored it");
            let over = w.look(&waker) || late();
            w.waker = Some(waker);
            over
        };
        wait_until(on_abort, reason, begin, ready);
        waiting.into_inner().result
    }

    /// [`park::wait_until`], whatever it is to do on an abort.
    fn wait_until(
        on_abort: OnAbort,
        reason: WaitReason,
        begin: impl FnOnce(&Waker) -> bool,
        mut ready: impl FnMut() -> bool,
    ) {
        match park::current() {
            Some((s, g)) if on_abort != OnAbort::Unwind => {
                if begin(&park::waker(g)) {
                    return;
                }
                // A wait in a destructor of what unwinds goes through in any case.
                let ends =
                    || on_abort == OnAbort::End && unwind::is_due(g) && !std::thread::panicking();
                while !ready() && !ends() {
                    park_through(s, g, reason);
                }
            }
            _ => park::wait_until(reason, begin, ready),
        }
    }

    /// [`park::park_goroutine`] without its looks at an abort; those of a goroutine that keeps its
    /// thread stay.
    fn park_through(s: &'static Stack, g: &'static G, reason: WaitReason) {
        if bracket::is_pinned(s, g) {
            return park::park_goroutine(s, g, reason);
        }
        if g.park.take_permit() {
            return;
        }
        park::wait_off_stack(syscall::enter_may_park(s, g), s, g, reason);
    }

    /// A thread that waits by its own clock. Not counted as parked: it will wake by itself.
    #[derive(Default)]
    struct Bell {
        rung: Mutex<bool>,
        cond: Condvar,
    }

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            *self.rung.lock() = true;
            self.cond.notify_one();
        }
    }

    #[cold]
    fn block_thread<R>(deadline: u64, mut poll: impl FnMut(&Waker) -> Poll<R>) -> Option<R> {
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        loop {
            if let Poll::Ready(r) = poll(&waker) {
                return Some(r);
            }
            let mut rung = bell.rung.lock();
            while !*rung {
                let left = deadline.saturating_sub(sys::nanotime());
                if left == 0 {
                    return None;
                }
                bell.cond.wait_for(&mut rung, Duration::from_nanos(left));
            }
            *rung = false;
        }
    }

    /// Does `wait` (an [`outlast`]) to its end, whatever happens: if an abort unwinds it, because its
    /// goroutine keeps its thread, again while unwinding, when parking goes through. `wait` must be
    /// one that may be begun anew.
    pub(crate) fn steadfast(wait: impl Fn()) {
        struct Again<F: Fn()>(F);
        impl<F: Fn()> Drop for Again<F> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    (self.0)();
                }
            }
        }
        if std::thread::panicking() {
            return wait();
        }
        let again = Again(wait);
        (again.0)();
    }

    /// Whether active spinning may help: somebody else can run meanwhile, and nobody waits for this
    /// P (`sync_runtime_canSpin`).
    pub(crate) fn can_spin() -> bool {
        let Some(m) = here().and_then(|s| s.m.get()) else {
            return cpus() > 1;
        };
        let Some(p) = m.p.get() else { return false };
        cpus() > 1 && m.sched().procs.load(Ordering::Relaxed) > 1 && p.runq.is_empty()
    }

    fn cpus() -> u32 {
        static CPUS: AtomicU32 = AtomicU32::new(0);
        match CPUS.load(Ordering::Relaxed) {
            0 => {
                let n = crate::cpus::default_procs();
                CPUS.store(n, Ordering::Relaxed);
                n
            }
            n => n,
        }
    }

    pub(crate) fn now() -> u64 {
        sys::nanotime()
    }

    /// A deadline `d` from now.
    pub(crate) fn nanos_from_now(d: Duration) -> u64 {
        sys::nanotime().saturating_add(d.as_nanos().try_into().unwrap_or(u64::MAX))
    }

    /// An `Instant` on the clock of [`sys::nanotime`].
    pub(crate) fn nanos_until(at: Instant) -> u64 {
        nanos_from_now(at.saturating_duration_since(Instant::now()))
    }
}

#[cfg(loom)]
mod model {
    use super::{Poll, Waker};
    use core::sync::atomic::{AtomicU64, Ordering};

    pub(crate) fn block<R>(mut poll: impl FnMut(&Waker) -> Poll<R>) -> R {
        loom::future::block_on(core::future::poll_fn(|cx| poll(cx.waker())))
    }

    pub(crate) fn can_spin() -> bool {
        false
    }

    /// Each look is two milliseconds later, so whoever waits twice is starving.
    pub(crate) fn now() -> u64 {
        static CLOCK: AtomicU64 = AtomicU64::new(0);
        CLOCK.fetch_add(2_000_000, Ordering::Relaxed) + 1
    }
}
