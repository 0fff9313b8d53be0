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
//! or dropped after it was released.
//!
//! Rejected: Go's table of queues by address. It makes a lock 24 bytes smaller, but strangers then
//! share a lock and a search, and a queue in a `static` cannot be model-checked.

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

    /// Takes off all but those with another tag that stand in front of them, last come first
    /// off; in the order in which they came.
    pub(crate) fn drain_back(&mut self, tag: u64, state: u8) -> Vec<Waker> {
        let mut wakers = Vec::new();
        // SAFETY: as in `front`.
        while let Some(last) = unsafe { self.inner.tail.as_ref() }
            && last.tag.get() == tag
        {
            // SAFETY: it is linked here.
            wakers.extend(unsafe { self.unlink(last, state) });
        }
        wakers.reverse();
        wakers
    }

    /// Takes all off.
    #[cfg(not(loom))]
    pub(crate) fn drain(&mut self, state: u8) -> Vec<Waker> {
        core::iter::from_fn(|| self.pop_front(state)).collect()
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
