//! A channel: the states it can be in and the steps between them, all taken under its lock.
//!
//! Re-creates `hchan`, `makechan`, `chansend`, `chanrecv` and `closechan` of Go's `runtime/chan.go` (1.27).
//!
//! # Invariants, whenever the lock is free
//! - At least one of `sendq` and `recvq` has no waiter that is still to be had, except that one select may stand in
//!   both with its own cases, and that a receiver which does not wait stands beside tasks that send until it leaves.
//! - A receiver is queued only while there is nothing to receive: no value buffered or put back, no sender queued.
//! - A sender is queued only while there is no room: `qcount + spoken >= cap`.
//! - `qcount <= cap`, and `hint` describes the state (it is stored before the unlock).
//! - A queued receiver gets its value from the sender directly; a receiver that takes a buffered value admits the
//!   first queued sender at once. So the order is FIFO, and nobody who comes later overtakes a waiter (R9, R13, R16).
//!
//! # Files
//! Here the channel and its parts; `locked` has the steps of a send and a receive, `promise` the sends whose value
//! comes later, `stash` values that come back, `close` its end, `watch` those who only look.
//!
//! # Memory order
//! All is under the lock, but for `hint`, `qcount` and `stashed`, which are read without it (R12). They are written before the
//! unlock, so whoever synchronised with an operation sees a state at least as new: an operation that returns from the
//! fast path linearises at its load.

mod close;
mod locked;
mod promise;
mod stash;
mod watch;

pub(crate) use locked::{Locked, Turn};
pub(crate) use promise::Promise;

use crate::list::{Block, List};
use crate::lock::RawLock;
use crate::ring::Ring;
use crate::sync::{AtomicU8, AtomicUsize, Ordering, UnsafeCell};
use crate::waitq::{Node, PutOff, WaitQ, Wake, fire, fire_at};
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
    /// Guarded by the lock.
    state: UnsafeCell<State<T>>,
    /// Constant; `usize::MAX` for an unbounded channel.
    cap: usize,
    /// Values in the stash. Written under the lock.
    stashed: AtomicUsize,
}

/// In the order of use, so that a send or receive of a buffered value touches the channel's first cache line only, if it
/// neither fills nor empties the buffer.
#[derive(Debug)]
#[repr(C)]
struct State<T> {
    closed: bool,
    /// Something rare is to be looked at: watchers, or values in the stash.
    cold: bool,
    /// Slots promised to sends whose value is to come, plus values in the stash: each is somebody's who is in the middle
    /// of a select or of a cancelled receive, so a `u32` holds them.
    spoken: u32,
    buf: Buf<T>,
    recvq: WaitQ,
    sendq: WaitQ,
    /// The last ticket drawn, and the last pairing.
    tickets: u64,
    /// Receivers paired with a send whose value is to come.
    matched: WaitQ,
    /// Selects that wait for the channel to become readable, or writable, without taking part.
    watch_recv: WaitQ,
    watch_send: WaitQ,
    /// Values that came back, oldest first.
    stash: stash::Stash<T>,
}

#[derive(Debug)]
enum Buf<T> {
    Ring(Ring<T>),
    List(List<T>),
}

impl<T> Buf<T> {
    /// As [`Hchan::cap`]'s field, from the line of the channel that whoever holds the lock has at hand.
    #[inline(always)]
    fn cap(&self) -> usize {
        match self {
            Self::Ring(ring) => ring.cap(),
            Self::List(_) => usize::MAX,
        }
    }
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

    /// Does it. Not under a lock. Unwinds if a waker does, once all was done.
    #[inline]
    pub(crate) fn run(self, chan: &Hchan<T>) {
        if self.watched {
            return self.run_watched(chan);
        }
        fire_at(self.wake, chan);
        drop(self.freed);
    }

    #[cold]
    fn run_watched(self, chan: &Hchan<T>) {
        let mut put_off = PutOff::default();
        put_off.catch(|| fire(self.wake));
        drop(self.freed);
        put_off.catch(|| chan.notify_watchers());
        put_off.resume();
    }

