//! One blocked send or receive, as a thread, a goroutine or a future runs it.
//!
//! An [`Op`] is the waiter, its one node and the slot for the value, in the caller's frame or pinned in its future.
//! Other threads reach it through the queue, so it must stay in place from [`Op::start`] on, and it leaves the channel
//! before its memory ends: [`Op::abandon`], which a guard calls if the wait unwinds and a future's drop calls too.
//! A value that was handed over meanwhile is not lost: it goes back to the channel (receive) or stays sent (send).

use crate::hchan::{After, Dir, Got, Hchan, Locked, Sent, Turn};
use crate::now;
use crate::sync::UnsafeCell;
use crate::waitq::{Node, Outcome, Waiter};
use std::marker::PhantomPinned;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::ptr;

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
    #[inline]
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
        self.start_under(chan.lock(), dir, task)
    }

    fn start_under(self: Pin<&Self>, mut locked: Locked<'_, T>, dir: Dir, task: bool) -> Step {
        // SAFETY: the op is in no queue, so the node is ours.
        let is_new = unsafe { (*self.node()).ticket == 0 };
        if is_new && locked.turn(dir) == Turn::Wait {
            self.stand_in_line(locked, dir, task);
            return Step::Waiting;
        }
        self.fill_node(task);
        let step = match dir {
            // SAFETY: the slot holds the value, by contract.
            Dir::Send => unsafe { self.start_send(locked) },
            Dir::Recv => self.start_recv(locked),
        };
        self.set_started(step == Step::Waiting);
        step
    }

    /// Waits for its turn, for the first time; the caller found, in this turn of the lock, that it has to.
    #[inline(always)]
    pub(crate) fn stand_in_line(self: Pin<&Self>, locked: Locked<'_, T>, dir: Dir, task: bool) {
        self.fill_node(task);
        self.set_started(true);
        // SAFETY: pinned, and unlinked before it goes.
        unsafe { locked.stand_in_line(self.node(), dir) };
    }

    #[inline(always)]
    fn fill_node(self: Pin<&Self>, task: bool) {
        let node = self.node();
        // SAFETY: the node is in no queue, so it is ours; it is pinned, and leaves the queue before it is dropped.
        unsafe {
            (*node).waiter = &raw const self.waiter;
            (*node).slot = self.slot().cast();
            (*node).task = task;
        }
    }

    unsafe fn start_send(&self, mut locked: Locked<'_, T>) -> Step {
        let chan = locked.chan();
        let mut after = After::nothing();
        // SAFETY: the slot holds the value until the answer is `Done`.
        let step = match unsafe { locked.send(self.slot(), &mut after) } {
            Sent::Done => Step::Passed,
            Sent::Closed => Step::Closed,
            Sent::Full => {
                // SAFETY: pinned, and unlinked before it goes.
                after.watched = unsafe { locked.enqueue(self.node(), Dir::Send) };
                Step::Waiting
            }
            Sent::NeedBlock => {
                drop(locked);
                // SAFETY: as above. An unbounded channel is never full.
                return unsafe { now::send_unbounded(chan, self.slot()) };
            }
        };
        drop(locked);
        after.run(chan);
        step
    }

    fn start_recv(&self, mut locked: Locked<'_, T>) -> Step {
        let chan = locked.chan();
        let mut after = After::nothing();
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
    #[inline]
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
    #[inline]
    pub(crate) fn abandon(self: Pin<&Self>, chan: &Hchan<T>, dir: Dir) {
        if self.is_started() {
            self.abandon_started(chan, dir);
        }
    }

    #[cold]
    #[inline(never)]
    fn abandon_started(self: Pin<&Self>, chan: &Hchan<T>, dir: Dir) {
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
