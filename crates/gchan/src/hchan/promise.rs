//! A send whose value comes later (R16), from the choice to the value or to the withdrawal.
//!
//! A Rust select evaluates its send expression after that case was chosen. If the buffer has room the chosen send gets
//! a slot *spoken for* (`spoken`), a count and not a place: the value takes its place in the order when it exists, so
//! there are no holes in the ring, and a withdrawal (the expression panicked) is a decrement. If there is no room but a
//! receiver waits, the two are paired: the receiver moves to `matched`, committed, and the value goes straight to it. A
//! withdrawal puts it back in its turn, which its ticket remembers.
//! Rejected: reserving the place itself, with pending slots in the ring. Every receive would look at slot states, a
//! pending head would block values that are already there, and a withdrawal would have to shift the ring.

use super::{After, Got, Hchan, Locked, Sent};
use crate::waitq::{Haste, Node, Outcome, Wake, Wakes};
use std::cell::Cell;
use std::ptr;

/// What a send with the value to follow got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// A slot of the buffer.
    Slot,
    /// A receiver, under this pairing.
    Receiver(u64),
    /// Nothing is needed: the channel is unbounded.
    Unbounded,
    Closed,
    Full,
}

impl<T> Hchan<T> {
    /// Keeps the promise of a value: `src` is what the chosen select's expression gave. `None` if the paired receiver
    /// is gone (its future was dropped): then the value is to be sent anew.
    ///
    /// # Safety
    /// `src` holds a value, moved out of it only when the answer is `Done`. The promise was made by this channel and
    /// is used up.
    pub(crate) unsafe fn keep_promise(&self, promise: Promise, src: *const T) -> Option<Sent> {
        let mut after = After::nothing();
        let mut locked = self.lock();
        // SAFETY: under the lock; a paired receiver is ours to finish, and its slot takes one value.
        let sent = unsafe {
            match promise {
                Promise::Receiver(pairing) => {
                    locked.state().matched.take_pairing(pairing).map(|node| {
                        ptr::copy_nonoverlapping(src, (*node).slot.cast(), 1);
                        after.wake = Node::finish(node, Outcome::Passed);
                        Sent::Done
                    })
                }
                Promise::Slot => {
                    locked.state().spoken -= 1;
                    Some(locked.send(src, &mut after))
                }
                Promise::Unbounded => None,
                Promise::Closed | Promise::Full => Some(Sent::Closed),
            }
        };
        drop(locked);
        after.run(self);
        sent
    }

    /// A task that was chosen is at work on the value: from now on its receiver waits for it. False if that has gone.
    #[cold]
    pub(crate) fn commit(&self, pairing: u64) -> bool {
        let mut locked = self.lock();
        // SAFETY: under the lock; nodes in the queue are alive.
        unsafe {
            let node = locked.state().matched.find_pairing(pairing);
            node.inspect(|&node| (*node).with_task = false).is_some()
        }
    }

    /// Takes a promise back: there will be no value.
    #[cold]
    pub(crate) fn break_promise(&self, promise: Promise) {
        let mut wakes = Wakes::default();
        let mut locked = self.lock();
        // SAFETY: under the lock; the paired receiver was claimed for us, so it is ours to finish or to put back.
        unsafe {
            let state = locked.state();
            match promise {
                Promise::Receiver(pairing) => {
                    if let Some(node) = state.matched.take_pairing(pairing) {
                        if (*node).select || (*node).haste != Haste::Patient {
                            wakes.push(Node::finish(node, Outcome::Retry));
                        } else {
                            (*node).pairing = 0;
                            state.recvq.push_in_turn(node);
                        }
                    }
                }
                Promise::Slot => state.spoken -= 1,
                Promise::Unbounded | Promise::Closed | Promise::Full => return,
            }
        }
        let mut again = true;
        while again {
            // SAFETY: one step of many, each leaves the channel consistent for the next.
            again = unsafe { locked.settle(&mut wakes) };
            if again {
                drop(locked);
                wakes.fire();
                locked = self.lock();
            }
        }
        let watched = locked.state().cold;
        drop(locked);
        wakes.fire();
        if watched {
            wakes.and(|| self.notify_watchers());
        }
        wakes.resume();
    }
}

