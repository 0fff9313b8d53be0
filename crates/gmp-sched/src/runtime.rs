//! Building a runtime, spawning into it, and its end.

use crate::bracket::{self, Rt, here};
use crate::deadlock::OnDeadlock;
use crate::join::{JoinError, JoinHandle};
use crate::poll::Poll;
use crate::runtime2::{G, Hooks, Phase, Sched, new_sched};
use crate::status::{GStatus, PStatus};
use crate::{
    cpus, deadlock, idle, overflow, park, queues, schedule, switch, records, stack, stop_world, syscall, sys, sysmon,
    task,
};
use core::fmt;
use core::panic::Location;
use core::sync::atomic::Ordering;
use core::time::Duration;
use parking_lot::Mutex;
use std::time::Instant;

/// Most Ps a runtime can have.
const MAX_PROCS: usize = 1024;
/// An M's OS stack in a runtime whose goroutines have their own: it runs scheduler code only.
const M_STACK: usize = 256 << 10;
/// An M's OS stack in a runtime for futures: user code runs on it.
const FUTURES_STACK: usize = 2 << 20;

/// Records of runtimes that ended, to be used again: they are type-stable like all others.
static FREE: Mutex<Vec<&'static Sched>> = Mutex::new(Vec::new());

/// How to build a [`Runtime`].
#[derive(Clone)]
#[must_use]
pub struct Builder {
    procs: Option<u32>,
    stack_size: Option<usize>,
    max_threads: u32,
    shutdown: Shutdown,
    on_deadlock: Option<OnDeadlock>,
    poll: Option<&'static dyn Poll>,
    thread_idle: Option<fn()>,
}

/// What [`Runtime`]'s drop does with goroutines that still exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Shutdown {
    /// Unwind them: every park ends in an unwinding, futures are dropped, closures that have not
    /// started are dropped. What is left at the deadline is reported and leaked. The default, with
    /// ten seconds.
    Abort(Duration),
    /// Wait for them, at most so long; then abort, with as much time again.
    Wait(Duration),
    /// Panic if there are any.
    Refuse,
}

