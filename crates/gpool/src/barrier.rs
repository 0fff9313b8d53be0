//! The two sides of the barrier between a pin and an ager.
//!
//! A pin has to be visible before the loads that follow it; an ager has to see it or be seen. With
//! fences that is a SeqCst fence on both sides, and the pin is on the hot path. Linux lets the rare
//! side pay for both: `membarrier(PRIVATE_EXPEDITED)` returns after every running thread of the
//! process has executed a full barrier, so the pin needs no more than to keep the compiler from
//! moving it.
//!
//! - Off Linux, under loom and under Miri: SeqCst fences on both sides, chosen at build. On x86-64
//!   the pin is an `xchg` in place of a store and a fence.
//! - On a Linux that refuses (old kernel, seccomp): the same, found out before the first lease.
//!   Then no thread ever gets the fast path of `lease`, so the check costs that path nothing.
//!
//! Asked once, before any pin; the answer holds for good.

use crate::sync::{AtomicUsize, Ordering, fence};

/// What a pin issues between its store and the loads that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// A compiler fence: the ager uses membarrier.
    Light,
    /// A full barrier: the ager uses a fence.
    Full,
}

impl Barrier {
    /// The pinning side: writes the pin, and keeps the loads that follow behind it.
    #[inline(always)]
    pub(crate) fn announce(self, pin: &AtomicUsize, pool: usize) {
        match self {
            Self::Light => {
                pin.store(pool, Ordering::Release);
                core::sync::atomic::compiler_fence(Ordering::SeqCst);
            }
            Self::Full => full(pin, pool),
        }
    }

    /// The side of the ager. False if the kernel refuses what it once granted (a filter installed
    /// since); then nothing may be concluded from the pins.
    #[must_use]
    pub(crate) fn age(self) -> bool {
        fence(Ordering::SeqCst);
        match self {
            Self::Light => sys::membarrier(),
            Self::Full => true,
        }
    }

    /// The kind that this process uses.
    pub(crate) fn of_process() -> Self {
        static KIND: std::sync::OnceLock<Barrier> = std::sync::OnceLock::new();
        *KIND.get_or_init(|| {
            if sys::register() {
                Self::Light
            } else {
                Self::Full
            }
        })
    }
}

/// An `xchg`, on x86 a full barrier for what follows too: a get + put takes 7.8 ns with it and 8.1
/// with a store and an `mfence`. The argument is the processor's, not the language's, hence the
/// compiler fence; as with membarrier.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
#[inline(always)]
fn full(pin: &AtomicUsize, pool: usize) {
    pin.swap(pool, Ordering::SeqCst);
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
}

#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
#[inline(always)]
fn full(pin: &AtomicUsize, pool: usize) {
    pin.store(pool, Ordering::Release);
    fence(Ordering::SeqCst);
}

#[cfg(all(target_os = "linux", not(loom), not(miri)))]
mod sys {
    fn call(command: libc::c_int) -> bool {
        // SAFETY: membarrier takes integers only and touches no memory of the caller.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    pub(super) fn register() -> bool {
        call(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
            && call(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
    }

    pub(super) fn membarrier() -> bool {
        call(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
    }
}

#[cfg(not(all(target_os = "linux", not(loom), not(miri))))]
mod sys {
    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn membarrier() -> bool {
        false
    }
}
