//! What the model-checked protocols use of the machine: core's atomics and futexes, or loom's under
//! `--cfg loom`.
//!
//! Only the protocol modules ([`crate::runq`], [`crate::park_word`], ...) import from here; under
//! loom nothing else of the crate is compiled.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic;
#[cfg(not(loom))]
pub(crate) use {
    crate::sys::{futex_wait, futex_wake},
    std::thread::sleep,
};

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(loom)]
pub(crate) use on_loom::{futex_wait, futex_wake, sleep};

/// Between two SeqCst accesses, of which loom makes no more than acquire and release.
#[inline(always)]
pub(crate) fn seq_cst() {
    #[cfg(loom)]
    loom::sync::atomic::fence(atomic::Ordering::SeqCst);
}

/// Who sleeps lets others run: a wake-up that nobody gives leaves a model without an end, which loom reports.
#[cfg(loom)]
mod on_loom {
    use super::atomic::{AtomicU32, Ordering};
    use core::time::Duration;

    pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, _timeout: Option<Duration>) {
        if word.load(Ordering::Acquire) == expected {
            loom::thread::yield_now();
        }
    }

    pub(crate) fn futex_wake(_word: *const AtomicU32) {}

    pub(crate) fn sleep(_: Duration) {
        loom::thread::yield_now();
    }
}
