//! Surviving `fork` in a threaded program.
//!
//! The forking thread holds every lock while the process is copied, so that the child finds no
//! lock held by a thread it does not have and no structure half changed. The child releases them;
//! its scavenger thread is gone and starts anew when wanted.
//!
//! Caches of threads that the child does not have stay leased, for they may have been in the
//! middle of an operation. What is free in them is lost to the child; what the child frees into
//! their spans is kept on the remote lists, which is sound and not reused.

use crate::mcentral::CENTRAL;
use crate::mheap::HEAP;
use crate::persistent_alloc::CHUNK_LEFT;
use crate::scavenge;
use crate::slot::SHARED;

/// Registers the handlers; once.
pub(crate) fn install() {
    // SAFETY: the three take no arguments and do what `fork` wants of them.
    unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
}

/// In lock order.
extern "C" fn prepare() {
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
}

extern "C" fn parent() {
    // SAFETY: `prepare` took them all, in this thread.
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
    }
}

extern "C" fn child() {
    scavenge::after_fork();
    parent();
}
