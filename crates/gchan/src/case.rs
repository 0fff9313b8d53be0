//! What a select needs of a channel whose type it does not know: one side of it, as a [`SelectHandle`].
//!
//! A received value travels in a [`Packet`], inline if it is small, in a box of its own otherwise. Only one case of a
//! select wins, so one packet serves them all.

use crate::channel::{Flavor, Receiver, Sender};
use crate::hchan::{After, Dir, Got, Hchan, Promise};
use crate::lock::RawLock;
use crate::now;
use crate::waitq::{Node, PutOff, Wake, fire};
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Instant;

/// Room for values of up to eight words.
const WORDS: usize = 8;

/// Raw room for one value of any small type.
pub(crate) type Packet = [MaybeUninit<usize>; WORDS];

pub(crate) const EMPTY_PACKET: Packet = [MaybeUninit::uninit(); WORDS];

const fn fits<T>() -> bool {
    size_of::<T>() <= size_of::<Packet>() && align_of::<T>() <= align_of::<Packet>()
}

/// What trying a case gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// A value was received into the slot.
    Value,
    /// The channel is closed: a receive finds nothing ever, a send is refused.
    Closed,
    /// A send was chosen; its value is to follow.
    Promise(Promise),
    /// A receive is paired with a send whose value is to follow: wait for it.
    Paired,
    /// It would block.
    Blocks,
    /// It needs a node to be paired (see [`Got::Deferred`]).
    NeedsNode,
}

/// What to do after all locks are released.
#[derive(Debug)]
pub(crate) struct Later {
    pub(crate) wake: Option<Wake>,
    pub(crate) watched: bool,
    freed: Option<Freed>,
}

/// A box and the function that frees it.
type Freed = (*mut (), unsafe fn(*mut ()));

impl Later {
    pub(crate) fn nothing() -> Self {
        Self {
            wake: None,
            watched: false,
            freed: None,
        }
    }

    /// Unwinds if a waker does, once all was done.
    pub(crate) fn run(self, handle: &dyn RawCase) {
        if let Some((block, free)) = self.freed {
            // SAFETY: a box and the function that frees boxes of its type.
            unsafe { free(block) };
        }
        if !self.watched {
            return fire(self.wake);
        }
        let mut put_off = PutOff::default();
        put_off.catch(|| fire(self.wake));
        put_off.catch(|| handle.notify());
        put_off.resume();
    }

    fn take<T>(&mut self, after: After<T>) {
        self.wake = after.wake;
        self.watched |= after.watched;
        self.freed = after.freed.map(|block| {
            let free: unsafe fn(*mut ()) = |block| {
                // SAFETY: it is the box that was let go just below.
                drop(unsafe { Box::from_raw(block.cast::<crate::list::Block<T>>()) });
            };
            (Box::into_raw(block).cast(), free)
        });
    }
}

/// One side of a channel, as a select sees it.
///
/// # Safety
/// Implemented here alone. `lock` is the same for all handles of one channel, and the functions marked `unsafe` do what
/// they say under that lock.
pub(crate) unsafe trait SelectHandle {
    fn raw(&self) -> &dyn RawCase;
}

