//! Surviving `fork` in a threaded program.
//!
//! The forking thread holds every lock while the process is copied, so that the child finds no
//! lock held by a thread it does not have and no structure half changed. The child releases them;
//! its scavenger thread is gone and starts anew when wanted.
//!
//! Caches of threads that the child does not have stay leased, for they may have been in the
//! middle of an operation. What is free in them is lost to the child; what the child frees into
//! their spans is kept on the remote lists, which is sound and not reused.
//!
//! Handlers that were registered before galloc's run in between: the prepare handlers after ours, the
//! others before ours. They may allocate, so the forking thread passes the locks that it holds (see `lock`).
//! It is known by its `pthread_self`, which is the same in the child. Nobody else looks at structures then:
//! `prepare` has waited for all locks, and so for the end of what was done under them.

use crate::mcentral::CENTRAL;
use crate::mheap::HEAP;
use crate::persistent_alloc::CHUNK_LEFT;
use crate::scavenge;
use crate::slot::SHARED;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The thread that holds all locks, or 0. Written by it alone, under them.
static FORKER: AtomicUsize = AtomicUsize::new(0);
/// Forks by that thread in the handlers of one. Its alone.
static NESTED: AtomicUsize = AtomicUsize::new(0);

/// This thread is between `prepare` and the handler that follows.
pub(crate) fn is_forking() -> bool {
    let forker = FORKER.load(Ordering::Relaxed);
    // A thread sees its own writes; another's id, old or new, is not its own.
    forker != 0 && forker == this_thread()
}

fn this_thread() -> usize {
    // SAFETY: asks for a number that every thread has.
    unsafe { libc::pthread_self() as usize }
}

/// Registers the handlers; once.
pub(crate) fn install() {
    // SAFETY: the three take no arguments and do what `fork` wants of them.
    unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
}

/// In lock order.
extern "C" fn prepare() {
    if is_forking() {
        NESTED.fetch_add(1, Ordering::Relaxed);
        return;
    }
    scavenge::CHOICE.acquire();
    SHARED.acquire();
    scavenge::SCAVENGE.acquire();
    for central in &CENTRAL {
        central.acquire();
    }
    HEAP.acquire();
    #[cfg(feature = "hardened")]
    crate::hardened::MAPS.acquire();
    #[cfg(feature = "profile")]
    crate::mprof::PROFILE.acquire();
    CHUNK_LEFT.acquire();
    FORKER.store(this_thread(), Ordering::Relaxed);
}

extern "C" fn parent() {
    if NESTED.load(Ordering::Relaxed) > 0 {
        NESTED.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    FORKER.store(0, Ordering::Relaxed);
    // SAFETY: `prepare` took them all, in this thread, and no guard that passed them is left.
    unsafe {
        CHUNK_LEFT.release();
        #[cfg(feature = "profile")]
        crate::mprof::PROFILE.release();
        #[cfg(feature = "hardened")]
        crate::hardened::MAPS.release();
        HEAP.release();
        for central in &CENTRAL {
            central.release();
        }
        scavenge::SCAVENGE.release();
        SHARED.release();
        scavenge::CHOICE.release();
    }
}

extern "C" fn child() {
    scavenge::after_fork();
    parent();
}
