//! Code that is not ours (wakers, callbacks, destructors), called where an unwinding must not skip
//! what comes after it.

use core::any::Any;
use core::task::Waker;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What a panic leaves, until everybody was served.
#[must_use = "it ends in `discard` or `go_on`"]
#[derive(Default)]
pub(crate) struct Panicked(Option<Box<dyn Any + Send>>);

impl Panicked {
    /// Calls `f`, and keeps the first panic. The panic hook has reported each.
    pub(crate) fn run(&mut self, f: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
            if self.0.is_none() {
                self.0 = Some(payload);
            } else {
                discard(payload);
            }
        }
    }

    /// Whether there was one; it goes no further.
    #[cfg(not(loom))]
    pub(crate) fn discard(self) -> bool {
        self.0.map(discard).is_some()
    }

    /// Lets the panic go on, if there was one and none is on its way already.
    pub(crate) fn go_on(self) {
        match self.0 {
            Some(payload) if std::thread::panicking() => discard(payload),
            Some(payload) => resume_unwind(payload),
            None => {}
        }
    }
}

/// Drops a payload, whose destructor may panic as well; what that leaves is leaked.
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        core::mem::forget(again);
    }
}

/// Calls `f`, whose panic goes no further. True if it panicked.
#[cfg(not(loom))]
pub(crate) fn quietly(f: impl FnOnce()) -> bool {
    let mut panicked = Panicked::default();
    panicked.run(f);
    panicked.discard()
}

/// Wakes all. If wakers panic, the others get their wake-ups all the same; then the first panic
/// goes on.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    let mut panicked = Panicked::default();
    for waker in wakers {
        panicked.run(|| waker.wake());
    }
    panicked.go_on();
}
