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
use crate::op::{Op, Step};
use crate::park::Reason;
use crate::wait::{Blocker, as_blocker, goroutine, known_thread};
use crate::waitq::Outcome;
use std::pin::Pin;
use std::ptr;
use std::time::Instant;

/// Sends, and blocks if it has to: see [`block`].
///
/// # Safety
/// `src` holds a value, moved out of it only when the answer is `Passed`.
#[inline]
pub(crate) unsafe fn send_until<T>(
    chan: &Hchan<T>,
    src: *mut T,
    deadline: Option<Instant>,
) -> Step {
    let mut locked = chan.lock();
    // SAFETY: passed on.
    unsafe {
        if locked.can_pass(Dir::Send) {
            locked.pass(Dir::Send, src);
            return Step::Passed;
        }
        send_otherwise(locked, src, deadline)
    }
}

#[inline(never)]
unsafe fn send_otherwise<T>(
    mut locked: Locked<'_, T>,
    src: *mut T,
    deadline: Option<Instant>,
) -> Step {
    // SAFETY: passed on; it is its turn.
    unsafe {
        match locked.turn(Dir::Send) {
            Turn::Meet => {
                locked.give(src);
                Step::Passed
            }
            Turn::Wait => wait_to_send(locked, src, deadline),
            Turn::Other => send_general(locked, src, deadline),
        }
    }
}

#[inline(never)]
unsafe fn wait_to_send<T>(locked: Locked<'_, T>, src: *mut T, deadline: Option<Instant>) -> Step {
    // SAFETY: passed on.
    unsafe { block(locked, Dir::Send, src, deadline) }
}

#[inline(never)]
unsafe fn send_general<T>(
    mut locked: Locked<'_, T>,
    src: *mut T,
    deadline: Option<Instant>,
) -> Step {
    let chan = locked.chan();
    let mut after = After::nothing();
    // SAFETY: passed on.
    let sent = unsafe { locked.send(src, &mut after) };
    drop(locked);
    match sent {
        // SAFETY: passed on; the value was not moved.
        Sent::NeedBlock => unsafe { now::send_unbounded(chan, src) },
        Sent::Closed => Step::Closed,
        // SAFETY: as above.
        Sent::Full => unsafe { block_anew(chan, Dir::Send, src, deadline) },
        Sent::Done => {
            after.run(chan);
            Step::Passed
        }
    }
}

/// Receives, and blocks if it has to: see [`block`].
///
/// # Safety
/// `dst` may be written, and is when the answer is `Passed`.
#[inline]
pub(crate) unsafe fn recv_until<T>(
    chan: &Hchan<T>,
    dst: *mut T,
    deadline: Option<Instant>,
) -> Step {
    let mut locked = chan.lock();
    // SAFETY: passed on.
    unsafe {
        if locked.can_pass(Dir::Recv) {
            locked.pass(Dir::Recv, dst);
            return Step::Passed;
        }
        recv_otherwise(locked, dst, deadline)
    }
}

#[inline(never)]
unsafe fn recv_otherwise<T>(
    mut locked: Locked<'_, T>,
    dst: *mut T,
    deadline: Option<Instant>,
) -> Step {
    // SAFETY: passed on; it is its turn.
    unsafe {
        match locked.turn(Dir::Recv) {
            Turn::Meet => {
                locked.take(dst);
                Step::Passed
            }
            Turn::Wait => wait_to_recv(locked, dst, deadline),
            Turn::Other => recv_general(locked, dst, deadline),
        }
    }
}

#[inline(never)]
unsafe fn wait_to_recv<T>(locked: Locked<'_, T>, dst: *mut T, deadline: Option<Instant>) -> Step {
    // SAFETY: passed on.
    unsafe { block(locked, Dir::Recv, dst, deadline) }
}

