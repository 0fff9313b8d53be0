//! `defer!`: code that runs when the scope is left, by return, by panic, by `goexit` (R136).
//!
//! Go's `defer` is scoped to the function and Rust's drop to the block; the order is the same, last in
//! first out.

use core::fmt;

/// Runs a closure when dropped; made by [`defer!`](crate::defer).
#[must_use = "the closure runs when this is dropped: bind it to a name"]
pub struct Deferred<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Deferred<F> {
    /// Defers `f`.
    pub const fn new(f: F) -> Self {
        Self(Some(f))
    }

    /// Drops the closure instead of running it.
    pub fn cancel(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for Deferred<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

impl<F: FnOnce()> fmt::Debug for Deferred<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").finish_non_exhaustive()
    }
}

/// Runs the statements when the enclosing block is left, whatever way: the last `defer!` first.
///
/// ```
/// use std::cell::RefCell;
/// let log = RefCell::new(Vec::new());
/// {
///     gmp_sched::defer! { log.borrow_mut().push("first deferred") }
///     gmp_sched::defer! { log.borrow_mut().push("last deferred") }
///     log.borrow_mut().push("body");
/// }
/// assert_eq!(*log.borrow(), ["body", "last deferred", "first deferred"]);
/// ```
#[macro_export]
macro_rules! defer {
    ($($body:tt)*) => {
        let _deferred = $crate::Deferred::new(|| { $($body)* });
    };
}
