#![doc = include_str!("../README.md")]

mod builder;
#[cfg(feature = "chan")]
mod context;
#[cfg(feature = "timer")]
pub mod time;
mod wiring;

pub use builder::{Builder, Runtime};
#[cfg(feature = "chan")]
pub use context::ContextExt;
pub use gmp_sched::{
    AfterDone, AsyncCondvar, AsyncMutex, AsyncRwLock, Barrier, Canceler, Cause, Condvar, Context,
    ContextError, GoLocal, Group, GroupError, Mutex, MutexGuard, Once, OnceLock, ReentrantMutex,
    RwLock, Scope, ScopedJoinHandle, scope,
};
pub use gmp_sched::{
    BuildError, GStatus, Goroutine, Handle, JoinError, JoinHandle, OnDeadlock, PStatus, ProcsError,
    Semaphore, Shutdown, Stats, WaitGroup, WaitReason, blocking, blocking_now, check_preempt, go,
    goexit, num_goroutine, park, raw_blocking, spawn, yield_now,
};

/// Channels and select: [`gchan`], whose waiters are goroutines, futures and threads alike.
#[cfg(feature = "chan")]
pub use gchan as chan;

#[cfg(feature = "timer")]
pub use time::sleep;

/// The allocator.
#[cfg(feature = "alloc")]
pub use galloc as alloc;
/// The bucketed map.
#[cfg(feature = "map")]
pub use ghmap as map;
/// From any value to any interface at run time.
#[cfg(feature = "itab")]
pub use gitab as itab;
/// The scheduler itself, for what the umbrella does not re-export.
pub use gmp_sched as sched;
/// Plugins whose symbols are typed.
#[cfg(feature = "plugin")]
pub use gplugin as plugin;
/// The object pool.
#[cfg(feature = "pool")]
pub use gpool as pool;
/// The timers' own crate, for what [`time`] does not re-export.
#[cfg(feature = "timer")]
pub use gtimer as timer;
