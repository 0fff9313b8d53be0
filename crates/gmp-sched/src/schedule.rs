//! The scheduler proper: which goroutine runs next, and the loop that runs it (R38-R40).
//!
//! Re-creates `schedule`, `findrunnable`, `execute` and `mstart` of Go 1.19's `proc.go`, with one
//! difference:
//!
//! **No g0 hop.** In Go every switch goes by way of the M's own stack g0. Here every pooled stack
//! runs the same [`base_loop`]: it runs fresh closures and polls futures in place, so a goroutine
//! that never parks costs no switch at all. A goroutine that parks keeps that stack; the M goes on
//! on the next goroutine's stack (a direct switch) or, if that goroutine has none, on a free one.
//! The M's OS stack serves only an M that has no P and no pooled stack ([`m_main`]). In a runtime
//! for futures only, the base loop runs on the OS stack and nothing ever switches.
//!
//! Rejected: a scheduler stack per M (two switches where one does); switching inside the waker
//! (a wake would have to save the waker's caller and may come from anywhere).

use crate::bracket::{self, Rt, here};
use crate::foreign::quietly;
use crate::poll::Poll;
use crate::queues::{self, look, new_slice};
use crate::runtime2::{G, M, Phase, Post, Sched, Stack};
use crate::status::GStatus;
use crate::switch::{arrive, hop, start_running, switch, take_stack};
#[cfg(gort_asan)]
use crate::asan;
use crate::{finish, idle, overflow, retake, stack, steal, stop_world, sys, syscall};
use core::sync::atomic::Ordering;

/// How often an M that found nothing looks again before it gives its P up.
const SPINS: u32 = 100;

/// Blocks until there is something to run (`findrunnable`). `Err` gives the M that has to end.
fn find_runnable(mut rt: Rt) -> Result<(Rt, &'static G), &'static M> {
    loop {
        let sched = rt.sched();
        if sched.gcwaiting.load(Ordering::Acquire) {
            rt = stop_world::gc_stop_m(rt)?;
            continue;
        }
        if sched.phase() >= Phase::Stopping {
            spins_no_more(rt.m());
            return Err(idle::retire_p(rt));
        }
        if rt.p().poll_due.load(Ordering::Relaxed) {
            (rt, _) = poll(rt)?;
        }
        if rt.m().preempted.get() {
            // The slice is over, also for whoever would inherit it: futures that wake each other never park (R34).
            queues::next_to_tail(&rt);
        }
        if let Some(g) = look(&rt) {
            return Ok((stop_spinning(rt), g));
        }
        let next_deadline;
        (rt, next_deadline) = poll(rt)?;
        if let Some(g) = look(&rt) {
            return Ok((stop_spinning(rt), g));
        }
        // Spinning costs others nothing but wakes slowly: look a little longer first.
        if !rt.m().spinning.get() && sched.gate.may_spin(sched.procs.load(Ordering::Relaxed)) {
            rt.m().spinning.set(true);
            sched.gate.start_spinning();
        }
        if rt.m().spinning.get()
            && let Some(g) = spin(&rt)
        {
            return Ok((stop_spinning(rt), g));
        }
        let due;
        (rt, due) = poll_others(rt)?;
        if !due {
            rt = sleep(rt, next_deadline)?;
        }
    }
}

/// Looks at everybody's queues for a while.
fn spin(rt: &Rt) -> Option<&'static G> {
    for _ in 0..SPINS {
        let found = steal::steal_work(rt).inspect(|_| new_slice(rt)).or_else(|| look(rt));
        if found.is_some() {
            return found;
        }
        let sched = rt.sched();
        if sched.procs.load(Ordering::Relaxed) == 1 || sched.gcwaiting.load(Ordering::Relaxed) {
            return None;
        }
        core::hint::spin_loop();
    }
    None
}

/// A spinning M found work: the last one to stop wakes the next, because where there is some there
/// may be more (`resetspinning`).
fn stop_spinning(rt: Rt) -> Rt {
    if rt.m().spinning.replace(false) && rt.sched().gate.stop_spinning() {
        idle::wakep(rt.sched());
    }
    rt
}

