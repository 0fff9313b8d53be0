//! Idle Ms and Ps, and the making, parking and waking of Ms (R18-R21).
//!
//! Re-creates `startm`, `stopm`, `mget`, `mput`, `pidleget`, `pidleput`, `acquirep`, `releasep`,
//! `handoffp` and `wakep` of Go 1.19's `proc.go`. The dance that decides *when* stands in
//! [`crate::gate`].
//!
//! Invariants
//! - A P on the idle list is `Pidle`, has no M, and its queue is empty. (A P that is handed on
//!   with work in its queue is given to an M directly.)
//! - An M on the idle list has no P, does not spin, and sleeps on its note or is about to.
//! - Whoever takes an M off the list gives it a P (or, at the end, none) and then sets its note:
//!   each sleep is ended by exactly one note.

use crate::bracket::Rt;
use crate::foreign::quietly;
use crate::runtime2::{Inner, M, P, Phase, Sched};
use crate::p_status::PStatus;
use crate::census::PROCESS;
use crate::{fatal, records, starts, sys};
use core::sync::atomic::Ordering;
use core::time::Duration;
use parking_lot::MutexGuard;
use std::thread;

/// How often an M looks at its note before it sleeps: a wake-up within this time costs its waker
/// no system call.
const NOTE_SPINS: u32 = 200;

/// When a spare M is tried again after the kernel gave no thread: in nanoseconds.
const SPARE_AGAIN: u64 = 1_000_000_000;

impl Inner {
    /// Takes an idle P, for a caller that gives it to an M at once.
    pub(crate) fn pidle_get(&mut self, sched: &Sched) -> Option<&'static P> {
        let p = self.pidle?;
        self.pidle = p.link.take();
        sched.gate.p_busy();
        // Whoever gets it, for whatever reason: sysmon has something to watch again.
        PROCESS.sysmon.wake();
        Some(p)
    }

    /// The Ps on the idle list: nobody's as long as the lock is held.
    pub(crate) fn idle_ps(&self) -> impl Iterator<Item = &'static P> {
        core::iter::successors(self.pidle, |p| p.link.get())
    }

    /// Puts a P on the idle list. It is `Pidle`, and its queue is empty.
    pub(crate) fn pidle_put(&mut self, sched: &Sched, p: &'static P) {
        debug_assert_eq!(p.status(), PStatus::Idle);
        p.link.set(self.pidle);
        self.pidle = Some(p);
        sched.gate.p_idle();
    }

    /// A P has just become `Pgcstop`: stop-the-world has one less to wait for.
    pub(crate) fn p_stopped(&mut self, sched: &Sched) {
        self.stopwait -= 1;
        if self.stopwait == 0 {
            sched.ended.notify_all();
        }
    }

    /// From here on the M counts as running, whoever takes it: it is about to be woken.
    fn m_get(&mut self) -> Option<&'static M> {
        let m = self.midle?;
        self.midle = m.link.take();
        m.idle.set(false);
        self.nmidle -= 1;
        PROCESS.m_wakes();
        Some(m)
    }

    fn m_put(&mut self, m: &'static M) {
        PROCESS.m_idles();
        // One that lost its P has left its goroutine without a word.
        m.curg.store(core::ptr::null_mut(), Ordering::Relaxed);
        m.idle.set(true);
        m.link.set(self.midle);
        self.midle = Some(m);
        self.nmidle += 1;
    }

    /// Takes this M off the idle list; false if somebody else did.
    fn m_remove(&mut self, m: &'static M) -> bool {
        if !m.idle.get() {
            return false;
        }
        let mut at = self.midle;
        if at.is_some_and(|first| core::ptr::eq(first, m)) {
            self.midle = m.link.take();
        } else {
            while let Some(prev) = at {
                let next = prev.link.get();
                if next.is_some_and(|n| core::ptr::eq(n, m)) {
                    prev.link.set(m.link.take());
                    break;
                }
                at = next;
            }
        }
        m.idle.set(false);
        self.nmidle -= 1;
        PROCESS.m_wakes();
        true
    }
}

