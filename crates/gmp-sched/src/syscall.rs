//! Giving the P up and getting it back: syscalls, retaken Ps, and goroutines bound to their thread
//! (R38, R41-R50).
//!
//! Re-creates `entersyscall`, `entersyscallblock`, `exitsyscall`, `stoplockedm` and
//! `startlockedm` of Go 1.19's `proc.go`.
//!
//! A P in `Psyscall` belongs to nobody: the M that left it there takes it back by one
//! compare-exchange, and so may sysmon, to lend it out. That is why it is not simply idle (R44): a
//! short call costs neither a lock nor a wake-up. Coming back, an M tries in this order:
//! 1. its old P, if nobody took it;
//! 2. any idle P;
//! 3. the goroutine goes on the global queue, and the M sleeps. If the goroutine is pinned, the M
//!    sleeps with it, and whoever finds it on the queue hands that M his P.
//!
//! An M whose P was taken from under running code comes back the same way, from 2 on; if it has to
//! retire ([`crate::retake`]), from 3 on.

use crate::bracket::{self, Rt, here};
use crate::census::PROCESS;
use crate::runtime2::{G, M, P, Post, Stack};
use crate::p_status::PStatus;
use crate::status::GStatus;
use crate::{fork, idle, queues, retake, stop_world, switch, sys};
use core::sync::atomic::Ordering;

/// Opens the bracket for a call that may park: gets a P first if this M has none, and yields first
/// if it was asked to.
#[inline(always)]
pub(crate) fn enter_may_park(s: &'static Stack, g: &'static G) -> Rt {
    match bracket::enter_on(s) {
        Ok(rt) if !rt.m().preempted.get() => rt,
        Ok(rt) => preempted(rt, s, g),
        Err(_) => regain(s, g),
    }
}

/// The end of a call that may park: closes the bracket, or goes back into the `blocking` section
/// that the call was made from (as `cgocallback` does).
#[inline(always)]
pub(crate) fn leave_may_park(rt: Rt, s: &'static Stack, g: &'static G) {
    if s.blocking.any() {
        leave_within(rt, s, g);
    } else {
        rt.leave();
    }
}

/// Within a section; or within a wait that began without a P, as if that were taken again.
#[cold]
#[inline(never)]
fn leave_within(rt: Rt, s: &'static Stack, g: &'static G) {
    if s.blocking.in_section() {
        enter_syscall(rt, g);
    } else {
        idle::hand_p_on(rt);
    }
    s.blocking.counts_as_told(&PROCESS);
}

#[cold]
fn preempted(rt: Rt, s: &'static Stack, g: &'static G) -> Rt {
    let pinned = bracket::is_pinned(s, g);
    if rt.sched().gcwaiting.load(Ordering::Acquire) {
        rt.m().preempted.set(false);
        if pinned {
            g.set_status(GStatus::Syscall);
            let m = stop_world::surrender(rt);
            return wait_on_thread(m, s, g);
        }
        return switch::leave_goroutine(rt, g, Post::Inject(g), None);
    }
    if pinned {
        // The request waits until the goroutine may move.
        return rt;
    }
    rt.m().preempted.set(false);
    switch::yield_global(rt, g)
}

#[cold]
fn regain(s: &'static Stack, g: &'static G) -> Rt {
    let m = s.m.get().expect("a goroutine runs on an M");
    s.blocking.counts_again(&PROCESS);
    if s.blocking.in_section() {
        return exit_syscall(m, s, g);
    }
    g.set_status(GStatus::Syscall);
    if !retake::come_forward(m) && !bracket::is_pinned(s, g) {
        return switch::leave_without_p(m, g, Post::Inject(g));
    }
    reacquire(m, s, g)
}

/// Gives the P up for a call that may be short (`entersyscall`).
#[inline(always)]
pub(crate) fn enter_syscall(rt: Rt, g: &'static G) {
    g.set_status(GStatus::Syscall);
    let (m, p) = (rt.m(), rt.p());
    if p.long_calls.get() && work_waits(p) {
        return enter_long(rt);
    }
    if m.attention.peek() != 0 {
        m.attention.claim();
    }
    m.attention.give_up();
    rt.leave();
    // `m.p` stays as a note of where to look for it again. From here on the P may be anybody's.
    p.set_status(PStatus::Syscall);
    if m.sched().gcwaiting.load(Ordering::SeqCst) {
        stop_world::stop_p_in_syscall(p);
    }
}

