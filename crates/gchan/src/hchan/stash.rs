//! Values that come back: handed to a receive future that was then dropped unpolled, or to a select whose receive was
//! chosen and not taken.
//!
//! Such a value goes to the next receiver, or to the stash, which is received from before the buffer and ordered by the
//! tickets under which its values were first received. Stashed values count as `spoken`, so that a channel with a full
//! stash takes no more than its capacity.

use super::{After, Hchan, Locked};
use crate::waitq::{Node, Outcome};
use std::mem::MaybeUninit;
use std::ptr;

/// A value that came back, and the ticket it was received under.
#[derive(Debug)]
pub(super) struct Stashed<T> {
    value: MaybeUninit<T>,
    ticket: u64,
    next: Option<Box<Stashed<T>>>,
}

impl<T> Hchan<T> {
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
}

impl<T> Locked<'_, T> {
    #[cold]
    pub(super) unsafe fn unstash(&mut self, dst: *mut T) -> bool {
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
}
