//! A reference to a runtime: spawning into it from anywhere, asking and changing its state.

use crate::bracket::{self, Rt, here};
use crate::join::JoinHandle;
use crate::poll::Poll;
use crate::runtime2::{G, Phase, Sched, Stack};
use crate::p_status::PStatus;
use crate::status::GStatus;
use crate::stop_world::Stopped;
use crate::{cpus, deadlock, fork, idle, park, queues, records, stack, stats, stop_world, sys, syscall, task};
use core::fmt;
use core::panic::Location;
use core::sync::atomic::Ordering;

/// Most Ps a runtime can have.
pub(crate) const MAX_PROCS: usize = 1024;

/// A number of Ps that is not within `1..=1024`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcsError(pub usize);

impl fmt::Display for ProcsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Ps were asked for; allowed are 1 to {MAX_PROCS}", self.0)
    }
}

impl std::error::Error for ProcsError {}

/// A reference to a runtime, for spawning from anywhere. It does not keep the runtime alive: of one that has
/// ended it counts and tells nothing.
///
/// In a forked child all that needs one of the runtime's locks panics.
#[derive(Clone, Copy)]
pub struct Handle {
    pub(crate) sched: &'static Sched,
    pub(crate) epoch: u64,
}

// What unwinds while it uses a runtime leaves no state of the runtime half-changed.
impl std::panic::UnwindSafe for Handle {}
impl std::panic::RefUnwindSafe for Handle {}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("procs", &self.procs())
            .field("num_goroutine", &self.num_goroutine())
            .field("phase", &self.sched.phase())
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// The runtime that the caller runs on, if it runs on one.
    #[must_use]
    pub fn current() -> Option<Self> {
        Self::on(here())
    }

    /// [`current`](Self::current), where the running stack is known.
    #[inline]
    pub(crate) fn on(at: Option<&'static Stack>) -> Option<Self> {
        let sched = at?.m.get()?.sched();
        Some(Self { sched, epoch: sched.epoch.load(Ordering::Relaxed) })
    }

    /// Starts a goroutine with a stack of its own. May park on a goroutine, to answer a request to
    /// yield.
    ///
    /// # Panics
    /// If the runtime is for futures only, or has been shut down.
    #[track_caller]
    #[inline]
    pub fn go<T, F>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: `'static`, so it lives as long as the goroutine.
        unsafe { go_on(*self, here(), f) }
    }

    /// Starts a future as a goroutine.
    ///
    /// # Panics
    /// If the runtime has been shut down.
    #[track_caller]
    #[inline]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        // SAFETY: `'static`, so it lives as long as the goroutine.
        unsafe { spawn_on(*self, here(), future) }
    }

    /// Whether its goroutines may have stacks of their own: whether [`go`](Self::go) is allowed.
    #[must_use]
    #[inline]
    pub fn is_stackful(&self) -> bool {
        self.sched.stackful.load(Ordering::Relaxed)
    }

    /// Whether the runtime still runs what is started on it: its end has not begun.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.sched.phase() == Phase::Open && !self.is_over()
    }

    /// How many Ps there are.
    #[must_use]
    pub fn procs(&self) -> usize {
        self.unless_over(self.sched.procs.load(Ordering::Relaxed) as usize)
    }

    /// Changes how many Ps there are (`runtime.GOMAXPROCS(n)`), stopping the world: from now on they do not
    /// follow the CPUs by themselves. **May park.**
    ///
    /// # Errors
    /// If `n` is not within `1..=1024`.
    ///
    /// # Panics
    /// If the runtime has been shut down.
    pub fn set_procs(&self, n: usize) -> Result<(), ProcsError> {
        self.resize(n, false)
    }

    /// Looks again at the CPUs the process may use, sets the number of Ps to that, and has it follow the CPUs
    /// as it does by default (`runtime.SetDefaultGOMAXPROCS`). **May park.**
    ///
    /// # Errors
    /// As for [`set_procs`](Self::set_procs).
    ///
    /// # Panics
    /// If the runtime has been shut down.
    pub fn refresh_procs(&self) -> Result<(), ProcsError> {
        self.resize(cpus::default_procs() as usize, true)
    }

    fn resize(&self, n: usize, follows_cpus: bool) -> Result<(), ProcsError> {
        if n == 0 || n > MAX_PROCS {
            return Err(ProcsError(n));
        }
        self.with_world_stopped(|world| {
            self.sched.follows_cpus.store(follows_cpus, Ordering::Relaxed);
            world.resize(n as u32);
        });
        Ok(())
    }

    fn with_world_stopped<R>(&self, f: impl FnOnce(&Stopped<'_>) -> R) -> R {
        syscall::blocking(|| stop_world::with_world_stopped(self.sched, self.epoch, f))
    }

    /// Runs `f` while no goroutine of this runtime passes an entry into the runtime. **May park.**
    ///
    /// `f` must not use the runtime: it would wait for itself.
    ///
    /// # Panics
    /// If the runtime has been shut down. With `f`'s panic, after the world has started again.
    pub fn stop_the_world<R>(&self, f: impl FnOnce() -> R) -> R {
        self.with_world_stopped(|_| f())
    }

    /// The most threads the runtime may make. Returns the limit before. Does nothing to a runtime that has been
    /// shut down.
    pub fn set_max_threads(&self, n: u32) -> u32 {
        fork::check();
        let mut inner = self.sched.lock.lock();
        if self.is_over() {
            return 0;
        }
        core::mem::replace(&mut inner.max_threads, n.max(1))
    }

    /// Goroutines that exist: exact while nobody starts or ends one.
    #[must_use]
    pub fn num_goroutine(&self) -> usize {
        self.unless_over(self.sched.num_goroutine())
    }

    /// Threads that exist to serve this runtime.
    #[must_use]
    pub fn num_threads(&self) -> usize {
        fork::check();
        let n = self.sched.lock.lock().mcount as usize;
        self.unless_over(n)
    }

    /// A paragraph for each goroutine: id, state or wait reason, where it was spawned. Behind the first hundred,
    /// neighbours of whom the same is to be said share one.
    #[must_use]
    pub fn traceback(&self) -> String {
        fork::check();
        self.unless_over(deadlock::traceback(self.sched))
    }

    /// The scheduler's state in a few lines: queues, Ps and Ms (`GODEBUG=schedtrace,scheddetail`).
    #[must_use]
    pub fn sched_trace(&self) -> String {
        fork::check();
        self.unless_over(stats::trace(self.sched))
    }

    /// Whether a running goroutine's P can be taken from under it. False where the kernel refuses
    /// `membarrier`: then a goroutine that makes no runtime calls keeps its P, and the number of Ps follows
    /// the CPUs only when [`refresh_procs`](Self::refresh_procs) is called.
    #[must_use]
    pub fn can_retake(&self) -> bool {
        sys::membarrier()
    }

    /// Whether stack guards cost a mapping each (before Linux 6.13), so that about 32,000 goroutines can
    /// have a stack at once.
    #[must_use]
    pub fn guards_are_mappings(&self) -> bool {
        fork::check();
        stack::guards_are_mappings()
    }

    /// An entry of the [`Poll`] hook came to be due at `when`, earlier than all others of its P: wakes
    /// whoever watches the clock, if it sleeps longer.
    pub fn wake_for(&self, when: u64) {
        fork::check();
        if !self.is_over() {
            idle::wake_watcher(self.sched, when);
        }
    }

    /// What was plugged in by [`Builder::poll`](crate::Builder::poll); as it is `Any`, whoever plugged it in can get it
    /// back with its type.
    #[must_use]
    pub fn poll_hook(&self) -> Option<&'static dyn Poll> {
        self.unless_over(self.sched.hooks().poll)
    }

    /// Counters of the scheduler, for tests and reports.
    #[must_use]
    pub fn stats(&self) -> stats::Stats {
        fork::check();
        self.unless_over(stats::collect(self.sched))
    }

    /// States of all Ps.
    #[must_use]
    pub fn p_statuses(&self) -> Vec<PStatus> {
        self.unless_over(self.sched.ps().map(|p| p.status()).collect())
    }

    /// Ids and states of all goroutines.
    #[must_use]
    pub fn g_statuses(&self) -> Vec<(u64, GStatus)> {
        fork::check();
        let all = records::live_gs(self.sched);
        self.unless_over(all.map(|g| (g.id.load(Ordering::Relaxed), g.status())).collect())
    }

    /// What was read of the record, unless it may have served another runtime already.
    fn unless_over<T: Default>(&self, read: T) -> T {
        if self.is_over() { T::default() } else { read }
    }

    /// Whether the record of the runtime serves another by now: first of all that changes its epoch.
    fn is_over(&self) -> bool {
        self.sched.epoch.load(Ordering::SeqCst) != self.epoch
    }

    /// Whether this living goroutine is one of this runtime's.
    #[inline]
    fn has(&self, g: &G) -> bool {
        core::ptr::eq(g.sched(), self.sched) && self.sched.epoch.load(Ordering::Relaxed) == self.epoch
    }

    /// Whether a goroutine that was just counted, and that none of the runtime's own starts, will be run, or
    /// cancelled by the shutdown that is on. Counted before this look, as [`goroutines::close`](crate::goroutines::close)
    /// counts after it has closed the door: one sees the other.
    fn admits(&self) -> bool {
        core::sync::atomic::fence(Ordering::SeqCst);
        !self.is_over() && self.sched.phase() < Phase::Closed
    }
}

