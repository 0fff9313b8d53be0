//! Leaving a stack and going on on another (R37, R48).
//!
//! **Post-switch actions.** What must happen to the goroutine that was left (let it wait, requeue
//! it, free its stack) is done by the side that arrives ([`arrive`]), when the stack is no longer
//! in use. So a goroutine is never readied while it still runs. In Go, `mcall` gives that by going by way of the M's g0.
//!
//! A stack that is left is in one of three places: bound to its goroutine (which waits or is queued),
//! on a free list (its base loop goes on when it is taken), or, the M's OS stack, with its M.

use crate::bracket::{Rt, runs_on};
use crate::idle;
use crate::queues::{item, look, pick_directly, runq_put};
use crate::runtime2::{G, M, P, Post, Stack};
use crate::status::GStatus;
#[cfg(gort_asan)]
use crate::asan;
use crate::{arch, park_word, stack};
use core::sync::atomic::{AtomicUsize, Ordering};

/// A P keeps fewer free stacks than this, and moves half of them to the pool at once.
const STACKS_MAX: u32 = 128;

/// A stack whose base loop goes on when it is switched to.
#[inline]
pub(crate) fn take_stack(rt: &Rt) -> &'static Stack {
    let p = rt.p();
    match p.stacks.get() {
        Some(s) => {
            p.stacks.set(s.next.take());
            p.nstacks.set(p.nstacks.get() - 1);
            s
        }
        None => refill_stacks(rt),
    }
}

#[cold]
fn refill_stacks(rt: &Rt) -> &'static Stack {
    let p = rt.p();
    let (first, n) = stack::take(STACKS_MAX / 4, rt.sched().hooks().base);
    p.stacks.set(first.next.take());
    p.nstacks.set(n - 1);
    first
}

#[inline]
fn put_stack(rt: &Rt, s: &'static Stack) {
    debug_assert!(s.g.get().is_none());
    let p = rt.p();
    s.next.set(p.stacks.get());
    p.stacks.set(Some(s));
    p.nstacks.set(p.nstacks.get() + 1);
    if p.nstacks.get() >= STACKS_MAX {
        spill_stacks(rt);
    }
}

/// Gives all of a P's free stacks back. By its holder, or under the runtime's lock if it is idle or gone.
pub(crate) fn give_stacks(p: &P) {
    if let Some(first) = p.stacks.take() {
        stack::give(first, p.nstacks.replace(0));
    }
}

#[cold]
fn spill_stacks(rt: &Rt) {
    let p = rt.p();
    let n = STACKS_MAX / 2;
    if let Some(first) = p.stacks.get() {
        p.stacks.set(stack::give(first, n));
        p.nstacks.set(p.nstacks.get() - n);
    }
}

/// Leaves the running stack, whose pointer is kept in `from`, for `to` at `sp`, and takes the M along.
/// Returns when somebody hops back, with the M that they brought.
///
/// # Safety
/// As for [`arch::switch`]; `to` is the head of the stack that `sp` points into, and whoever hops to
/// this one does so by this function.
#[inline(always)]
pub(crate) unsafe fn hop(
    from: &AtomicUsize,
    to: &'static Stack,
    sp: usize,
    m: &'static M,
) -> &'static M {
    to.m.set(Some(m));
    runs_on(Some(to));
    #[cfg(gort_asan)]
    let left = asan::Left::for_stack(stack::bounds(to));
    // SAFETY: the caller's; what is passed is an M, and those are never freed.
    let m = unsafe {
        let m = arch::switch(from.as_ptr(), sp, core::ptr::from_ref(m) as usize);
        &*(m as *const M)
    };
    #[cfg(gort_asan)]
    left.arrive();
    m
}

/// Goes on on stack `to`, which was left at `sp`; returns when somebody switches back to the running
/// stack, maybe on another M. `from` is where the running stack's pointer is kept meanwhile.
#[inline(always)]
pub(crate) fn switch(rt: Rt, from: &AtomicUsize, to: &'static Stack, sp: usize) -> Rt {
    let m = rt.into_m();
    // SAFETY: `to` is off every list and ours: it was bound to the goroutine we took from a queue
    // or taken from a free list, and `sp` is where this very function left it, or where it begins.
    // The running stack is handed on only by the post-switch action, on the other side.
    let m = unsafe { hop(from, to, sp, m) };
    // SAFETY: whoever switches here passes its own M, with the bracket open and a P held.
    let rt = unsafe { Rt::assume(m) };
    arrive(&rt);
    rt
}