#[inline(never)]
unsafe fn recv_general<T>(
    mut locked: Locked<'_, T>,
    dst: *mut T,
    deadline: Option<Instant>,
) -> Step {
    let chan = locked.chan();
    let mut after = After::nothing();
    // SAFETY: passed on; no node is given to pair.
    let got = unsafe { locked.recv(dst, ptr::null_mut(), &mut after) };
    drop(locked);
    match got {
        Got::Received => {
            after.run(chan);
            Step::Passed
        }
        Got::Closed => Step::Closed,
        // SAFETY: passed on.
        Got::Empty | Got::Deferred | Got::Paired => unsafe {
            block_anew(chan, Dir::Recv, dst, deadline)
        },
    }
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
/// The caller holds the lock and found that it has to wait ([`Turn::Wait`]); where that can be, it stands in line
/// in the same turn.
///
/// Inlined down to the hook: every call between a caller and a switch of goroutines is a return that the processor
/// predicts wrong after it, because the return addresses it remembers are those of the goroutine that it left.
///
/// # Safety
/// `value` holds a value (send) or takes one (receive). A send that is not `Passed` leaves the value where it was.
#[inline(always)]
unsafe fn block<T>(
    locked: Locked<'_, T>,
    dir: Dir,
    value: *mut T,
    deadline: Option<Instant>,
) -> Step {
    let chan = locked.chan();
    // SAFETY: passed on.
    unsafe {
        match goroutine() {
            Some(blocker) => block_as(&blocker, chan, Some(locked), dir, value, deadline),
            None => block_thread(locked, dir, value, deadline),
        }
    }
}

/// # Safety
/// As [`block`].
#[cold]
#[inline(never)]
unsafe fn block_thread<T>(
    locked: Locked<'_, T>,
    dir: Dir,
    value: *mut T,
    deadline: Option<Instant>,
) -> Step {
    let chan = locked.chan();
    // SAFETY: passed on.
    unsafe {
        match known_thread() {
            Some(blocker) if chan.cap() == Some(0) => {
                block_as(&blocker, chan, Some(locked), dir, value, deadline)
            }
            _ => {
                drop(locked);
                block_anew(chan, dir, value, deadline)
            }
        }
    }
}

/// As [`block`], without the lock.
///
/// # Safety
/// As [`block`].
#[cold]
#[inline(never)]
unsafe fn block_anew<T>(
    chan: &Hchan<T>,
    dir: Dir,
    value: *mut T,
    deadline: Option<Instant>,
) -> Step {
    // SAFETY: passed on.
    as_blocker(|blocker| unsafe { block_as(blocker, chan, None, dir, value, deadline) })
}

/// # Safety
/// As [`block`].
#[inline(always)]
unsafe fn block_as<T>(
    blocker: &Blocker,
    chan: &Hchan<T>,
    locked: Option<Locked<'_, T>>,
    dir: Dir,
    value: *mut T,
    deadline: Option<Instant>,
) -> Step {
    let op = std::pin::pin!(Op::new(blocker.waiter()));
    let op = op.as_ref();
    // SAFETY: the slot is ours while the op is not started; a value moves between `value` and the slot, and is in
    // exactly one of them.
    unsafe {
        if dir == Dir::Send {
            ptr::copy_nonoverlapping(value, op.slot(), 1);
        }
        let step = run(blocker, op, chan, locked, dir, deadline);
        if (dir == Dir::Recv) == (step == Step::Passed) {
            ptr::copy_nonoverlapping(op.slot(), value, 1);
        }
        step
    }
}

#[inline(always)]
fn run<T>(
    blocker: &Blocker,
    op: Pin<&Op<T>>,
    chan: &Hchan<T>,
    locked: Option<Locked<'_, T>>,
    dir: Dir,
    deadline: Option<Instant>,
) -> Step {
    let reason = match dir {
        Dir::Send => Reason::ChanSend,
        Dir::Recv => Reason::ChanReceive,
    };
    let guard = Guard { op, chan, dir };
    let mut step = match locked {
        Some(locked) => {
            op.stand_in_line(locked, dir, false);
            Step::Waiting
        }
        None => {
            hesitate(blocker, chan, dir);
            op.start(chan, dir, false)
        }
    };
    while step == Step::Waiting {
        if !blocker.wait(&op.waiter, reason, deadline) {
            if op.withdraw(chan, false) {
                return Step::Waiting;
            }
            // Done, or a partner is committed and will finish us soon.
            blocker.wait_on(&op.waiter, reason);
        }
        match guard.op.poll() {
            Some(Outcome::Passed) => return Step::Passed,
            Some(Outcome::Closed) => return Step::Closed,
            _ => {
                op.rearm();
                blocker.reopen(&op.waiter);
                step = op.start(chan, dir, false);
            }
        }
    }
    step
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

/// Receives from a sender that is a select whose value comes once it is chosen: waits for that, but for nothing else.
///
/// # Safety
/// `dst` may be written, and is when the answer is `Passed`.
#[cold]
pub(crate) unsafe fn try_recv_deferred<T>(chan: &Hchan<T>, dst: *mut T) -> Step {
    as_blocker(|blocker| {
        let op = std::pin::pin!(Op::new(blocker.waiter()));
        let op = op.as_ref();
        let guard = Guard {
            op,
            chan,
            dir: Dir::Recv,
        };
        loop {
            let step = op.start(chan, Dir::Recv, false);
            let step = match step {
                // Still queued: the sender went elsewhere. Paired: it comes.
                Step::Waiting if op.withdraw(chan, false) => return Step::Waiting,
                Step::Waiting => {
                    blocker.wait(&op.waiter, Reason::ChanReceive, None);
                    match guard.op.poll() {
                        Some(Outcome::Passed) => Step::Passed,
                        Some(Outcome::Closed) => Step::Closed,
                        _ => {
                            op.rearm();
                            blocker.reopen(&op.waiter);
                            continue;
                        }
                    }
                }
                step => step,
            };
            if step == Step::Passed {
                // SAFETY: a passed receive has its value in the slot.
                unsafe { ptr::copy_nonoverlapping(op.slot(), dst, 1) };
            }
            return step;
        }
    })
}
