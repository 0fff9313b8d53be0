//! The runtime as a user meets it: gmp-sched's, with everything plugged in.

use crate::wiring;
#[cfg(feature = "timer")]
use gmp_sched::Handle;
use gmp_sched::{BuildError, OnDeadlock, Shutdown};
use std::ops::Deref;

/// How to build a [`Runtime`]: [`gmp_sched::Builder`] with the other components plugged in.
///
/// ```
/// // SAFETY: nothing here holds thread-locals or `!Send` guards across a park.
/// let rt = unsafe { gort::Builder::new().procs(2).build_stackful() }?;
/// assert_eq!(rt.run(|| gort::go(|| 42).join().unwrap()), 42);
/// # Ok::<(), gort::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder(gmp_sched::Builder);

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// The defaults: as many Ps as the process may use CPUs.
    pub fn new() -> Self {
        Self(gmp_sched::Builder::new())
    }

    /// As [`gmp_sched::Builder::procs`]: 1 to 1024.
    pub fn procs(self, n: usize) -> Self {
        Self(self.0.procs(n))
    }

    /// As [`gmp_sched::Builder::stack_size`]: bytes of address space per goroutine.
    pub fn stack_size(self, bytes: usize) -> Self {
        Self(self.0.stack_size(bytes))
    }

    /// As [`gmp_sched::Builder::max_threads`].
    pub fn max_threads(self, n: u32) -> Self {
        Self(self.0.max_threads(n))
    }

    /// As [`gmp_sched::Builder::shutdown`].
    pub fn shutdown(self, what: Shutdown) -> Self {
        Self(self.0.shutdown(what))
    }

    /// As [`gmp_sched::Builder::on_deadlock`].
    pub fn on_deadlock(self, what: OnDeadlock) -> Self {
        Self(self.0.on_deadlock(what))
    }

    /// A runtime for futures only; needs no promise. [`go`](crate::go) panics on it.
    ///
    /// # Errors
    /// If a setting is out of range, or the kernel refuses what the runtime needs.
    pub fn build(self) -> Result<Runtime, BuildError> {
        self.plugged(gmp_sched::Builder::build)
    }

    /// A runtime for goroutines with stacks of their own, and for futures.
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    ///
    /// # Safety
    /// Any call documented "may park" can suspend a goroutine, run others on its thread and resume it
    /// on another. For all code that its goroutines run, dependencies included, the caller promises:
    ///
    /// 1. Nothing bound to a thread, or to its last-in-first-out use, lives across such a call: a
    ///    reference out of `LocalKey::with`, a scoped thread-local, a `StdoutLock`, a `!Send` guard,
    ///    an enter guard, an `Rc` that is also reachable from a thread-local.
    /// 2. No function uses the same thread-local, inlining included, before and after such a call;
    ///    access goes through an `#[inline(never)]` function that does not park and returns no address
    ///    (rust-lang/rust#33368).
    /// 3. Foreign frames on the stack tolerate resuming on another thread.
    ///
    /// Nothing is promised for futures. It is [`gmp_sched::Builder::build_stackful`]'s contract, which says
    /// what of std meets (2).
    pub unsafe fn build_stackful(self) -> Result<Runtime, BuildError> {
        // SAFETY: the caller's.
        self.plugged(|b| unsafe { b.build_stackful() })
    }

    fn plugged(
        self,
        build: impl FnOnce(gmp_sched::Builder) -> Result<gmp_sched::Runtime, BuildError>,
    ) -> Result<Runtime, BuildError> {
        wiring::install();
        #[cfg(feature = "timer")]
        let heaps = crate::time::take_heaps();
        #[cfg(feature = "timer")]
        let builder = self.0.on_thread_idle(wiring::thread_idle).poll(heaps);
        #[cfg(not(feature = "timer"))]
        let builder = self.0.on_thread_idle(wiring::thread_idle);
        let inner = build(builder);
        #[cfg(feature = "timer")]
        if inner.is_err() {
            crate::time::give_heaps(heaps);
        }
        let inner = inner?;
        wiring::sysmon_runs();
        Ok(Runtime {
            inner: Some(inner),
            #[cfg(feature = "timer")]
            heaps,
        })
    }
}

/// A runtime: [`gmp_sched::Runtime`], to which it dereferences, with channels and timers wired in.
///
/// `run` runs a closure as the main goroutine, `block_on` a future; `handle` starts goroutines from elsewhere. When it is
/// dropped, what is left is ended as [`Builder::shutdown`] says.
#[derive(Debug)]
pub struct Runtime {
    /// None only while it is being dropped.
    inner: Option<gmp_sched::Runtime>,
    #[cfg(feature = "timer")]
    heaps: &'static crate::time::Heaps,
}

impl Runtime {
    /// How to build one with other settings than the default.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A runtime for futures only, with the default settings.
    ///
    /// # Panics
    /// If the kernel refuses what the runtime needs.
    #[must_use]
    pub fn futures() -> Self {
        Builder::new()
            .build()
            .unwrap_or_else(|e| panic!("no runtime: {e}"))
    }

    /// A runtime for goroutines with stacks of their own, with the default settings.
    ///
    /// # Panics
    /// If the kernel refuses what the runtime needs.
    ///
    /// # Safety
    /// The thread-local contract of [`Builder::build_stackful`].
    #[must_use]
    pub unsafe fn stackful() -> Self {
        // SAFETY: the caller's.
        unsafe { Builder::new().build_stackful() }.unwrap_or_else(|e| panic!("no runtime: {e}"))
    }

    /// Ends the runtime now, in the way told instead of the one it was built with.
    ///
    /// # Panics
    /// With [`Shutdown::Refuse`], if goroutines still exist.
    pub fn shutdown(mut self, what: Shutdown) {
        self.end(|inner| inner.shutdown(what));
    }

    fn end(&mut self, end: impl FnOnce(gmp_sched::Runtime)) {
        let Some(inner) = self.inner.take() else {
            return;
        };
        #[cfg(feature = "timer")]
        let _heaps = GivesHeaps(inner.handle(), self.heaps);
        end(inner);
    }
}

impl Deref for Runtime {
    type Target = gmp_sched::Runtime;

    fn deref(&self) -> &Self::Target {
        self.inner
            .as_ref()
            .expect("a runtime that is not being dropped")
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.end(drop);
    }
}

/// Gives a runtime's heaps back once it has ended, be it with a panic. Goroutines that outlive it are leaked, and
/// their timers with them.
#[cfg(feature = "timer")]
struct GivesHeaps(Handle, &'static crate::time::Heaps);

#[cfg(feature = "timer")]
impl Drop for GivesHeaps {
    fn drop(&mut self) {
        if self.0.num_goroutine() == 0 {
            crate::time::give_heaps(self.1);
        }
    }
}
