//! Moving the timers of a dying P to another (`moveTimers`), and the death of a heap.

use super::node::Ref;
use super::owned::Owned;
use super::run::{Garbage, corrupt};
use super::status::Status;
use super::{Heap, Shared, Timers};
use crate::sync::{Ordering, relax};
use alloc::sync::Arc;

use Status::{
    Deleted, ModifiedEarlier, ModifiedLater, Modifying, Moving, NoStatus, Removed, Removing,
    Running, Waiting,
};

/// Timers moved at a time; each heap is locked for no longer than that takes.
const CHUNK: usize = 32;

impl Timers {
    /// Moves all timers of `dying` into this heap. True if one of them became the earliest here.
    ///
    /// Any thread may call it, while others stop, reset or steal the timers. Timers that are armed on
    /// `dying` meanwhile may stay there: no P should still use it. O(n log n), a chunk at a
    /// time under each lock.
    ///
    /// ```
    /// use gtimer::{Callback, heap::Timers};
    /// let (old, new) = (Timers::new(), Timers::new());
    /// let timer = old.insert(5, 0, Callback::none()).0;
    /// assert!(new.adopt(&old));
    /// assert_eq!((old.len(), new.next_when()), (0, 5));
    /// # drop(timer);
    /// ```
    pub fn adopt(&self, dying: &Self) -> bool {
        if Arc::ptr_eq(&self.shared, &dying.shared) {
            return false;
        }
        let mut earliest = false;
        loop {
            let mut chunk = [const { None }; CHUNK];
            let (n, garbage) = dying.shared.give(&mut chunk);
            let more = n > 0 || garbage.is_full();
            // First: others wait for timers at `Moving`.
            earliest |= self.shared.receive(chunk);
            drop(garbage);
            if !more {
                // And its arrays.
                dying.shared.clear_some();
                return earliest;
            }
        }
    }
}

impl Shared {
    /// Takes up to a chunk of timers out of the heap, each at `Moving`. Stopped ones are removed
    /// instead.
    fn give(&self, chunk: &mut [Option<(i64, Owned)>; CHUNK]) -> (usize, Garbage) {
        let mut n = 0;
        let mut garbage = Garbage::default();
        let mut heap = self.lock();
        while n < CHUNK && !garbage.is_full() {
            // From the end, where nothing has to be sifted.
            let Some(node) = heap.last() else { break };
            if let Some(moved) = self.take_to_move(&mut heap, node, &mut garbage) {
                chunk[n] = Some(moved);
                n += 1;
            }
        }
        self.publish(&heap);
        (n, garbage)
    }

    fn take_to_move(
        &self,
        heap: &mut Heap,
        node: Ref,
        garbage: &mut Garbage,
    ) -> Option<(i64, Owned)> {
        let mut turn = 0;
        loop {
            let status = node.status();
            match status {
                Waiting | ModifiedEarlier | ModifiedLater => {
                    let Some(mut held) = node.enter(status, Moving) else {
                        continue;
                    };
                    self.unlink(heap, node);
                    let when = held.body(|body| {
                        if status != Waiting {
                            body.when = body.next_when;
                        }
                        body.owner = core::ptr::null();
                        body.when
                    });
                    let owned = heap.entries.remove(node.seat());
                    // `Moving` is left by `receive`, which knows the new owner.
                    return Some((when, owned));
                }
                Deleted => {
                    self.remove(heap, node, garbage);
                    return None;
                }
                Modifying => relax(&mut turn),
                NoStatus | Removed | Running | Removing | Moving => corrupt(status),
            }
        }
    }

    /// Adds what `give` took.
    fn receive(self: &Arc<Self>, chunk: [Option<(i64, Owned)>; CHUNK]) -> bool {
        let mut heap = self.lock();
        let before = self.next_when();
        let mut earliest = false;
        for (when, owned) in chunk.into_iter().flatten() {
            // SAFETY: the heap owns the node from the next statement on, and is locked.
            let node = unsafe { Ref::new(owned.as_ptr()) };
            heap.entries.push(when, owned);
            // SAFETY: `give` entered `Moving` on this thread and dropped its token.
            let mut held = unsafe { node.resume(Moving) };
            held.body(|body| body.owner = Arc::as_ptr(self));
            held.leave(Waiting);
            earliest |= when < before;
        }
        self.publish(&heap);
        earliest
    }
}

impl Drop for Timers {
    /// Disarms all timers: they never fire, and what their handles still own can be armed elsewhere.
    fn drop(&mut self) {
        let dying = Dying(&self.shared);
        dying.0.retire_all();
    }
}

/// Takes out what is left when a value that was dropped has panicked: a timer that stayed would point
/// to a heap that is gone.
struct Dying<'a>(&'a Shared);

impl Drop for Dying<'_> {
    fn drop(&mut self) {
        self.0.retire_all();
    }
}

impl Shared {
    /// Empties the heap. Dropping what it held may run user code.
    fn retire_all(&self) {
        loop {
            let mut garbage = Garbage::default();
            let mut turn = 0;
            let mut heap = self.lock();
            while !garbage.is_full() {
                let Some(node) = heap.last() else { break };
                self.retire(&mut heap, node, &mut garbage, &mut turn);
            }
            self.publish(&heap);
            drop(heap);
            if !garbage.is_full() {
                // Each count went with its timer.
                debug_assert_eq!(self.deleted.load(Ordering::Relaxed), 0);
                return;
            }
        }
    }

    /// Stops a timer and removes it.
    fn retire(&self, heap: &mut Heap, node: Ref, garbage: &mut Garbage, turn: &mut u32) {
        let status = node.status();
        match status {
            Waiting | ModifiedEarlier | ModifiedLater => {
                if let Some(held) = node.enter(status, Modifying) {
                    self.deleted.fetch_add(1, Ordering::Relaxed);
                    held.leave(Deleted);
                }
            }
            Deleted => self.remove(heap, node, garbage),
            Modifying => relax(turn),
            NoStatus | Removed | Running | Removing | Moving => corrupt(status),
        }
    }
}