/// Runs timers and the like that are due on this P, outside the bracket. Returns the deadline of
/// the next. The P may be lost meanwhile, and is got back.
fn poll(rt: Rt) -> Result<(Rt, Option<u64>), &'static M> {
    rt.p().poll_due.store(false, Ordering::Relaxed);
    let Some(poll) = rt.sched().hooks().poll else { return Ok((rt, None)) };
    let id = rt.p().id as usize;
    let Some(deadline) = poll.next_deadline(id) else { return Ok((rt, None)) };
    let now = sys::nanotime();
    if deadline > now {
        return Ok((rt, Some(deadline)));
    }
    let (rt, next, _) = fire(rt, poll, id, now)?;
    Ok((rt, next))
}

/// Runs what is due on one P's clock. If nothing else waits, the goroutines that it readies run in the order of
/// their deadlines; else the last of them runs next, or all would wait for those that compute.
fn fire(
    rt: Rt,
    poll: &'static dyn Poll,
    id: usize,
    now: u64,
) -> Result<(Rt, Option<u64>, usize), &'static M> {
    let m = rt.m();
    let alone = rt.p().runq.is_empty();
    rt.leave();
    let mut ran = 1;
    let mut next = None;
    if quietly(|| (next, ran) = poll.poll(id, now)) {
        // Not all that is due has run.
        next = poll.next_deadline(id);
    }
    let rt = back_on_base(m)?;
    if alone && ran > 1 {
        // Each was the next to run and gave way to the one after it: the last is still in front of the others.
        queues::next_to_tail(&rt);
    }
    Ok((rt, next, ran))
}

/// Runs what is due on other Ps, whose bearers have better things to do, and has those cleared that
/// hold a deadline which will wake nobody. True if there was any.
fn poll_others(rt: Rt) -> Result<(Rt, bool), &'static M> {
    let sched = rt.sched();
    let Some(poll) = sched.hooks().poll else { return Ok((rt, false)) };
    let now = sys::nanotime();
    let stale = |id| !poll.pending(id);
    let due = |id| poll.next_deadline(id).is_some_and(|d| d <= now || stale(id));
    let Some(id) = sched.clock_ids().find(|id| due(*id)) else {
        return Ok((rt, false));
    };
    let clears = stale(id);
    let (rt, _, ran) = fire(rt, poll, id, now)?;
    Ok((rt, ran > 0 || clears))
}

/// Opens the bracket again on a stack that no goroutine is bound to, waiting for a P if this M's
/// was taken.
fn back_on_base(m: &'static M) -> Result<Rt, &'static M> {
    let s = here().expect("a base loop runs on an M");
    match bracket::enter_on(s) {
        Ok(rt) => Ok(rt),
        Err(_) => {
            spins_no_more(m);
            if !retake::come_forward(m) {
                return Err(m);
            }
            idle::stop_m(m).ok_or(m)
        }
    }
}

/// An M stops to spin without having looked: whoever submitted work and relied on it is seen to.
fn spins_no_more(m: &M) {
    if m.spinning.replace(false) {
        m.sched().gate.stop_spinning();
        idle::wakep_if_work(m.sched());
    }
}

/// Gives the P up and sleeps until there is work; see [`crate::gate`] for why none is stranded.
fn sleep(rt: Rt, own_deadline: Option<u64>) -> Result<Rt, &'static M> {
    let sched = rt.sched();
    {
        let mut inner = sched.lock.lock();
        if sched.gcwaiting.load(Ordering::Acquire)
            || inner.globq.len() > 0
            || sched.phase() >= Phase::Stopping
        {
            drop(inner);
            return Ok(rt);
        }
        if !rt.p().runq.is_empty() {
            return Ok(rt);
        }
        let (m, p) = idle::release_p(rt);
        inner.pidle_put(sched, p);
        drop(inner);
        let spun = m.spinning.replace(false);
        if spun {
            sched.gate.stop_spinning();
        } else {
            core::sync::atomic::fence(Ordering::SeqCst);
        }
        if let Some(rt) = second_look(sched, m, spun) {
            return Ok(rt);
        }
        watch(sched, m, own_deadline)
    }
}

