//! Who runs here, and the bracket guard through which a P is touched.
//!
//! [`Rt`] is the proof that the calling code runs on an M, inside its bracket, and that the M holds
//! its P. Everything that belongs to a P is reached through an `Rt`. No user code runs while one
//! exists: wakers, callbacks and values to drop wait until after [`Rt::leave`]. It does not nest.
//!
//! # The thread-local contract, from the scheduler's side
//! Code on a goroutine's stack may go on on another thread after any call that parks. So the
//! scheduler never asks a thread-local who it is: it masks the stack pointer ([`crate::stack::of`]).
//! Only code on an OS stack, which never changes threads, reads the thread-local below, and only
//! through a function that is not inlined and returns no address of it.

use crate::arch;
use crate::attention::PREEMPT;
use crate::fork;
use crate::runtime2::{G, M, P, Sched, Stack};
use crate::stack;
use core::cell::Cell;
use core::marker::PhantomData;

thread_local! {
    /// The head of this thread's own stack, if the thread is an M.
    static OS_STACK: Cell<Option<&'static Stack>> = const { Cell::new(None) };
}

#[inline(never)]
fn os_stack() -> Option<&'static Stack> {
    OS_STACK.try_with(Cell::get).ok().flatten()
}

/// Makes the calling thread an M, or no M any more.
#[inline(never)]
pub(crate) fn set_os_stack(s: Option<&'static Stack>) {
    OS_STACK.with(|c| c.set(s));
}

/// The head of the stack that this code runs on; none on a thread that is not an M.
#[inline(always)]
pub(crate) fn here() -> Option<&'static Stack> {
    match stack::of(arch::stack_pointer()) {
        Some(s) => Some(s),
        None => os_stack(),
    }
}

/// Whether the running goroutine may not change threads: it is a future being polled, it called
/// `lock_os_thread`, or it is unwinding (std counts panics in a thread-local).
#[inline]
pub(crate) fn is_pinned(s: &Stack, g: &G) -> bool {
    g.task().is_future || is_bound(s)
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