/// Why a runtime could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The number of Ps asked for is not within `1..=1024`.
    Procs(usize),
    /// The stack size asked for is not a power of two of at least 64 KiB, or another size is in
    /// force: all goroutine stacks of a process have one size, set by its first runtime.
    StackSize {
        /// What was asked for.
        asked: usize,
        /// What is in force, if anything.
        in_force: Option<usize>,
    },
    /// The kernel gave no address space for stacks.
    Stacks(std::io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Procs(n) => write!(f, "{n} Ps were asked for; allowed are 1 to {MAX_PROCS}"),
            Self::StackSize { asked, in_force: Some(size) } => write!(
                f,
                "stacks of {asked} bytes were asked for, but this process has stacks of {size}: \
                 all runtimes share one size, set by the first"
            ),
            Self::StackSize { asked, in_force: None } => write!(
                f,
                "stacks of {asked} bytes were asked for; allowed are powers of two from 64 KiB"
            ),
            Self::Stacks(e) => write!(f, "no address space for goroutine stacks: {e}"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Stacks(e) => Some(e),
            _ => None,
        }
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("procs", &self.procs)
            .field("stack_size", &self.stack_size)
            .field("max_threads", &self.max_threads)
            .field("shutdown", &self.shutdown)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// The defaults: as many Ps as the process may use CPUs.
    pub fn new() -> Self {
        Self {
            procs: None,
            stack_size: None,
            max_threads: 10_000,
            shutdown: Shutdown::Abort(Duration::from_secs(10)),
            on_deadlock: None,
            poll: None,
            thread_idle: None,
        }
    }

    /// How many goroutines run at once (`GOMAXPROCS`); 1 to 1024. Default: the CPUs of the process's affinity mask,
    /// or fewer if a control group limits it.
    pub fn procs(mut self, n: usize) -> Self {
        self.procs = Some(n.try_into().unwrap_or(u32::MAX));
        self
    }

    /// Bytes of address space per goroutine stack, guard page included: a power of two of at least
    /// 64 KiB, the same for all runtimes of a process. Default: 256 KiB, of which a goroutine costs only the
    /// pages it touches.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Most threads the runtime may make; one more is a fatal error, as in Go. Default: 10,000.
    pub fn max_threads(mut self, n: u32) -> Self {
        self.max_threads = n.max(1);
        self
    }

    /// What dropping the runtime does with goroutines that still exist.
    pub fn shutdown(mut self, what: Shutdown) -> Self {
        self.shutdown = what;
        self
    }

    /// What to do when all goroutines of the process are asleep for good. The last runtime built
    /// decides for the process.
    pub fn on_deadlock(mut self, what: OnDeadlock) -> Self {
        self.on_deadlock = Some(what);
        self
    }

    /// What a P looks at besides its queues.
    pub fn poll(mut self, poll: &'static dyn Poll) -> Self {
        self.poll = Some(poll);
        self
    }

    /// Called by each thread of the runtime when it goes idle: where other crates end what they lease
    /// to running threads. It must not park.
    pub fn on_thread_idle(mut self, f: fn()) -> Self {
        self.thread_idle = Some(f);
        self
    }

    /// A runtime for futures only: [`spawn`] works, [`go`] panics. Needs no promise.
    ///
    /// # Errors
    /// If a setting is out of range, or the kernel refuses what the runtime needs.
    pub fn build(self) -> Result<Runtime, BuildError> {
        self.build_any(false)
    }

    /// A runtime for goroutines with stacks of their own, and for futures.
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    ///
    /// # Safety
    /// Any call documented "may park" can suspend a goroutine, run others on its thread and resume it
    /// on another. For all code that its goroutines run, dependencies included, the caller promises:
    ///
    /// 1. Nothing bound to a thread, or to its last-in-first-out use, lives across such a call: a
    ///    reference out of `LocalKey::with`, a scoped thread-local, a `StdoutLock`, a `!Send` guard,
    ///    an enter guard, an `Rc` that is also reachable from a thread-local.
    /// 2. No function uses the same thread-local, inlining included, before and after such a call;
    ///    access goes through an `#[inline(never)]` function that does not park and returns no address
    ///    (rust-lang/rust#33368).
    /// 3. Foreign frames on the stack tolerate resuming on another thread.
    ///
    /// Nothing is promised for futures: a poll never changes threads. These crates, and std's
    /// allocation, `println!`, `HashMap::new`, `thread::current` and panics, meet (2) on the toolchain
    /// that this workspace is tested with (`tests/tests/tls.rs`).
    pub unsafe fn build_stackful(self) -> Result<Runtime, BuildError> {
        self.build_any(true)
    }

    fn build_any(self, stackful: bool) -> Result<Runtime, BuildError> {
        let procs = self.procs.unwrap_or_else(cpus::default_procs);
        if procs == 0 || procs as usize > MAX_PROCS {
            return Err(BuildError::Procs(procs as usize));
        }
        if stackful {
            init_stacks(self.stack_size)?;
            overflow::install();
        }
        if let Some(what) = self.on_deadlock {
            deadlock::set(what);
        }
        sys::membarrier_register();
        let hooks = Hooks {
            poll: self.poll,
            thread_idle: self.thread_idle,
            m_main: schedule::m_main,
            base: schedule::base_loop,
        };
        let sched = take_sched(hooks);
        sched.stackful.store(stackful, Ordering::Relaxed);
        open(sched, procs, self.max_threads, if stackful { M_STACK } else { FUTURES_STACK });
        sysmon::watch(sched);
        Ok(Runtime { handle: Handle { sched, epoch: sched.epoch.load(Ordering::Relaxed) }, shutdown: self.shutdown })
    }
}

fn init_stacks(asked: Option<usize>) -> Result<(), BuildError> {
    let size = asked.unwrap_or(stack::DEFAULT_SLOT);
    if !size.is_power_of_two() || size < stack::MIN_SLOT {
        return Err(BuildError::StackSize { asked: size, in_force: None });
    }
    let in_force = stack::init(size).map_err(BuildError::Stacks)?;
    if asked.is_some_and(|a| a != in_force) {
        return Err(BuildError::StackSize { asked: size, in_force: Some(in_force) });
    }
    Ok(())
}

fn take_sched(hooks: Hooks) -> &'static Sched {
    match FREE.lock().pop() {
        Some(sched) => {
            // SAFETY: no M serves a free record, so nobody reads its hooks.
            unsafe { *sched.hooks.get() = hooks };
            sched
        }
        None => Box::leak(Box::new(new_sched(MAX_PROCS, hooks))),
    }
}

