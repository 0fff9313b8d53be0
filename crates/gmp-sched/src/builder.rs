//! How a runtime is built.

use crate::deadlock::OnDeadlock;
use crate::handle::{Handle, MAX_PROCS, ProcsError};
use crate::poll::Poll;
use crate::runtime::Runtime;
use crate::runtime2::{Hooks, Phase, Sched};
use crate::shutdown::{Shutdown, take_sched};
use crate::p_status::PStatus;
use crate::{cpus, deadlock, fork, overflow, schedule, stack, stop_world, sys, sysmon};
use core::fmt;
use core::sync::atomic::Ordering;
use core::time::Duration;
use parking_lot::Mutex;

/// An M's OS stack in a runtime whose goroutines have their own: it runs scheduler code only.
const M_STACK: usize = 256 << 10;
/// An M's OS stack in a runtime for futures: user code runs on it.
const FUTURES_STACK: usize = 2 << 20;

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

/// Why a runtime could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The number of Ps asked for is not within `1..=1024`.
    Procs(ProcsError),
    /// The stack size asked for is not a power of two from 64 KiB to 1 GiB, or another size is in
    /// force: all goroutine stacks of a process have one size, set by its first runtime.
    StackSize {
        /// What was asked for.
        asked: usize,
        /// What is in force, if anything.
        in_force: Option<usize>,
    },
    /// The kernel gave no address space for stacks.
    Stacks(std::io::Error),
    /// The thread that watches all runtimes of the process could not be started.
    Thread(std::io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Procs(e) => e.fmt(f),
            Self::StackSize { asked, in_force: Some(size) } => write!(
                f,
                "stacks of {asked} bytes were asked for, but this process has stacks of {size}: \
                 all runtimes share one size, set by the first"
            ),
            Self::StackSize { asked, in_force: None } => write!(
                f,
                "stacks of {asked} bytes were asked for; allowed are powers of two from 64 KiB to 1 GiB"
            ),
            Self::Stacks(e) => write!(f, "no address space for goroutine stacks: {e}"),
            Self::Thread(e) => write!(f, "cannot start the thread that watches the runtimes: {e}"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Stacks(e) | Self::Thread(e) => Some(e),
            Self::Procs(e) => Some(e),
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
    /// or fewer if a control group limits it; a runtime that is busy looks again every second and follows what
    /// it finds (as Go does since 1.25; masks are of threads, so it takes `taskset -a -p`), until somebody calls
    /// [`set_procs`](crate::Handle::set_procs).
    pub fn procs(mut self, n: usize) -> Self {
        self.procs = Some(n.try_into().unwrap_or(u32::MAX));
        self
    }

    /// Bytes of address space per goroutine stack, to which a guard page is added: a power of two from 64 KiB to
    /// 1 GiB, the same for all runtimes of a process. Default: 256 KiB, of which a goroutine costs only the
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

    /// A runtime for futures only: [`spawn`](crate::spawn) works, [`go`](crate::go) panics. Needs no promise.
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
        fork::check();
        fork::install();
        let procs = self.procs.unwrap_or_else(cpus::default_procs);
        if procs == 0 || procs as usize > MAX_PROCS {
            return Err(BuildError::Procs(ProcsError(procs as usize)));
        }
        if stackful {
            init_stacks(self.stack_size)?;
            overflow::install();
        }
        if let Some(what) = self.on_deadlock {
            deadlock::set(what);
        }
        sys::membarrier_register();
        sysmon::start().map_err(BuildError::Thread)?;
        let hooks = Hooks {
            poll: self.poll,
            thread_idle: self.thread_idle,
            m_main: schedule::m_main,
            base: schedule::base_loop,
        };
        let sched = take_sched(MAX_PROCS, intern(hooks));
        sched.stackful.store(stackful, Ordering::Relaxed);
        sched.follows_cpus.store(self.procs.is_none(), Ordering::Relaxed);
        open(sched, procs, self.max_threads, if stackful { M_STACK } else { FUTURES_STACK });
        sysmon::watch(sched);
        Ok(Runtime { handle: Handle { sched, epoch: sched.epoch.load(Ordering::Relaxed) }, shutdown: self.shutdown })
    }
}

fn init_stacks(asked: Option<usize>) -> Result<(), BuildError> {
    let size = asked.unwrap_or(stack::DEFAULT_SIZE);
    if !size.is_power_of_two() || !(stack::MIN_SIZE..=stack::MAX_SIZE).contains(&size) {
        return Err(BuildError::StackSize { asked: size, in_force: None });
    }
    let in_force = stack::init(size).map_err(BuildError::Stacks)?;
    if asked.is_some_and(|a| a != in_force) {
        return Err(BuildError::StackSize { asked: size, in_force: Some(in_force) });
    }
    Ok(())
}

/// Hooks live for ever, and those of the same parts are the same: a process has few.
fn intern(hooks: Hooks) -> &'static Hooks {
    static ALL: Mutex<Vec<&'static Hooks>> = Mutex::new(Vec::new());
    let mut all = ALL.lock();
    if let Some(known) = all.iter().find(|known| known.same_as(&hooks)) {
        return known;
    }
    let new: &'static Hooks = Box::leak(Box::new(hooks));
    all.push(new);
    new
}

/// Brings a free record to life: `procs` idle Ps.
fn open(sched: &'static Sched, procs: u32, max_threads: u32, thread_stack: usize) {
    let mut inner = sched.lock.lock();
    debug_assert!(inner.pidle.is_none() && inner.globq.len() == 0, "a free record has no Ps and no work");
    inner.max_threads = max_threads;
    inner.thread_stack = thread_stack;
    inner.no_spare_before = 0;
    sched.stats.reset();
    // An M that met the end of the last life on its way to sleep has left its deadline.
    sched.sleeping_until.store(u64::MAX, Ordering::SeqCst);
    sched.stats.started_before.store(sched.goroutines_started(), Ordering::Relaxed);
    for id in (0..procs).rev() {
        let p = stop_world::make_p(sched, id);
        if p.status() == PStatus::Dead {
            p.set_status(PStatus::Gcstop);
        }
        p.syscalltick.store(0, Ordering::Relaxed);
        p.set_status(PStatus::Idle);
        inner.pidle_put(sched, p);
    }
    sched.procs.store(procs, Ordering::SeqCst);
    sched.clocks.store(procs, Ordering::Release);
    sched.set_phase(Phase::Open);
}


impl Runtime {
    /// How to build one.
    pub fn builder() -> Builder {
        Builder::new()
    }
}