fn work_waits(p: &P) -> bool {
    !p.runq.is_empty() || p.sched.nglobq.load(Ordering::Relaxed) > 0
}

/// Calls on this P have been long of late, and others wait: the P goes to them at once instead of
/// when sysmon looks (`entersyscallblock`, chosen by experience).
#[cold]
fn enter_long(rt: Rt) {
    rt.m().call_began.set(sys::nanotime());
    rt.m().handed.set(Some(rt.p()));
    idle::hand_p_on(rt);
}

/// Gets a P after [`enter_syscall`] (`exitsyscall`).
#[inline(always)]
fn exit_syscall(m: &'static M, s: &'static Stack, g: &'static G) -> Rt {
    if reacquire_old_p(m, g) {
        m.attention.enter();
        m.attention.regained();
        // SAFETY: the calling thread is m, its bracket is open, and it holds m.p.
        unsafe { Rt::assume(m) }
    } else {
        exit_without_p(m, s, g)
    }
}

/// [`exit_syscall`] for an M that has nothing to do with its P but to go on. Says whether it has one; if
/// not, [`exit_without_p`] is next.
#[inline(always)]
fn exit_syscall_fast(m: &'static M, g: &'static G) -> bool {
    let ours = reacquire_old_p(m, g);
    if ours {
        m.attention.returned();
    }
    ours
}