/// After the P was given up: is there work that its submitter may have thought somebody would see?
fn second_look(sched: &'static Sched, m: &'static M, spun: bool) -> Option<Rt> {
    if sched.nglobq.load(Ordering::Relaxed) == 0 && !sched.ps().any(|p| p.runq.ring_len() > 0) {
        return None;
    }
    let p = sched.lock.lock().pidle_get(sched)?;
    if spun {
        m.spinning.set(true);
        sched.gate.start_spinning();
    }
    Some(idle::acquire_p(m, p))
}

/// Sleeps; one M of the runtime sleeps only to the earliest deadline of all Ps.
fn watch(
    sched: &'static Sched,
    m: &'static M,
    own_deadline: Option<u64>,
) -> Result<Rt, &'static M> {
    let Some(poll) = sched.hooks().poll else { return idle::stop_m(m).ok_or(m) };
    let earliest = || sched.clock_ids().filter_map(|id| poll.next_deadline(id)).min();
    let Some(deadline) = earliest().or(own_deadline) else { return idle::stop_m(m).ok_or(m) };
    {
        let inner = sched.lock.lock();
        if inner.watcher.is_some() && sched.sleeping_until.load(Ordering::SeqCst) <= deadline {
            drop(inner);
            return idle::stop_m(m).ok_or(m);
        }
        sched.sleeping_until.store(deadline, Ordering::SeqCst);
    }
    // Whoever inserted an earlier entry before it could see `sleeping_until` is found here.
    let deadline = earliest().map_or(deadline, |d| d.min(deadline));
    sched.sleeping_until.store(deadline, Ordering::SeqCst);
    idle::stop_m_until(m, deadline).ok_or(m)
}

/// What every stack without a goroutine does: find one, run it. Returns when the M has to end.
fn run_loop(mut rt: Rt, s: &'static Stack) -> &'static M {
    loop {
        let g = match rt.m().handoff.take() {
            Some(g) => g,
            None => match find_runnable(rt) {
                Ok((r, g)) => {
                    rt = r;
                    g
                }
                Err(m) => return m,
            },
        };
        if g.pinned.load(Ordering::Relaxed) {
            match syscall::start_locked_m(rt, g) {
                Ok(r) => rt = r,
                Err(m) => return m,
            }
            continue;
        }
        start_running(rt.m(), g);
        rt = match g.stack.get() {
            Some(to) => {
                rt.m().post.set(Post::FreeStack(s));
                switch(rt, &s.sp, to, g.sp.load(Ordering::Relaxed))
            }
            None => match run_here(rt, g, s) {
                Ok(rt) => rt,
                Err(m) => return m,
            },
        };
    }
}

/// Runs a fresh closure to its end, or polls a future once, on this stack.
#[inline(always)]
fn run_here(rt: Rt, g: &'static G, s: &'static Stack) -> Result<Rt, &'static M> {
    g.stack.set(Some(s));
    s.g.set(Some(g));
    let task = g.task();
    let cancelled = rt.sched().phase() >= Phase::Aborting;
    rt.leave();
    let finished = if cancelled {
        // SAFETY: the goroutine has not started, or is a future between two polls; it is ours.
        unsafe { (task.cancel)(g) };
        true
    } else {
        // SAFETY: as above, and `run` is called once for a closure and until it says "finished"
        // for a future.
        unsafe { (task.run)(g) }
    };
    // A closure may have parked and gone on elsewhere: everything is read again.
    s.g.set(None);
    g.stack.set(None);
    g.sp.store(0, Ordering::Relaxed);
    s.blocking.clear();
    let rt = bracket::enter_on(s);
    let m = s.m.get().expect("a running stack has an M");
    m.curg.store(core::ptr::null_mut(), Ordering::Relaxed);
    let ended_locked = s.locked.replace(0) > 0;
    let rt = match rt {
        Ok(rt) => {
            if let Some(after) = finish::finish(&rt, g, finished) {
                rt.leave();
                after.run();
                back_on_base(m)?
            } else {
                rt
            }
        }
        Err(_) => {
            finish::finish_without_p(g, finished);
            if ended_locked {
                return Err(m);
            }
            back_on_base(m)?
        }
    };
    // A goroutine that ends while it is locked to its thread takes the thread with it (R38). One that was
    // pinned may have got a P for a thread in the background, which retires now.
    let retires = rt.m().background.load(Ordering::Relaxed);
    if ended_locked || retires { Err(leave_to_others(rt)) } else { Ok(rt) }
}

