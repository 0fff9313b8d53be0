//! One blocked send or receive, as a thread, a goroutine or a future runs it.
//!
//! An [`Op`] is the waiter and its one node, in the caller's frame or pinned in its future. The slot for the value is its
//! owner's: where a blocking call has its value, or wants it, so that a value that changes hands moves once.
//! Other threads reach it through the queue, so it must stay in place from [`Op::start`] on, and it leaves the channel
//! before its memory ends: [`Op::abandon`], which a guard calls if the wait unwinds and a future's drop calls too.
//! A value that was handed over meanwhile is not lost: it goes back to the channel (receive) or stays sent (send).

use crate::hchan::{After, Dir, Got, Hchan, Locked, Sent, Turn};
use crate::now;
use crate::sync::UnsafeCell;
use crate::waitq::{Haste, Node, Outcome, Waiter};
use std::marker::{PhantomData, PhantomPinned};
use std::pin::Pin;
use std::ptr;

pub(crate) struct Op<T> {
    pub(crate) waiter: Waiter,
    /// Guarded by the channel's lock while queued.
    node: UnsafeCell<Node>,
    /// Of its last start. `None`: there is none whose result was not looked at. `Waiting`: it is queued, or was. The
    /// others are seen here only if the start unwound, in the waker of whom it met. Owner only.
    state: UnsafeCell<Option<Step>>,
    /// Where the node's slot points.
    _value: PhantomData<*mut T>,
    _pinned: PhantomPinned,
}

/// Who runs an op, as far as its partners are concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) task: bool,
    pub(crate) haste: Haste,
}

impl Kind {
    pub(crate) const TASK: Kind = Kind {
        task: true,
        haste: Haste::Patient,
    };

    /// A thread or a goroutine.
    #[inline(always)]
    pub(crate) fn blocking(haste: Haste) -> Kind {
        Kind { task: false, haste }
    }
}

// SAFETY: an op leads to a value of `T` and the means to wake its owner, which are `Send`; its pointers are its own.
unsafe impl<T: Send> Send for Op<T> {}
// SAFETY: what others touch, they touch under the channel's lock; the rest is the owner's, reached through `Pin<&mut>`
// or from the frame that made it.
unsafe impl<T: Send> Sync for Op<T> {}