/// Brings a free record to life: `procs` idle Ps.
fn open(sched: &'static Sched, procs: u32, max_threads: u32, thread_stack: usize) {
    let mut inner = sched.lock.lock();
    inner.max_threads = max_threads;
    inner.thread_stack = thread_stack;
    sched.ngo.store(0, Ordering::Relaxed);
    sched.stats.reset();
    sched.epoch.fetch_add(1, Ordering::Relaxed);
    for id in (0..procs).rev() {
        let p = stop_world::make_p(sched, id);
        if p.status() == PStatus::Dead {
            p.set_status(PStatus::Gcstop);
        }
        p.ngo.store(0, Ordering::Relaxed);
        p.syscall_reacquired.store(0, Ordering::Relaxed);
        p.set_status(PStatus::Idle);
        inner.pidle_put(sched, p);
    }
    sched.procs.store(procs, Ordering::SeqCst);
    sched.set_phase(Phase::Open);
}

/// A runtime: Ps, the threads that serve them, and the goroutines that run on them.
///
/// Dropping it ends it, as the [`Builder::shutdown`] setting says.
#[derive(Debug)]
pub struct Runtime {
    handle: Handle,
    shutdown: Shutdown,
}

/// A reference to a runtime, for spawning from anywhere. It does not keep the runtime alive.
#[derive(Clone, Copy)]
pub struct Handle {
    sched: &'static Sched,
    epoch: u64,
}

// What unwinds while it uses a runtime leaves no state of the runtime half-changed.
impl std::panic::UnwindSafe for Handle {}
impl std::panic::RefUnwindSafe for Handle {}
impl std::panic::UnwindSafe for Runtime {}
impl std::panic::RefUnwindSafe for Runtime {}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("procs", &self.procs())
            .field("num_goroutine", &self.num_goroutine())
            .field("phase", &self.sched.phase())
            .finish_non_exhaustive()
    }
}

impl Runtime {
    /// How to build one.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A handle for spawning from elsewhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Runs `main` as a goroutine and returns what it returns, as soon as it does: other goroutines
    /// go on until the runtime is dropped. Blocks the calling thread.
    ///
    /// # Panics
    /// With `main`'s panic. If this is a runtime for futures only. If it is called on a goroutine.
    #[track_caller]
    pub fn run<T, F>(&self, main: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        assert!(
            here().and_then(|s| s.g.get()).is_none(),
            "Runtime::run on a goroutine: it blocks its thread; use go and join"
        );
        // SAFETY: this function does not return before the goroutine has ended and its result is
        // taken, so what `main` borrows outlives it. (A forced unwinding of this thread would be
        // one of the joining loop, which does not unwind.)
        let handle = unsafe { go_on(self.handle, main) };
        unwrap(handle.join())
    }

    /// Runs a future to its end as a goroutine, and returns its output. Blocks the calling thread.
    ///
    /// # Panics
    /// With the future's panic. If it is called on a goroutine.
    #[track_caller]
    pub fn block_on<F>(&self, future: F) -> F::Output
    where
        F: Future + Send,
        F::Output: Send,
    {
        assert!(
            here().and_then(|s| s.g.get()).is_none(),
            "Runtime::block_on on a goroutine: it blocks its thread; use spawn and join"
        );
        // SAFETY: as in `run`.
        let handle = unsafe { spawn_on(self.handle, future) };
        unwrap(handle.join())
    }

    /// As [`Handle::go`].
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn go<T, F>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.handle.go(f)
    }

    /// As [`Handle::spawn`].
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Ends the runtime now, in the way told instead of the one it was built with.
    ///
    /// # Panics
    /// With [`Shutdown::Refuse`], if goroutines still exist.
    pub fn shutdown(mut self, what: Shutdown) {
        self.shutdown = what;
    }
}

fn unwrap<T>(result: Result<T, JoinError>) -> T {
    match result {
        Ok(value) => value,
        Err(e) => match e.try_into_panic() {
            Ok(payload) => std::panic::resume_unwind(payload),
            Err(e) => panic!("the main goroutine has no result: {e}"),
        },
    }
}

impl Handle {
    /// The runtime that the caller runs on, if it runs on one.
    #[must_use]
    pub fn current() -> Option<Self> {
        let sched = here()?.m.get()?.sched();
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
        unsafe { go_on(*self, f) }
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
        unsafe { spawn_on(*self, future) }
    }

