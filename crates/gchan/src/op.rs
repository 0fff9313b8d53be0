//! One blocked send or receive, as a thread, a goroutine or a future runs it.
//!
//! An [`Op`] is the waiter, its one node and the slot for the value, in the caller's frame or pinned in its future.
//! Other threads reach it through the queue, so it must stay in place from [`Op::start`] on, and it leaves the channel
//! before its memory ends: [`Op::abandon`], which a guard calls if the wait unwinds and a future's drop calls too.
//! A value that was handed over meanwhile is not lost: it goes back to the channel (receive) or stays sent (send).

use crate::hchan::{After, Dir, Got, Hchan, Sent};
use crate::list::Block;
use crate::park::Reason;
use crate::sync::UnsafeCell;
use crate::wait::{Blocker, as_blocker};
use crate::waitq::{Node, Outcome, Waiter};
use std::marker::PhantomPinned;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::ptr;
use std::time::Instant;

pub(crate) struct Op<T> {
    pub(crate) waiter: Waiter,
    /// Guarded by the channel's lock while queued.
    node: UnsafeCell<Node>,
    /// A sender's value until it is taken; a receiver's once it is passed.
    slot: UnsafeCell<MaybeUninit<T>>,
    /// The op is queued, or was and its result was not looked at yet. Owner only.
    started: UnsafeCell<bool>,
    _pinned: PhantomPinned,
}

// SAFETY: an op is a value of `T` and the means to wake its owner, which are `Send`; its pointers are its own.
unsafe impl<T: Send> Send for Op<T> {}
// SAFETY: what others touch, they touch under the channel's lock; the rest is the owner's, reached through `Pin<&mut>`
// or from the frame that made it.
unsafe impl<T: Send> Sync for Op<T> {}

/// How an operation ended or stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The value is in the slot (receive), or was taken out of it (send).
    Passed,
    /// The channel is closed; a sender's value is still in the slot.
    Closed,
    /// Queued; the waiter will be finished.
    Waiting,
}

impl<T> Op<T> {
    pub(crate) fn new(waiter: Waiter) -> Self {
        Self {
            waiter,
            node: UnsafeCell::new(Node::new(ptr::null(), ptr::null_mut())),
            slot: UnsafeCell::new(MaybeUninit::uninit()),
            started: UnsafeCell::new(false),
            _pinned: PhantomPinned,
        }
    }

    pub(crate) fn slot(&self) -> *mut T {
        self.slot.with_mut(|slot| slot.cast())
    }

    fn node(&self) -> *mut Node {
        self.node.with_mut(|node| node)
    }

    fn set_started(&self, started: bool) {
        // SAFETY: the flag is the owner's alone.
        self.started.with_mut(|flag| unsafe { *flag = started });
    }

    pub(crate) fn is_started(&self) -> bool {
        // SAFETY: as above.
        self.started.with_mut(|flag| unsafe { *flag })
    }

    /// Does the operation or queues it. A sender's value is in the slot.
    pub(crate) fn start(self: Pin<&Self>, chan: &Hchan<T>, dir: Dir, task: bool) -> Step {
        let node = self.node();
        // SAFETY: the node is in no queue, so it is ours; it is pinned, and leaves the queue before it is dropped.
        unsafe {
            (*node).waiter = &raw const self.waiter;
            (*node).slot = self.slot().cast();
            (*node).task = task;
        }
        let step = match dir {
            // SAFETY: the slot holds the value, by contract.
            Dir::Send => unsafe { self.start_send(chan) },
            Dir::Recv => self.start_recv(chan),
        };
        self.set_started(step == Step::Waiting);
        step
    }

    unsafe fn start_send(&self, chan: &Hchan<T>) -> Step {
        let mut after = After::nothing();
        let mut block = None;
        let step = loop {
            let mut locked = chan.lock();
            let surplus = block
                .take()
                .and_then(|b: Box<Block<T>>| locked.give_block(b));
            // SAFETY: the slot holds the value until the answer is `Done`.
            match unsafe { locked.send(self.slot(), &mut after) } {
                Sent::Done => break Step::Passed,
                Sent::Closed => break Step::Closed,
                Sent::NeedBlock => {
                    drop(locked);
                    drop(surplus);
                    block = Some(Block::new());
                }
                Sent::Full => {
                    // SAFETY: pinned, and unlinked before it goes.
                    after.watched = unsafe { locked.enqueue(self.node(), Dir::Send) };
                    break Step::Waiting;
                }
            }
        };
        after.run(chan);
        step
    }

    fn start_recv(&self, chan: &Hchan<T>) -> Step {
        let mut after = After::nothing();
        let mut locked = chan.lock();
        // SAFETY: the slot is free; the node is pinned, and unlinked before it goes.
        let step = unsafe {
            match locked.recv(self.slot(), self.node(), &mut after) {
                Got::Received => Step::Passed,
                Got::Closed => Step::Closed,
                Got::Paired => Step::Waiting,
                Got::Empty | Got::Deferred => {
                    after.watched = locked.enqueue(self.node(), Dir::Recv);
                    Step::Waiting
                }
            }
        };
        drop(locked);
        after.run(chan);
        step
    }

