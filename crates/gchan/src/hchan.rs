//! A channel: the states it can be in and the steps between them, all taken under its lock.
//!
//! Re-creates `hchan`, `makechan`, `chansend`, `chanrecv` and `closechan` of Go's `runtime/chan.go` (1.27).
//!
//! # Invariants, whenever the lock is free
//! - At least one of `sendq` and `recvq` has no waiter that is still to be had, except that one select may stand in
//!   both with its own cases.
//! - A receiver is queued only while there is nothing to receive: no value buffered or put back, no sender queued.
//! - A sender is queued only while there is no room: `qcount + spoken >= cap`.
//! - `qcount <= cap`, and `hint` describes the state (it is stored before the unlock).
//! - A queued receiver gets its value from the sender directly; a receiver that takes a buffered value admits the
//!   first queued sender at once. So the order is FIFO, and nobody who comes later overtakes a waiter (R9, R13, R16).
//!
//! # A send whose value comes later (R16)
//! A Rust select evaluates its send expression after that case was chosen. If the buffer has room the chosen send gets
//! a slot *spoken for* (`spoken`), a count and not a place: the value takes its place in the order when it exists, so
//! there are no holes in the ring, and a withdrawal (the expression panicked) is a decrement. If there is no room but a
//! receiver waits, the two are paired: the receiver moves to `matched`, committed, and the value goes straight to it. A
//! withdrawal puts it back in its turn, which its ticket remembers.
//! Rejected: reserving the place itself, with pending slots in the ring. Every receive would look at slot states, a
//! pending head would block values that are already there, and a withdrawal would have to shift the ring.
//!
//! # Values that come back
//! A value handed to a receive future that is then dropped unpolled goes to the next receiver, or to the `stash`,
//! which is received from before the buffer, ordered by the tickets under which its values were first received.
//!
//! # Memory order
//! All is under the lock, but for `hint` and `qcount`, which are read without it (R12). They are written before the
//! unlock, so whoever synchronised with an operation sees a state at least as new: an operation that returns from the
//! fast path linearises at its load.

use crate::list::{Block, List};
use crate::lock::RawLock;
use crate::ring::Ring;
use crate::sync::{AtomicU8, AtomicUsize, Ordering, UnsafeCell};
use crate::waitq::{Node, Outcome, WaitQ, Wake, Wakes};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;

/// A receive would find something: a value, a sender, or the channel closed.
const READABLE: u8 = 1;
/// A send would find something: room, a receiver, or the channel closed.
const WRITABLE: u8 = 2;

#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Hchan<T> {
    lock: RawLock,
    /// `READABLE`, `WRITABLE`. Written under the lock.
    hint: AtomicU8,
    /// Values in `buf`. Written under the lock.
    qcount: AtomicUsize,
    /// Constant; `usize::MAX` for an unbounded channel.
    cap: usize,
    /// Guarded by the lock.
    state: UnsafeCell<State<T>>,
    /// Constant. Loom replays schedules, so the lock order must not depend on where the allocator put a channel.
    #[cfg(loom)]
    id: usize,
}

/// In the order of use, so that a plain send or receive touches the first two cache lines only.
#[derive(Debug)]
#[repr(C)]
struct State<T> {
    closed: bool,
    /// Something rare is to be looked at: watchers, or values in the stash.
    cold: bool,
    /// Slots promised to sends whose value is to come, plus values in the stash.
    spoken: usize,
    recvq: WaitQ,
    sendq: WaitQ,
    buf: Buf<T>,
    /// The last ticket drawn, and the last pairing.
    tickets: u64,
    /// Receivers paired with a send whose value is to come.
    matched: WaitQ,
    /// Selects that wait for the channel to become readable, or writable, without taking part.
    watch_recv: WaitQ,
    watch_send: WaitQ,
    /// Values that came back, oldest first.
    stash: Option<Box<Stashed<T>>>,
}

#[derive(Debug)]
enum Buf<T> {
    Ring(Ring<T>),
    List(List<T>),
}

/// A value that came back, and the ticket it was received under.
#[derive(Debug)]
pub(crate) struct Stashed<T> {
    value: MaybeUninit<T>,
    ticket: u64,
    next: Option<Box<Stashed<T>>>,
}

