//! After a fork without exec there is no runtime: the child has one thread, and none of the others that served
//! the Ps. Its calls of the runtime panic, instead of waiting for what will never come.
//!
//! Costs nothing before: the child's first act is to take the P of the only M it has, so that M's next
//! call goes the slow way, where the question is asked.

use crate::bracket::here;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Once;

static CHILD: AtomicBool = AtomicBool::new(false);

/// From now on children are told.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: `in_child` only stores to atomics and records of this module's and the M's own.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

unsafe extern "C" fn in_child() {
    CHILD.store(true, Ordering::Relaxed);
    if let Some(m) = here().and_then(|s| s.m.get()) {
        m.attention.lose();
        // In a `blocking` section: its end must not find the P where it was left.
        m.p.set(None);
    }
}

/// By every way into the runtime that is not fast.
///
/// # Panics
/// In a child of a fork.
#[inline]
#[track_caller]
pub(crate) fn check() {
    if is_child() {
        refuse();
    }
}

pub(crate) fn is_child() -> bool {
    CHILD.load(Ordering::Relaxed)
}

#[cold]
#[inline(never)]
#[track_caller]
fn refuse() -> ! {
    panic!(
        "the runtime was called in a forked child, which has none of its threads: a child may call exec or \
         _exit, and nothing of the runtime"
    )
}