    /// As [`run`](Self::run), for who received: if a waker panics, the value goes back to the channel.
    ///
    /// # Safety
    /// `value` holds a value, if anybody is to be woken; it is moved out of it if this unwinds.
    #[inline]
    pub(crate) unsafe fn run_received(self, chan: &Hchan<T>, value: *const T) {
        let give_back = GiveBack { chan, value };
        self.run(chan);
        std::mem::forget(give_back);
    }
}

/// Gives a value back that its receiver cannot be told of, because a waker panicked.
struct GiveBack<'a, T> {
    chan: &'a Hchan<T>,
    /// Holds a value.
    value: *const T,
}

impl<T> Drop for GiveBack<'_, T> {
    #[cold]
    fn drop(&mut self) {
        // A second panic would end the program.
        let mut put_off = PutOff::default();
        // SAFETY: there is a value; it was older than all that came since.
        put_off.catch(|| unsafe { self.chan.put_back(self.value, 0) });
        std::mem::forget(put_off);
    }
}

/// As [`fire`], for who received `value`, which goes back to the channel if the waker panics.
///
/// # Safety
/// `value` holds a value, moved out of it if this unwinds.
#[inline(always)]
unsafe fn fire_received<T>(wake: Option<Wake>, chan: &Hchan<T>, value: *const T) {
    match wake {
        Some(Wake::Waker(_)) => {
            let give_back = GiveBack { chan, value };
            fire_at(wake, chan);
            std::mem::forget(give_back);
        }
        // A handle does not unwind.
        _ => fire_at(wake, chan),
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
            stashed: AtomicUsize::new(0),
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
                stash: stash::Stash::new(),
            }),
        }
    }

    /// Values that the channel holds itself, buffered and come back. More than its capacity, if more came back.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.stashed.load(Ordering::Acquire) + self.qcount.load(Ordering::Acquire)
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

    /// The lock itself, for select, which holds many.
    pub(crate) fn raw_lock(&self) -> &RawLock {
        &self.lock
    }

    /// The guard of a lock that is held already; releases it when dropped.
    ///
    /// # Safety
    /// The caller holds the lock, and no other guard of it is used.
    #[inline]
    pub(crate) unsafe fn assume_locked(&self) -> Locked<'_, T> {
        Locked { chan: self }
    }

    /// Does something under a lock that is held already, and stays so.
    ///
    /// # Safety
    /// The caller holds the lock, and no guard of it is used.
    #[inline]
    pub(crate) unsafe fn under_lock<R>(&self, f: impl FnOnce(&mut Locked<'_, T>) -> R) -> R {
        // SAFETY: passed on.
        let mut locked = std::mem::ManuallyDrop::new(unsafe { self.assume_locked() });
        let result = f(&mut locked);
        locked.refresh_hint();
        result
    }

    /// Queues a waiter under a lock that is held already, and stays so; see [`Locked::enqueue`].
    ///
    /// # Safety
    /// As [`under_lock`](Self::under_lock) and [`Locked::enqueue`].
    #[inline]
    pub(crate) unsafe fn enqueue_under_lock(&self, node: *mut Node, dir: Dir) -> bool {
        // SAFETY: passed on.
        unsafe {
            let mut locked = std::mem::ManuallyDrop::new(self.assume_locked());
            let watched = locked.enqueue(node, dir);
            locked.hint_at(dir);
            watched
        }
    }

    /// Moves up to `limit` values to the end of `dst`, which has room for them, in order, under one turn of the lock
    /// unless queued senders are let in, who must be woken outside it. Returns how many.
    pub(crate) fn recv_many(&self, dst: &mut Vec<T>, limit: usize) -> usize {
        let mut left = limit;
        let mut go_on = true;
        while go_on && left > 0 {
            let mut after = After::nothing();
            let mut locked = self.lock();
            let mut taken = 0;
            for slot in dst.spare_capacity_mut().iter_mut().take(left) {
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
            // Before a waker can unwind.
            // SAFETY: so many of the spare slots were written, from the first on.
            unsafe { dst.set_len(dst.len() + taken) };
            left -= taken;
            after.run(self);
        }
        limit - left
    }
}

impl<T> Drop for Hchan<T> {
    fn drop(&mut self) {
        // The stash's nodes are to be freed in any case.
        if std::mem::needs_drop::<T>() || self.stashed.load(Ordering::Relaxed) > 0 {
            self.discard();
        }
    }
}
