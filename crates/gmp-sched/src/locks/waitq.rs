//! A queue of waiters that lies in their own frames: what every lock here waits on.
//!
//! Plays the part of the `sudog` lists under Go's `semaRoot` (`runtime/sema.go`, Go 1.27).
//! A [`Waiter`] lives in the frame of whoever waits (a goroutine's stack, a thread's, or the pinned
//! future of an `async` form), so waiting allocates nothing. One queue serves stackful goroutines,
//! threads and futures, because each is woken through a [`Waker`].
//!
//! Invariants, whenever the lock is free:
//! - a waiter is linked exactly if its state is `QUEUED`, and a linked waiter has a waker;
//! - links, waker and tag of a waiter are touched under the lock of its queue only;
//! - whoever takes a waiter off stores the new state as its *last* access to it (Release): its
//!   owner may see it without the lock (Acquire) and be gone at once, while a `&Node` is still in
//!   scope: allowed because every field is interior-mutable, as in any lock that is freed by
//!   who is let in;
//! - a `Waiter` is unlinked before its memory ends: its destructor sees to it.
//!
//! No code that is not ours runs under the lock: wakers are cloned before it is taken, and woken
//! or dropped after it was released; nor does an allocator, which may be somebody's too: who takes
//! off several at once makes room for their wakers before ([`WaitQueue::lock_with_room`]).
//!
//! **Why not Go's table.** Go's `semaRoot` is a table of 251 locks, each over a treap of addresses with
//! a list of waiters for each; so a Go mutex is 8 bytes, and every wait and every contended unlock hashes
//! the address, takes a lock that strangers share, and searches. What it does is all here: a list for
//! each lock, first come first served; a waiter that failed goes to the front (Go's `lifo`:
//! [`Locked::push_front`]); the lock is given to the one that is woken (Go's `handoff` and `ticket`:
//! [`GRANTED`]). What differs is where the list begins: in the lock, for 24 bytes (a [`RawMutex`] has
//! 32, a [`Semaphore`] 32). For that
//! - a waiter is found in O(1) instead of O(log n) of the addresses under one of the 251 locks;
//! - a lock waits for nobody but its own users: 100,000 contended locks in Go's table are 400 for each
//!   of its locks;
//! - the state that a permit is about lies under the same lock as the queue, so there is no second
//!   look between "no permit" and "queued" (Go's `cansemacquire` in a loop, with `nwait`);
//! - loom checks it: a model makes its own queue, which a `static` table does not let it do;
//! - to unlock 100,000 mutexes for each of which one goroutine waits takes 2.1 us each in Go 1.27, 0.8 here;
//!   1,000 of them 0.37 and 0.08 (P=1, in an order that no cache knows; `benches/locks.rs`);
//! - the table is 16 KB (251 lines of 64 bytes) for every program: what 670 queues cost here.
//!
//! The loser is a program with millions of locks that hardly ever contend: 24 MB for each million. The
//! queue's own lock is parking_lot's, whose sleepers do lie in a table by address; it is held for a few
//! instructions, and nobody who waits for a lock of ours sleeps there.
//!
//! [`RawMutex`]: crate::RawMutex
//! [`Semaphore`]: crate::Semaphore

use core::cell::Cell;
use core::marker::PhantomPinned;
use core::pin::Pin;
use core::ptr;
use core::task::Waker;

use crate::sync::atomic::{AtomicU8, Ordering};
#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};
#[cfg(not(loom))]
use parking_lot::{Mutex, MutexGuard};

/// In no queue, and nobody's turn.
pub(crate) const IDLE: u8 = 0;
/// In the queue.
pub(crate) const QUEUED: u8 = 1;
/// Taken off: it may try again.
pub(crate) const NOTIFIED: u8 = 2;
/// Taken off, and what it waited for is its own.
pub(crate) const GRANTED: u8 = 3;

/// The wakers of some that were taken off, first come first; the first needs no allocation.
#[derive(Default)]
pub(crate) struct Wakers {
    first: Option<Waker>,
    rest: Vec<Waker>,
}

impl Wakers {
    /// How many an empty one holds without allocating.
    fn room(&self) -> usize {
        1 + self.rest.capacity()
    }

    fn push(&mut self, waker: Waker) {
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            debug_assert!(
                self.rest.len() < self.rest.capacity(),
                "allocates under the lock"
            );
            self.rest.push(waker);
        }
    }

    #[cfg(not(loom))]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }
}

