//! Arming, resetting and stopping (`addtimer`, `modtimer`, `deltimer`).

use super::node::{Held, Node, Ref};
use super::owned::Owned;
use super::run::Garbage;
use super::status::Status;
use super::{Handle, Shared, Timers};
use crate::callback::Callback;
use crate::engine::Armed;
use crate::sync::{Ordering, fence, relax};
use alloc::sync::Arc;
use core::{mem, ptr};

use Status::{
    Deleted, ModifiedEarlier, ModifiedLater, Modifying, Moving, NoStatus, Removed, Removing,
    Running, Waiting,
};

/// From how many stopped timers on whoever stops one more helps to clear them, if they are more
/// than half of the heap.
///
/// Insertions and checks clear from a quarter on. But a program that drops a million timers may
/// neither insert another one nor have one due for an hour, and wants its memory back.
const MANY: usize = if cfg!(loom) { 1 } else { 64 };

/// What a reset changes besides the deadline: the period and the callback, or nothing.
type Change = Option<(i64, Callback)>;

impl Timers {
    /// Go's `modtimer`. Returns the callback that was replaced, to be dropped by the caller.
    pub(super) fn modify(&self, timer: &Handle, when: i64, change: Change) -> (Armed, Callback) {
        let node = &timer.node;
        let mut turn = 0;
        loop {
            let status = node.status();
            match status {
                Waiting | ModifiedEarlier | ModifiedLater | Deleted => {
                    if let Some(mut held) = node.enter(status, Modifying) {
                        if status == Deleted
                            && let Some(other) = self.other_heap(&mut held)
                        {
                            held.leave(Deleted);
                            other.evict(node);
                            continue;
                        }
                        let done = modify_in_heap(node, held, status, when, change);
                        // This heap, not the timer's: that one may be gone by now.
                        self.shared.adjust_some();
                        return done;
                    }
                }
                NoStatus | Removed => {
                    if let Some(held) = node.enter(status, Modifying) {
                        return self.add_again(node, held, when, change);
                    }
                }
                Running | Removing | Moving | Modifying => relax(&mut turn),
            }
        }
    }

    /// The heap of a timer that is in one, if it is another one.
    fn other_heap(&self, held: &mut Held<'_>) -> Option<Arc<Shared>> {
        let here = Arc::as_ptr(&self.shared);
        let there = held.body(|body| body.owner);
        // SAFETY: the owner of a timer that is in a heap and in `Modifying`.
        (there != here).then(|| unsafe { share(there) })
    }

    /// Arms a timer that is in no heap.
    fn add_again(
        &self,
        node: &Owned,
        mut held: Held<'_>,
        when: i64,
        change: Change,
    ) -> (Armed, Callback) {
        let old = held.body(|body| {
            body.owner = Arc::as_ptr(&self.shared);
            body.when = when;
            replace(&mut body.period, &mut body.callback, change)
        });
        // Waiting for the lock in `Modifying` is allowed here: no holder of a lock waits for a
        // timer that is in no heap.
        let mut heap = self.shared.lock();
        let (earliest, garbage) = self.shared.add_locked(&mut heap, when, node.clone());
        held.leave(Waiting);
        drop(heap);
        drop(garbage);
        let armed = Armed {
            was_pending: false,
            earliest,
        };
        (armed, old)
    }
}

/// Resets a timer whose entry is in a heap: any heap, so its array cannot be touched.
fn modify_in_heap(
    node: &Node,
    mut held: Held<'_>,
    from: Status,
    when: i64,
    change: Change,
) -> (Armed, Callback) {
    let (old, owner, earlier) = held.body(|body| {
        body.next_when = when;
        let old = replace(&mut body.period, &mut body.callback, change);
        // SAFETY: the timer is in the heap `owner`, which cannot let go of it, nor die, before
        // `Modifying` has been left; the reference is not used after that.
        let owner = unsafe { &*body.owner };
        (old, owner, when < body.when)
    });
    if from == Deleted {
        owner.deleted.fetch_sub(1, Ordering::Relaxed);
    }
    let mut armed = Armed {
        was_pending: from != Deleted,
        earliest: false,
    };
    if earlier {
        armed.earliest = owner.modified_earlier(node, when);
        held.leave(ModifiedEarlier);
    } else {
        held.leave(ModifiedLater);
    }
    (armed, old)
}

/// A share of the heap that a timer is in.
///
/// # Safety
///
/// `owner` must be the owner of a timer that is in a heap and whose `Modifying` the caller holds.
unsafe fn share(owner: *const Shared) -> Arc<Shared> {
    // SAFETY: the pointer came from `Arc::as_ptr`, and the heap is alive: it cannot let go of the timer,
    // nor die, before `Modifying` has been left.
    unsafe {
        Arc::increment_strong_count(owner);
        Arc::from_raw(owner)
    }
}