/// This M goes on no more: the P, and whom it was to run next, go to another.
#[cold]
fn leave_to_others(rt: Rt) -> &'static M {
    if let Some(g) = rt.m().handoff.take() {
        queues::runq_put_next(&rt, g);
    }
    idle::hand_p_on(stop_spinning(rt))
}

/// First code of a pooled stack. When an M ends on it, the stack goes back to the pool of stacks, and
/// the loop starts afresh with the next M that takes it.
pub(crate) extern "C" fn base_loop(m: usize) -> ! {
    #[cfg(gort_asan)]
    asan::arrive_anew();
    let s = here().expect("a pooled stack has a head");
    // SAFETY: `hop` passes an M, and those are never freed.
    let mut m = unsafe { &*(m as *const M) };
    loop {
        // SAFETY: the M comes with the bracket open and a P held.
        let rt = unsafe { Rt::assume(m) };
        arrive(&rt);
        let ended = run_loop(rt, s);
        ended.post.set(Post::Exit(s));
        // SAFETY: as in `leave_without_p`; `m_main` frees this stack once we are off it.
        m = unsafe { hop(&s.sp, &ended.os, ended.os.sp.load(Ordering::Relaxed), ended) };
    }
}

/// Main function of an M's thread. It starts with a P in `nextp`, unless it is a spare one.
pub(crate) fn m_main(m: &'static M) {
    m.tid.store(sys::gettid(), Ordering::Relaxed);
    m.os.m.set(Some(m));
    let _alt = overflow::AltStack::install();
    let sched = m.sched();
    bracket::runs_on(Some(&m.os));
    if sched.stackful.load(Ordering::Relaxed) {
        stackful_main(m);
    } else if let Some(rt) = idle::first_p(m) {
        run_loop(rt, &m.os);
    }
    bracket::runs_on(None);
    idle::m_exits(m);
}

/// The life of an M on its OS stack: while it has a P it is on pooled stacks.
fn stackful_main(m: &'static M) {
    let mut rt = idle::first_p(m);
    while let Some(r) = rt {
        let to = take_stack(&r);
        let m = r.into_m();
        // SAFETY: as in `switch`; the OS stack is resumed by `leave_without_p` and `base_loop` on
        // this same thread.
        unsafe { hop(&m.os.sp, to, to.sp.load(Ordering::Relaxed), m) };
        match m.post.take() {
            Post::Inject(g) => {
                g.set_status(GStatus::Runnable);
                idle::inject(g.sched(), g);
                if !retake::come_forward(m) {
                    return;
                }
            }
            Post::Exit(s) => {
                stack::give(s, 1);
                return;
            }
            Post::None => {}
            _ => unreachable!("an M without a P can neither park nor requeue"),
        }
        rt = idle::stop_m(m);
    }
}

#[cfg(test)]
mod tests {
    use crate::poll::Poll;
    use crate::{Builder, go, retake, spawn, sysmon};
    use core::pin::Pin;
    use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use core::task::{self, Context, Waker};
    use core::time::Duration;
    use parking_lot::Mutex;
    use std::sync::Arc;
    use std::thread;
    use std::time::Instant;

    /// Wakes the other player at each poll, until a third future has run or nobody waits for that any more.
    struct Player {
        wakers: Arc<[Mutex<Option<Waker>>; 2]>,
        me: usize,
        rounds: u32,
        third_waits: Arc<AtomicBool>,
        over: Arc<AtomicBool>,
    }

    impl Future for Player {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> task::Poll<()> {
            self.rounds += 1;
            if (self.me, self.rounds) == (0, 1000) {
                let over = self.over.clone();
                drop(spawn(async move { over.store(true, Ordering::SeqCst) }));
                self.third_waits.store(true, Ordering::SeqCst);
            }
            *self.wakers[self.me].lock() = Some(cx.waker().clone());
            let other = self.wakers[1 - self.me].lock().take();
            other.inspect(Waker::wake_by_ref);
            if self.over.load(Ordering::SeqCst) { task::Poll::Ready(()) } else { task::Poll::Pending }
        }
    }