// SAFETY: values are moved in and out under the lock and never shared; nodes are reached under the lock alone.
unsafe impl<T: Send> Send for Hchan<T> {}
// SAFETY: as for `Send`. `T: Sync` is not needed: no `&T` is ever made.
unsafe impl<T: Send> Sync for Hchan<T> {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The value was moved out.
    Done,
    /// It was not: no room and no receiver.
    Full,
    /// It was not: the channel is closed.
    Closed,
    /// It was not: hand in a block and come back.
    NeedBlock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// The value was moved to its destination.
    Received,
    Empty,
    Closed,
    /// The first sender is a select whose value comes after it is chosen, and no node was given to pair with it.
    Deferred,
    /// The node given is paired with such a sender: it will be finished.
    Paired,
}

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

/// What the direction of a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dir {
    Send,
    Recv,
}

/// What to do after the unlock: whom to wake, what to free.
#[derive(Debug)]
pub(crate) struct After<T> {
    pub(crate) wake: Option<Wake>,
    pub(crate) freed: Option<Box<Block<T>>>,
    pub(crate) watched: bool,
}

impl<T> After<T> {
    #[inline]
    pub(crate) fn nothing() -> Self {
        Self {
            wake: None,
            freed: None,
            watched: false,
        }
    }

    /// Does it. Not under a lock.
    #[inline]
    pub(crate) fn run(self, chan: &Hchan<T>) {
        if let Some(wake) = self.wake {
            wake.fire();
        }
        drop(self.freed);
        if self.watched {
            chan.notify_watchers();
        }
    }
}

impl<T> Hchan<T> {
    /// `None` makes it unbounded.
    pub(crate) fn new(cap: Option<usize>) -> Self {
        let buf = match cap {
            Some(cap) => Buf::Ring(Ring::new(cap)),
            None => Buf::List(List::new()),
        };
        Self {
            lock: RawLock::new(),
            hint: AtomicU8::new(if cap == Some(0) { 0 } else { WRITABLE }),
            qcount: AtomicUsize::new(0),
            cap: cap.unwrap_or(usize::MAX),
            state: UnsafeCell::new(State {
                buf,
                recvq: WaitQ::new(),
                sendq: WaitQ::new(),
                closed: false,
                cold: false,
                spoken: 0,
                tickets: 0,
                matched: WaitQ::new(),
                watch_recv: WaitQ::new(),
                watch_send: WaitQ::new(),
                stash: None,
            }),
            #[cfg(loom)]
            id: {
                static LAST: std::sync::atomic::AtomicUsize =
                    std::sync::atomic::AtomicUsize::new(0);
                LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1
            },
        }
    }

    /// Orders the channel's lock among others; not 0.
    pub(crate) fn key(&self) -> usize {
        #[cfg(not(loom))]
        return ptr::from_ref(self).addr();
        #[cfg(loom)]
        self.id
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.qcount.load(Ordering::Acquire)
    }

    pub(crate) fn cap(&self) -> Option<usize> {
        (self.cap != usize::MAX).then_some(self.cap)
    }

    /// Whether a receive may find something; if not, it would have blocked at this moment (R12).
    #[inline]
    pub(crate) fn maybe_readable(&self) -> bool {
        self.hint.load(Ordering::Acquire) & READABLE != 0
    }