    /// How many Ps there are.
    #[must_use]
    pub fn procs(&self) -> usize {
        self.sched.procs.load(Ordering::Relaxed) as usize
    }

    /// Changes how many Ps there are (`runtime.GOMAXPROCS(n)`), stopping the world. **May park.**
    ///
    /// # Errors
    /// If `n` is not within `1..=1024`.
    pub fn set_procs(&self, n: usize) -> Result<(), BuildError> {
        if n == 0 || n > MAX_PROCS {
            return Err(BuildError::Procs(n));
        }
        syscall::blocking(|| stop_world::with_world_stopped(self.sched, Some(n as u32), || {}));
        Ok(())
    }

    /// Looks again at the CPUs the process may use, and sets the number of Ps to that.
    ///
    /// # Errors
    /// As for [`set_procs`](Self::set_procs).
    pub fn refresh_procs(&self) -> Result<(), BuildError> {
        self.set_procs(cpus::default_procs() as usize)
    }

    /// Runs `f` while no goroutine of this runtime passes an entry into the runtime. **May park.**
    ///
    /// `f` must not use the runtime: it would wait for itself.
    pub fn stop_the_world<R>(&self, f: impl FnOnce() -> R) -> R {
        syscall::blocking(|| stop_world::with_world_stopped(self.sched, None, f))
    }

    /// The most threads the runtime may make. Returns the limit before.
    pub fn set_max_threads(&self, n: u32) -> u32 {
        core::mem::replace(&mut self.sched.lock.lock().max_threads, n.max(1))
    }

    /// Goroutines that exist: exact while nobody starts or ends one.
    #[must_use]
    pub fn num_goroutine(&self) -> usize {
        self.sched.num_goroutine()
    }

    /// Threads that exist to serve this runtime.
    #[must_use]
    pub fn num_threads(&self) -> usize {
        self.sched.lock.lock().mcount as usize
    }

    /// A paragraph for each goroutine: id, state or wait reason, where it was spawned.
    #[must_use]
    pub fn traceback(&self) -> String {
        deadlock::traceback(self.sched)
    }

    /// The scheduler's state in a few lines: queues, Ps and Ms (`GODEBUG=schedtrace,scheddetail`).
    #[must_use]
    pub fn sched_trace(&self) -> String {
        crate::stats::trace(self.sched)
    }

    /// Whether a running goroutine's P can be taken from under it. False where the kernel refuses
    /// `membarrier`: then a goroutine that makes no runtime calls keeps its P.
    #[must_use]
    pub fn can_retake(&self) -> bool {
        sys::membarrier()
    }

    /// Whether stack guards cost a mapping each (before Linux 6.13), so that about 32,000 goroutines can
    /// have a stack at once.
    #[must_use]
    pub fn guards_are_mappings(&self) -> bool {
        stack::guards_are_mappings()
    }

    /// An entry of the [`Poll`] hook came to be due at `when`, earlier than all others of its P: wakes
    /// whoever watches the clock, if it sleeps longer.
    pub fn wake_for(&self, when: u64) {
        idle::wake_watcher(self.sched, when);
    }

    /// What was plugged in by [`Builder::poll`]; as it is `Any`, whoever plugged it in can get it
    /// back with its type.
    #[must_use]
    pub fn poll_hook(&self) -> Option<&'static dyn Poll> {
        self.sched.hooks().poll
    }

    /// Counters of the scheduler, for tests and reports.
    #[must_use]
    pub fn stats(&self) -> crate::Stats {
        crate::stats::collect(self.sched)
    }

    /// States of all Ps.
    #[must_use]
    pub fn p_statuses(&self) -> Vec<PStatus> {
        self.sched.ps().map(|p| p.status()).collect()
    }

    /// Ids and states of all goroutines.
    #[must_use]
    pub fn g_statuses(&self) -> Vec<(u64, GStatus)> {
        records::live_gs(self.sched).map(|g| (g.id.load(Ordering::Relaxed), g.status())).collect()
    }

    /// Whether a goroutine that is started now will be run, or cancelled by the shutdown that is on.
    fn alive(&self) -> bool {
        self.sched.epoch.load(Ordering::SeqCst) == self.epoch
            && self.sched.phase() < Phase::Stopping
    }
}

