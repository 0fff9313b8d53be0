//! Values that come back: handed to a receive future that was then dropped unpolled, or to a select whose receive was
//! chosen and not taken.
//!
//! Such a value goes to the next receiver, or to the stash, which is received from before the buffer and ordered by the
//! tickets under which its values were first received. Stashed values count as `spoken`, so that a channel with a full
//! stash takes no more than its capacity.
//!
//! The stash is a list, whose nodes are made outside the lock. Values come back in the order they were received,
//! or against it, as futures are dropped: both take O(1); any other order walks the list.

use super::{After, Hchan, Locked};
use crate::sync::Ordering;
use crate::waitq::{Node, Outcome};
use std::mem::MaybeUninit;
use std::ptr;

/// A value that came back, and the ticket it was received under.
#[derive(Debug)]
struct Stashed<T> {
    value: MaybeUninit<T>,
    ticket: u64,
    next: *mut Stashed<T>,
}

/// Oldest first. Its nodes are boxes that were let go; it has none when it is dropped.
#[derive(Debug)]
pub(super) struct Stash<T> {
    first: *mut Stashed<T>,
    /// Null if there is none.
    last: *mut Stashed<T>,
}

impl<T> Stash<T> {
    pub(super) const fn new() -> Self {
        Self {
            first: ptr::null_mut(),
            last: ptr::null_mut(),
        }
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Behind all that are not younger.
    fn insert(&mut self, new: Box<Stashed<T>>) {
        let new = Box::into_raw(new);
        // SAFETY: `new` and the nodes of the list are boxes that were let go and not freed, and only the list leads to them.
        unsafe {
            if !self.last.is_null() && (*self.last).ticket <= (*new).ticket {
                (*self.last).next = new;
                self.last = new;
                return;
            }
            let mut place = &raw mut self.first;
            while !(*place).is_null() && (**place).ticket <= (*new).ticket {
                place = &raw mut (**place).next;
            }
            (*new).next = *place;
            *place = new;
            if (*new).next.is_null() {
                self.last = new;
            }
        }
    }

    fn take_first(&mut self) -> Option<Box<Stashed<T>>> {
        if self.first.is_null() {
            return None;
        }
        // SAFETY: as above; from here on it is a box again, and the list does not lead to it.
        let first = unsafe { Box::from_raw(self.first) };
        self.first = first.next;
        if self.first.is_null() {
            self.last = ptr::null_mut();
        }
        Some(first)
    }
}

impl<T> Hchan<T> {
    /// Gives back a value that was handed to a receiver who did not take it: to the next receiver in the queue, or to
    /// the front of all that is buffered, by the ticket it was received under.
    ///
    /// # Safety
    /// `value` holds a value, which is moved out of it.
    #[cold]
    pub(crate) unsafe fn put_back(&self, value: *const T, ticket: u64) {
        let stashed = Box::new(Stashed {
            // SAFETY: the value is moved out of `value`, by contract.
            value: MaybeUninit::new(unsafe { ptr::read(value) }),
            ticket,
            next: ptr::null_mut(),
        });
        let mut not_needed = None;
        let mut after = After::nothing();
        let mut locked = self.lock();
        let state = locked.state();
        // SAFETY: under the lock; the receiver's slot takes one value, and its waiter is ours to finish.
        unsafe {
            if let Some(node) = state.recvq.dequeue() {
                ptr::copy_nonoverlapping(stashed.value.as_ptr(), (*node).slot.cast(), 1);
                (*node).ticket = ticket;
                after.wake = Node::finish(node, Outcome::Passed);
                not_needed = Some(stashed);
            } else {
                state.stash.insert(stashed);
                state.spoken += 1;
                state.cold = true;
                let stashed = self.stashed.load(Ordering::Relaxed);
                self.stashed.store(stashed + 1, Ordering::Release);
            }
        }
        after.watched = locked.state().cold;
        drop(locked);
        drop(not_needed);
        after.run(self);
    }
}

impl<T> Locked<'_, T> {
    /// Moves the oldest value that came back to `dst`, if there is one.
    ///
    /// # Safety
    /// `dst` may be written.
    #[cold]
    pub(super) unsafe fn unstash(&mut self, dst: *mut T) -> bool {
        let count = &self.chan.stashed;
        let state = self.state();
        let Some(first) = state.stash.take_first() else {
            return false;
        };
        state.spoken -= 1;
        count.store(count.load(Ordering::Relaxed) - 1, Ordering::Release);
        // The box is freed here, under the lock: the path is rare, and it is the stash's own box.
        // SAFETY: a stashed value is whole, and `dst` may be written.
        unsafe { ptr::copy_nonoverlapping(first.value.as_ptr(), dst, 1) };
        self.refresh_cold();
        true
    }
}