/// The P is the M's from here on, but for [`M::p`] and the attention word (`wirep`).
#[inline(always)]
pub(crate) fn bind_p(m: &'static M, p: &'static P) {
    if m.preempted.get() {
        m.preempted.set(false);
    }
    // Before the state: a taker that sees the P running must find who runs it.
    p.m.store(core::ptr::from_ref(m).cast_mut(), Ordering::Release);
    p.set_status(PStatus::Running);
}

/// Gives the calling M a P and opens its bracket (`acquirep`). The P is `Pidle` and the caller's.
pub(crate) fn acquire_p(m: &'static M, p: &'static P) -> Rt {
    bind_p(m, p);
    m.p.set(Some(p));
    m.attention.enter();
    m.attention.regained();
    // SAFETY: the calling thread is m, its bracket is open, and it holds p.
    unsafe { Rt::assume(m) }
}

/// Takes the P from the calling M (`releasep`): the P is `Pidle` and the caller's.
pub(crate) fn release_p(rt: Rt) -> (&'static M, &'static P) {
    let (m, p) = (rt.m(), rt.p());
    // A request that nobody will answer any more must not be mistaken for one to the next bearer.
    let _ = m.attention.claim();
    m.attention.give_up();
    rt.leave();
    m.p.set(None);
    p.m.store(core::ptr::null_mut(), Ordering::Release);
    p.set_status(PStatus::Idle);
    (m, p)
}

/// Starts an M for an idle P, if there is one. With `spinning` the caller has counted it in the
/// gate, and the count is given back if there is no P (`startm`).
///
/// It is given back under the lock. Otherwise a P could join the idle list after we looked, and work
/// be submitted before we give back: its submitter would see our count and wake nobody, and nobody
/// would spin.
pub(crate) fn start_m_for_idle_p(sched: &'static Sched, spinning: bool) {
    let mut inner = sched.lock.lock();
    match inner.pidle_get(sched) {
        // Its M is found under the same lock: whoever ends the runtime sees all Ps idle, or the M.
        Some(p) => start_m_locked(sched, inner, p, spinning),
        None if spinning => drop(sched.gate.stop_spinning()),
        None => {}
    }
}

/// Runs this P, which is `Pidle` and the caller's, on an idle or new M.
pub(crate) fn start_m(sched: &'static Sched, p: &'static P, spinning: bool) {
    start_m_locked(sched, sched.lock.lock(), p, spinning);
}

fn start_m_locked(
    sched: &'static Sched,
    mut inner: MutexGuard<'_, Inner>,
    p: &'static P,
    spinning: bool,
) {
    if sched.phase() >= Phase::Stopping {
        // Too late: nobody is left whom it could run.
        inner.pidle_put(sched, p);
        if spinning {
            sched.gate.stop_spinning();
        }
        return;
    }
    match inner.m_get() {
        Some(m) => {
            drop(inner);
            note_with(m, p, spinning);
        }
        None => {
            let m = new_m(sched, &mut inner);
            let stack = inner.thread_stack;
            drop(inner);
            m.spinning.set(spinning);
            m.nextp.store(core::ptr::from_ref(p).cast_mut(), Ordering::Release);
            starts::from_foreground(move || start_thread(m, stack));
        }
    }
}

fn start_thread(m: &'static M, stack: usize) {
    if let Err(e) = spawn_thread(m.sched(), m, stack) {
        fatal::fatal(format_args!(
            "cannot start an operating system thread beside {} others: {e}",
            m.sched().lock.lock().mcount
        ));
    }
}