/// How an operation ended or stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The value is in the slot (receive), or was moved out of it (send).
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
            state: UnsafeCell::new(None),
            _value: PhantomData,
            _pinned: PhantomPinned,
        }
    }

    /// As it was given to the last start.
    fn slot(&self) -> *mut T {
        // SAFETY: the slot is constant while the op is queued.
        unsafe { (*self.node()).slot.cast() }
    }

    fn node(&self) -> *mut Node {
        self.node.with_mut(|node| node)
    }

    #[inline(always)]
    pub(crate) fn set_state(&self, state: Option<Step>) {
        // SAFETY: it is the owner's alone.
        self.state.with_mut(|place| unsafe { *place = state });
    }

    #[inline(always)]
    pub(crate) fn state(&self) -> Option<Step> {
        // SAFETY: as above.
        self.state.with_mut(|place| unsafe { *place })
    }

    /// Does the operation or queues it. If it unwinds, because a waker does, the state says what it did.
    ///
    /// # Safety
    /// The op's state is `None`. `slot` holds a value (send) or takes one (receive), and is left alone until the op is done
    /// or has left the channel.
    pub(crate) unsafe fn start(
        self: Pin<&Self>,
        chan: &Hchan<T>,
        dir: Dir,
        slot: *mut T,
        kind: Kind,
    ) -> Step {
        let mut locked = chan.lock();
        // SAFETY: the op is in no queue, so the node is ours; the rest is passed on.
        unsafe {
            let is_new = (*self.node()).ticket == 0;
            if is_new && locked.turn(dir) == Turn::Wait {
                self.stand_in_line(locked, dir, slot, kind);
                return Step::Waiting;
            }
            self.fill_node(slot, kind);
            let step = self.start_under(locked, dir);
            if step != Step::Waiting {
                self.set_state(None);
            }
            step
        }
    }

    /// Waits for its turn, for the first time; the caller found, in this turn of the lock, that it has to.
    ///
    /// # Safety
    /// As [`start`](Self::start).
    #[inline(always)]
    pub(crate) unsafe fn stand_in_line(
        self: Pin<&Self>,
        locked: Locked<'_, T>,
        dir: Dir,
        slot: *mut T,
        kind: Kind,
    ) {
        self.fill_node(slot, kind);
        self.set_state(Some(Step::Waiting));
        // SAFETY: pinned, and unlinked before it goes.
        unsafe { locked.stand_in_line(self.node(), dir) };
    }

    #[inline(always)]
    fn fill_node(self: Pin<&Self>, slot: *mut T, kind: Kind) {
        let node = self.node();
        // SAFETY: the node is in no queue, so it is ours; it is pinned, and leaves the queue before it is dropped.
        unsafe {
            (*node).waiter = &raw const self.waiter;
            (*node).slot = slot.cast();
            (*node).task = kind.task;
            (*node).haste = kind.haste;
        }
    }

    /// User code runs here once the lock is released: wakers, which may unwind. So the state is settled before.
    ///
    /// # Safety
    /// As [`start`](Self::start), and the node is filled.
    unsafe fn start_under(&self, mut locked: Locked<'_, T>, dir: Dir) -> Step {
        let chan = locked.chan();
        let (slot, node) = (self.slot(), self.node());
        let mut after = After::nothing();
        // SAFETY: passed on; the node is pinned, and unlinked before it goes.
        let step = unsafe {
            match dir {
                Dir::Send => match locked.send(slot, &mut after) {
                    Sent::Done => Step::Passed,
                    Sent::Closed => Step::Closed,
                    Sent::Full => Step::Waiting,
                    Sent::NeedBlock => {
                        drop(locked);
                        // It unwinds only after the value was moved.
                        self.set_state(Some(Step::Passed));
                        return now::send_unbounded(chan, slot);
                    }
                },
                Dir::Recv => match locked.recv(slot, node, &mut after) {
                    Got::Received => Step::Passed,
                    Got::Closed => Step::Closed,
                    Got::Empty | Got::Deferred => Step::Waiting,
                    Got::Paired => {
                        self.set_state(Some(Step::Waiting));
                        drop(locked);
                        after.run(chan);
                        return Step::Waiting;
                    }
                },
            }
        };
        if step == Step::Waiting {
            // SAFETY: as above.
            after.watched = unsafe { locked.enqueue(node, dir) };
        }
        self.set_state(Some(step));
        drop(locked);
        after.run(chan);
        step
    }

    /// The result, if the wait is over. `Retry` stands for a partner that withdrew.
    #[inline]
    pub(crate) fn poll(&self) -> Option<Outcome> {
        let (outcome, _) = self.waiter.result()?;
        self.set_state(None);
        Some(outcome)
    }

    /// Leaves the queue, unless the wait is over or a partner is committed to us. True if it left: the slot is as it was.
    pub(crate) fn withdraw(self: Pin<&Self>, chan: &Hchan<T>, even_committed: bool) -> bool {
        let mut locked = chan.lock();
        let node = self.node();
        // SAFETY: under the lock; the node is this channel's. A node whose waiter is neither done nor in `recvq` or
        // `sendq` is in `matched`, with a pairing; a sender that finds its pairing gone chooses or sends anew.
        unsafe {
            if self.waiter.is_done() || (!even_committed && (*node).is_committed()) {
                return false;
            }
            let left = locked.unlink(node);
            if left {
                self.set_state(None);
            }
            left
        }
    }

    /// Leaves the channel for good. A value that was received meanwhile goes back to the channel; a value that was not
    /// taken is dropped.
    #[inline]
    pub(crate) fn abandon(self: Pin<&Self>, chan: &Hchan<T>, dir: Dir) {
        if let Some(state) = self.state() {
            self.abandon_started(chan, dir, state);
        }
    }

    #[cold]
    #[inline(never)]
    fn abandon_started(self: Pin<&Self>, chan: &Hchan<T>, dir: Dir, state: Step) {
        let step = if state != Step::Waiting || self.withdraw(chan, true) {
            state
        } else {
            match self.waiter.result() {
                Some((Outcome::Passed, _)) => Step::Passed,
                Some((Outcome::Closed, _)) => Step::Closed,
                // A partner withdrew: as if the op had left then.
                _ => Step::Waiting,
            }
        };
        self.set_state(None);
        // SAFETY: the op is out of the channel, so the slot is ours, and holds a value if one was received, or was not
        // sent.
        unsafe {
            match (dir, step) {
                (Dir::Recv, Step::Passed) => {
                    let ticket = (*self.node()).ticket;
                    chan.put_back(self.slot(), ticket);
                }
                (Dir::Send, Step::Waiting | Step::Closed) => ptr::drop_in_place(self.slot()),
                (Dir::Recv, _) | (Dir::Send, Step::Passed) => {}
            }
        }
    }

    /// Makes the op ready for another start, its turn kept.
    pub(crate) fn rearm(&self) {
        // SAFETY: the op is in no queue.
        unsafe { (*self.node()).pairing = 0 };
    }
}