    /// The result, if the wait is over. `Retry` stands for a partner that withdrew.
    pub(crate) fn poll(&self) -> Option<Outcome> {
        let (outcome, _) = self.waiter.result()?;
        self.set_started(false);
        Some(outcome)
    }

    /// Leaves the queue, unless the wait is over or a partner is committed to us. True if it left: a sender's value is
    /// in the slot then, and a receiver's slot is empty.
    pub(crate) fn withdraw(self: Pin<&Self>, chan: &Hchan<T>, even_matched: bool) -> bool {
        let mut locked = chan.lock();
        let node = self.node();
        // SAFETY: under the lock; the node is this channel's. A node whose waiter is neither done nor in `recvq` or
        // `sendq` is in `matched`, with a pairing.
        unsafe {
            let matched = (*node).pairing != 0;
            if self.waiter.is_done() || (matched && !even_matched && (*node).is_queued()) {
                return false;
            }
            let left = locked.unlink(node);
            if left {
                self.set_started(false);
            }
            left
        }
    }

    /// Leaves the channel for good. A value that was received meanwhile goes back to the channel; a value that was not
    /// taken is dropped.
    pub(crate) fn abandon(self: Pin<&Self>, chan: &Hchan<T>, dir: Dir) {
        if !self.is_started() {
            return;
        }
        let left = self.withdraw(chan, true);
        self.set_started(false);
        // SAFETY: the op is out of the channel, so the slot is ours, and holds what the outcome says.
        unsafe {
            let keeps_value = left || matches!(self.waiter.result(), Some((Outcome::Closed, _)));
            match dir {
                Dir::Send if keeps_value => ptr::drop_in_place(self.slot()),
                Dir::Recv if matches!(self.waiter.result(), Some((Outcome::Passed, _))) => {
                    let ticket = (*self.node()).ticket;
                    chan.put_back(self.slot(), ticket);
                }
                Dir::Send | Dir::Recv => {}
            }
        }
    }

    /// Makes the op ready for another start, its turn kept.
    pub(crate) fn rearm(&self) {
        // SAFETY: the op is in no queue.
        unsafe { (*self.node()).pairing = 0 };
    }
}

/// Abandons the op if the wait unwinds.
struct Guard<'a, T> {
    op: Pin<&'a Op<T>>,
    chan: &'a Hchan<T>,
    dir: Dir,
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.op.abandon(self.chan, self.dir);
    }
}

/// Blocks until the operation is done (`Passed`), or the channel is closed, or the deadline has passed (`Waiting`).
///
/// # Safety
/// `value` holds a value (send) or takes one (receive). A send that is not `Passed` leaves the value where it was.
#[cold]
pub(crate) unsafe fn block<T>(
    chan: &Hchan<T>,
    dir: Dir,
    value: *mut T,
    deadline: Option<Instant>,
) -> Step {
    as_blocker(|blocker| {
        let op = std::pin::pin!(Op::new(blocker.waiter()));
        let op = op.as_ref();
        // SAFETY: the slot is ours while the op is not started; a value moves between `value` and the slot, and is in
        // exactly one of them.
        unsafe {
            if dir == Dir::Send {
                ptr::copy_nonoverlapping(value, op.slot(), 1);
            }
            let step = run(blocker, op, chan, dir, deadline);
            if (dir == Dir::Recv) == (step == Step::Passed) {
                ptr::copy_nonoverlapping(op.slot(), value, 1);
            }
            step
        }
    })
}

fn run<T>(
    blocker: &Blocker,
    op: Pin<&Op<T>>,
    chan: &Hchan<T>,
    dir: Dir,
    deadline: Option<Instant>,
) -> Step {
    let reason = match dir {
        Dir::Send => Reason::ChanSend,
        Dir::Recv => Reason::ChanReceive,
    };
    let guard = Guard { op, chan, dir };
    // Before standing in line, give the other side a moment to make room or to fill the buffer: values that go from
    // hand to hand cost a cache miss each, values in a buffer do not. Who stands in line already is not overtaken,
    // because then there is nothing to be had.
    if chan.cap() != Some(0) {
        blocker.hesitate(|| match dir {
            Dir::Send => chan.maybe_writable(),
            Dir::Recv => chan.maybe_readable(),
        });
    }
    loop {
        match op.start(chan, dir, false) {
            Step::Waiting => {}
            step => return step,
        }
        if !blocker.wait(&op.waiter, reason, deadline) && op.withdraw(chan, false) {
            return Step::Waiting;
        }
        // Done, or a partner is committed and will finish us soon.
        blocker.wait(&op.waiter, reason, None);
        match guard.op.poll() {
            Some(Outcome::Passed) => return Step::Passed,
            Some(Outcome::Closed) => return Step::Closed,
            _ => {
                op.rearm();
                blocker.reopen(&op.waiter);
            }
        }
    }
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
