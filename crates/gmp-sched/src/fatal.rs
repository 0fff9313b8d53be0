//! Reports on stderr; of what is fatal, as Go's `throw` makes them, with an abort behind.

use core::fmt;
use std::io::Write;

/// Prints `fatal error: ...` and aborts.
#[cold]
pub(crate) fn fatal(what: fmt::Arguments<'_>) -> ! {
    let _ = writeln!(std::io::stderr(), "fatal error: {what}");
    std::process::abort()
}

/// Says on stderr what went wrong, if anybody takes it: `eprintln!` would panic.
pub(crate) fn warn(what: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "gmp-sched: {what}");
}
