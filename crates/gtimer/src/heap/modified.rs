//! The timers of a heap that were moved to an earlier deadline (R61).
//!
//! Go 1.16 to 1.22 remember only the earliest such deadline and, when it comes, look at every timer
//! of the heap (`adjusttimers`). Here the modified timers are on a lock-free list, so that the owner
//! looks at them alone: push is a CAS by whoever resets a timer, from any thread, without the
//! heap's lock; the lock's holder takes the whole list at once, so there is no ABA.
//!
//! **Linked at most once.** `linked` is swapped to true before a push and to false by the drain,
//! both AcqRel. If a reset finds it true, it does not push, and the drain that later clears it has
//! then synchronised with that reset and sees its status: it waits for `Modifying` to end and finds
//! the new deadline. If it finds it false, the timer is pushed again.
//!
//! **Linked implies in the heap**, so the pointers never dangle: only resets in `Modifying` push,
//! and a timer leaves a heap only in a transient status of the lock's holder, who drains the
//! list first if the timer is linked. Pushes by others meanwhile are of other timers.

use super::node::{Node, Ref};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};
use core::ptr::{self, NonNull};

#[derive(Debug)]
pub(super) struct Modified {
    /// Pushed by resets in `Modifying` status, taken under the heap's lock.
    head: AtomicPtr<Node>,
    /// About how many are linked: raised by pushes, zeroed by drains. A hint only.
    len: AtomicUsize,
}

/// From how many linked timers on the list is worth draining ahead of time.
const LONG: usize = if cfg!(loom) { 3 } else { 64 };

impl Modified {
    pub(super) fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
            len: AtomicUsize::new(0),
        }
    }

    #[inline]
    pub(super) fn is_long(&self) -> bool {
        self.len.load(Ordering::Relaxed) >= LONG
    }

    /// Links a timer of this heap, whose `Modifying` status the caller holds, unless it is.
    pub(super) fn push(&self, node: &Node) {
        if node.linked.swap(true, Ordering::AcqRel) {
            return;
        }
        self.len.fetch_add(1, Ordering::Relaxed);
        let this = ptr::from_ref(node).cast_mut();
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            node.next.store(head, Ordering::Relaxed);
            match self
                .head
                .compare_exchange_weak(head, this, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes all timers off the list and shows each to `f`. The caller holds the heap's lock.
    pub(super) fn drain(&self, mut f: impl FnMut(Ref)) {
        self.len.store(0, Ordering::Relaxed);
        let mut next = self.head.swap(ptr::null_mut(), Ordering::Acquire);
        while let Some(node) = NonNull::new(next) {
            // SAFETY: a linked timer is in the heap whose lock the caller holds, and `f` only moves
            // timers within it.
            let node = unsafe { Ref::new(node) };
            next = node.next.load(Ordering::Relaxed);
            node.linked.swap(false, Ordering::AcqRel);
            f(node);
        }
    }
}