/// # Safety
/// Everything that `f` borrows outlives the goroutine.
#[track_caller]
#[inline]
unsafe fn go_on<T: Send, F: FnOnce() -> T + Send>(on: Handle, f: F) -> JoinHandle<T> {
    assert!(
        on.sched.stackful.load(Ordering::Relaxed),
        "go on a runtime for futures only: its builder was not given the promise that goroutines \
         with stacks need; build it by Builder::build_stackful, or spawn a future"
    );
    // SAFETY: the caller's; `F` and `T` are Send.
    unsafe { start(on, |g| task::install_closure(g, f)) }
}

/// # Safety
/// As for [`go_on`].
#[track_caller]
#[inline]
unsafe fn spawn_on<F: Future + Send>(on: Handle, future: F) -> JoinHandle<F::Output>
where
    F::Output: Send,
{
    // SAFETY: the caller's; the future and its output are Send.
    unsafe { start(on, |g| task::install_future(g, future)) }
}

/// # Safety
/// `install` puts a task with result `T` in the record.
#[track_caller]
#[inline]
unsafe fn start<T>(on: Handle, install: impl FnOnce(&'static G)) -> JoinHandle<T> {
    let at = Location::caller();
    let open = on.sched.phase() < Phase::Aborting;
    if open
        && let Some((s, g)) = park::current()
        && core::ptr::eq(g.sched(), on.sched)
    {
        let rt = syscall::enter_may_park(s, g);
        let new = start_here(&rt, at, install);
        syscall::leave_may_park(rt, s, g);
        // SAFETY: the caller's; the record was dead, so this is its only handle.
        return unsafe { JoinHandle::new(new) };
    }
    let new = match bracket::enter() {
        // A future that spawns: its P is at hand, but it must not yield here.
        Ok(rt) if open && core::ptr::eq(rt.sched(), on.sched) => {
            let new = start_here(&rt, at, install);
            rt.leave();
            new
        }
        Ok(rt) => {
            rt.leave();
            start_from_afar(on, at, install)
        }
        Err(_) => start_from_afar(on, at, install),
    };
    // SAFETY: as above.
    unsafe { JoinHandle::new(new) }
}

/// By a holder: no lock, no shared counter.
#[inline]
fn start_here(
    rt: &Rt,
    at: &'static Location<'static>,
    install: impl FnOnce(&'static G),
) -> &'static G {
    let (new, id) = records::get_g(rt);
    // The task's values are moved, not run, so the bracket may stay open.
    begin(new, id, rt.sched(), at, install);
    let ngo = &rt.p().ngo;
    ngo.store(ngo.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    queues::runq_put_next(rt, new);
    new
}

#[cold]
fn start_from_afar(
    on: Handle,
    at: &'static Location<'static>,
    install: impl FnOnce(&'static G),
) -> &'static G {
    // Counted before the look, as `end` counts after it has closed the door: one sees the other.
    on.sched.ngo.fetch_add(1, Ordering::SeqCst);
    core::sync::atomic::fence(Ordering::SeqCst);
    if !on.alive() {
        on.sched.ngo.fetch_sub(1, Ordering::SeqCst);
        panic!("go or spawn on a runtime that has been shut down");
    }
    let (new, id) = records::get_g_foreign();
    begin(new, id, on.sched, at, install);
    idle::inject(on.sched, new);
    new
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

/// Starts a goroutine on the runtime that the caller runs on. May park, to answer a request to yield.
///
/// # Panics
/// If the caller does not run on a runtime, or on one for futures only; the message names the
/// constructor to use.
#[track_caller]
#[inline]
pub fn go<T, F>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match Handle::current() {
        Some(on) => on.go(f),
        None => panic!(
            "go outside a runtime: call it from within Runtime::run of a runtime built by \
             Builder::build_stackful, or use Handle::go"
        ),
    }
}

/// Starts a future as a goroutine on the runtime that the caller runs on.
///
/// # Panics
/// If the caller does not run on a runtime.
#[track_caller]
#[inline]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match Handle::current() {
        Some(on) => on.spawn(future),
        None => panic!(
            "spawn outside a runtime: call it from within Runtime::run or Runtime::block_on, or \
             use Handle::spawn"
        ),
    }
}

