//! Ends the process as Go's `throw` does: a report on stderr, then abort.

use core::fmt;
use std::io::Write;

/// Prints `fatal error: ...` and aborts.
#[cold]
pub(crate) fn fatal(what: fmt::Arguments<'_>) -> ! {
    let _ = writeln!(std::io::stderr(), "fatal error: {what}");
    std::process::abort()
}