    #[test]
    fn r34_futures_that_wake_each_other_leave_the_p_to_a_third_when_asked_to() {
        let rt = Builder::new().procs(1).build().unwrap();
        let sched = rt.handle().sched;
        // It would ask by itself, and take the P if nobody answered.
        sysmon::unwatch(sched);
        let (third_waits, over, wakers) = Default::default();
        let player = |me| Player {
            wakers: Arc::clone(&wakers),
            me,
            rounds: 0,
            third_waits: Arc::clone(&third_waits),
            over: Arc::clone(&over),
        };
        let players = [0, 1].map(|me| rt.spawn(player(me)));
        while !third_waits.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        let m = retake::m_of(sched.p(0)).unwrap();
        let mut asked = 0;
        while !over.load(Ordering::SeqCst) && asked < 1000 {
            if m.attention.peek() == 0 {
                retake::request(m);
                asked += 1;
            }
            thread::yield_now();
        }
        let third_ran = over.swap(true, Ordering::SeqCst);
        players.into_iter().for_each(|player| player.join().unwrap());
        sysmon::watch(sched);
        assert!(third_ran, "they were asked {asked} times");
    }

    #[test]
    fn r21_who_finds_work_wakes_the_next_until_all_ps_run() {
        const PROCS: u32 = 4;
        // SAFETY: nothing bound to a thread is kept across a park.
        let rt = unsafe { Builder::new().procs(PROCS as usize).build_stackful() }.unwrap();
        let sched = rt.handle().sched;
        // It would wake somebody too, some time later.
        sysmon::unwatch(sched);
        for _ in 0..100 {
            let run = Arc::new(AtomicU32::new(0));
            let all_run = || {
                let (run, start) = (run.clone(), Instant::now());
                move || {
                    run.fetch_add(1, Ordering::Relaxed);
                    while run.load(Ordering::Relaxed) < PROCS {
                        assert!(start.elapsed() < Duration::from_secs(60), "a P idles, and there is work for it");
                        thread::yield_now();
                    }
                }
            };
            let handles: Vec<_> = (0..PROCS).map(|_| rt.go(all_run())).collect();
            handles.into_iter().for_each(|h| h.join().unwrap());
        }
        sysmon::watch(sched);
    }

    fn until(flag: &AtomicBool) {
        let start = Instant::now();
        while !flag.load(Ordering::SeqCst) {
            assert!(start.elapsed() < Duration::from_secs(60), "a P idles, and there is work for it");
            thread::yield_now();
        }
    }

    /// A clock that is asked between an M's last look at the queues and its sleep: then another P's is filled.
    #[derive(Default)]
    struct LastLook {
        armed: AtomicBool,
        looked: AtomicBool,
        filled: AtomicBool,
    }

    impl Poll for LastLook {
        fn poll(&self, _: usize, _: u64) -> (Option<u64>, usize) {
            unreachable!("nothing is due")
        }
        fn next_deadline(&self, p: usize) -> Option<u64> {
            (p == 0 && self.armed.load(Ordering::SeqCst)).then_some(u64::MAX - 1)
        }
        fn pending(&self, _: usize) -> bool {
            self.looked.store(true, Ordering::SeqCst);
            until(&self.filled);
            true
        }
        fn adopt(&self, _: usize, _: usize) {}
    }

    #[test]
    fn r21_who_gives_its_p_up_looks_again_at_all_queues() {
        let hook: &'static LastLook = Box::leak(Box::default());
        // SAFETY: nothing bound to a thread is kept across a park.
        let rt = unsafe { Builder::new().procs(2).poll(hook).build_stackful() }.unwrap();
        let sched = rt.handle().sched;
        // As above.
        sysmon::unwatch(sched);
        let [runs, done] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let other_runs = runs.clone();
        // It ends, and its M finds nothing to do.
        let ends = rt.go(move || until(&other_runs));
        let computes = rt.go(move || {
            hook.armed.store(true, Ordering::SeqCst);
            runs.store(true, Ordering::SeqCst);
            until(&hook.looked);
            let done_ = done.clone();
            let first = go(move || done_.store(true, Ordering::SeqCst));
            // Now the first is on the queue, where others can have it.
            let next = go(|| ());
            hook.filled.store(true, Ordering::SeqCst);
            until(&done);
            drop((first, next));
        });
        ends.join().unwrap();
        computes.join().unwrap();
        sysmon::watch(sched);
    }
}
