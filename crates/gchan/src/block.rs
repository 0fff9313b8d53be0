//! Sends and receives that block a thread or a goroutine: `chansend` and `chanrecv` of Go's `runtime/chan.go` (1.27)
//! from the lock to the wake-up.
//!
//! A call takes the lock once. If it has to wait, it stands in line in the same turn of the lock, as in Go: the second
//! turn that "unlock, then make ready to wait, then lock" would take is a locked instruction of the six of a goroutine's
//! hop. Two kinds of thread let the lock go in between: the one that waits for the first time in its life and must
//! allocate its record, and the one that gives a buffer a moment to change before it stands in line.
//!
//! Under the lock the hook's `current` is called, and nothing else from outside this crate.

use crate::hchan::{After, Dir, Got, Hchan, Locked, Sent, Turn};
use crate::now;
use crate::op::{Kind, Op, Step};
use crate::park::Reason;
use crate::veneer;
use crate::wait::{Blocker, as_blocker, goroutine, known_thread};
use crate::waitq::{Haste, Outcome};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr;
use std::time::Instant;

/// Which way the value goes; there is code for each.
pub(crate) trait Way {
    const DIR: Dir;
    const REASON: Reason;
}

pub(crate) enum Sending {}

impl Way for Sending {
    const DIR: Dir = Dir::Send;
    const REASON: Reason = Reason::ChanSend;
}

pub(crate) enum Receiving {}

impl Way for Receiving {
    const DIR: Dir = Dir::Recv;
    const REASON: Reason = Reason::ChanReceive;
}

/// Sends or receives, and blocks if it has to: see [`block`], which says why this is inlined, and with it the methods
/// that call it.
///
/// # Safety
/// `value` holds a value, moved out of it only when the answer is `Passed` (send); or it may be written, and is when the
/// answer is `Passed` (receive).
#[inline(always)]
pub(crate) unsafe fn until<T, W: Way>(
    chan: &Hchan<T>,
    value: *mut T,
    deadline: Option<Instant>,
) -> Step {
    let mut locked = chan.lock();
    // SAFETY: passed on; each is its turn.
    unsafe {
        match locked.turn(W::DIR) {
            Turn::Pass => {
                locked.pass(W::DIR, value);
                Step::Passed
            }
            Turn::Meet => meet::<T, W>(locked, value, deadline),
            Turn::Wait if deadline.is_none() => wait_for_ever::<T, W>(locked, value),
            Turn::Wait => wait::<T, W>(locked, value, deadline),
            Turn::Other => general::<T, W>(locked, value, deadline),
        }
    }
}

/// # Safety
/// As [`until`], and it is its [turn](Turn::Meet).
#[inline(never)]
unsafe fn meet<T, W: Way>(locked: Locked<'_, T>, value: *mut T, deadline: Option<Instant>) -> Step {
    // SAFETY: passed on.
    unsafe {
        match locked.meet(W::DIR, value) {
            Ok(()) => Step::Passed,
            Err(locked) => general::<T, W>(locked, value, deadline),
        }
    }
}

/// [`block`], by way of the [veneer].
///
/// # Safety
/// As [`until`].
#[inline(always)]
unsafe fn wait_for_ever<T, W: Way>(locked: Locked<'_, T>, value: *mut T) -> Step {
    let chan = ManuallyDrop::new(locked).chan();
    // SAFETY: the lock is held, and its guard is handed on; the rest is the caller's promise.
    let step = unsafe { veneer::call::<Waiting<T, W>>(ptr::from_ref(chan).cast(), value.cast()) };
    if step == Step::Passed as u32 {
        Step::Passed
    } else {
        Step::Closed
    }
}

struct Waiting<T, W>(PhantomData<(T, W)>);

impl<T, W: Way> veneer::Code for Waiting<T, W> {
    /// # Safety
    /// `chan` is a channel whose lock is held, by no guard; `value` as for [`until`].
    #[inline(always)]
    unsafe fn run(chan: *const (), value: *mut ()) -> u32 {
        // SAFETY: passed on.
        unsafe {
            let locked = (*chan.cast::<Hchan<T>>()).assume_locked();
            block::<T, W>(locked, value.cast(), None) as u32
        }
    }
}

