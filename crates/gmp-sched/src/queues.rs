//! Putting goroutines on queues and getting them off again (R22, R24, R34, R40).
//!
//! `runqput`, `runqget`, `globrunqget` and the first half of `schedule` of Go 1.19's `proc.go`, over
//! the ring ([`crate::runq`]) and the global queue ([`crate::globq`]). All but `inject` need the
//! bracket: these are the holder's ends of the queues.

use crate::bracket::Rt;
use crate::arch;
use crate::idle;
use crate::runtime2::{G, Phase};
use crate::status::GStatus;
use core::sync::atomic::Ordering;

/// The global queue comes first every so many rounds, or two goroutines that respawn each other
/// could keep the local queue busy for ever (R22).
const GLOBQ_TICK: u32 = 61;

/// The clock is looked at at least every so many slices; sysmon asks for it earlier when a timer is
/// due. A power of two, because every new slice asks.
const POLL_TICK: u32 = 64;

/// Cache lines of a record.
const RECORD: usize = size_of::<G>().div_ceil(64);

/// Queue items are `&'static G`, as pointers.
#[inline(always)]
pub(crate) fn item(g: &'static G) -> *mut G {
    core::ptr::from_ref(g).cast_mut()
}

/// What a queue gave: null, or a record that is the caller's now.
#[inline(always)]
fn taken(g: *mut G) -> Option<&'static G> {
    // SAFETY: queues hold only pointers made by `item` from `&'static G`.
    unsafe { g.as_ref() }
}

/// Puts a runnable goroutine at the tail of the local queue, or half the queue on the global one.
#[inline]
pub(crate) fn runq_put(rt: &Rt, g: &'static G) {
    while !rt.p().runq.put(item(g)) {
        if overflow(rt, g) {
            break;
        }
    }
}

#[cold]
#[inline(never)]
fn overflow(rt: &Rt, g: &'static G) -> bool {
    let sched = rt.sched();
    rt.p().runq.take_half(item(g), |batch| {
        sched.stats.overflows.fetch_add(1, Ordering::Relaxed);
        let mut inner = sched.lock.lock();
        for g in batch {
            inner.globq.push(taken(*g).expect("the ring holds no null"));
        }
        sched.nglobq.store(inner.globq.len(), Ordering::Release);
    })
}

/// Makes a runnable goroutine the next of this P; what was next goes to the tail, where others can
/// have it, and then somebody idle is woken.
#[inline]
pub(crate) fn runq_put_next(rt: &Rt, g: &'static G) {
    if let Some(kicked) = taken(rt.p().runq.put_next(item(g))) {
        kicked_out(rt, kicked);
    }
}

/// What was to run next goes to the tail.
#[cold]
pub(crate) fn next_to_tail(rt: &Rt) {
    if let Some(g) = taken(rt.p().runq.get_next()) {
        runq_put(rt, g);
    }
}

/// This P got more work than it will run next.
#[inline(never)]
fn kicked_out(rt: &Rt, kicked: &'static G) {
    runq_put(rt, kicked);
    // With one P there is nobody to wake, and no fence to pay.
    let sched = rt.sched();
    if sched.procs.load(Ordering::Relaxed) > 1 {
        idle::wakep(sched);
    }
}

/// Readies a goroutine whose wait the caller ended (`goready`), at something that is in memory at `at`, if not 0.
#[inline(always)]
pub(crate) fn ready(rt: &Rt, g: &'static G, at: usize) {
    g.set_status(GStatus::Runnable);
    let sp = g.sp.load(Ordering::Relaxed);
    if sp != 0 {
        // It will most likely run here and next: fetch the lines of its stack that it was left on.
        arch::prefetch::<1>(g.stack.get().map_or(0, |s| core::ptr::from_ref(s).addr()));
        match rt.p().left.get() {
            Some(s) => s.ahead.readied(g, sp, at),
            None => arch::prefetch::<{ arch::PARKED }>(sp),
        }
    }
    if core::ptr::eq(g.sched(), rt.sched()) {
        runq_put_next(rt, g);
    } else {
        idle::inject(g.sched(), g);
    }
}