/// The sealed part of [`SelectHandle`].
///
/// # Safety
/// As there.
pub(crate) unsafe trait RawCase {
    /// The channel's lock; clocks and `never` have none.
    fn lock(&self) -> Option<&RawLock>;
    /// [`lock`](Self::lock) and [`new_slot`](Self::new_slot) at one call.
    fn lock_and_slot(&self, packet: *mut Packet) -> (Option<&RawLock>, *mut ()) {
        (self.lock(), self.new_slot(packet))
    }
    /// Worth trying, as far as can be seen without the lock; under it, if not, it would block.
    fn maybe_ready(&self) -> bool;
    /// Tries the case alone: takes the lock, and does what follows the unlock.
    /// A received value is in the packet, or in a new box if it has no room there.
    /// # Safety
    /// `packet` takes a value, `slot` is null. The caller does not hold the lock.
    unsafe fn attempt_alone(&self, packet: *mut Packet, slot: &mut *mut ()) -> Attempt;
    /// # Safety
    /// The caller holds the lock. `slot` takes a value, `node` is null or unqueued and in place.
    unsafe fn attempt(&self, slot: *mut (), node: *mut Node, later: &mut Later) -> Attempt;
    /// It would not block now, or not longer than until a task is polled, if `tasks` are good enough.
    /// # Safety
    /// The caller holds the lock.
    unsafe fn is_ready(&self, tasks: bool) -> bool;
    /// Queues the node; true if watchers are to be told.
    /// # Safety
    /// The caller holds the lock; the node stays in place until unlinked or finished.
    unsafe fn enqueue(&self, node: *mut Node) -> bool;
    /// # Safety
    /// As `enqueue`.
    unsafe fn enqueue_watcher(&self, node: *mut Node);
    /// # Safety
    /// The caller holds the lock; the node is this channel's or in no queue.
    unsafe fn unlink(&self, node: *mut Node);
    /// As `unlink`, and takes the lock for it.
    /// # Safety
    /// The caller does not hold the lock; the node is this channel's or in no queue.
    unsafe fn leave(&self, node: *mut Node);
    fn notify(&self);
    /// When it becomes ready by itself.
    fn due(&self) -> Option<Instant>;
    /// A send.
    fn is_send(&self) -> bool;
    /// Where a received value goes: to the packet, or to a new box if it has no room there. Null for a send.
    fn new_slot(&self, packet: *mut Packet) -> *mut ();
    /// # Safety
    /// `slot` is null or a box that came from `new_slot`, and holds no value.
    unsafe fn free_slot(&self, slot: *mut ());
    /// Gives a received value back.
    /// # Safety
    /// `value` holds a value of the channel's type, moved out of it.
    unsafe fn put_back(&self, value: *const (), ticket: u64);
    /// A task's send was chosen by a receiver, and the task knows it now. False if the receiver has gone.
    fn commit(&self, pairing: u64) -> bool;
    fn break_promise(&self, promise: Promise);
}

// SAFETY: see the functions of `RawCase` below.
unsafe impl<T> SelectHandle for Sender<T> {
    fn raw(&self) -> &dyn RawCase {
        self
    }
}

// SAFETY: see the functions of `RawCase` below.
unsafe impl<T> SelectHandle for Receiver<T> {
    fn raw(&self) -> &dyn RawCase {
        self
    }
}

// SAFETY: the lock is the channel's own; all under it.
unsafe impl<T> RawCase for Sender<T> {
    fn lock(&self) -> Option<&RawLock> {
        Some(self.chan().raw_lock())
    }

    fn maybe_ready(&self) -> bool {
        self.chan().maybe_writable()
    }

    unsafe fn attempt_alone(&self, _packet: *mut Packet, _slot: &mut *mut ()) -> Attempt {
        if !self.maybe_ready() {
            return Attempt::Blocks;
        }
        match self.chan().lock().promise() {
            Promise::Full => Attempt::Blocks,
            Promise::Closed => Attempt::Closed,
            promise => Attempt::Promise(promise),
        }
    }

    unsafe fn attempt(&self, _slot: *mut (), _node: *mut Node, later: &mut Later) -> Attempt {
        let _ = later;
        // SAFETY: passed on.
        match unsafe { self.chan().under_lock(|chan| chan.promise()) } {
            Promise::Full => Attempt::Blocks,
            Promise::Closed => Attempt::Closed,
            promise => Attempt::Promise(promise),
        }
    }

    unsafe fn is_ready(&self, _tasks: bool) -> bool {
        // SAFETY: passed on.
        unsafe { self.chan().under_lock(|chan| chan.writable()) }
    }

    unsafe fn enqueue(&self, node: *mut Node) -> bool {
        // SAFETY: passed on; the node is not queued, so it is ours.
        unsafe {
            (*node).deferred = true;
            self.chan().enqueue_under_lock(node, Dir::Send)
        }
    }

    unsafe fn enqueue_watcher(&self, node: *mut Node) {
        // SAFETY: passed on.
        unsafe {
            self.chan()
                .under_lock(|chan| chan.enqueue_watcher(node, Dir::Send))
        }
    }

