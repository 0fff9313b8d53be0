//! The seam to a runtime: who waits here, and how it is put to sleep and woken.
//!
//! Without a hook everything here works on plain threads and, in async code, on the task's `Waker`. A runtime with
//! stackful coroutines installs one [`Park`] for the process; from then on a blocking channel call made on a coroutine
//! parks that coroutine, while calls on plain threads keep parking the thread.
//!
//! Re-creates the use that Go's `chan.go` (1.27) makes of `gopark` and `goready`.

use std::fmt;
use std::ptr;
use std::sync::OnceLock;
use std::time::Instant;

/// Wakes the waiter whose record is the first pointer. The second says where the two met: the address of a channel, or
/// null. It is a hint, for a runtime that fetches memory ahead, and must not be dereferenced.
pub type Unpark = unsafe fn(*const (), *const ());

/// Names one waiter so that any thread can wake it, now or at any later time: two words, `Copy`.
#[derive(Clone, Copy)]
pub struct Handle {
    data: *const (),
    unpark: Unpark,
}

// SAFETY: `Handle::new` requires that the call is allowed from every thread at every time.
unsafe impl Send for Handle {}
// SAFETY: as for `Send`; the two words are never written after construction.
unsafe impl Sync for Handle {}

impl Handle {
    /// Makes a handle of a waiter's record and the function that unparks it.
    ///
    /// # Safety
    /// `unpark(data, _)` must be callable from any thread any number of times, from now to the end of the process, also
    /// after the waiter went on or ended: a late call is at most a spurious wake-up of whoever uses the record then.
    /// (Records of waiters are type-stable: recycled, never freed.) It must not block, must not unwind and must not
    /// run user code.
    #[must_use]
    pub const unsafe fn new(data: *const (), unpark: Unpark) -> Self {
        Self { data, unpark }
    }

    /// The waiter's record, as it was passed to [`new`](Self::new).
    #[must_use]
    pub const fn data(self) -> *const () {
        self.data
    }

    /// Wakes the waiter, or lets its next park return at once.
    #[inline]
    pub fn unpark(self) {
        self.unpark_at(ptr::null());
    }

    /// As [`unpark`](Self::unpark), for a waiter that was met at this address.
    #[inline]
    pub(crate) fn unpark_at(self, at: *const ()) {
        // SAFETY: the contract of `new` allows this call at any time, from any thread.
        unsafe { (self.unpark)(self.data, at) }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.data).finish()
    }
}

/// Why a waiter waits, in Go's words: what a task dump or a deadlock report shows (R14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// In a receive.
    ChanReceive,
    /// In a send.
    ChanSend,
    /// In a select with at least one case.
    Select,
    /// In a select that has no case, and so waits for ever.
    SelectNoCases,
    /// In a receive on a nil channel, which waits for ever.
    ChanReceiveNil,
    /// In a send on a nil channel, which waits for ever.
    ChanSendNil,
    /// Only for time to pass.
    Sleep,
}

impl Reason {
    /// Go's words for the reason.
    ///
    /// ```
    /// assert_eq!(gchan::park::Reason::ChanReceiveNil.as_str(), "chan receive (nil chan)");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::ChanReceive => "chan receive",
            Reason::ChanSend => "chan send",
            Reason::Select => "select",
            Reason::SelectNoCases => "select (no cases)",
            Reason::ChanReceiveNil => "chan receive (nil chan)",
            Reason::ChanSendNil => "chan send (nil chan)",
            Reason::Sleep => "sleep",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a runtime tells this crate about its own waiters.
///
/// # Safety
/// While a waiter is parked, its stack must stay where it is and as it is: other threads write the received value
/// into it. `park` may end by unwinding (a coroutine that is torn down); it must not simply never return after its
/// stack was reused or unmapped.
pub unsafe trait Park: Sync {
    /// The waiter that runs here; `None` means a plain thread, which this crate parks itself.
    ///
    /// Called afresh for each wait and never across a park. It is called under a channel's lock: it must be quick, and
    /// must not block, allocate or use a channel.
    fn current(&self) -> Option<Handle>;

    /// Suspends the current waiter, which is `me`, until its handle was unparked since its last park returned, or the deadline has
    /// passed. As with [`std::thread::park`], an unpark before the park makes it return at once, and it may return
    /// for no reason at all. It may return on another OS thread.
    ///
    /// # Safety
    /// The caller runs on the waiter `me`, which it had from [`current`](Self::current).
    unsafe fn park(&self, me: Handle, reason: Reason, deadline: Option<Instant>);

    /// Runs `wait`, which puts a plain thread to sleep, until the deadline at most. A runtime can hand its
    /// processor to another thread meanwhile, or count a sleeper without deadline in its deadlock detector. It
    /// must call `wait` exactly once.
    fn blocking(&self, reason: Reason, deadline: Option<Instant>, wait: &mut dyn FnMut()) {
        let _ = (reason, deadline);
        wait();
    }
}

/// A hook is installed already; the new one was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookAlreadySet;

impl fmt::Display for HookAlreadySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a park hook is already set for this process")
    }
}

impl std::error::Error for HookAlreadySet {}

static HOOK: OnceLock<&'static dyn Park> = OnceLock::new();

/// Installs the process's hook: once, before goroutines use channels.
///
/// # Errors
/// [`HookAlreadySet`] if one is installed already.
pub fn set_hook(hook: &'static dyn Park) -> Result<(), HookAlreadySet> {
    HOOK.set(hook).map_err(|_| HookAlreadySet)
}

#[inline]
pub(crate) fn hook() -> Option<&'static dyn Park> {
    HOOK.get().copied()
}
