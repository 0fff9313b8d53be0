//! The steps of a channel whose lock is held: `chansend` and `chanrecv` of Go's `runtime/chan.go` (1.27; R13, R16).

use super::{After, Buf, Dir, Got, Hchan, READABLE, Sent, State, WRITABLE};
use crate::list::Block;
use crate::sync::Ordering;
use crate::waitq::{Node, Outcome, Wake};
use std::ptr;

/// The channel with its lock held; released on drop, after the hint was brought up to date.
#[derive(Debug)]
pub(crate) struct Locked<'a, T> {
    pub(super) chan: &'a Hchan<T>,
    pub(super) state: *mut State<T>,
}

impl<T> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.refresh_hint();
        self.chan.lock.unlock();
    }
}

#[inline(always)]
fn has_room(qcount: usize, spoken: u32, cap: usize) -> bool {
    qcount + (spoken as usize) < cap
}

impl<'a, T> Locked<'a, T> {
    #[inline(always)]
    pub(crate) fn chan(&self) -> &'a Hchan<T> {
        self.chan
    }
}

impl<T> Locked<'_, T> {
    /// Brings the hint up to date. To be called before the unlock, after whatever changed the state.
    #[inline]
    pub(super) fn refresh_hint(&mut self) {
        let (chan, qcount) = (self.chan, self.qcount());
        let state = self.state();
        let mut hint = 0;
        if qcount > 0 || !state.sendq.is_empty() || state.stash.is_some() {
            hint |= READABLE;
        }
        if has_room(qcount, state.spoken, chan.cap) || !state.recvq.is_empty() {
            hint |= WRITABLE;
        }
        if state.closed {
            hint = READABLE | WRITABLE;
        }
        if hint != chan.hint.load(Ordering::Relaxed) {
            chan.hint.store(hint, Ordering::Release);
        }
    }

    #[inline(always)]
    pub(super) fn state(&mut self) -> &mut State<T> {
        // SAFETY: the lock is held as long as this guard lives, and the guard is borrowed.
        unsafe { &mut *self.state }
    }

    #[inline(always)]
    pub(super) fn qcount(&self) -> usize {
        self.chan.qcount.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn set_qcount(&self, n: usize) {
        self.chan.qcount.store(n, Ordering::Release);
    }

    #[inline(always)]
    pub(super) fn room(&mut self) -> bool {
        has_room(self.qcount(), self.state().spoken, self.chan.cap)
    }

    /// A send into a buffer that has room for one more after it, and that nobody waits for, and the unlock; the guard
    /// comes back if it is not that. While a value is buffered nobody waits: then the queue need not be looked at, which
    /// lies in another cache line.
    ///
    /// # Safety
    /// `src` holds a value, moved out of it only if the answer is `None`.
    #[inline(always)]
    pub(crate) unsafe fn send_plain(mut self, src: *const T) -> Option<Self> {
        let qcount = self.qcount();
        let state = self.state();
        let plain = !(state.closed | state.cold) && (qcount > 0 || state.recvq.is_empty());
        match &mut state.buf {
            Buf::Ring(ring) if plain && has_room(qcount + 1, state.spoken, ring.cap()) => {
                // SAFETY: under the lock; there is room for this one and for one more.
                unsafe { ring.push(src) }
            }
            // SAFETY: as above, and the list needs no block.
            Buf::List(list) if plain && !list.needs_block() => unsafe { list.push(src) },
            _ => return Some(self),
        }
        self.set_qcount(qcount + 1);
        self.unlock_with(READABLE | WRITABLE);
        None
    }

    /// A receive from a buffer that holds something and that no sender waits at, and the unlock; the guard comes
    /// back if it is not that. While there is room no sender waits, as above.
    ///
    /// # Safety
    /// `dst` may be written, and is if the answer is `None`.
    #[inline(always)]
    pub(crate) unsafe fn recv_plain(mut self, dst: *mut T) -> Option<Self> {
        let qcount = self.qcount();
        let state = self.state();
        let plain = !(state.closed | state.cold) && state.spoken == 0;
        if !plain || qcount == 0 {
            return Some(self);
        }
        // SAFETY: under the lock; `qcount` values are buffered.
        let popped = unsafe {
            match &mut state.buf {
                Buf::Ring(ring) if qcount < ring.cap() || state.sendq.is_empty() => {
                    ring.pop(dst);
                    true
                }
                Buf::Ring(_) => false,
                Buf::List(list) => list.pop_plain(dst),
            }
        };
        if !popped {
            return Some(self);
        }
        self.set_qcount(qcount - 1);
        self.unlock_with(WRITABLE | if qcount > 1 { READABLE } else { 0 });
        None
    }

    /// From hand to hand, and the unlock: a send to the first receiver in line, or a receive from the first sender
    /// with nothing buffered before it. The guard comes back if it is not that, or if the partner is a select, which
    /// must be won first.
    ///
    /// # Safety
    /// `value` holds a value, moved out of it if the answer is `Ok` (send); or it may be written, and then is (receive).
    #[inline(always)]
    pub(crate) unsafe fn meet(mut self, dir: Dir, value: *mut T) -> Result<Option<Wake>, Self> {
        let (qcount, cap) = (self.qcount(), self.chan.cap);
        let state = self.state();
        let queue = match dir {
            Dir::Send => &mut state.recvq,
            Dir::Recv => &mut state.sendq,
        };
        if (state.closed | state.cold) || qcount > 0 {
            return Err(self);
        }
        // SAFETY: under the lock. A plain node that was unlinked is ours to finish, and its slot takes a value or holds
        // one.
        let wake = unsafe {
            let Some(partner) = queue.dequeue_plain() else {
                return Err(self);
            };
            let slot = (*partner).slot.cast::<T>();
            match dir {
                Dir::Send => ptr::copy_nonoverlapping(value, slot, 1),
                Dir::Recv => ptr::copy_nonoverlapping(slot, value, 1),
            }
            Node::finish(partner, Outcome::Passed)
        };
        let readable = !state.sendq.is_empty();
        let writable = !state.recvq.is_empty() || has_room(0, state.spoken, cap);
        self.unlock_with(u8::from(readable) * READABLE + u8::from(writable) * WRITABLE);
        Ok(wake)
    }

    /// Puts a waiter that came now at the end of the line, and unlocks. It [must wait](Self::must_wait).
    ///
    /// # Safety
    /// As [`enqueue`](Self::enqueue).
    #[inline(always)]
    pub(crate) unsafe fn stand_in_line(mut self, node: *mut Node, dir: Dir) {
        let ticket = self.draw_ticket();
        let state = self.state();
        // SAFETY: by contract.
        unsafe {
            (*node).ticket = ticket;
            match dir {
                Dir::Send => state.sendq.push_back(node),
                Dir::Recv => state.recvq.push_back(node),
            }
        }
        self.unlock_with(match dir {
            Dir::Send => READABLE,
            Dir::Recv => WRITABLE,
        });
    }

    /// Releases the lock with a hint that the caller knows to be right.
    #[inline(always)]
    fn unlock_with(self, hint: u8) {
        let chan = self.chan;
        std::mem::forget(self);
        // The line is ours already, so a store costs less than a look whether it is needed.
        chan.hint.store(hint, Ordering::Release);
        chan.lock.unlock();
    }

    /// There is nothing for a receive, or a send, and nobody else to be told about it: it can only stand in line.
    #[inline]
    pub(crate) fn must_wait(&mut self, dir: Dir) -> bool {
        let (qcount, cap) = (self.qcount(), self.chan.cap);
        let state = self.state();
        let dull = !state.closed && !state.cold;
        dull && match dir {
            Dir::Recv => qcount == 0 && state.sendq.is_empty(),
            Dir::Send => state.recvq.is_empty() && !has_room(qcount, state.spoken, cap),
        }
    }

    pub(crate) fn closed(&mut self) -> bool {
        self.state().closed
    }

    /// A receive would not block now.
    pub(crate) fn readable(&mut self) -> bool {
        let qcount = self.qcount();
        let state = self.state();
        // SAFETY: under the lock.
        qcount > 0 || state.closed || state.stash.is_some() || unsafe { state.sendq.any_open() }
    }

    /// A send would not block now.
    pub(crate) fn writable(&mut self) -> bool {
        // SAFETY: under the lock.
        self.room() || self.closed() || unsafe { self.state().recvq.any_open() }
    }

    pub(crate) fn give_block(&mut self, block: Box<Block<T>>) -> Option<Box<Block<T>>> {
        match &mut self.state().buf {
            Buf::List(list) => list.give(block),
            Buf::Ring(_) => Some(block),
        }
    }

    /// Sends if that needs no waiting (R13): closed, then a waiting receiver, then the buffer.
    ///
    /// # Safety
    /// `src` holds a value, moved out of it only when the answer is `Done`.
    #[inline]
    pub(crate) unsafe fn send(&mut self, src: *const T, after: &mut After<T>) -> Sent {
        let qcount = self.qcount();
        let cap = self.chan.cap;
        let state = self.state();
        if state.closed {
            return Sent::Closed;
        }
        after.watched = state.cold;
        // SAFETY: under the lock. A dequeued receiver waits for a value in its slot, and is ours to finish. A push has
        // room: fewer than `cap` slots are full or spoken for.
        unsafe {
            if let Some(node) = state.recvq.dequeue() {
                ptr::copy_nonoverlapping(src, (*node).slot.cast(), 1);
                after.wake = Node::finish(node, Outcome::Passed);
                return Sent::Done;
            }
            if !has_room(qcount, state.spoken, cap) {
                return Sent::Full;
            }
            match &mut state.buf {
                Buf::Ring(ring) => ring.push(src),
                Buf::List(list) if list.needs_block() => return Sent::NeedBlock,
                Buf::List(list) => list.push(src),
            }
        }
        self.set_qcount(qcount + 1);
        Sent::Done
    }

    /// Receives if that needs no waiting: what was put back, then the buffer, then a waiting sender, then closed.
    /// `partner` is the receiver's node, to be paired with a sender whose value is to come; it may be null.
    ///
    /// # Safety
    /// `dst` may be written, and is when the answer is `Received`. `partner` is null or an unqueued node in place.
    #[inline]
    pub(crate) unsafe fn recv(
        &mut self,
        dst: *mut T,
        partner: *mut Node,
        after: &mut After<T>,
    ) -> Got {
        after.watched = self.state().cold;
        // SAFETY: passed on.
        unsafe {
            if self.pop(dst, after) {
                self.admit(&mut after.wake);
                return Got::Received;
            }
            if !self.state().sendq.is_empty() {
                match self.take_from_sender(dst, partner, after) {
                    Got::Empty => {}
                    got => return got,
                }
            }
        }
        if self.state().closed {
            Got::Closed
        } else {
            Got::Empty
        }
    }

    /// Moves the oldest value that the channel holds itself to `dst`.
    ///
    /// # Safety
    /// `dst` may be written.
    #[inline(always)]
    unsafe fn pop(&mut self, dst: *mut T, after: &mut After<T>) -> bool {
        let qcount = self.qcount();
        let state = self.state();
        if state.cold && state.stash.is_some() {
            // SAFETY: passed on.
            return unsafe { self.unstash(dst) };
        }
        if qcount == 0 {
            return false;
        }
        // SAFETY: `qcount` values are buffered.
        unsafe {
            match &mut state.buf {
                Buf::Ring(ring) => ring.pop(dst),
                Buf::List(list) => after.freed = list.pop(dst),
            }
        }
        self.set_qcount(qcount - 1);
        true
    }

    /// Lets the first queued sender in, after room was made.
    #[inline]
    pub(super) fn admit(&mut self, wake: &mut Option<Wake>) {
        if self.state().sendq.is_empty() || !self.room() {
            return;
        }
        // SAFETY: under the lock; a dequeued sender is ours to finish. There is room for one value. Only bounded
        // channels have queued senders.
        unsafe {
            let qcount = self.qcount();
            let state = self.state();
            let Some(node) = state.sendq.dequeue() else {
                return;
            };
            if (*node).deferred {
                state.spoken += 1;
                *wake = Node::finish(node, Outcome::Reserved);
                return;
            }
            match &mut state.buf {
                Buf::Ring(ring) => ring.push((*node).slot.cast::<T>()),
                Buf::List(_) => unreachable!("a sender waits on an unbounded channel"),
            }
            *wake = Node::finish(node, Outcome::Passed);
            self.set_qcount(qcount + 1);
        }
    }

    #[inline]
    pub(super) fn draw_ticket(&mut self) -> u64 {
        let state = self.state();
        state.tickets += 1;
        state.tickets
    }

    /// Queues a waiter, which found that it has to wait, under the same lock. True if watchers are to be told.
    ///
    /// # Safety
    /// The node is in no queue and stays in place until it was unlinked, or its waiter was finished through it.
    pub(crate) unsafe fn enqueue(&mut self, node: *mut Node, dir: Dir) -> bool {
        // SAFETY: by contract.
        unsafe {
            if (*node).ticket == 0 {
                (*node).ticket = self.draw_ticket();
            }
            let state = self.state();
            match dir {
                Dir::Send => state.sendq.push_in_turn(node),
                Dir::Recv => state.recvq.push_in_turn(node),
            }
            state.cold
        }
    }

    /// Takes a node out of whatever queue of this channel it stands in. True if it stood in one.
    ///
    /// # Safety
    /// The node is this channel's or in no queue.
    pub(crate) unsafe fn unlink(&mut self, node: *mut Node) -> bool {
        // SAFETY: by contract, under the lock.
        let unlinked = unsafe { Node::unlink(node) };
        if unlinked && self.state().cold {
            self.refresh_cold();
        }
        unlinked
    }
}