/// Makes an M that goes idle at once, unless one is idle or there may be no more: a P that is about to be taken
/// goes on sooner on a thread that sleeps than on one that has to be made. If there can be no thread, that is for
/// those to report who cannot do without; it is not tried again soon after `now`.
pub(crate) fn make_spare_m(sched: &'static Sched, now: u64) {
    let mut inner = sched.lock.lock();
    if inner.nmidle > 0
        || inner.mcount >= inner.max_threads
        || now < inner.no_spare_before
        || sched.phase() >= Phase::Stopping
    {
        return;
    }
    let m = new_m(sched, &mut inner);
    let stack = inner.thread_stack;
    drop(inner);
    if spawn_thread(sched, m, stack).is_err() {
        sched.lock.lock().no_spare_before = now + SPARE_AGAIN;
        m_exits(m);
    }
}

/// Wakes an M that was taken off the idle list, with a P to run.
fn note_with(m: &'static M, p: &'static P, spinning: bool) {
    debug_assert!(m.nextp.load(Ordering::Relaxed).is_null());
    m.spinning.set(spinning);
    m.nextp.store(core::ptr::from_ref(p).cast_mut(), Ordering::Release);
    wake_note(m);
}

fn wake_note(m: &M) {
    if m.note.swap(1, Ordering::Release) == 2 {
        sys::futex_wake(&raw const m.note);
    }
}

/// Gives a P to one particular M, which waits by [`sleep_on_note`] (`startlockedm`).
pub(crate) fn hand_to(m: &'static M, p: &'static P) {
    note_with(m, p, false);
}