    /// Whether a send may find something; if not, it would have blocked at this moment (R12).
    #[inline]
    pub(crate) fn maybe_writable(&self) -> bool {
        self.hint.load(Ordering::Acquire) & WRITABLE != 0
    }

    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        self.lock.lock();
        // SAFETY: the lock was just taken.
        unsafe { self.assume_locked() }
    }

    /// Takes the lock without a guard; for select, which holds many.
    pub(crate) fn lock_raw(&self) {
        self.lock.lock();
    }

    /// The guard of a lock that is held already; releases it when dropped.
    ///
    /// # Safety
    /// The caller holds the lock, and no other guard of it is used.
    #[inline]
    pub(crate) unsafe fn assume_locked(&self) -> Locked<'_, T> {
        Locked {
            chan: self,
            state: self.state.with_mut(|state| state),
        }
    }

    /// Moves up to `limit` values to `dst`, in order, under one turn of the lock unless queued senders are let in, who
    /// must be woken outside it. Returns how many.
    pub(crate) fn recv_many(&self, dst: &mut [MaybeUninit<T>], limit: usize) -> usize {
        let mut taken = 0;
        let mut go_on = true;
        while go_on {
            let mut after = After::nothing();
            let mut locked = self.lock();
            for slot in dst.iter_mut().take(limit).skip(taken) {
                // SAFETY: the slot may be written; no node is given to pair.
                let got = unsafe { locked.recv(slot.as_mut_ptr(), ptr::null_mut(), &mut after) };
                go_on = got == Got::Received;
                if !go_on {
                    break;
                }
                taken += 1;
                if after.wake.is_some() || after.freed.is_some() {
                    break;
                }
            }
            drop(locked);
            after.run(self);
            go_on &= taken < limit.min(dst.len());
        }
        taken
    }

    /// Closes the channel and ends all waits on it. False if it was closed already.
    pub(crate) fn close(&self) -> bool {
        let mut first = true;
        loop {
            let mut wakes = Wakes::default();
            let mut locked = self.lock();
            let state = locked.state();
            if first && state.closed {
                return false;
            }
            first = false;
            state.closed = true;
            // SAFETY: under the lock; a dequeued node's waiter is ours to finish.
            unsafe {
                while !wakes.is_full() {
                    let Some(node) = state.recvq.dequeue().or_else(|| state.sendq.dequeue()) else {
                        break;
                    };
                    wakes.push(Node::finish(node, Outcome::Closed));
                }
            }
            let more = wakes.is_full();
            let watched = state.cold;
            drop(locked);
            wakes.fire();
            if !more {
                if watched {
                    self.notify_watchers();
                }
                return true;
            }
        }
    }

    /// Drops all that is buffered; values are dropped outside the lock, one by one. If a value's drop panics, those
    /// behind it are leaked, as crossbeam does: a second panic while the first unwinds would abort the program.
    pub(crate) fn discard(&self) {
        struct LeakRest<'a, T>(&'a Hchan<T>);
        impl<T> Drop for LeakRest<'_, T> {
            fn drop(&mut self) {
                self.0.drain(std::mem::forget);
            }
        }
        let leak_rest = LeakRest(self);
        self.drain(drop);
        std::mem::forget(leak_rest);
    }

    fn drain(&self, each: impl Fn(T)) {
        loop {
            let mut slot = MaybeUninit::<T>::uninit();
            let mut after = After::nothing();
            // SAFETY: `slot` may be written; no node is given to pair.
            let got = unsafe {
                self.lock()
                    .recv(slot.as_mut_ptr(), ptr::null_mut(), &mut after)
            };
            after.run(self);
            if got != Got::Received {
                return;
            }
            // SAFETY: `Received` says that the slot was written.
            each(unsafe { slot.assume_init() });
        }
    }

    /// Wakes the watching selects for which the channel looks ready.
    #[cold]
    pub(crate) fn notify_watchers(&self) {
        loop {
            let mut wakes = Wakes::default();
            let mut locked = self.lock();
            // SAFETY: under the lock; a dequeued node's waiter is ours to finish.
            unsafe {
                let (readable, writable) = (locked.readable(), locked.writable());
                let state = locked.state();
                while !wakes.is_full() {
                    let mut node = None;
                    if readable {
                        node = state.watch_recv.dequeue();
                    }
                    if node.is_none() && writable {
                        node = state.watch_send.dequeue();
                    }
                    let Some(node) = node else { break };
                    wakes.push(Node::finish(node, Outcome::Notified));
                }
            }
            let more = wakes.is_full();
            locked.refresh_cold();
            drop(locked);
            wakes.fire();
            if !more {
                return;
            }
        }
    }

    /// Gives back a value that was handed to a receiver who did not take it: to the next receiver in the queue, or to
    /// the front of all that is buffered, by the ticket it was received under.
    ///
    /// # Safety
    /// `value` holds a value, which is moved out of it.
    #[cold]
    pub(crate) unsafe fn put_back(&self, value: *const T, ticket: u64) {
        let mut stashed = Some(Box::new(Stashed {
            // SAFETY: the value is moved out of `value`, by contract.
            value: MaybeUninit::new(unsafe { ptr::read(value) }),
            ticket,
            next: None,
        }));
        let mut after = After::nothing();
        let mut locked = self.lock();
        // SAFETY: under the lock; the receiver's slot takes one value, and its waiter is ours to finish.
        unsafe {
            let state = locked.state();
            if let Some(node) = state.recvq.dequeue() {
                if let Some(stashed) = &stashed {
                    ptr::copy_nonoverlapping(stashed.value.as_ptr(), (*node).slot.cast(), 1);
                }
                (*node).ticket = ticket;
                after.wake = Node::finish(node, Outcome::Passed);
            } else {
                let mut place = &mut state.stash;
                while place.as_ref().is_some_and(|s| s.ticket <= ticket) {
                    place = &mut place.as_mut().expect("just seen").next;
                }
                if let Some(mut stashed) = stashed.take() {
                    stashed.next = place.take();
                    *place = Some(stashed);
                }
                state.spoken += 1;
                state.cold = true;
            }
        }
        after.watched = locked.state().cold;
        drop(locked);
        after.run(self);
    }

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
                        if (*node).select {
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
            self.notify_watchers();
        }
    }
}