/// [`ready`], by a base loop that has nothing else to do: if the goroutine would be the next to run here, it is handed
/// over without the way through `runnext`.
#[inline(always)]
pub(crate) fn hand(rt: &Rt, g: &'static G) {
    let (p, sched) = (rt.p(), rt.sched());
    let next = !p.runq.has_next()
        && !rt.m().preempted.get()
        && !p.poll_due.load(Ordering::Relaxed)
        && sched.nglobq.load(Ordering::Relaxed) == 0
        && !sched.gcwaiting.load(Ordering::Relaxed)
        && sched.phase() < Phase::Stopping;
    if next && core::ptr::eq(g.sched(), sched) {
        g.set_status(GStatus::Runnable);
        rt.m().handoff.set(Some(g));
    } else {
        ready(rt, g, 0);
    }
}

/// The next goroutine of this P's own queues, the global one every 61st round. Ticks unless it
/// inherits the slice (R34, R40).
#[inline(always)]
pub(crate) fn pick(rt: &Rt) -> Option<&'static G> {
    let p = rt.p();
    if p.sched.nglobq.load(Ordering::Relaxed) > 0
        && p.schedtick.load(Ordering::Relaxed).is_multiple_of(GLOBQ_TICK)
        && let Some(g) = globq_first(rt)
    {
        return Some(g);
    }
    taken(p.runq.get_next()).or_else(|| from_ring(rt))
}

#[inline(never)]
fn from_ring(rt: &Rt) -> Option<&'static G> {
    // The only P has nobody who steals; others come when the world is stopped.
    let runq = &rt.p().runq;
    let alone = rt.sched().procs.load(Ordering::Relaxed) == 1;
    let g = taken(if alone { runq.get_alone() } else { runq.get() })?;
    fetch_next(rt);
    new_slice(rt);
    Some(g)
}

/// While one runs, the lines of the next one's stack are fetched, if it has one. Somebody may steal it meanwhile.
#[inline(always)]
fn fetch_next(rt: &Rt) {
    let sp = taken(rt.p().runq.peek()).map_or(0, |g| g.sp.load(Ordering::Relaxed));
    if sp != 0 {
        arch::prefetch::<{ arch::PARKED }>(sp);
    }
}

#[cold]
fn globq_first(rt: &Rt) -> Option<&'static G> {
    let g = from_globq(rt, 1)?;
    rt.sched().stats.globq_fair.fetch_add(1, Ordering::Relaxed);
    new_slice(rt);
    Some(g)
}

/// What a goroutine that gives way switches to directly: as [`pick`], but nothing if the clock is to be
/// looked at first, which the base loop does.
#[inline(always)]
pub(crate) fn pick_directly(rt: &Rt) -> Option<&'static G> {
    if rt.p().poll_due.load(Ordering::Relaxed) { None } else { pick(rt) }
}

#[inline]
pub(crate) fn new_slice(rt: &Rt) {
    let p = rt.p();
    let tick = p.schedtick.load(Ordering::Relaxed).wrapping_add(1);
    p.schedtick.store(tick, Ordering::Relaxed);
    if tick.is_multiple_of(POLL_TICK) {
        p.poll_due.store(true, Ordering::Relaxed);
    }
    let m = rt.m();
    if m.attention.peek() != 0 || m.preempted.get() {
        // The request was for the slice that has just ended.
        m.attention.claim();
        m.preempted.set(false);
    }
}

/// Takes one goroutine from the global queue and moves up to `max - 1` more to the local ring:
/// this P's share, at most half a ring (`globrunqget`).
fn from_globq(rt: &Rt, max: u32) -> Option<&'static G> {
    let sched = rt.sched();
    let mut inner = sched.lock.lock();
    let share = inner.globq.len() / sched.procs.load(Ordering::Relaxed) + 1;
    let n = share.min(max).min(crate::runq::LEN as u32 / 2).min(inner.globq.len());
    let first = inner.globq.pop()?;
    for _ in 1..n {
        let Some(g) = inner.globq.pop() else { break };
        // Nobody has touched them for long, and all of them run soon.
        arch::prefetch::<RECORD>(core::ptr::from_ref(g).addr());
        if !rt.p().runq.put(item(g)) {
            unreachable!("asked for more than the empty ring holds");
        }
    }
    sched.nglobq.store(inner.globq.len(), Ordering::Release);
    Some(first)
}

/// One look at the local and the global queue.
#[inline(always)]
pub(crate) fn look(rt: &Rt) -> Option<&'static G> {
    pick(rt).or_else(|| {
        if rt.sched().nglobq.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let g = from_globq(rt, u32::MAX)?;
        new_slice(rt);
        Some(g)
    })
}