/// Takes the P back where it was left (`exitsyscallfast_reacquired`), but for the attention word, which
/// keeps takers away until the P is complete.
#[inline(always)]
fn reacquire_old_p(m: &'static M, g: &'static G) -> bool {
    let Some(p) = m.p.get() else { return false };
    let ours = p.cas_status(PStatus::Syscall, PStatus::Idle);
    if ours {
        idle::bind_p(m, p);
        p.syscalltick.store(p.syscalltick.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        g.set_status(GStatus::Running);
    }
    ours
}

#[cold]
fn exit_without_p(
    m: &'static M,
    s: &'static Stack,
    g: &'static G,
) -> Rt {
    /// A call that is over sooner was not worth another thread's wake-up.
    const LONG: u64 = 50_000;
    fork::check();
    let began = m.call_began.replace(0);
    let long = began > 0 && sys::nanotime() - began >= LONG;
    let oldp = m.p.take();
    let lent_out = oldp.is_some();
    let rt = match left_again(oldp.or(m.handed.take())) {
        Some(p) => {
            let rt = idle::acquire_p(m, p);
            p.syscalltick.store(p.syscalltick.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            g.set_status(GStatus::Running);
            // Others have run on it meanwhile: their slice is not this goroutine's.
            queues::new_slice(&rt);
            rt
        }
        None => reacquire(m, s, g),
    };
    if lent_out || began > 0 {
        rt.p().long_calls.set(lent_out || long);
    }
    rt
}

/// Looks for a while whether the old P is left in a call once more: where many come back from calls at the same time, each
/// passes through it in a microsecond, and to queue for it would cost two wake-ups.
fn left_again(p: Option<&'static P>) -> Option<&'static P> {
    const LOOKS: u32 = 64;
    let p = p?;
    for _ in 0..LOOKS {
        match p.status() {
            PStatus::Syscall if p.cas_status(PStatus::Syscall, PStatus::Idle) => return Some(p),
            PStatus::Running => core::hint::spin_loop(),
            _ => return None,
        }
    }
    None
}

#[cold]
fn reacquire(m: &'static M, s: &'static Stack, g: &'static G) -> Rt {
    let sched = m.sched();
    let p = sched.lock.lock().pidle_get(sched);
    if let Some(p) = p {
        sched.stats.syscall_other_idle.fetch_add(1, Ordering::Relaxed);
        let rt = idle::acquire_p(m, p);
        g.set_status(GStatus::Running);
        return rt;
    }
    sched.stats.syscall_slow.fetch_add(1, Ordering::Relaxed);
    if bracket::is_pinned(s, g) {
        return wait_on_thread(m, s, g);
    }
    switch::leave_without_p(m, g, Post::Inject(g))
}

/// A pinned goroutine waits for a P with its thread (`stoplockedm`).
fn wait_on_thread(m: &'static M, s: &'static Stack, g: &'static G) -> Rt {
    debug_assert!(g.stack.get().is_some_and(|x| core::ptr::eq(x, s)));
    g.pinned.store(true, Ordering::Relaxed);
    g.set_status(GStatus::Runnable);
    idle::inject(m.sched(), g);
    idle::sleep_on_note(m, None);
    let rt = idle::take_nextp(m).expect("a pinned goroutine is handed a P");
    g.pinned.store(false, Ordering::Relaxed);
    g.set_status(GStatus::Running);
    m.curg.store(queues::item(g), Ordering::Relaxed);
    rt
}

/// Lets others run although the goroutine keeps its thread: its P goes on without it, if anybody waits.
#[cold]
pub(crate) fn yield_pinned(rt: Rt, s: &'static Stack, g: &'static G) -> Rt {
    if rt.p().runq.is_empty() && rt.sched().nglobq.load(Ordering::Relaxed) == 0 {
        return rt;
    }
    g.set_status(GStatus::Syscall);
    let m = idle::hand_p_on(rt);
    wait_on_thread(m, s, g)
}

/// Hands this M's P to the M that a pinned goroutine waits with, and sleeps (`startlockedm`).
pub(crate) fn start_locked_m(rt: Rt, g: &'static G) -> Result<Rt, &'static M> {
    let owner = g.stack.get().and_then(|s| s.m.get()).expect("a pinned goroutine keeps its M");
    let (m, p) = idle::release_p(rt);
    idle::hand_to(owner, p);
    idle::stop_m(m).ok_or(m)
}

/// Calls `sleep`, which blocks the thread of a goroutine: its P goes to another M first (`entersyscallblock`). A pinned
/// one comes back on this thread.
///
/// `sleep` must not unwind. If it calls the runtime, that is as within [`blocking`]: it may go on on another thread.
pub(crate) fn nap_on_thread(rt: Rt, s: &'static Stack, g: &'static G, sleep: impl FnOnce()) {
    s.blocking.enter();
    g.set_status(GStatus::Syscall);
    idle::hand_p_on(rt);
    sleep();
    // Within a wait of a pinned goroutine's, which got a P for this, it may count as parked again.
    s.blocking.counts_again(&PROCESS);
    let m = s.m.get().expect("a goroutine runs on an M");
    let rt = exit_syscall(m, s, g);
    s.blocking.leave();
    leave_may_park(rt, s, g);
}

/// Runs `f`, which may block its thread, without holding the others up: a system call, a call into
/// C, a lock of another library. **May park** when `f` returns.
///
/// The P stays with this thread at first, so a call that turns out to be short costs a few
/// nanoseconds; if it lasts, sysmon lends the P to another thread (`entersyscall` and
/// `exitsyscall`, R41). Calls of this runtime inside `f` work: they take a P for as long as they
/// last. On threads that are not the runtime's, `f` is just called.
///
/// ```
/// let name = gmp_sched::blocking(|| std::fs::read_to_string("/proc/self/comm"));
/// assert!(name.is_ok());
/// ```
#[inline]
pub fn blocking<R>(f: impl FnOnce() -> R) -> R {
    section(f, enter_syscall)
}

/// As [`blocking`], for a call that is known to last: the P is handed to another thread at once
/// (`entersyscallblock`). **May park** when `f` returns.
pub fn blocking_now<R>(f: impl FnOnce() -> R) -> R {
    section(f, |rt, g| {
        g.set_status(GStatus::Syscall);
        idle::hand_p_on(rt);
    })
}

/// Runs `f` and keeps the P, as Go's `RawSyscall` does: for calls that never block (R50).
///
/// It is just a call; the name says at the call site that the author has thought of it. sysmon
/// still takes the P of a thread that it finds blocked here.
pub fn raw_blocking<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[inline(always)]
fn section<R>(f: impl FnOnce() -> R, enter: impl FnOnce(Rt, &'static G)) -> R {
    let Some((s, g)) = here().and_then(|s| Some((s, s.g.get()?))) else { return f() };
    // Without a P already: nested, or it was taken and will be missed at the next call.
    let Ok(rt) = bracket::enter_on(s) else { return f() };
    s.blocking.enter();
    enter(rt, g);
    let _exit = Exit { s, g };
    f()
}

struct Exit {
    s: &'static Stack,
    g: &'static G,
}

impl Drop for Exit {
    #[inline(always)]
    fn drop(&mut self) {
        let m = self.s.m.get().expect("a goroutine runs on an M");
        if exit_syscall_fast(m, self.g) {
            self.s.blocking.leave();
        } else {
            let rt = exit_without_p(m, self.s, self.g);
            self.s.blocking.leave();
            rt.leave();
        }
    }
}
