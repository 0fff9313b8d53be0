//! The calls of running code: start another, yield, ask.

use crate::attention::{LOST, SYSCALL};
use crate::bracket::{self, here};
use crate::handle::{Handle, go_on, spawn_on};
use crate::join::JoinHandle;
use crate::{park, switch, syscall, unwind};

/// Starts a goroutine on the runtime that the caller runs on. May park, to answer a request to yield.
///
/// ```
/// use gmp_sched::{Builder, go};
///
/// // SAFETY: nothing here keeps anything bound to a thread across a call that may park.
/// let rt = unsafe { Builder::new().build_stackful() }.unwrap();
/// let sum: u64 = rt.run(|| {
///     let squares: Vec<_> = (0..10_u64).map(|n| go(move || n * n)).collect();
///     squares.into_iter().map(|square| square.join().unwrap()).sum()
/// });
/// assert_eq!(sum, 285);
/// ```
///
/// # Panics
/// If the caller does not run on a runtime, or on one for futures only; the message names the
/// constructor to use.
#[track_caller]
#[inline]
pub fn go<T, F>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let at = here();
    match Handle::on(at) {
        // SAFETY: `'static`, so it lives as long as the goroutine.
        Some(on) => unsafe { go_on(on, at, f) },
        None => panic!(
            "go outside a runtime: call it from within Runtime::run of a runtime built by \
             Builder::build_stackful, or use Handle::go"
        ),
    }
}

/// Starts a future as a goroutine on the runtime that the caller runs on.
///
/// ```
/// use gmp_sched::{Builder, spawn};
///
/// let rt = Builder::new().build().unwrap();
/// let answer = rt.block_on(async {
///     let six = spawn(async { 6 });
///     six.await.unwrap() * 7
/// });
/// assert_eq!(answer, 42);
/// ```
///
/// # Panics
/// If the caller does not run on a runtime.
#[track_caller]
#[inline]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let at = here();
    match Handle::on(at) {
        // SAFETY: as in `go`.
        Some(on) => unsafe { spawn_on(on, at, future) },
        None => panic!(
            "spawn outside a runtime: call it from within Runtime::run or Runtime::block_on, or \
             use Handle::spawn"
        ),
    }
}

/// Lets other goroutines run first. **May park.** On a plain thread, `std::thread::yield_now`.
#[inline]
pub fn yield_now() {
    match park::current() {
        Some((s, g)) => {
            unwind::check(g);
            let rt = syscall::enter_may_park(s, g);
            let rt = if bracket::is_pinned(s, g) {
                syscall::yield_pinned(rt, s, g)
            } else {
                switch::yield_local(rt, g)
            };
            syscall::leave_may_park(rt, s, g);
        }
        None => std::thread::yield_now(),
    }
}

/// A preemption point for loops that make no runtime calls: yields if the goroutine has been asked to,
/// and costs a load or two otherwise. **May park.**
#[inline]
pub fn check_preempt() {
    if let Some((s, g)) = park::current()
        && let Some(m) = s.m.get()
        && (m.attention.peek() != 0 || m.preempted.get())
    {
        let rt = syscall::enter_may_park(s, g);
        syscall::leave_may_park(rt, s, g);
    }
}

/// Runs `f` without losing the P: for a short lock that the goroutines of a runtime share, such as the one
/// of a timer heap. Otherwise a thread that waits for it counts as blocked, its P goes to another, which
/// soon waits for the same lock, and so on.
///
/// `f` must not call the runtime, not even by a waker, and not run code of users. If it does nevertheless,
/// only the protection ends early (a debug build panics).
#[inline]
pub fn keep_p<R>(f: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            // Whichever M runs this now: its user code goes on.
            if let Some(m) = here().and_then(|s| s.m.get()) {
                m.attention.leave();
            }
        }
    }
    // The bracket protects nothing here: it only says that nobody may take the P.
    let _leave = bracket::enter().ok().map(|_| Leave);
    f()
}

/// The P that the caller runs on, as a hint: it may be another by the time the caller looks. `None`
/// on a thread that is no runtime's, or has no P.
#[must_use]
#[inline(never)]
pub fn p_hint() -> Option<usize> {
    let m = here()?.m.get()?;
    let has_p = m.attention.peek() & (LOST | SYSCALL) == 0;
    m.p.get().filter(|_| has_p).map(|p| p.id as usize)
}

/// Goroutines that exist on the runtime that the caller runs on; 0 elsewhere.
#[must_use]
pub fn num_goroutine() -> usize {
    Handle::current().map_or(0, |h| h.num_goroutine())
}