/// # Safety
/// As [`until`].
#[inline(never)]
unsafe fn wait<T, W: Way>(locked: Locked<'_, T>, value: *mut T, deadline: Option<Instant>) -> Step {
    // SAFETY: passed on.
    unsafe { block::<T, W>(locked, value, deadline) }
}

/// # Safety
/// As [`until`].
#[inline(never)]
unsafe fn general<T, W: Way>(
    mut locked: Locked<'_, T>,
    value: *mut T,
    deadline: Option<Instant>,
) -> Step {
    let chan = locked.chan();
    let mut after = After::nothing();
    let mut deferred = false;
    // SAFETY: passed on; no node is given to pair.
    let step = unsafe {
        match W::DIR {
            Dir::Send => match locked.send(value, &mut after) {
                Sent::Done => Step::Passed,
                Sent::Closed => Step::Closed,
                Sent::Full => Step::Waiting,
                Sent::NeedBlock => {
                    drop(locked);
                    return now::send_unbounded(chan, value);
                }
            },
            Dir::Recv => match locked.recv(value, ptr::null_mut(), &mut after) {
                Got::Received => Step::Passed,
                Got::Closed => Step::Closed,
                got => {
                    deferred = got == Got::Deferred;
                    Step::Waiting
                }
            },
        }
    };
    drop(locked);
    if step == Step::Waiting {
        // SAFETY: passed on; the value was not moved.
        return unsafe {
            match deadline.is_some_and(|d| Instant::now() >= d) {
                false => block_anew::<T, W>(chan, value, deadline),
                true if deferred => try_recv_deferred(chan, value),
                true => Step::Waiting,
            }
        };
    }
    match (W::DIR, step) {
        // SAFETY: a value was received.
        (Dir::Recv, Step::Passed) => unsafe { after.run_received(chan, value) },
        _ => after.run(chan),
    }
    step
}

/// Abandons the op if the wait unwinds.
struct Guard<'a, T> {
    op: Pin<&'a Op<T>>,
    chan: &'a Hchan<T>,
    dir: Dir,
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.op.abandon(self.chan, self.dir);
    }
}

/// Blocks until the operation is done (`Passed`), or the channel is closed, or the deadline has passed (`Waiting`).
/// The caller holds the lock and found that it has to wait ([`Turn::Wait`]); where that can be, it stands in line in the
/// same turn.
///
/// Inlined down to the hook: of the calls between a caller and a switch of goroutines each is a return that the processor
/// may predict wrong after it, see [`veneer`].
///
/// # Safety
/// As [`until`].
#[inline(always)]
unsafe fn block<T, W: Way>(
    locked: Locked<'_, T>,
    value: *mut T,
    deadline: Option<Instant>,
) -> Step {
    let chan = locked.chan();
    // SAFETY: passed on.
    unsafe {
        match goroutine() {
            Some(blocker) => block_as::<T, W>(&blocker, chan, Some(locked), value, deadline),
            None => block_thread::<T, W>(locked, value, deadline),
        }
    }
}

/// # Safety
/// As [`until`].
#[cold]
#[inline(never)]
unsafe fn block_thread<T, W: Way>(
    locked: Locked<'_, T>,
    value: *mut T,
    deadline: Option<Instant>,
) -> Step {
    let chan = locked.chan();
    // SAFETY: passed on.
    unsafe {
        match known_thread() {
            Some(blocker) if chan.cap() == Some(0) => {
                block_as::<T, W>(&blocker, chan, Some(locked), value, deadline)
            }
            _ => {
                drop(locked);
                block_anew::<T, W>(chan, value, deadline)
            }
        }
    }
}