/// Starts a goroutine on `on`, by the code that runs on the stack `at`.
///
/// # Safety
/// Everything that `f` borrows outlives the goroutine.
#[track_caller]
#[inline]
pub(crate) unsafe fn go_on<T: Send, F: FnOnce() -> T + Send>(
    on: Handle,
    at: Option<&'static Stack>,
    f: F,
) -> JoinHandle<T> {
    assert!(
        on.is_stackful(),
        "go on a runtime for futures only: its builder was not given the promise that goroutines \
         with stacks need; build it by Builder::build_stackful, or spawn a future"
    );
    // SAFETY: the caller's; `F` and `T` are Send.
    unsafe { start(on, at, |g| task::install_closure(g, f)) }
}

/// # Safety
/// As for [`go_on`].
#[track_caller]
#[inline]
pub(crate) unsafe fn spawn_on<F: Future + Send>(
    on: Handle,
    at: Option<&'static Stack>,
    future: F,
) -> JoinHandle<F::Output>
where
    F::Output: Send,
{
    // SAFETY: the caller's; the future and its output are Send.
    unsafe { start(on, at, |g| task::install_future(g, future)) }
}

/// # Safety
/// `install` puts a task with result `T` in the record.
#[track_caller]
#[inline]
unsafe fn start<T>(
    on: Handle,
    at: Option<&'static Stack>,
    install: impl FnOnce(&'static G),
) -> JoinHandle<T> {
    let caller = Location::caller();
    let open = on.sched.phase() < Phase::Aborting;
    if open && let Some((s, g)) = park::current_on(at).filter(|(_, g)| on.has(g)) {
        let rt = syscall::enter_may_park(s, g);
        rt.p().goroutines.start();
        let new = start_here(&rt, caller, install);
        syscall::leave_may_park(rt, s, g);
        // SAFETY: the caller's; the record was dead, so this is its only handle.
        return unsafe { JoinHandle::new(new) };
    }
    if on.is_over() {
        // It must not be counted in another life of the record, not even for a moment.
        refuse();
    }
    // Only a goroutine keeps its runtime from ending. What else runs on an M, a waker or the callback of a
    // timer, comes from outside.
    let from_inside = at.and_then(|s| s.g.get()).is_some_and(|g| on.has(g));
    let new = match bracket::enter_at(at) {
        // A future that spawns: its P is at hand, but it must not yield here.
        Ok(rt) if open && core::ptr::eq(rt.sched(), on.sched) => {
            rt.p().goroutines.start();
            if !from_inside && !on.admits() {
                rt.p().goroutines.end();
                rt.leave();
                refuse();
            }
            let new = start_here(&rt, caller, install);
            rt.leave();
            new
        }
        at_hand => {
            if let Ok(rt) = at_hand {
                rt.leave();
            }
            start_from_afar(on, caller, from_inside, install)
        }
    };
    // SAFETY: as above.
    unsafe { JoinHandle::new(new) }
}

/// By a holder, who has counted it: no lock, no shared counter.
#[inline]
fn start_here(
    rt: &Rt,
    at: &'static Location<'static>,
    install: impl FnOnce(&'static G),
) -> &'static G {
    let (new, id) = records::get_g(rt);
    // The task's values are moved, not run, so the bracket may stay open.
    begin(new, id, rt.sched(), at, install);
    queues::runq_put_next(rt, new);
    new
}

/// By a thread without a P. The goroutines of a runtime may start others until they end
/// (`from_inside`); others find the door closed at some time.
#[cold]
#[track_caller]
fn start_from_afar(
    on: Handle,
    at: &'static Location<'static>,
    from_inside: bool,
    install: impl FnOnce(&'static G),
) -> &'static G {
    fork::check();
    on.sched.goroutines.start_shared();
    if !from_inside && !on.admits() {
        on.sched.goroutines.end_shared();
        refuse();
    }
    let (new, id) = records::get_g_foreign();
    begin(new, id, on.sched, at, install);
    idle::inject(on.sched, new);
    new
}

#[cold]
#[track_caller]
fn refuse() -> ! {
    panic!("go or spawn on a runtime that has been shut down")
}

#[inline]
fn begin(
    g: &'static G,
    id: u64,
    sched: &'static Sched,
    at: &'static Location<'static>,
    install: impl FnOnce(&'static G),
) {
    g.id.store(id, Ordering::Relaxed);
    g.set_sched(sched);
    g.spawned_at.store(core::ptr::from_ref(at).cast_mut(), Ordering::Relaxed);
    g.park.begin();
    g.join.begin();
    install(g);
    g.set_status(GStatus::Runnable);
}

#[cfg(test)]
mod tests {
    use crate::{Builder, Handle};
    use std::panic::catch_unwind;

    /// Once it is refused, nothing tells that it was there: whoever counted the new one's goroutines just then, and
    /// would have none, must not have found one.
    #[test]
    fn a_handle_of_the_dead_is_not_counted_in_another_life() {
        let build = || Builder::new().procs(1).build().unwrap();
        let (old, rt): (Handle, _) = loop {
            let old = build().handle();
            let rt = build();
            if core::ptr::eq(rt.handle().sched, old.sched) {
                break (old, rt);
            }
        };
        let started = || format!("{:?}", old.sched.goroutines);
        let before = started();
        assert!(catch_unwind(|| drop(old.spawn(async {}))).is_err());
        assert_eq!(started(), before);
        drop(rt);
    }
}
