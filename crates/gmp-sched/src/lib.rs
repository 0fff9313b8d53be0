#![cfg_attr(not(loom), doc = include_str!("../README.md"))]
//!
//! # Rooms
//!
//! A reader who knows Go's runtime finds the room by its name; each imports only from those above it.
//!
//! | floor | modules |
//! |---|---|
//! | protocols, model-checked | `runq`, `gate`, `park_word`, `join_word`, `attention`, `p_status`, `census` and `sysmon_note`, `counted`, `suspicion` |
//! | machine | `arch`, `sys`, `cpus`; `asan`, if built for AddressSanitizer |
//! | records | `status`, `wait_reason`, `globq`, `ahead`, `runtime2`, `free_slots`, `stack`, `records` |
//! | who runs here | `bracket`, `fork` |
//! | threads | `retake`, `starts`, `idle`, `stop_world` |
//! | goroutines | `queues`, `switch`, `syscall`, `park`, `unwind`, `finish`, `task`, `join` |
//! | loops | `steal`, `schedule`, `deadlock`, `sysmon`, `overflow` |
//! | faces | `stats`, `handle`, `calls`, `shutdown`, `runtime`, `builder`, `os_thread`, `defer` |
//! | synchronisation | `locks`, `local`, `context`, `scope`, `group` |

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!(
    "gmp-sched needs Linux on x86-64: it switches stacks in assembly and parks on futexes"
);

// Protocols: all that loom models, and all that is compiled under it.
mod attention;
mod census;
mod counted;
mod foreign;
mod gate;
mod goroutines;
mod join_word;
mod locks;
mod p_status;
mod park_word;
mod runq;
mod suspicion;
mod sync;
mod sysmon_note;

macro_rules! not_loom {
    ($($vis:vis mod $name:ident;)*) => { $(#[cfg(not(loom))] $vis mod $name;)* };
}

#[cfg(gort_asan)]
mod asan;

not_loom! {
    mod ahead;
    mod arch;
    mod bracket;
    mod builder;
    mod calls;
    mod context;
    mod cpus;
    mod deadlock;
    mod defer;
    mod fatal;
    mod finish;
    mod fork;
    mod free_slots;
    mod globq;
    mod group;
    mod handle;
    mod idle;
    mod join;
    mod local;
    mod os_thread;
    mod overflow;
    mod park;
    mod poll;
    mod queues;
    mod records;
    mod retake;
    mod runtime;
    mod runtime2;
    mod schedule;
    mod scope;
    mod shutdown;
    mod stack;
    mod starts;
    mod stats;
    mod status;
    mod steal;
    mod stop_world;
    mod switch;
    mod sys;
    mod syscall;
    mod sysmon;
    mod sysmon_chore;
    mod task;
    mod unwind;
    mod wait_reason;
}

pub use self::locks::{RawCondvar, RawMutex, RawRwLock, Semaphore};
pub use self::p_status::PStatus;

#[cfg(not(loom))]
pub use self::{
    builder::{BuildError, Builder},
    calls::{check_preempt, go, keep_p, num_goroutine, p_hint, spawn, yield_now},
    context::{AfterDone, Canceler, Cause, Context, ContextError},
    deadlock::OnDeadlock,
    defer::Deferred,
    group::{Group, GroupError},
    handle::{Handle, ProcsError},
    join::{JoinError, JoinHandle},
    local::GoLocal,
    locks::{
        Alarms, AsyncCondvar, AsyncMutex, AsyncRwLock, Barrier, Condvar, GoId, Mutex, MutexGuard,
        Once, OnceLock, ReentrantMutex, RwLock, WaitGroup, set_alarms,
    },
    os_thread::{lock_os_thread, unlock_os_thread},
    park::{Goroutine, park, thread_naps, thread_waits},
    poll::Poll,
    runtime::Runtime,
    scope::{Scope, ScopedJoinHandle, scope},
    shutdown::Shutdown,
    stats::Stats,
    status::GStatus,
    sys::nanotime,
    syscall::{blocking, blocking_now, raw_blocking},
    sysmon_chore::{call_chore, set_chore},
    unwind::goexit,
    wait_reason::WaitReason,
};