impl<T> Locked<'_, T> {
    /// Takes the value of the first queued sender, there being none in the buffer.
    ///
    /// # Safety
    /// As [`recv`](Self::recv).
    pub(super) unsafe fn take_from_sender(
        &mut self,
        dst: *mut T,
        partner: *mut Node,
        after: &mut After<T>,
    ) -> Got {
        let deferred = Cell::new(false);
        // SAFETY: under the lock; a dequeued sender is ours to finish, and its slot holds its value.
        unsafe {
            // Who does not wait passes over senders that are tasks: this thread may be the one they need.
            let node = if partner.is_null() {
                // And stops at other selects.
                self.state().sendq.dequeue_if(|node| {
                    if node.deferred && !node.task {
                        deferred.set(true);
                    }
                    !node.deferred && !deferred.get()
                })
            } else if (*partner).haste == Haste::Now {
                let sendq = &mut self.state().sendq;
                sendq.dequeue_if(|node| !node.is_tasks_promise())
            } else {
                self.state().sendq.dequeue()
            };
            match node {
                None if deferred.get() => Got::Deferred,
                None => Got::Empty,
                Some(node) if (*node).deferred => {
                    after.wake = self.pair(node, partner);
                    Got::Paired
                }
                Some(node) => {
                    ptr::copy_nonoverlapping((*node).slot.cast::<T>(), dst, 1);
                    after.wake = Node::finish(node, Outcome::Passed);
                    Got::Received
                }
            }
        }
    }

    /// Pairs a dequeued deferred sender with a receiver.
    ///
    /// # Safety
    /// Both nodes are in no queue, and theirs waiters are ours.
    unsafe fn pair(&mut self, sender: *mut Node, receiver: *mut Node) -> Option<Wake> {
        let pairing = self.draw_ticket();
        // SAFETY: by contract; the receiver stays in `matched` until the sender keeps or breaks its promise.
        unsafe {
            (*receiver).pairing = pairing;
            (*receiver).with_task = (*sender).task;
            (*sender).pairing = pairing;
            self.state().matched.push_back(receiver);
            Node::finish(sender, Outcome::Matched)
        }
    }

    /// Chooses a send whose value is to follow, if a send would not block.
    pub(crate) fn promise(&mut self) -> Promise {
        if self.state().closed {
            return Promise::Closed;
        }
        if self.chan.cap == usize::MAX {
            return Promise::Unbounded;
        }
        if self.room() {
            self.state().spoken += 1;
            return Promise::Slot;
        }
        // SAFETY: under the lock; the receiver stays in `matched` until the promise is kept or broken.
        unsafe {
            let Some(receiver) = self.state().recvq.dequeue() else {
                return Promise::Full;
            };
            let pairing = self.draw_ticket();
            (*receiver).pairing = pairing;
            // Whoever chooses this send is running.
            (*receiver).with_task = false;
            self.state().matched.push_back(receiver);
            Promise::Receiver(pairing)
        }
    }

    /// One step towards the invariants, after something unusual: a withdrawal. True if it did something.
    ///
    /// # Safety
    /// `wakes` has room for two.
    #[cold]
    unsafe fn settle(&mut self, wakes: &mut Wakes) -> bool {
        if wakes.nearly_full() {
            return true;
        }
        let buffered = self.qcount() > 0 || !self.state().stash.is_empty();
        let state = self.state();
        // SAFETY: under the lock; dequeued waiters are ours to finish or to put back, and a receiver's slot takes one
        // value.
        unsafe {
            let queued = !state.closed && state.sendq.any_open(|_| true);
            if !state.recvq.is_empty() && (buffered || queued || state.closed) {
                let Some(receiver) = state.recvq.dequeue() else {
                    return false;
                };
                let mut after = After::nothing();
                let got = self.recv((*receiver).slot.cast(), receiver, &mut after);
                wakes.push(after.wake.take());
                match got {
                    Got::Received => wakes.push(Node::finish(receiver, Outcome::Passed)),
                    Got::Closed => wakes.push(Node::finish(receiver, Outcome::Closed)),
                    Got::Paired => {}
                    Got::Empty | Got::Deferred
                        if (*receiver).select || (*receiver).haste == Haste::Now =>
                    {
                        wakes.push(Node::finish(receiver, Outcome::Retry));
                    }
                    Got::Empty | Got::Deferred => {
                        self.state().recvq.push_in_turn(receiver);
                        return false;
                    }
                }
                drop(after.freed);
                return true;
            }
            if queued && self.room() {
                let mut wake = None;
                self.admit(&mut wake);
                wakes.push(wake);
                return true;
            }
        }
        false
    }
}
