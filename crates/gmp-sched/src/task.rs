//! What a record holds: a closure or a future, and later its result.
//!
//! Up to 40 bytes lie in the record itself, so that spawning a small closure allocates nothing;
//! larger ones are boxed. Closure and result use the same bytes one after the other.

use crate::foreign::discard;
use crate::join::JoinError;
use crate::local;
use crate::park;
use crate::runtime2::{G, PAYLOAD, Task};
use core::marker::PhantomData;
use core::pin::Pin;
use core::sync::atomic::Ordering;
use core::task::{Context, Poll};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Whether a value lies in the record.
const fn fits<V>() -> bool {
    size_of::<V>() <= PAYLOAD && align_of::<V>() <= 8
}

/// # Safety
/// The payload is the caller's and holds no value.
unsafe fn put<V>(g: &G, value: V) {
    let at = g.payload.get();
    // SAFETY: the payload has room and alignment for a value that fits, or for a pointer.
    unsafe {
        if fits::<V>() {
            at.cast::<V>().write(value);
        } else {
            at.cast::<*mut V>().write(Box::into_raw(Box::new(value)));
        }
    }
}

/// # Safety
/// The payload is the caller's and holds a `V`, which is not used again unless forgotten here.
unsafe fn get<V>(g: &G) -> *mut V {
    let at = g.payload.get();
    // SAFETY: `put::<V>` chose by the same test.
    unsafe { if fits::<V>() { at.cast::<V>() } else { at.cast::<*mut V>().read() } }
}

/// # Safety
/// As for [`get`]; afterwards the payload holds no value.
unsafe fn take<V>(g: &G) -> V {
    // SAFETY: the caller's; a boxed value leaves its box, which is freed.
    unsafe {
        let v = get::<V>(g);
        if fits::<V>() { v.read() } else { *Box::from_raw(v) }
    }
}

/// Drops a value in place, whatever its destructor does.
///
/// # Safety
/// As for [`take`].
unsafe fn drop_value<V>(g: &G) -> Result<(), Box<dyn core::any::Any + Send>> {
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller's. Pinned futures are dropped where they lie.
        unsafe {
            let v = get::<V>(g);
            if fits::<V>() {
                v.drop_in_place();
            } else {
                drop(Box::from_raw(v));
            }
        }
    }))
}

/// What `join` gives.
pub(crate) type JoinResult<T> = Result<T, JoinError>;

/// Takes the result out of the record of a goroutine that is done.
///
/// # Safety
/// The caller is the handle of type `T`, has seen DONE, and does this once.
pub(crate) unsafe fn take_result<T>(g: &G) -> JoinResult<T> {
    // SAFETY: the runner put a result of this type before DONE.
    unsafe { take(g) }
}

fn id(g: &G) -> u64 {
    g.id.load(Ordering::Relaxed)
}

/// Inlined: the result is made where it lies, and not copied in pieces that were just written in others.
///
/// # Safety
/// The payload holds no value; a result of type `T` is due.
#[inline(always)]
unsafe fn put_result<T>(g: &G, result: JoinResult<T>) {
    // SAFETY: the caller's.
    unsafe { put(g, result) }
    if g.join.is_detached() {
        // SAFETY: just put. The handle is gone, so nobody else takes it.
        unsafe { drop_early::<T>(g) }
    }
}

/// Nobody will look at the result: dropping it now is done as the goroutine, which may park.
///
/// # Safety
/// The payload holds a `JoinResult<T>`, and is the runner's.
#[inline(never)]
unsafe fn drop_early<T>(g: &G) {
    // SAFETY: the caller's.
    let dropped = unsafe { drop_value::<JoinResult<T>>(g) };
    dropped.unwrap_or_else(discard);
    // SAFETY: just emptied. What remains needs no drop that runs code.
    unsafe { put::<JoinResult<T>>(g, Err(JoinError::exited(id(g)))) }
}

/// # Safety
/// As for [`Task::drop_result`]: the record is done and the caller's.
unsafe fn drop_result<T>(g: &'static G) {
    // SAFETY: the caller's.
    let dropped = unsafe { drop_value::<JoinResult<T>>(g) };
    // A panic in the destructor has nobody to be reported to.
    dropped.unwrap_or_else(discard);
}