fn replace(period: &mut i64, callback: &mut Callback, change: Change) -> Callback {
    match change {
        Some((p, c)) => {
            *period = p;
            mem::replace(callback, c)
        }
        None => Callback::none(),
    }
}

impl Shared {
    /// Links a timer with an earlier deadline, before its status says so. True if that is now
    /// the earliest.
    fn modified_earlier(&self, node: &Node, when: i64) -> bool {
        // Linked first, announced second: a drain that resets the announcement then finds it.
        self.modified.push(node);
        if when >= self.modified_earliest.fetch_min(when, Ordering::AcqRel) {
            return false;
        }
        // Pairs with the waiter's fence; see the head comment of the engine.
        fence(Ordering::SeqCst);
        when < self.first.load(Ordering::Acquire)
    }

    /// Removes a stopped timer of this heap, unless it is no longer that.
    fn evict(&self, node: &Owned) {
        let mut garbage = Garbage::default();
        let mut heap = self.lock();
        let Some(mut held) = node.enter(Deleted, Modifying) else {
            return;
        };
        let here = held.body(|body| ptr::eq(body.owner, self));
        held.leave(Deleted);
        if here {
            // Whatever it becomes now, it is in this heap for as long as that is locked.
            // SAFETY: the caller has a share of it.
            let node = unsafe { Ref::new(node.as_ptr()) };
            self.remove(&mut heap, node, &mut garbage);
            self.publish(&heap);
        }
        drop(heap);
        drop(garbage);
    }

    /// Adds a timer at `Waiting`, or `Modifying` by this thread.
    pub(super) fn add(&self, when: i64, node: Owned) -> (bool, Garbage) {
        self.add_locked(&mut self.lock(), when, node)
    }

    pub(super) fn add_locked(
        &self,
        heap: &mut super::Heap,
        when: i64,
        node: Owned,
    ) -> (bool, Garbage) {
        let mut garbage = Garbage::default();
        self.clean_head(heap, &mut garbage);
        if self.crowded() {
            self.sweep(heap, &mut garbage);
        }
        let before = self.next_when().min(heap.entries.earliest());
        heap.entries.push(when, node);
        self.publish(heap);
        (when < before, garbage)
    }
}

impl Handle {
    /// Disarms the timer; see [`Engine::stop`](crate::Engine::stop). It keeps its callback, for a
    /// reset. O(1), without a lock.
    pub fn stop(&self) -> bool {
        let node = &*self.node;
        let mut turn = 0;
        loop {
            let status = node.status();
            match status {
                Waiting | ModifiedEarlier | ModifiedLater => {
                    if let Some(held) = node.enter(status, Modifying) {
                        delete(held, true);
                        return true;
                    }
                }
                Deleted | Removing | Removed | NoStatus => return false,
                Running | Moving | Modifying => relax(&mut turn),
            }
        }
    }
}

impl Handle {
    /// Whether it is pending, once whoever is changing it is done.
    pub(super) fn is_pending(&self) -> bool {
        let mut turn = 0;
        loop {
            match self.status() {
                Running | Removing | Moving | Modifying => relax(&mut turn),
                status => return status.is_pending(),
            }
        }
    }
}

impl Drop for Handle {
    /// Stops the timer and drops its callback now and here: not when its entry is cleared, nor by whoever
    /// clears it, who may hold a lock that the callback's drop takes.
    fn drop(&mut self) {
        let node = &*self.node;
        let mut turn = 0;
        loop {
            let status = node.status();
            match status {
                Waiting | ModifiedEarlier | ModifiedLater | Deleted | Removed | NoStatus => {
                    if let Some(mut held) = node.enter(status, Modifying) {
                        let callback = held.body(|body| mem::take(&mut body.callback));
                        match status {
                            // In no heap and without a handle: nobody looks at its status again.
                            Removed | NoStatus => {}
                            _ => delete(held, status != Deleted),
                        }
                        drop(callback);
                        return;
                    }
                }
                Running | Removing | Moving | Modifying => relax(&mut turn),
            }
        }
    }
}

/// Leaves `Modifying` for `Deleted`; `count` says that the timer is not counted as such yet.
#[inline]
fn delete(mut held: Held<'_>, count: bool) {
    if count {
        let crowded = held.body(|body| {
            // SAFETY: as in `modify_in_heap`.
            let owner = unsafe { &*body.owner };
            // Before the status says so: afterwards the heap may be gone.
            let deleted = owner.deleted.fetch_add(1, Ordering::Relaxed) + 1;
            deleted >= MANY && deleted > owner.len.load(Ordering::Relaxed) / 2
        });
        if crowded {
            return delete_and_clear(held);
        }
    }
    held.leave(Deleted);
}

/// As `delete`, of a timer that is counted, and clears some of the others.
#[cold]
fn delete_and_clear(mut held: Held<'_>) {
    // SAFETY: the timer is in a heap, and held.
    let owner = held.body(|body| unsafe { share(body.owner) });
    held.leave(Deleted);
    owner.clear_some();
}