/// Does what the side that left asked for.
#[inline(always)]
pub(crate) fn arrive(rt: &Rt) {
    match rt.m().post.take() {
        Post::Park(g) => {
            g.set_status(GStatus::Waiting);
            if !g.park.publish(park_word::Waits::Queue) {
                unparked_meanwhile(rt, g);
            }
        }
        other => arrive_other(rt, other),
    }
}

#[cold]
#[inline(never)]
fn unparked_meanwhile(rt: &Rt, g: &'static G) {
    g.set_status(GStatus::Runnable);
    runq_put(rt, g);
}

/// [`arrive`] for what is not a park: a call, so that parking's own code stays short.
#[inline(never)]
fn arrive_other(rt: &Rt, post: Post) {
    match post {
        Post::None => {}
        Post::Requeue(g) => {
            g.set_status(GStatus::Runnable);
            runq_put(rt, g);
        }
        Post::FreeStack(s) => put_stack(rt, s),
        Post::Inject(g) => {
            g.set_status(GStatus::Runnable);
            idle::inject(g.sched(), g);
        }
        Post::Exit(_) => unreachable!("an M ends on its OS stack"),
        Post::Park(_) => unreachable!("`arrive` has seen to it"),
    }
}

/// Leaves the running goroutine `me` and goes on with `next`, or with whatever there is.
/// Returns when the goroutine runs again.
#[inline(always)]
pub(crate) fn leave_goroutine(
    rt: Rt,
    me: &'static G,
    post: Post,
    next: Option<&'static G>,
) -> Rt {
    let m = rt.m();
    m.post.set(post);
    if let Some(g) = next
        && let Some(to) = g.stack.get()
        && !g.pinned.load(Ordering::Relaxed)
    {
        start_running(m, g);
        to.ahead.fetch();
        rt.p().left.set(me.stack.get());
        return switch(rt, &me.sp, to, g.sp.load(Ordering::Relaxed));
    }
    leave_for_base(rt, me, next)
}

/// [`leave_goroutine`], if there is no stack to go on with.
#[inline(never)]
fn leave_for_base(rt: Rt, me: &'static G, next: Option<&'static G>) -> Rt {
    let m = rt.m();
    m.handoff.set(next);
    m.curg.store(core::ptr::null_mut(), Ordering::Relaxed);
    let to = take_stack(&rt);
    switch(rt, &me.sp, to, to.sp.load(Ordering::Relaxed))
}

#[inline(always)]
pub(crate) fn start_running(m: &M, g: &'static G) {
    g.set_status(GStatus::Running);
    m.curg.store(item(g), Ordering::Relaxed);
}

/// Leaves the running goroutine when the M has no P: the M goes on on its OS stack. Returns, with
/// a P, when the goroutine runs again.
pub(crate) fn leave_without_p(m: &'static M, me: &'static G, post: Post) -> Rt {
    m.post.set(post);
    // SAFETY: the M's OS stack was left in `m_main` by `switch` and nobody else switches to it.
    // The running stack is handed on by the post-switch action over there.
    let m = unsafe { hop(&me.sp, &m.os, m.os.sp.load(Ordering::Relaxed), m) };
    // SAFETY: goroutines are resumed only by M's that hold a P, in `switch`.
    let rt = unsafe { Rt::assume(m) };
    arrive(&rt);
    rt
}

/// Lets others run: to the tail of the local queue (`Gosched`, but local).
pub(crate) fn yield_local(rt: Rt, g: &'static G) -> Rt {
    if rt.p().poll_due.load(Ordering::Relaxed) {
        return leave_goroutine(rt, g, Post::Requeue(g), None);
    }
    let Some(next) = look(&rt) else { return rt };
    leave_goroutine(rt, g, Post::Requeue(g), Some(next))
}

/// Answers a request to yield: to the tail of the global queue, so that all of the local queue goes
/// first (`gopreempt_m`).
pub(crate) fn yield_global(rt: Rt, g: &'static G) -> Rt {
    rt.sched().stats.preempts.fetch_add(1, Ordering::Relaxed);
    let next = pick_directly(&rt);
    leave_goroutine(rt, g, Post::Inject(g), next)
}