    unsafe fn unlink(&self, node: *mut Node) {
        // SAFETY: passed on.
        unsafe { self.chan().under_lock(|chan| chan.unlink(node)) };
    }

    unsafe fn leave(&self, node: *mut Node) {
        // SAFETY: passed on.
        unsafe { self.chan().lock().unlink(node) };
    }

    fn notify(&self) {
        self.chan().notify_watchers();
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn is_send(&self) -> bool {
        true
    }

    fn new_slot(&self, _packet: *mut Packet) -> *mut () {
        ptr::null_mut()
    }

    unsafe fn free_slot(&self, _slot: *mut ()) {}

    unsafe fn put_back(&self, _value: *const (), _ticket: u64) {}

    fn commit(&self, pairing: u64) -> bool {
        self.chan().commit(pairing)
    }

    fn break_promise(&self, promise: Promise) {
        self.chan().break_promise(promise);
    }
}

impl<T> Receiver<T> {
    fn as_chan(&self) -> Option<&Hchan<T>> {
        match &self.flavor {
            Flavor::Chan(shared) => Some(&shared.chan),
            _ => None,
        }
    }

    /// As `attempt_alone`, for what has no lock.
    ///
    /// # Safety
    /// As there.
    #[cold]
    unsafe fn attempt_clock(&self, packet: *mut Packet, slot: &mut *mut ()) -> Attempt {
        if !self.maybe_ready() {
            return Attempt::Blocks;
        }
        // SAFETY: passed on; a clock's attempt needs no lock.
        unsafe {
            into_new_slot::<T>(packet, slot, |to| {
                self.attempt(to.cast(), ptr::null_mut(), &mut Later::nothing())
            })
        }
    }
}

/// As `attempt_alone`, for a channel that looks readable. Apart, so that a look at one that does not is short.
///
/// # Safety
/// As there.
#[inline(never)]
unsafe fn recv_alone<T>(chan: &Hchan<T>, packet: *mut Packet, slot: &mut *mut ()) -> Attempt {
    // SAFETY: passed on.
    unsafe {
        into_new_slot(packet, slot, |to| match now::recv(chan, to) {
            Got::Received => Attempt::Value,
            Got::Closed => Attempt::Closed,
            Got::Empty | Got::Deferred | Got::Paired => Attempt::Blocks,
        })
    }
}

/// Where a received value goes: to the packet, or to a new box if it has no room there.
fn new_slot<T>(packet: *mut Packet) -> *mut T {
    if fits::<T>() {
        packet.cast()
    } else {
        Box::into_raw(Box::<T>::new_uninit()).cast()
    }
}

/// Lets `receive` fill a new slot, which is `slot` then if it is a box.
///
/// # Safety
/// `packet` takes a value, `slot` is null, and `receive` fills what it is given if it says `Value`.
#[inline(always)]
unsafe fn into_new_slot<T>(
    packet: *mut Packet,
    slot: &mut *mut (),
    receive: impl FnOnce(*mut T) -> Attempt,
) -> Attempt {
    if fits::<T>() {
        return receive(packet.cast());
    }
    let mut to = Box::<T>::new_uninit();
    let attempt = receive(to.as_mut_ptr());
    if attempt == Attempt::Value {
        *slot = Box::into_raw(to).cast();
    }
    attempt
}

/// # Safety
/// `slot` is a box that came from `new_slot`, and holds no value.
unsafe fn free_slot<T>(slot: *mut T) {
    // SAFETY: by contract.
    drop(unsafe { Box::from_raw(slot.cast::<MaybeUninit<T>>()) });
}

// SAFETY: the lock is the channel's own; all under it. Clocks have a lock of their own, held by no caller.
unsafe impl<T> RawCase for Receiver<T> {
    fn lock(&self) -> Option<&RawLock> {
        self.as_chan().map(Hchan::raw_lock)
    }

