//! A runtime as a value: run a main function on it, drop it.

use crate::bracket::here;
use crate::handle::{self, Handle};
use crate::join::{JoinError, JoinHandle};
use crate::runtime2::Sched;
use crate::shutdown::{self, Shutdown};
use crate::{deadlock, fork};
use core::time::Duration;

/// A runtime: Ps, the threads that serve them, and the goroutines that run on them.
///
/// Dropping it ends it, as the [`Builder::shutdown`](crate::Builder::shutdown) setting says, before the drop returns;
/// if it is dropped on one of its own threads, soon afterwards, on a thread made for that.
#[derive(Debug)]
pub struct Runtime {
    pub(crate) handle: Handle,
    pub(crate) shutdown: Shutdown,
}

// As for `Handle`.
impl std::panic::UnwindSafe for Runtime {}
impl std::panic::RefUnwindSafe for Runtime {}

impl Runtime {
    /// A handle for spawning from elsewhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Runs `main` as a goroutine and returns what it returns, as soon as it does: other goroutines
    /// go on until the runtime is dropped. Blocks the calling thread.
    ///
    /// # Panics
    /// With `main`'s panic. If this is a runtime for futures only. If it is called on a goroutine.
    #[track_caller]
    pub fn run<T, F>(&self, main: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        assert!(
            here().and_then(|s| s.g.get()).is_none(),
            "Runtime::run on a goroutine: it blocks its thread; use go and join"
        );
        // SAFETY: this function does not return before the goroutine has ended and its result is
        // taken, so what `main` borrows outlives it. (A forced unwinding of this thread would be
        // one of the joining loop, which does not unwind.)
        let handle = unsafe { handle::go_on(self.handle, here(), main) };
        unwrap(handle.join())
    }

    /// Runs a future to its end as a goroutine, and returns its output. Blocks the calling thread.
    ///
    /// # Panics
    /// With the future's panic. If it is called on a goroutine.
    #[track_caller]
    pub fn block_on<F>(&self, future: F) -> F::Output
    where
        F: Future + Send,
        F::Output: Send,
    {
        assert!(
            here().and_then(|s| s.g.get()).is_none(),
            "Runtime::block_on on a goroutine: it blocks its thread; use spawn and join"
        );
        // SAFETY: as in `run`.
        let handle = unsafe { handle::spawn_on(self.handle, here(), future) };
        unwrap(handle.join())
    }

    /// As [`Handle::go`].
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn go<T, F>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.handle.go(f)
    }

    /// As [`Handle::spawn`].
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Ends the runtime now, in the way told instead of the one it was built with.
    ///
    /// # Panics
    /// With [`Shutdown::Refuse`], if goroutines still exist.
    pub fn shutdown(mut self, what: Shutdown) {
        self.shutdown = what;
    }
}

#[track_caller]
fn unwrap<T>(result: Result<T, JoinError>) -> T {
    match result {
        Ok(value) => value,
        Err(e) => match e.try_into_panic() {
            Ok(payload) => std::panic::resume_unwind(payload),
            Err(e) => panic!("the main goroutine has no result: {e}"),
        },
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if fork::is_child() {
            // Nothing of it is here.
            return;
        }
        let sched = self.handle.sched;
        let n = match self.shutdown {
            Shutdown::Refuse => sched.num_goroutine(),
            _ => 0,
        };
        let exist = if n > 0 { deadlock::traceback(sched) } else { String::new() };
        let what = self.shutdown;
        if here().and_then(|s| s.m.get()).is_some_and(|m| core::ptr::eq(m.sched(), sched)) {
            // The caller, or its thread, is one of those that have to end first.
            shutdown::end_from_outside(sched, move || end(sched, what));
        } else {
            end(sched, what);
        }
        if n > 0 && !std::thread::panicking() {
            panic!("a runtime was shut down while {n} goroutines exist:\n{exist}");
        }
    }
}

fn end(sched: &'static Sched, what: Shutdown) {
    let abort = match what {
        Shutdown::Abort(d) => d,
        Shutdown::Wait(d) => {
            shutdown::await_goroutines(sched, d);
            d
        }
        Shutdown::Refuse => Duration::from_secs(10),
    };
    shutdown::end(sched, abort);
}