/// As [`block`], without the lock.
///
/// # Safety
/// As [`until`].
#[cold]
#[inline(never)]
unsafe fn block_anew<T, W: Way>(chan: &Hchan<T>, value: *mut T, deadline: Option<Instant>) -> Step {
    // SAFETY: passed on.
    as_blocker(|blocker| unsafe { block_as::<T, W>(blocker, chan, None, value, deadline) })
}

/// # Safety
/// As [`until`].
#[inline(always)]
unsafe fn block_as<T, W: Way>(
    blocker: &Blocker,
    chan: &Hchan<T>,
    locked: Option<Locked<'_, T>>,
    value: *mut T,
    deadline: Option<Instant>,
) -> Step {
    let op = std::pin::pin!(Op::new(blocker.waiter()));
    let op = op.as_ref();
    let _guard = Guard {
        op,
        chan,
        dir: W::DIR,
    };
    let kind = Kind::blocking(match deadline {
        None => Haste::Patient,
        Some(_) => Haste::Deadline,
    });
    // SAFETY: passed on, each time that the op is not started.
    unsafe {
        if let Some(locked) = locked {
            op.stand_in_line(locked, W::DIR, value, kind);
            blocker.park_first(W::REASON, deadline);
        } else {
            hesitate(blocker, chan, W::DIR);
            let step = op.start(chan, W::DIR, value, kind);
            if step != Step::Waiting {
                return step;
            }
        }
        loop {
            let mut result = blocker.wait(&op.waiter, W::REASON, deadline);
            if result.is_none() {
                if op.withdraw(chan, false) {
                    return Step::Waiting;
                }
                // Done, or a partner is committed and will finish us soon, if only to say that it withdraws.
                result = blocker.wait_on(&op.waiter, W::REASON);
            }
            op.set_state(None);
            match result {
                Some((Outcome::Passed, _)) => return Step::Passed,
                Some((Outcome::Closed, _)) => return Step::Closed,
                _ => {
                    op.rearm();
                    blocker.reopen(&op.waiter);
                    let step = op.start(chan, W::DIR, value, kind);
                    if step != Step::Waiting {
                        return step;
                    }
                }
            }
        }
    }
}

/// Before standing in line, gives the other side a moment to make room or to fill the buffer: values that go from hand
/// to hand cost a cache miss each, values in a buffer do not. Who stands in line already is not overtaken, because then
/// there is nothing to be had.
fn hesitate<T>(blocker: &Blocker, chan: &Hchan<T>, dir: Dir) {
    if chan.cap() == Some(0) || (dir == Dir::Send && blocker.watches_drain(|| chan.len())) {
        return;
    }
    blocker.hesitate(|| match dir {
        Dir::Send => chan.maybe_writable(),
        Dir::Recv => chan.maybe_readable(),
    });
}

/// Receives from a sender that is a thread's select whose value comes once it is chosen: waits for that, but for nothing
/// else. If the sender withdraws, this tries once more.
///
/// # Safety
/// `dst` may be written, and is when the answer is `Passed`.
#[cold]
pub(crate) unsafe fn try_recv_deferred<T>(chan: &Hchan<T>, dst: *mut T) -> Step {
    as_blocker(|blocker| {
        let op = std::pin::pin!(Op::new(blocker.waiter()));
        let op = op.as_ref();
        let _guard = Guard {
            op,
            chan,
            dir: Dir::Recv,
        };
        loop {
            // SAFETY: passed on; the op is not started.
            match unsafe { op.start(chan, Dir::Recv, dst, Kind::blocking(Haste::Now)) } {
                // Still queued: the sender went elsewhere. Paired: it comes.
                Step::Waiting if op.withdraw(chan, false) => return Step::Waiting,
                Step::Waiting => {}
                step => return step,
            }
            let result = blocker.wait_on(&op.waiter, Reason::ChanReceive);
            op.set_state(None);
            match result {
                Some((Outcome::Passed, _)) => return Step::Passed,
                Some((Outcome::Closed, _)) => return Step::Closed,
                _ => {
                    op.rearm();
                    blocker.reopen(&op.waiter);
                }
            }
        }
    })
}