    fn maybe_ready(&self) -> bool {
        match &self.flavor {
            Flavor::Chan(shared) => shared.chan.maybe_readable(),
            Flavor::Clock(clock, _) => clock.is_ready(),
            Flavor::Never => false,
        }
    }

    unsafe fn attempt_alone(&self, packet: *mut Packet, slot: &mut *mut ()) -> Attempt {
        match &self.flavor {
            Flavor::Chan(shared) if !shared.chan.maybe_readable() => Attempt::Blocks,
            // SAFETY: passed on.
            Flavor::Chan(shared) => unsafe { recv_alone(&shared.chan, packet, slot) },
            // SAFETY: passed on.
            _ => unsafe { self.attempt_clock(packet, slot) },
        }
    }

    unsafe fn attempt(&self, slot: *mut (), node: *mut Node, later: &mut Later) -> Attempt {
        match &self.flavor {
            Flavor::Chan(shared) => {
                let mut after = After::nothing();
                // SAFETY: passed on.
                let got = unsafe {
                    shared
                        .chan
                        .under_lock(|chan| chan.recv(slot.cast(), node, &mut after))
                };
                later.take(after);
                match got {
                    Got::Received => Attempt::Value,
                    Got::Empty => Attempt::Blocks,
                    Got::Closed => Attempt::Closed,
                    Got::Deferred => Attempt::NeedsNode,
                    Got::Paired => Attempt::Paired,
                }
            }
            Flavor::Clock(clock, make) => match clock.try_recv() {
                Ok(when) => {
                    // SAFETY: the slot takes a value.
                    unsafe { slot.cast::<T>().write(make(when)) };
                    Attempt::Value
                }
                Err(_) => Attempt::Blocks,
            },
            Flavor::Never => Attempt::Blocks,
        }
    }

    unsafe fn is_ready(&self, tasks: bool) -> bool {
        match &self.flavor {
            // SAFETY: passed on.
            Flavor::Chan(shared) => unsafe { shared.chan.under_lock(|chan| chan.readable(tasks)) },
            Flavor::Clock(clock, _) => clock.is_ready(),
            Flavor::Never => false,
        }
    }

    unsafe fn enqueue(&self, node: *mut Node) -> bool {
        // SAFETY: passed on.
        self.as_chan()
            .is_some_and(|chan| unsafe { chan.enqueue_under_lock(node, Dir::Recv) })
    }

    unsafe fn enqueue_watcher(&self, node: *mut Node) {
        if let Some(chan) = self.as_chan() {
            // SAFETY: passed on.
            unsafe { chan.under_lock(|chan| chan.enqueue_watcher(node, Dir::Recv)) }
        }
    }

    unsafe fn unlink(&self, node: *mut Node) {
        if let Some(chan) = self.as_chan() {
            // SAFETY: passed on.
            unsafe { chan.under_lock(|chan| chan.unlink(node)) };
        }
    }

    unsafe fn leave(&self, node: *mut Node) {
        if let Some(chan) = self.as_chan() {
            // SAFETY: passed on.
            unsafe { chan.lock().unlink(node) };
        }
    }

    fn notify(&self) {
        if let Some(chan) = self.as_chan() {
            chan.notify_watchers();
        }
    }

    fn due(&self) -> Option<Instant> {
        match &self.flavor {
            Flavor::Clock(clock, _) => clock.due(),
            _ => None,
        }
    }

    fn is_send(&self) -> bool {
        false
    }

    fn new_slot(&self, packet: *mut Packet) -> *mut () {
        new_slot::<T>(packet).cast()
    }

    unsafe fn free_slot(&self, slot: *mut ()) {
        if !slot.is_null() {
            // SAFETY: passed on.
            unsafe { free_slot(slot.cast::<T>()) };
        }
    }

    unsafe fn put_back(&self, value: *const (), ticket: u64) {
        if let Some(chan) = self.as_chan() {
            // SAFETY: passed on. A clock's value is an `Instant`, which needs no drop.
            unsafe { chan.put_back(value.cast(), ticket) };
        }
    }

    fn commit(&self, _pairing: u64) -> bool {
        true
    }

    fn break_promise(&self, _promise: Promise) {}
}