impl IntoIterator for Wakers {
    type Item = Waker;
    type IntoIter = core::iter::Chain<core::option::IntoIter<Waker>, std::vec::IntoIter<Waker>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

/// A queue, and the state `S` that changes under the same lock.
pub(crate) struct WaitQueue<S> {
    inner: Mutex<Inner<S>>,
}

struct Inner<S> {
    state: S,
    head: *const Node,
    tail: *const Node,
}

// SAFETY: the pointers lead to nodes that are only touched under the lock that `Inner` lies in.
unsafe impl<S: Send> Send for Inner<S> {}

struct Node {
    /// Neighbours. Under the queue's lock.
    next: Cell<*const Node>,
    prev: Cell<*const Node>,
    /// Whom to wake. Under the queue's lock; some while queued.
    waker: Cell<Option<Waker>>,
    /// What the lock wants to know of it. Under the queue's lock.
    tag: Cell<u64>,
    /// By its owner while `IDLE`, else by whoever holds the queue's lock.
    state: AtomicU8,
    _pin: PhantomPinned,
}

/// One who waits, or may; pinned while it does.
pub(crate) struct Waiter<'q, S> {
    queue: &'q WaitQueue<S>,
    node: Node,
}

// SAFETY: cells of the node are touched under the queue's lock only; the state is atomic.
unsafe impl<S: Send> Send for Waiter<'_, S> {}
// SAFETY: as above.
unsafe impl<S: Send> Sync for Waiter<'_, S> {}

impl<'q, S> Waiter<'q, S> {
    pub(crate) fn new(queue: &'q WaitQueue<S>) -> Self {
        let node = Node {
            next: Cell::new(ptr::null()),
            prev: Cell::new(ptr::null()),
            waker: Cell::new(None),
            tag: Cell::new(0),
            state: AtomicU8::new(IDLE),
            _pin: PhantomPinned,
        };
        Self { queue, node }
    }

    /// `IDLE` and `QUEUED` are exact for the owner only; what comes after them stays.
    #[inline]
    pub(crate) fn state(&self) -> u8 {
        self.node.state.load(Ordering::Acquire)
    }

    /// Ready to be queued again. By the owner, once it was taken off.
    #[inline]
    pub(crate) fn reset(&self) {
        debug_assert_ne!(self.state(), QUEUED);
        self.node.state.store(IDLE, Ordering::Relaxed);
    }

    /// If it is still queued: from now on wake `waker`. False if it was taken off.
    pub(crate) fn still_queued(&self, waker: &Waker) -> bool {
        if self.state() != QUEUED {
            return false;
        }
        let waker = waker.clone();
        let queue = self.queue.lock();
        let queued = self.state() == QUEUED;
        let old = if queued {
            self.node.waker.replace(Some(waker))
        } else {
            None
        };
        drop(queue);
        drop(old);
        queued
    }
}

impl<S> Drop for Waiter<'_, S> {
    fn drop(&mut self) {
        if self.state() == QUEUED {
            let mut queue = self.queue.lock();
            // SAFETY: the owner drops it, so it is the waiter of this queue or of none.
            let waker = unsafe { queue.unlink(&self.node, IDLE) };
            drop(queue);
            drop(waker);
        }
    }
}

impl<S> WaitQueue<S> {
    #[cfg(not(loom))]
    pub(crate) const fn new(state: S) -> Self {
        Self {
            inner: Mutex::new(Inner {
                state,
                head: ptr::null(),
                tail: ptr::null(),
            }),
        }
    }

    #[cfg(loom)]
    pub(crate) fn new(state: S) -> Self {
        Self {
            inner: Mutex::new(Inner {
                state,
                head: ptr::null(),
                tail: ptr::null(),
            }),
        }
    }

    pub(crate) fn lock(&self) -> Locked<'_, S> {
        #[cfg(not(loom))]
        let inner = self.inner.lock();
        #[cfg(loom)]
        let inner = self.inner.lock().unwrap();
        Locked { queue: self, inner }
    }

    /// Locks it, with room for the wakers of as many as `needs` says.
    pub(crate) fn lock_with_room(
        &self,
        needs: impl Fn(&Locked<'_, S>) -> usize,
    ) -> (Locked<'_, S>, Wakers) {
        let mut wakers = Wakers::default();
        loop {
            let queue = self.lock();
            let n = needs(&queue);
            if n <= wakers.room() {
                return (queue, wakers);
            }
            drop(queue);
            // And some for those who come meanwhile.
            wakers.rest.reserve(n + n / 4);
        }
    }
}

/// A queue whose lock is held.
pub(crate) struct Locked<'q, S> {
    queue: &'q WaitQueue<S>,
    inner: MutexGuard<'q, Inner<S>>,
}

impl<S> core::ops::Deref for Locked<'_, S> {
    type Target = S;
    fn deref(&self) -> &S {
        &self.inner.state
    }
}

impl<S> core::ops::DerefMut for Locked<'_, S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.inner.state
    }
}