fn new_m(sched: &'static Sched, inner: &mut Inner) -> &'static M {
    if inner.mcount >= inner.max_threads {
        fatal::fatal(format_args!(
            "thread exhaustion: the runtime's {} threads are all blocked or busy, which is the \
             limit; raise it with Builder::max_threads or set_max_threads",
            inner.max_threads
        ));
    }
    inner.mcount += 1;
    sched.stats.ms_made.fetch_add(1, Ordering::Relaxed);
    let m = records::new_m();
    m.background.store(false, Ordering::Relaxed);
    m.sched.set(Some(sched));
    inner.allm.push(m);
    PROCESS.m_starts();
    m
}

fn spawn_thread(sched: &'static Sched, m: &'static M, stack: usize) -> std::io::Result<()> {
    let main = sched.hooks().m_main;
    thread::Builder::new()
        .name(format!("gmp-m{}", m.id.load(Ordering::Relaxed)))
        .stack_size(stack)
        .spawn(move || main(m))
        .map(drop)
}

/// Sleeps until somebody gives this M a P, and takes it. `None`: the M has to end.
/// The caller has no P, does not spin, and holds no goroutine that needs the thread (`stopm`).
pub(crate) fn stop_m(m: &'static M) -> Option<Rt> {
    let sched = m.sched();
    debug_assert!(!m.spinning.get());
    {
        let mut inner = sched.lock.lock();
        if sched.phase() >= Phase::Stopping {
            return None;
        }
        inner.m_put(m);
    }
    tell_idle(sched);
    sleep_on_note(m, None);
    take_nextp(m)
}

fn tell_idle(sched: &'static Sched) {
    if let Some(idle) = sched.hooks().thread_idle {
        // The M has to go to sleep whatever comes.
        quietly(idle);
    }
}

/// As [`stop_m`], but wakes by itself at `deadline` (nanoseconds of [`sys::nanotime`]) if nobody
/// wakes it before, and then looks for an idle P.
pub(crate) fn stop_m_until(m: &'static M, deadline: u64) -> Option<Rt> {
    let sched = m.sched();
    {
        let mut inner = sched.lock.lock();
        if sched.phase() >= Phase::Stopping {
            return None;
        }
        inner.watcher = Some(m);
        inner.m_put(m);
    }
    tell_idle(sched);
    let noted = sleep_on_note(m, Some(deadline));
    let mut inner = sched.lock.lock();
    if inner.watcher.is_some_and(|w| core::ptr::eq(w, m)) {
        inner.watcher = None;
        sched.sleeping_until.store(u64::MAX, Ordering::SeqCst);
    }
    if !noted && inner.m_remove(m) {
        let p = inner.pidle_get(sched);
        drop(inner);
        // No idle P: those that run will look at the clock themselves.
        return match p {
            Some(p) => Some(acquire_p(m, p)),
            None => stop_m(m),
        };
    }
    drop(inner);
    if !noted {
        // Taken off the list at the last moment: the note is on its way.
        sleep_on_note(m, None);
    }
    take_nextp(m)
}

/// What a new M begins with: the P that it was made for; a spare one waits for one first.
pub(crate) fn first_p(m: &'static M) -> Option<Rt> {
    take_nextp(m).or_else(|| stop_m(m))
}

/// The P that came with the note; none at the end of the runtime.
pub(crate) fn take_nextp(m: &'static M) -> Option<Rt> {
    let p = m.nextp.swap(core::ptr::null_mut(), Ordering::Acquire);
    // SAFETY: null or a P that the waker took off the idle list for us; Ps are never freed.
    let p = unsafe { p.as_ref() }?;
    Some(acquire_p(m, p))
}

/// Sleeps until the M's note is set, and clears it. False if the deadline came first.
/// The note is 0 (nothing), 1 (set) or 2 (somebody sleeps).
pub(crate) fn sleep_on_note(m: &M, deadline: Option<u64>) -> bool {
    for _ in 0..NOTE_SPINS {
        if m.note.load(Ordering::Relaxed) == 1 {
            break;
        }
        core::hint::spin_loop();
    }
    let _ = m.note.compare_exchange(0, 2, Ordering::Acquire, Ordering::Acquire);
    loop {
        if m.note.load(Ordering::Acquire) == 1 {
            m.note.store(0, Ordering::Relaxed);
            return true;
        }
        let timeout = match deadline {
            None => None,
            Some(d) => {
                let now = sys::nanotime();
                if now >= d {
                    // Leave no sleeper's mark; a note that arrives just now counts.
                    let left = m.note.compare_exchange(2, 0, Ordering::Acquire, Ordering::Acquire);
                    if left.is_err() {
                        m.note.store(0, Ordering::Relaxed);
                        return true;
                    }
                    return false;
                }
                Some(Duration::from_nanos(d - now))
            }
        };
        sys::futex_wait(&m.note, 2, timeout);
    }
}

/// The clock should be looked at by `when`: wakes the M that watches it, if that sleeps longer, or
/// some idle M if none watches (`wakeNetPoller`).
pub(crate) fn wake_watcher(sched: &'static Sched, when: u64) {
    if sched.sleeping_until.load(Ordering::SeqCst) <= when {
        return;
    }
    let mut inner = sched.lock.lock();
    if sched.phase() >= Phase::Stopping {
        return;
    }
    let Some(m) = inner.watcher else {
        drop(inner);
        return wakep(sched);
    };
    if sched.sleeping_until.load(Ordering::SeqCst) <= when || !inner.m_remove(m) {
        return;
    }
    inner.watcher = None;
    sched.sleeping_until.store(u64::MAX, Ordering::SeqCst);
    match inner.pidle_get(sched) {
        Some(p) => {
            drop(inner);
            note_with(m, p, false);
        }
        // All Ps run: whoever goes idle next will see the deadline.
        None => inner.m_put(m),
    }
}

/// Puts a goroutine on the global queue and wakes somebody for it. From any thread, in any state.
pub(crate) fn inject(sched: &'static Sched, g: &'static crate::runtime2::G) {
    let mut inner = sched.lock.lock();
    inner.globq.push(g);
    sched.nglobq.store(inner.globq.len(), Ordering::Release);
    drop(inner);
    wakep(sched);
}

/// After work was put where other Ps can get it: starts an M if a P idles and nobody spins.
#[inline]
pub(crate) fn wakep(sched: &'static Sched) {
    if sched.gate.submitted() {
        wakep_cold(sched);
    }
}

#[cold]
fn wakep_cold(sched: &'static Sched) {
    start_m_for_idle_p(sched, true);
}

/// Finds a bearer for a P that is `Pidle` and the caller's: an M if there is work for it, else the
/// idle list (`handoffp`).
pub(crate) fn handoff_p(sched: &'static Sched, p: &'static P) {
    sched.stats.handoffs.fetch_add(1, Ordering::Relaxed);
    if !p.runq.is_empty() {
        return start_m(sched, p, false);
    }
    let mut inner = sched.lock.lock();
    if sched.gcwaiting.load(Ordering::Acquire) {
        p.set_status(PStatus::Gcstop);
        return inner.p_stopped(sched);
    }
    if inner.globq.len() > 0 {
        drop(inner);
        return start_m(sched, p, false);
    }
    // The last running P must watch the clock: somebody has to find timers that come due.
    if sched.hooks().poll.is_some() && inner.watcher.is_none() {
        drop(inner);
        return start_m(sched, p, false);
    }
    inner.pidle_put(sched, p);
    drop(inner);
    wakep_if_work(sched);
}

/// The second look that goes with putting a P on the idle list from outside the dance.
pub(crate) fn wakep_if_work(sched: &'static Sched) {
    core::sync::atomic::fence(Ordering::SeqCst);
    if sched.nglobq.load(Ordering::Relaxed) > 0 || sched.ps().any(|p| p.runq.ring_len() > 0) {
        wakep(sched);
    }
}

/// Gives this M's P to another M, because the thread ends. Returns the M, without a P.
pub(crate) fn hand_p_on(rt: Rt) -> &'static M {
    let sched = rt.sched();
    let (m, p) = release_p(rt);
    handoff_p(sched, p);
    m
}

