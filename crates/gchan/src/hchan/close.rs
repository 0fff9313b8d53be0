//! Ends of a channel: `closechan` of Go's `runtime/chan.go` (1.27; R5), and the drop of what is buffered.

use super::{After, Got, Hchan};
use crate::waitq::{Node, Outcome, Wakes};
use std::mem::MaybeUninit;
use std::ptr;

impl<T> Hchan<T> {
    /// Closes the channel and ends all waits on it. False if it was closed already.
    ///
    /// All waits end at the moment that `closed` is set, as in Go: nobody is served from the line after that. They are
    /// taken off and told in several turns, because whom to wake is kept in a fixed place.
    pub(crate) fn close(&self) -> bool {
        let mut first = true;
        let mut wakes = Wakes::default();
        loop {
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
                    wakes.and(|| self.notify_watchers());
                }
                wakes.resume();
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
            // SAFETY: `Received` says that the slot was written.
            let value = (got == Got::Received).then(|| unsafe { slot.assume_init() });
            after.run(self);
            match value {
                Some(value) => each(value),
                None => return,
            }
        }
    }
}
