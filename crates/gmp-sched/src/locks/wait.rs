//! From a function that is polled to one that blocks: how all locks here have one algorithm and
//! two faces.
//!
//! A lock's slow path is written once, as a function of a waker that says ready or pending. Its
//! `async` form polls it from a future; its blocking form calls [`block`], which waits as whoever
//! runs here (a goroutine parks, a thread sleeps). A wait with a deadline sets an [`Alarm`], which
//! wakes it like anybody else; a thread that belongs to no runtime sleeps by its own clock.

use core::task::{Poll, Waker};

#[cfg(not(loom))]
pub(crate) use real::{block, can_spin, nanos_from_now, nanos_until, now, steadfast};

#[cfg(loom)]
pub(crate) use model::{block, can_spin, now};

#[cfg(not(loom))]
mod real {
    use super::{Poll, Waker};
    use crate::bracket::here;
    use crate::locks::alarm::Alarm;
    use crate::wait_reason::WaitReason;
    use crate::{park, sys};
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

    /// Waits until `poll` is ready; `None` once the deadline (of [`sys::nanotime`]) has passed.
    /// May park, and unwinds from there if the runtime is being aborted.
    pub(crate) fn block<R>(
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
        let begin = |waker: &Waker| {
            let mut w = waiting.borrow_mut();
            if w.look(waker) {
                return true;
            }
            w.alarm = deadline.map(|d| Alarm::set(d, waker));
            w.waker = Some(waker.clone());
            false
        };
        let ready = || {
            let mut w = waiting.borrow_mut();
            let waker = w.waker.take().expect("begin stored it");
            let over = w.look(&waker) || deadline.is_some_and(|d| sys::nanotime() >= d);
            w.waker = Some(waker);
            over
        };
        park::wait_until(reason, begin, ready);
        waiting.into_inner().result
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

    /// Does `wait` to its end, whatever happens: if an abort unwinds it, again while unwinding,
    /// when parking goes through. `wait` must be one that may be begun anew.
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