struct Closure<F, T>(PhantomData<(F, T)>);

impl<T, F: FnOnce() -> T> Closure<F, T> {
    const TASK: Task = Task {
        run: Self::run,
        cancel: Self::cancel,
        drop_result: drop_result::<T>,
        needs_drop: core::mem::needs_drop::<JoinResult<T>>(),
    };

    unsafe fn run(g: &'static G) -> bool {
        // SAFETY: the base loop runs a closure once, and the record is the runner's.
        let f: F = unsafe { take(g) };
        let result = catch_unwind(AssertUnwindSafe(f));
        // SAFETY: emptied above.
        unsafe { put_result(g, result.map_err(|p| JoinError::from_payload(id(g), p))) };
        drop_locals(g);
        true
    }

    unsafe fn cancel(g: &'static G) {
        // SAFETY: the closure was not run.
        let dropped = unsafe { drop_value::<F>(g) };
        let error = match dropped {
            Ok(()) => JoinError::cancelled(id(g)),
            Err(p) => JoinError::from_payload(id(g), p),
        };
        // SAFETY: emptied above.
        unsafe { put_result::<T>(g, Err(error)) };
        drop_locals(g);
    }
}

/// After the last code of a goroutine: the destructors of its closure and result have locals too.
#[inline]
fn drop_locals(g: &'static G) {
    if let Some(s) = g.stack.get() {
        local::drop_all(s);
    }
}

struct Fut<F>(PhantomData<F>);

impl<F: Future> Fut<F> {
    const TASK: Task = Task {
        run: Self::poll,
        cancel: Self::cancel,
        drop_result: drop_result::<F::Output>,
        needs_drop: core::mem::needs_drop::<JoinResult<F::Output>>(),
    };

    unsafe fn poll(g: &'static G) -> bool {
        // Wakes up to here are answered by this poll.
        g.park.take_permit();
        let waker = park::waker(g);
        let mut cx = Context::from_waker(&waker);
        // SAFETY: the payload holds the future until it is done, and it does not move: neither the
        // record nor a box does.
        let future = unsafe { Pin::new_unchecked(&mut *get::<F>(g)) };
        let result = match catch_unwind(AssertUnwindSafe(|| future.poll(&mut cx))) {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(p) => Err(JoinError::from_payload(id(g), p)),
        };
        // SAFETY: it is done and will not be polled again.
        let dropped = unsafe { drop_value::<F>(g) };
        let result = match dropped {
            Ok(()) => result,
            Err(p) => Err(JoinError::from_payload(id(g), p)),
        };
        // SAFETY: emptied above.
        unsafe { put_result(g, result) };
        true
    }

    unsafe fn cancel(g: &'static G) {
        // SAFETY: the future is between two polls.
        let dropped = unsafe { drop_value::<F>(g) };
        let error = match dropped {
            Ok(()) => JoinError::cancelled(id(g)),
            Err(p) => JoinError::from_payload(id(g), p),
        };
        // SAFETY: emptied above.
        unsafe { put_result::<F::Output>(g, Err(error)) };
    }
}

/// Puts a closure in a dead record.
///
/// # Safety
/// The record is dead and the caller's. `F` and `T` may be sent to another thread, and live as
/// long as the goroutine does.
#[inline]
pub(crate) unsafe fn install_closure<T, F: FnOnce() -> T>(g: &'static G, f: F) {
    g.task.set(Some(const { &Closure::<F, T>::TASK }));
    g.is_future.set(false);
    // SAFETY: a dead record holds no value.
    unsafe { put(g, f) };
}

/// Puts a future in a dead record.
///
/// # Safety
/// As for [`install_closure`].
#[inline]
pub(crate) unsafe fn install_future<F: Future>(g: &'static G, f: F) {
    g.task.set(Some(const { &Fut::<F>::TASK }));
    g.is_future.set(true);
    // SAFETY: a dead record holds no value.
    unsafe { put(g, f) };
}
