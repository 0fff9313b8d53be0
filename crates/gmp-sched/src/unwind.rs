//! Ends of a goroutine from within: `goexit` and the abort of a runtime (R136).
//!
//! Both unwind the goroutine's stack with a private payload by `resume_unwind`, so destructors run
//! and no panic message is printed. `catch_unwind` in user code must pass the payload on.

use crate::park;
use crate::runtime2::G;
use std::panic::resume_unwind;

/// The payload; which of the two it was decides the error that `join` gives.
pub(crate) enum Unwinding {
    /// `goexit` was called.
    Exit,
    /// The runtime was shut down while the goroutine waited.
    Abort,
}

/// Whether waits of this goroutine end by unwinding, because its runtime is being aborted. Where panics abort the
/// process nothing can be unwound: it waits on.
#[inline]
pub(crate) fn is_due(g: &G) -> bool {
    cfg!(panic = "unwind") && park::aborting(g)
}

/// Unwinds a goroutine of a runtime that is being aborted. Called around every park.
#[inline]
pub(crate) fn check(g: &G) {
    if is_due(g) {
        abort();
    }
}

#[cold]
fn abort() {
    // A destructor that parks while its goroutine unwinds is let through: it may wait for children,
    // which are being aborted as well.
    if !std::thread::panicking() {
        resume_unwind(Box::new(Unwinding::Abort));
    }
}

/// Ends the calling goroutine: its destructors run, `join` gives [`JoinError::Exited`].
///
/// Called by a destructor while the goroutine unwinds already, it aborts the process, as every unwinding out of
/// a destructor does then; Go's ends the goroutine.
///
/// # Panics
/// Outside a stackful goroutine.
///
/// [`JoinError::Exited`]: crate::JoinError
pub fn goexit() -> ! {
    assert!(
        park::current().is_some(),
        "goexit outside a stackful goroutine: there is none to end"
    );
    if cfg!(panic = "abort") {
        crate::fatal::fatal(format_args!(
            "goexit needs panic = \"unwind\": it ends a goroutine by unwinding its stack"
        ));
    }
    resume_unwind(Box::new(Unwinding::Exit))
}