/// The channel with its lock held; released on drop, after the hint was brought up to date.
#[derive(Debug)]
pub(crate) struct Locked<'a, T> {
    chan: &'a Hchan<T>,
    state: *mut State<T>,
}

impl<T> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let chan = self.chan;
        let state = self.state();
        let qcount = chan.qcount.load(Ordering::Relaxed);
        let (mut hint, mut ready) = (0, 0);
        if qcount > 0 || !state.sendq.is_empty() || state.stash.is_some() {
            hint |= READABLE;
        }
        if has_room(qcount, state.spoken, chan.cap) || !state.recvq.is_empty() {
            hint |= WRITABLE;
        }
        if state.closed {
            ready = READABLE | WRITABLE;
        }
        hint |= ready;
        if hint != chan.hint.load(Ordering::Relaxed) {
            chan.hint.store(hint, Ordering::Release);
        }
        chan.lock.unlock();
    }
}

#[inline(always)]
fn has_room(qcount: usize, spoken: usize, cap: usize) -> bool {
    qcount + spoken < cap
}

impl<T> Locked<'_, T> {
    #[inline(always)]
    fn state(&mut self) -> &mut State<T> {
        // SAFETY: the lock is held as long as this guard lives, and the guard is borrowed.
        unsafe { &mut *self.state }
    }

    #[inline(always)]
    fn qcount(&self) -> usize {
        self.chan.qcount.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn set_qcount(&self, n: usize) {
        self.chan.qcount.store(n, Ordering::Release);
    }

    #[inline(always)]
    fn room(&mut self) -> bool {
        has_room(self.qcount(), self.state().spoken, self.chan.cap)
    }

    /// A send into a buffer with room that nobody waits for, and the unlock; the guard comes back if it is not that.
    ///
    /// # Safety
    /// `src` holds a value, moved out of it only if the answer is `None`.
    #[inline(always)]
    pub(crate) unsafe fn send_plain(mut self, src: *const T) -> Option<Self> {
        let (qcount, cap) = (self.qcount(), self.chan.cap);
        let state = self.state();
        let plain = !state.closed && !state.cold && state.recvq.is_empty();
        let room = has_room(qcount + 1, state.spoken, cap);
        match &mut state.buf {
            // SAFETY: under the lock; there is room for this one and for one more.
            Buf::Ring(ring) if plain && room => unsafe { ring.push(src) },
            // SAFETY: as above, and the list needs no block.
            Buf::List(list) if plain && !list.needs_block() => unsafe { list.push(src) },
            _ => return Some(self),
        }
        self.set_qcount(qcount + 1);
        self.unlock_with(READABLE | WRITABLE);
        None
    }

    /// A receive from a buffer that holds something and that no sender waits at, and the unlock; the guard comes
    /// back if it is not that.
    ///
    /// # Safety
    /// `dst` may be written, and is if the answer is `None`.
    #[inline(always)]
    pub(crate) unsafe fn recv_plain(mut self, dst: *mut T) -> Option<Self> {
        let qcount = self.qcount();
        let state = self.state();
        let plain = !state.closed && !state.cold && state.spoken == 0 && state.sendq.is_empty();
        if !plain || qcount == 0 {
            return Some(self);
        }
        // SAFETY: under the lock; `qcount` values are buffered.
        unsafe {
            match &mut state.buf {
                Buf::Ring(ring) => ring.pop(dst),
                Buf::List(list) => {
                    if !list.pop_plain(dst) {
                        return Some(self);
                    }
                }
            }
        }
        self.set_qcount(qcount - 1);
        self.unlock_with(WRITABLE | if qcount > 1 { READABLE } else { 0 });
        None
    }

    /// Releases the lock with a hint that the caller knows to be right.
    #[inline(always)]
    fn unlock_with(self, hint: u8) {
        let chan = self.chan;
        std::mem::forget(self);
        if hint != chan.hint.load(Ordering::Relaxed) {
            chan.hint.store(hint, Ordering::Release);
        }
        chan.lock.unlock();
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

    fn refresh_cold(&mut self) {
        let state = self.state();
        state.cold =
            state.stash.is_some() || !state.watch_recv.is_empty() || !state.watch_send.is_empty();
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

    #[cold]
    unsafe fn unstash(&mut self, dst: *mut T) -> bool {
        let state = self.state();
        let Some(stashed) = state.stash.take() else {
            return false;
        };
        // The box is freed here, under the lock: the path is rare, and it is the stash's own box.
        let Stashed { value, next, .. } = *stashed;
        state.stash = next;
        state.spoken -= 1;
        // SAFETY: a stashed value is whole, and `dst` may be written.
        unsafe { ptr::copy_nonoverlapping(value.as_ptr(), dst, 1) };
        self.refresh_cold();
        true
    }

    /// Lets the first queued sender in, after room was made.
    #[inline]
    fn admit(&mut self, wake: &mut Option<Wake>) {
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

    /// Takes the value of the first queued sender, there being none in the buffer.
    ///
    /// # Safety
    /// As [`recv`](Self::recv).
    unsafe fn take_from_sender(
        &mut self,
        dst: *mut T,
        partner: *mut Node,
        after: &mut After<T>,
    ) -> Got {
        let deferred = Cell::new(false);
        // SAFETY: under the lock; a dequeued sender is ours to finish, and its slot holds its value.
        unsafe {
            let node = if partner.is_null() {
                // Pass over deferred senders that are tasks (this thread may be the one they need), stop at others.
                self.state().sendq.dequeue_if(|node| {
                    if node.deferred && !node.task {
                        deferred.set(true);
                    }
                    !node.deferred && !deferred.get()
                })
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
            (*sender).pairing = pairing;
            self.state().matched.push_back(receiver);
            Node::finish(sender, Outcome::Matched)
        }
    }

    fn draw_ticket(&mut self) -> u64 {
        let state = self.state();
        state.tickets += 1;
        state.tickets
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
            self.state().matched.push_back(receiver);
            Promise::Receiver(pairing)
        }
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

    /// Queues a watcher.
    ///
    /// # Safety
    /// As [`enqueue`](Self::enqueue).
    pub(crate) unsafe fn enqueue_watcher(&mut self, node: *mut Node, dir: Dir) {
        let state = self.state();
        state.cold = true;
        // SAFETY: by contract.
        unsafe {
            match dir {
                Dir::Send => state.watch_send.push_back(node),
                Dir::Recv => state.watch_recv.push_back(node),
            }
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

    /// One step towards the invariants, after something unusual: a withdrawal. True if it did something.
    ///
    /// # Safety
    /// `wakes` has room for two.
    #[cold]
    unsafe fn settle(&mut self, wakes: &mut Wakes) -> bool {
        if wakes.nearly_full() {
            return true;
        }
        let buffered = self.qcount() > 0 || self.state().stash.is_some();
        let state = self.state();
        // SAFETY: under the lock; dequeued waiters are ours to finish or to put back, and a receiver's slot takes one
        // value.
        unsafe {
            let queued = state.sendq.any_open();
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
                    Got::Empty | Got::Deferred if (*receiver).select => {
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

impl<T> Drop for Hchan<T> {
    fn drop(&mut self) {
        if std::mem::needs_drop::<T>() {
            self.discard();
        }
    }
}