impl<S> Locked<'_, S> {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.head.is_null()
    }

    /// Whether exactly one waits.
    pub(crate) fn len_is_one(&self) -> bool {
        !self.is_empty() && ptr::eq(self.inner.head, self.inner.tail)
    }

    /// The tag of the first waiter.
    pub(crate) fn front(&self) -> Option<u64> {
        // SAFETY: null or a linked node, which outlives its being linked.
        unsafe { self.inner.head.as_ref() }.map(|n| n.tag.get())
    }

    pub(crate) fn push_back(&mut self, waiter: Pin<&Waiter<'_, S>>, waker: Waker, tag: u64) {
        let node = self.prepare(waiter, waker, tag);
        let last = core::mem::replace(&mut self.inner.tail, node);
        node.prev.set(last);
        // SAFETY: as in `front`.
        match unsafe { last.as_ref() } {
            Some(last) => last.next.set(node),
            None => self.inner.head = node,
        }
    }

    pub(crate) fn push_front(&mut self, waiter: Pin<&Waiter<'_, S>>, waker: Waker, tag: u64) {
        let node = self.prepare(waiter, waker, tag);
        let first = core::mem::replace(&mut self.inner.head, node);
        node.next.set(first);
        // SAFETY: as in `front`.
        match unsafe { first.as_ref() } {
            Some(first) => first.prev.set(node),
            None => self.inner.tail = node,
        }
    }

    /// The waiter is pinned, so its node stays where it is until its destructor unlinks it.
    fn prepare<'n>(&self, waiter: Pin<&'n Waiter<'_, S>>, waker: Waker, tag: u64) -> &'n Node {
        assert!(
            ptr::eq(waiter.queue, self.queue),
            "a waiter of another queue"
        );
        let node = &waiter.get_ref().node;
        assert_eq!(node.state.load(Ordering::Relaxed), IDLE, "queued twice");
        node.waker.set(Some(waker));
        node.tag.set(tag);
        node.state.store(QUEUED, Ordering::Relaxed);
        node
    }

    /// Takes a waiter off that gives up. `None` if it was off already; else what is to be dropped
    /// after the lock.
    pub(crate) fn remove(&mut self, waiter: Pin<&Waiter<'_, S>>) -> Option<Waker> {
        assert!(
            ptr::eq(waiter.queue, self.queue),
            "a waiter of another queue"
        );
        // SAFETY: it is a waiter of this queue.
        unsafe { self.unlink(&waiter.get_ref().node, IDLE) }
    }

    /// Takes the first waiter off and tells it `state`; it is to be woken after the lock.
    pub(crate) fn pop_front(&mut self, state: u8) -> Option<Waker> {
        // SAFETY: as in `front`.
        let first = unsafe { self.inner.head.as_ref() }?;
        // SAFETY: it is linked here.
        unsafe { self.unlink(first, state) }
    }

    /// The tags of all, first come first.
    pub(crate) fn tags(&self) -> impl Iterator<Item = u64> {
        let mut at = self.inner.head;
        core::iter::from_fn(move || {
            // SAFETY: as in `front`; the lock is held as long as this borrows it.
            let node = unsafe { at.as_ref() }?;
            at = node.next.get();
            Some(node.tag.get())
        })
    }

    /// Takes the first waiter off, if there is one, and tells it `state`.
    pub(crate) fn pop_front_into(&mut self, wakers: &mut Wakers, state: u8) -> bool {
        let waker = self.pop_front(state);
        let popped = waker.is_some();
        waker.into_iter().for_each(|w| wakers.push(w));
        popped
    }

    /// Takes off all but those with another tag that stand in front of them, last come first.
    pub(crate) fn drain_back(&mut self, wakers: &mut Wakers, tag: u64, state: u8) {
        // SAFETY: as in `front`.
        while let Some(last) = unsafe { self.inner.tail.as_ref() }
            && last.tag.get() == tag
        {
            // SAFETY: it is linked here.
            unsafe { self.unlink(last, state) }
                .into_iter()
                .for_each(|w| wakers.push(w));
        }
    }

    /// Takes all off.
    #[cfg(not(loom))]
    pub(crate) fn drain(&mut self, wakers: &mut Wakers, state: u8) {
        while self.pop_front_into(wakers, state) {}
    }

    /// # Safety
    /// The node belongs to a waiter of this queue.
    unsafe fn unlink(&mut self, node: &Node, state: u8) -> Option<Waker> {
        if node.state.load(Ordering::Relaxed) != QUEUED {
            return None;
        }
        let (prev, next) = (
            node.prev.replace(ptr::null()),
            node.next.replace(ptr::null()),
        );
        // SAFETY: neighbours of a linked node are linked, and live.
        match unsafe { prev.as_ref() } {
            Some(p) => p.next.set(next),
            None => self.inner.head = next,
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(n) => n.prev.set(prev),
            None => self.inner.tail = prev,
        }
        let waker = node.waker.take();
        node.state.store(state, Ordering::Release);
        waker
    }
}