/// Lets other goroutines run first. **May park.** On a plain thread, `std::thread::yield_now`.
#[inline]
pub fn yield_now() {
    match park::current() {
        Some((s, g)) => {
            crate::unwind::check(g);
            let rt = syscall::enter_may_park(s, g);
            let rt = if bracket::is_pinned(s, g) {
                syscall::yield_pinned(rt, s, g)
            } else {
                switch::yield_local(rt, g)
            };
            syscall::leave_may_park(rt, s, g);
        }
        None => std::thread::yield_now(),
    }
}

/// A preemption point for loops that make no runtime calls: yields if the goroutine has been asked to,
/// and costs a load or two otherwise. **May park.**
#[inline]
pub fn check_preempt() {
    if let Some((s, g)) = park::current()
        && let Some(m) = s.m.get()
        && (m.attention.peek() != 0 || m.preempted.get())
    {
        let rt = syscall::enter_may_park(s, g);
        syscall::leave_may_park(rt, s, g);
    }
}

/// The P that the caller runs on, as a hint: it may be another by the time the caller looks. `None`
/// on a thread that is no runtime's, or has just lost its P.
#[must_use]
#[inline(never)]
pub fn p_hint() -> Option<usize> {
    Some(here()?.m.get()?.p.get()?.id as usize)
}

/// Goroutines that exist on the runtime that the caller runs on; 0 elsewhere.
#[must_use]
pub fn num_goroutine() -> usize {
    Handle::current().map_or(0, |h| h.num_goroutine())
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let sched = self.handle.sched;
        let abort = match self.shutdown {
            Shutdown::Abort(d) => d,
            Shutdown::Wait(d) => {
                await_goroutines(sched, d);
                d
            }
            Shutdown::Refuse => {
                let n = sched.num_goroutine();
                if n > 0 && !std::thread::panicking() {
                    end(sched, Duration::from_secs(10));
                    panic!("a runtime was shut down while {n} goroutines exist:\n{}", deadlock::traceback(sched));
                }
                Duration::from_secs(10)
            }
        };
        end(sched, abort);
    }
}

/// Waits until no goroutine is left; false at the deadline.
fn await_goroutines(sched: &'static Sched, within: Duration) -> bool {
    let start = Instant::now();
    let mut nap = Duration::from_micros(10);
    while sched.num_goroutine() > 0 {
        if start.elapsed() >= within {
            return false;
        }
        std::thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(5));
    }
    true
}

/// Ends a runtime: abort, wait, stop the Ms, and keep the record for another if nothing is left.
fn end(sched: &'static Sched, within: Duration) {
    // 1. From here on every park unwinds, and what has not started is cancelled.
    sched.set_phase(Phase::Aborting);
    let start = Instant::now();
    loop {
        // 2. Wake whoever waits. Again and again: a goroutine may have been between its look at the
        // phase and its park; the permit covers that, but one that was spawned meanwhile is new.
        for g in records::live_gs(sched) {
            if g.status() == GStatus::Waiting {
                park::unpark(g);
            }
        }
        let left = within.saturating_sub(start.elapsed());
        if await_goroutines(sched, left.min(Duration::from_millis(50))) {
            // 3. Close the door, unless somebody has just come in.
            sched.set_phase(Phase::Stopping);
            core::sync::atomic::fence(Ordering::SeqCst);
            if sched.num_goroutine() == 0 {
                break;
            }
            sched.set_phase(Phase::Aborting);
        }
        if left.is_zero() {
            eprintln!(
                "gmp-sched: {} goroutines outlived the shutdown of their runtime and are leaked:\n{}",
                sched.num_goroutine(),
                deadlock::traceback(sched)
            );
            sysmon::unwatch(sched);
            return;
        }
    }
    // 4. The Ms end; they are idle or about to be.
    let mut inner = sched.lock.lock();
    while inner.mcount > 0 {
        drop(inner);
        idle::dismiss_idle(sched);
        inner = sched.lock.lock();
        if inner.mcount > 0 {
            sched.ended.wait_for(&mut inner, Duration::from_millis(1));
        }
    }
    drop(inner);
    sysmon::unwatch(sched);
    // 5. All Ps are idle again: bury them, and keep the record.
    let mut inner = sched.lock.lock();
    while let Some(p) = inner.pidle_get(sched) {
        p.set_status(PStatus::Gcstop);
        p.set_status(PStatus::Dead);
    }
    sched.procs.store(0, Ordering::SeqCst);
    sched.set_phase(Phase::Free);
    drop(inner);
    FREE.lock().push(sched);
}