/// Puts the P away for good, because the runtime stops. Returns the M, without a P.
pub(crate) fn retire_p(rt: Rt) -> &'static M {
    let sched = rt.sched();
    let mut inner = sched.lock.lock();
    let (m, p) = release_p(rt);
    inner.pidle_put(sched, p);
    m
}

/// The M's thread ends; its record may serve another.
pub(crate) fn m_exits(m: &'static M) {
    let sched = m.sched();
    let mut inner = sched.lock.lock();
    inner.mcount -= 1;
    inner.allm.retain(|x| !core::ptr::eq(*x, m));
    PROCESS.m_ends();
    debug_assert!(!m.spinning.get(), "it would count as spinning for ever");
    sched.ended.notify_all();
    drop(inner);
    records::free_m(m);
}

/// Ends all idle Ms: they find no P with their note.
pub(crate) fn dismiss_idle(sched: &'static Sched) {
    loop {
        let m = sched.lock.lock().m_get();
        match m {
            Some(m) => wake_note(m),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SPARE_AGAIN, make_spare_m, new_m, start_thread};
    use crate::{Builder, blocking, blocking_now, call_chore, go, set_chore, starts, stop_world, sysmon, yield_now};
    use core::sync::atomic::{AtomicBool, Ordering};
    use core::time::Duration;
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    #[test]
    fn sysmon_may_stop_a_world_whose_p_waits_for_a_thread_that_sysmon_starts() {
        static HANDLE: Mutex<Option<crate::Handle>> = Mutex::new(None);
        static DONE: AtomicBool = AtomicBool::new(false);
        fn chore() -> Option<Duration> {
            let sched = HANDLE.lock().unwrap().take()?.sched;
            // What `start_m_for_idle_p` does on a thread in the background.
            let (m, stack) = {
                let mut inner = sched.lock.lock();
                let p = inner.pidle_get(sched)?;
                let m = new_m(sched, &mut inner);
                m.nextp.store(core::ptr::from_ref(p).cast_mut(), Ordering::Release);
                (m, inner.thread_stack)
            };
            starts::later(move || start_thread(m, stack));
            let more = sched.procs.load(Ordering::Relaxed) + 1;
            stop_world::follow_cpus(sched, more);
            DONE.store(true, Ordering::SeqCst);
            None
        }
        let rt = Builder::new().build().unwrap();
        *HANDLE.lock().unwrap() = Some(rt.handle());
        assert!(set_chore(chore));
        call_chore();
        while !DONE.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(rt.block_on(async { 42 }), 42);
    }

    #[test]
    fn an_idle_m_is_in_no_goroutine() {
        // SAFETY: nothing bound to a thread is kept across a park.
        let rt = unsafe { Builder::new().procs(1).build_stackful() }.unwrap();
        rt.run(|| {
            let came_back = Arc::new(AtomicBool::new(false));
            let flag = Arc::clone(&came_back);
            // It loses its P, and comes back on another's: its M goes idle without it.
            let caller = go(move || {
                blocking(|| std::thread::sleep(Duration::from_millis(30)));
                flag.store(true, Ordering::SeqCst);
            });
            while !came_back.load(Ordering::SeqCst) {
                yield_now();
            }
            caller.join().unwrap();
            let sched = crate::Handle::current().unwrap().sched;
            let inner = sched.lock.lock();
            let mut idle = core::iter::successors(inner.midle, |m| m.link.get());
            assert!(idle.all(|m| m.curg.load(Ordering::Relaxed).is_null()));
        });
    }

    #[test]
    fn a_spare_m_waits_for_a_p_and_one_is_enough() {
        // SAFETY: nothing bound to a thread is kept across a park.
        for rt in [unsafe { Builder::new().procs(1).build_stackful() }, Builder::new().procs(1).build()] {
            let rt = rt.unwrap();
            let handle = rt.handle();
            make_spare_m(handle.sched, 0);
            while handle.stats().idle_ms == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            make_spare_m(handle.sched, 0);
            // Before anything runs: beside code that is kept from its CPU sysmon may want another.
            assert_eq!(handle.stats().threads_made, 1);
            assert_eq!(rt.block_on(async { 42 }), 42);
        }
    }

    #[test]
    fn a_spare_m_that_gets_no_thread_is_not_tried_again_soon() {
        let rt = Builder::new().procs(1).build().unwrap();
        let handle = rt.handle();
        // More than there is address space.
        let stack = core::mem::replace(&mut handle.sched.lock.lock().thread_stack, 1 << 60);
        let tried = |now| {
            let before = handle.stats().threads_made;
            make_spare_m(handle.sched, now);
            handle.stats().threads_made - before
        };
        assert_eq!(tried(1), 1);
        assert_eq!(tried(SPARE_AGAIN), 0);
        assert_eq!(tried(SPARE_AGAIN + 1), 1);
        handle.sched.lock.lock().thread_stack = stack;
        assert_eq!(rt.block_on(async { 42 }), 42);
    }

    /// Its queue was filled when there was nobody to be woken for it.
    #[test]
    fn a_p_that_is_handed_on_finds_the_work_on_anothers_queue() {
        fn until(flag: &AtomicBool) {
            let start = Instant::now();
            while !flag.load(Ordering::SeqCst) {
                assert!(start.elapsed() < Duration::from_secs(60), "a P idles, and there is work for it");
                std::thread::yield_now();
            }
        }
        // SAFETY: nothing bound to a thread is kept across a park.
        let rt = unsafe { Builder::new().procs(2).build_stackful() }.unwrap();
        let sched = rt.handle().sched;
        // It would wake somebody too, some time later.
        sysmon::unwatch(sched);
        let [runs, filled, done] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
        let (runs_, filled_, done_) = (runs.clone(), filled.clone(), done.clone());
        let caller = rt.go(move || {
            runs_.store(true, Ordering::SeqCst);
            until(&filled_);
            blocking_now(|| until(&done_));
        });
        let computes = rt.go(move || {
            until(&runs);
            let done_ = done.clone();
            let first = go(move || done_.store(true, Ordering::SeqCst));
            // Now the first is on the queue, where others can have it.
            let next = go(|| ());
            filled.store(true, Ordering::SeqCst);
            until(&done);
            drop((first, next));
        });
        caller.join().unwrap();
        computes.join().unwrap();
        sysmon::watch(sched);
    }
}
