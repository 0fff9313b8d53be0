//! The steps of a channel whose lock is held: `chansend` and `chanrecv` of Go's `runtime/chan.go` (1.27; R13, R16).

use super::{After, Buf, Dir, Got, Hchan, READABLE, Sent, State, WRITABLE, fire_received};
use crate::list::Block;
use crate::sync::Ordering;
use crate::waitq::{Node, Outcome, Wake, fire_at};
use std::ptr;

/// The channel with its lock held; released on drop, after the hint was brought up to date.
#[derive(Debug)]
pub(crate) struct Locked<'a, T> {
    pub(super) chan: &'a Hchan<T>,
}

impl<T> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.refresh_hint();
        self.chan.lock.unlock();
    }
}

/// What a send or a receive finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The value can go into the buffer, and leaves room for one more, or it can come out of it; and nobody waits for
    /// that: [`Locked::pass`].
    Pass,
    /// The other side stands in line, and nobody else is to be told: [`Locked::meet`] may do.
    Meet,
    /// There is nothing to be had, and nobody to be told: [`Locked::stand_in_line`].
    Wait,
    /// What is left: [`Locked::send`] and [`Locked::recv`] know it all.
    Other,
}

impl Turn {
    #[inline(always)]
    fn of(passes: bool, waits: bool) -> Self {
        match (passes, waits) {
            (true, _) => Self::Pass,
            (_, true) => Self::Wait,
            _ => Self::Other,
        }
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
        if qcount > 0 || !state.sendq.is_empty() || !state.stash.is_empty() {
            hint |= READABLE;
        }
        if has_room(qcount, state.spoken, state.buf.cap()) || !state.recvq.is_empty() {
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
        self.chan.state.with_mut(|state| unsafe { &mut *state })
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
        let (qcount, state) = (self.qcount(), self.state());
        has_room(qcount, state.spoken, state.buf.cap())
    }

    /// What a send or a receive has to do.
    ///
    /// While a value is buffered no receiver waits, and while there is room no sender does: then the queue need not be
    /// looked at, which lies in another cache line.
    #[inline(always)]
    pub(crate) fn turn(&mut self, dir: Dir) -> Turn {
        let qcount = self.qcount();
        let state = self.state();
        if state.closed | state.cold {
            return Turn::Other;
        }
        match dir {
            Dir::Send => {
                if qcount == 0 && !state.recvq.is_empty() {
                    return Turn::Meet;
                }
                let (passes, waits) = match &state.buf {
                    Buf::Ring(ring) => {
                        let full = qcount + state.spoken as usize;
                        (full + 1 < ring.cap(), full >= ring.cap())
                    }
                    Buf::List(list) => (!list.needs_block(), false),
                };
                Turn::of(passes, waits)
            }
            Dir::Recv => {
                if qcount == 0 {
                    return if state.sendq.is_empty() {
                        Turn::Wait
                    } else {
                        Turn::Meet
                    };
                }
                let passes = state.spoken == 0
                    && match &state.buf {
                        Buf::Ring(ring) => qcount < ring.cap() || state.sendq.is_empty(),
                        Buf::List(list) => list.pops_plainly(),
                    };
                Turn::of(passes, false)
            }
        }
    }

    /// A send into the buffer, or a receive from it, and the unlock.
    ///
    /// # Safety
    /// It is its [turn](Turn::Pass). `value` holds a value, which is moved out of it (send); or it may be written, and is
    /// (receive).
    #[inline(always)]
    pub(crate) unsafe fn pass(mut self, dir: Dir, value: *mut T) {
        let qcount = self.qcount();
        // SAFETY: under the lock; there is room for this one and for one more, or there is a value.
        unsafe {
            match (dir, &mut self.state().buf) {
                (Dir::Send, Buf::Ring(ring)) => ring.push(value),
                (Dir::Send, Buf::List(list)) => list.push(value),
                (Dir::Recv, Buf::Ring(ring)) => ring.pop(value),
                (Dir::Recv, Buf::List(list)) => list.pop_plain(value),
            }
        }
        match dir {
            Dir::Send => {
                self.set_qcount(qcount + 1);
                self.unlock_with(READABLE | WRITABLE);
            }
            Dir::Recv => {
                self.set_qcount(qcount - 1);
                self.unlock_with(WRITABLE | if qcount > 1 { READABLE } else { 0 });
            }
        }
    }

    /// A send or a receive from hand to hand, with the first in line of the other side, and the unlock and the wake.
    /// Gives the guard back if the first is a select that is no longer to be had, or that has its value later.
    ///
    /// # Safety
    /// It is its [turn](Turn::Meet). `value` holds a value, which is moved out of it (send); or it may be written, and is
    /// (receive).
    #[inline(always)]
    pub(crate) unsafe fn meet(mut self, dir: Dir, value: *mut T) -> Result<(), Self> {
        let state = self.state();
        let queue = match dir {
            Dir::Send => &mut state.recvq,
            Dir::Recv => &mut state.sendq,
        };
        // SAFETY: under the lock. The first node is won, so it is ours to finish, and its slot takes a value or holds
        // one.
        let wake = unsafe {
            if !queue.win_first() {
                return Err(self);
            }
            let partner = queue.dequeue_first();
            let slot = (*partner).slot.cast::<T>();
            match dir {
                Dir::Send => ptr::copy_nonoverlapping(value, slot, 1),
                Dir::Recv => ptr::copy_nonoverlapping(slot, value, 1),
            }
            Node::finish(partner, Outcome::Passed)
        };
        let readable = !state.sendq.is_empty();
        let writable = !state.recvq.is_empty() || has_room(0, state.spoken, state.buf.cap());
        let chan = self.chan;
        self.unlock_with(u8::from(readable) * READABLE + u8::from(writable) * WRITABLE);
        match dir {
            Dir::Send => fire_at(wake, chan),
            // SAFETY: the value was just received.
            Dir::Recv => unsafe { fire_received(wake, chan, value) },
        }
        Ok(())
    }

    /// Puts a waiter that came now at the end of the line, and unlocks. It is its [turn](Turn::Wait).
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

    pub(crate) fn closed(&mut self) -> bool {
        self.state().closed
    }

    /// A receive would not block now, or for no longer than until a task that sends is polled, if `tasks` are good enough.
    pub(crate) fn readable(&mut self, tasks: bool) -> bool {
        let qcount = self.qcount();
        let state = self.state();
        if qcount > 0 || state.closed || !state.stash.is_empty() {
            return true;
        }
        // SAFETY: under the lock.
        unsafe {
            state
                .sendq
                .any_open(|node| tasks || !node.is_tasks_promise())
        }
    }

    /// A send would not block now.
    pub(crate) fn writable(&mut self) -> bool {
        // SAFETY: under the lock.
        self.room() || self.closed() || unsafe { self.state().recvq.any_open(|_| true) }
    }

    pub(crate) fn give_block(&mut self, block: Box<Block<T>>) -> Option<Box<Block<T>>> {
        match &mut self.state().buf {
            Buf::List(list) => list.give(block),
            Buf::Ring(_) => Some(block),
        }
    }

    /// The block that was given, if it was not needed and is not to be kept.
    pub(crate) fn take_surplus(&mut self) -> Option<Box<Block<T>>> {
        match &mut self.state().buf {
            Buf::List(list) => list.take_surplus(),
            Buf::Ring(_) => None,
        }
    }

    /// Sends if that needs no waiting (R13): closed, then a waiting receiver, then the buffer.
    ///
    /// # Safety
    /// `src` holds a value, moved out of it only when the answer is `Done`.
    #[inline]
    pub(crate) unsafe fn send(&mut self, src: *const T, after: &mut After<T>) -> Sent {
        let qcount = self.qcount();
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
            if !has_room(qcount, state.spoken, state.buf.cap()) {
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
            // Who still stands in line at a closed channel is about to be refused.
            if !self.state().closed && !self.state().sendq.is_empty() {
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
        if state.cold && !state.stash.is_empty() {
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
        if self.state().sendq.is_empty() || self.state().closed || !self.room() {
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
    #[inline]
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

    /// Adds what a newly queued waiter means for others to the hint, which was right before.
    #[inline]
    pub(super) fn hint_at(&mut self, queued: Dir) {
        let more = match queued {
            Dir::Send => READABLE,
            Dir::Recv => WRITABLE,
        };
        let hint = self.chan.hint.load(Ordering::Relaxed);
        self.chan.hint.store(hint | more, Ordering::Release);
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
