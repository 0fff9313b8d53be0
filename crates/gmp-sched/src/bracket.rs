//! Who runs here, and the bracket guard through which a P is touched.
//!
//! [`Rt`] is the proof that the calling code runs on an M, inside its bracket, and that the M holds
//! its P. Everything that belongs to a P is reached through an `Rt`. No user code runs while one
//! exists: wakers, callbacks and values to drop wait until after [`Rt::leave`]. It does not nest.
//!
//! # The thread-local contract, from the scheduler's side
//! Code on a goroutine's stack may go on on another thread after any call that parks. The scheduler's
//! one thread-local on that path says which stack the thread runs on. Each switch writes it, and it is
//! read by instructions that the compiler neither merges nor moves ([`arch::running`]): what code
//! reads after a park is said by the thread that it is on by then.
//!
//! Rejected: finding the stack's head by arithmetic on the stack pointer, which needs no thread-local
//! at all, but is seventeen instructions in a row where this is two, three times in each hop of a
//! goroutine; and it does not know code on a stack of somebody else's that a goroutine has called.

use crate::arch;
use crate::attention::PREEMPT;
use crate::fork;
use crate::runtime2::{G, M, P, Sched, Stack};
use core::marker::PhantomData;

/// The head of the stack that this code runs on; none on a thread that is not an M.
#[inline(never)]
pub(crate) fn here() -> Option<&'static Stack> {
    here_inlined()
}

/// [`here`], for code that is compiled in this crate only: what is not generic, and not inlined elsewhere.
#[inline(always)]
pub(crate) fn here_inlined() -> Option<&'static Stack> {
    let head = core::ptr::with_exposed_provenance::<Stack>(arch::running());
    // SAFETY: null, or what `runs_on` was given, which lasts for ever.
    unsafe { head.as_ref() }
}

/// From its next instruction, or switch, on the calling thread runs on this stack; or it is no M any more.
#[inline(always)]
pub(crate) fn runs_on(s: Option<&'static Stack>) {
    arch::set_running(s.map_or(0, |s| core::ptr::from_ref(s).expose_provenance()));
}

/// Whether the running goroutine may not change threads: it is a future being polled, it called
/// `lock_os_thread`, or it is unwinding (std counts panics in a thread-local).
#[inline]
pub(crate) fn is_pinned(s: &Stack, g: &G) -> bool {
    g.is_future.get() || is_bound(s)
}

/// [`is_pinned`] for a goroutine that is known to be stackful.
#[inline(always)]
pub(crate) fn is_bound(s: &Stack) -> bool {
    s.locked.get() > 0 || std::thread::panicking()
}

/// See the module's documentation.
#[must_use = "the bracket stays open until `leave`"]
pub(crate) struct Rt {
    m: &'static M,
    not_send: PhantomData<*const ()>,
}

/// What [`enter`] found instead of a P.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoP {
    /// The thread is not an M.
    Foreign,
    /// The M's P was taken, or it gave it up for a syscall.
    Without,
}

/// Opens the bracket. Never parks, never takes a P: for calls that may be made from anywhere, such
/// as wakers.
#[inline(always)]
pub(crate) fn enter() -> Result<Rt, NoP> {
    enter_at(here())
}

/// [`enter`], where it is known what runs here: a stack, or a thread that is not an M.
#[inline(always)]
pub(crate) fn enter_at(at: Option<&'static Stack>) -> Result<Rt, NoP> {
    match at {
        Some(s) => enter_on(s),
        None => Err(NoP::Foreign),
    }
}

/// [`enter`], where the running stack is known.
#[inline(always)]
pub(crate) fn enter_on(s: &Stack) -> Result<Rt, NoP> {
    let Some(m) = s.m.get() else { return Err(NoP::Foreign) };
    match m.attention.enter() {
        0 => Ok(Rt { m, not_send: PhantomData }),
        seen if claim(m, seen) => Ok(Rt { m, not_send: PhantomData }),
        _ => Err(NoP::Without),
    }
}

/// Keeps the P although there is a request; false, and the bracket is closed, if it is gone.
#[cold]
fn claim(m: &'static M, seen: u32) -> bool {
    if seen == PREEMPT && m.attention.claim() {
        // The request outlives the claim: the next call that may park yields.
        m.preempted.set(true);
        return true;
    }
    m.attention.leave();
    fork::check();
    false
}

impl Rt {
    /// The bracket of an M that has just been given a P and opened it, or that arrives by a switch
    /// from code that held an `Rt`.
    ///
    /// # Safety
    /// The calling thread is `m`, its bracket is open, and it holds `m.p`.
    #[inline(always)]
    pub(crate) unsafe fn assume(m: &'static M) -> Self {
        Self { m, not_send: PhantomData }
    }

    /// Closes the bracket; user code may run again.
    #[inline(always)]
    pub(crate) fn leave(self) {
        self.m.attention.leave();
    }

    /// Passes the open bracket through a switch, whose arriving side assumes it again.
    #[inline(always)]
    pub(crate) fn into_m(self) -> &'static M {
        self.m
    }

    #[inline(always)]
    pub(crate) fn m(&self) -> &'static M {
        self.m
    }

    #[inline(always)]
    pub(crate) fn p(&self) -> &'static P {
        self.m.p.get().expect("an Rt holds a P")
    }

    #[inline(always)]
    pub(crate) fn sched(&self) -> &'static Sched {
        self.p().sched
    }
}
