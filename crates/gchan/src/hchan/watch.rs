//! Selects that wait for a channel to become ready without taking part (`Select::ready`): they are told, and look again.

use super::{Dir, Hchan, Locked};
use crate::waitq::{Node, Outcome, Wakes};

impl<T> Hchan<T> {
    /// Wakes the watching selects for which the channel looks ready.
    #[cold]
    pub(crate) fn notify_watchers(&self) {
        let mut wakes = Wakes::default();
        loop {
            let mut locked = self.lock();
            // SAFETY: under the lock; a dequeued node's waiter is ours to finish.
            unsafe {
                let (readable, writable) = (locked.readable(true), locked.writable());
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
                wakes.resume();
                return;
            }
        }
    }
}

impl<T> Locked<'_, T> {
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

    pub(super) fn refresh_cold(&mut self) {
        let state = self.state();
        state.cold =
            !state.stash.is_empty() || !state.watch_recv.is_empty() || !state.watch_send.is_empty();
    }
}
