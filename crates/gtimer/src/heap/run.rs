//! Running what is due, and putting entries right (`checkTimers`, `runtimer`, `runOneTimer`,
//! `adjusttimers`, `cleantimers`, `clearDeletedTimers`).

use super::node::Ref;
use super::owned::Owned;
use super::status::Status;
use super::{Heap, Shared, Timers};
use crate::callback::Callback;
use crate::dary::Dary;
use crate::sync::{Ordering, relax};
use crate::when::{NEVER, next_tick};
use alloc::sync::Arc;
use core::fmt;

use Status::{
    Deleted, ModifiedEarlier, ModifiedLater, Modifying, Moving, NoStatus, Removed, Removing,
    Running, Waiting,
};

/// Entries that a sweep looks at.
const SWEEP: usize = 16;
/// Sweeps at the end of a check: what bounds the time it takes from its caller.
const SWEEPS: usize = 64;

/// Removed timers, to be dropped after the lock is released, which is short so.
///
/// No user code runs then: a handle takes its callback with it, so a stopped timer whose handle is gone
/// has none. Only a heap that dies removes timers that have one and no handle (`detach`).
#[derive(Debug, Default)]
pub(super) struct Garbage {
    nodes: [Option<Owned>; 8],
    len: usize,
}

impl Garbage {
    pub(super) const fn is_full(&self) -> bool {
        self.len == self.nodes.len()
    }

    pub(super) fn push(&mut self, node: Owned) {
        self.nodes[self.len] = Some(node);
        self.len += 1;
    }
}

/// What the root of the heap asks for.
enum Next {
    /// To run a callback; the heap's share of the timer comes along if it left the heap.
    Due(Callback, Option<Owned>),
    /// To drop garbage, of which there may be more.
    Flush,
    /// Nothing: no timer is due.
    Idle,
}

/// What [`Timers::take`] took: a callback to run, and what there is to drop.
///
/// Running it, and dropping it unrun, may run user code. It owns a share of what it drops: 32,768 of them kept or
/// leaked, all for one timer, end the program.
#[must_use = "the callback in it has to be run"]
pub struct Due {
    callback: Option<Callback>,
    garbage: Garbage,
    /// The heap, if it needs its arrays no more, and for how many it should have room.
    spare: Option<(Arc<Shared>, usize)>,
    now: i64,
    next: i64,
}

impl fmt::Debug for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Due")
            .field("callback", &self.callback)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Due {
    /// Whether a timer fired. If none did, there may be something to drop, and more to take after it.
    #[must_use]
    pub const fn fired(&self) -> bool {
        self.callback.is_some()
    }

    /// The next deadline. If it is not after `now`, there is more to take.
    #[must_use]
    pub const fn next_when(&self) -> i64 {
        self.next
    }

    /// Runs the callback.
    pub fn run(self) {
        if let Some(callback) = self.callback {
            callback.run(self.now);
        }
        if let Some((shared, room)) = self.spare {
            shared.shrink(room);
        }
    }
}

impl Timers {
    /// Takes the callback of one timer that is due at `now`, for a caller that must not run user
    /// code where it looks at its timers; otherwise [`check`](Timers::check) is simpler.
    ///
    /// The timer has fired by then: stopping it is too late.
    ///
    /// ```
    /// use gtimer::{Callback, heap::Timers};
    /// let timers = Timers::new();
    /// let timer = timers.insert(5, 0, Callback::once(|| println!("fired"))).0;
    /// loop {
    ///     let due = timers.take(10); // inside the runtime: no user code runs
    ///     let more = due.next_when() <= 10;
    ///     due.run(); // outside
    ///     if !more {
    ///         break;
    ///     }
    /// }
    /// assert!(!timer.stop());
    /// ```
    pub fn take(&self, now: i64) -> Due {
        let now = now.min(NEVER - 1);
        let mut due = Due {
            callback: None,
            garbage: Garbage::default(),
            spare: None,
            now,
            next: self.shared.next_when(),
        };
        if now < due.next && !self.shared.crowded() {
            return due;
        }
        self.shared.take(&mut due);
        due
    }
}

impl Shared {
    fn take(self: &Arc<Self>, due: &mut Due) {
        let mut heap = self.lock();
        if self.modified_earliest.load(Ordering::Acquire) <= due.now {
            self.adjust(&mut heap);
        }
        let mut fired = None;
        if let Next::Due(callback, node) = self.next_due(&mut heap, due.now, &mut due.garbage) {
            due.callback = Some(callback);
            fired = node;
        }
        if self.deleted_exceed(&heap) {
            self.sweep(&mut heap, &mut due.garbage);
        }
        self.publish(&heap);
        let spare = heap.entries.spare(due.now);
        drop(heap);
        due.spare = spare.map(|room| (Arc::clone(self), room));
        drop(fired);
        due.next = self.next_when();
    }

    /// The slow half of `check`.
    pub(super) fn check(&self, now: i64) -> (i64, usize) {
        let now = now.min(NEVER - 1);
        let mut ran = 0;
        let mut sweeps = 0;
        let mut heap = self.lock();
        // Timers that arm themselves for now must not keep the caller here.
        let limit = heap.entries.len().max(1);
        loop {
            if self.modified_earliest.load(Ordering::Acquire) <= now {
                self.adjust(&mut heap);
            }
            let mut garbage = Garbage::default();
            let next = self.next_due(&mut heap, now, &mut garbage);
            let idle = matches!(next, Next::Idle);
            let crowded = idle && sweeps < SWEEPS && self.deleted_exceed(&heap);
            if crowded {
                self.sweep(&mut heap, &mut garbage);
                sweeps += 1;
            }
            self.publish(&heap);
            ran += usize::from(matches!(next, Next::Due(..)));
            let done = (idle && !crowded) || ran == limit;
            let spare = if done { heap.entries.spare(now) } else { None };
            drop(heap);
            drop(garbage);
            if let Next::Due(callback, node) = next {
                drop(node);
                callback.run(now);
            }
            if done {
                if let Some(room) = spare {
                    self.shrink(room);
                }
                return (self.next_when(), ran);
            }
            heap = self.lock();
        }
    }

    fn deleted_exceed(&self, heap: &Heap) -> bool {
        self.deleted.load(Ordering::Relaxed) > heap.entries.len() / 4
    }

    /// Go's `runtimer`: puts the root right until it is a waiting timer, and takes it if it is due.
    fn next_due(&self, heap: &mut Heap, now: i64, garbage: &mut Garbage) -> Next {
        let mut turn = 0;
        while let Some((when, node)) = heap.root() {
            let status = node.status();
            match status {
                Waiting if when > now => return Next::Idle,
                Waiting => {
                    if let Some((callback, node)) = self.fire(heap, node, now) {
                        return Next::Due(callback, node);
                    }
                }
                // Someone is about to give it another deadline, or to stop it.
                Modifying if when > now => return Next::Idle,
                Modifying => relax(&mut turn),
                Deleted if garbage.is_full() => return Next::Flush,
                Deleted => self.remove(heap, node, garbage),
                ModifiedEarlier | ModifiedLater => self.settle(heap, node),
                NoStatus | Removed | Running | Removing | Moving => corrupt(status),
            }
        }
        Next::Idle
    }

    /// Go's `runOneTimer`, up to the call: takes the callback out of a due timer, and the timer out
    /// of the heap or on to its next tick. None if it is no longer `Waiting`.
    fn fire(&self, heap: &mut Heap, node: Ref, now: i64) -> Option<(Callback, Option<Owned>)> {
        let mut held = node.enter(Waiting, Running)?;
        self.unlink(heap, node);
        let (callback, tick) = held.body(|body| {
            let callback = body.callback.fire();
            if body.period == 0 {
                body.owner = core::ptr::null();
                return (callback, None);
            }
            body.when = next_tick(body.when, body.period, now);
            (callback, Some(body.when))
        });
        if let Some(when) = tick {
            heap.entries.change(node.seat(), when);
            held.leave(Waiting);
            return Some((callback, None));
        }
        let owned = heap.entries.remove(node.seat());
        held.leave(NoStatus);
        Some((callback, Some(owned)))
    }

    /// Removes a stopped timer, unless it has been armed again.
    pub(super) fn remove(&self, heap: &mut Heap, node: Ref, garbage: &mut Garbage) {
        let Some(mut held) = node.enter(Deleted, Removing) else {
            return;
        };
        self.unlink(heap, node);
        held.body(|body| body.owner = core::ptr::null());
        garbage.push(heap.entries.remove(node.seat()));
        held.leave(Removed);
        self.deleted.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes a timer in a transient status of this thread off the modified list.
    #[inline]
    pub(super) fn unlink(&self, heap: &mut Heap, node: Ref) {
        if node.linked.load(Ordering::Relaxed) {
            self.adjust(heap);
        }
    }

    /// Go's `adjusttimers`: moves the timers with an earlier deadline to their place.
    ///
    /// A timer in a transient status of this thread is only taken off the list.
    pub(super) fn adjust(&self, heap: &mut Heap) {
        // Readers of `next_when` look at both words: lower one before raising the other.
        let mut earliest = self.modified_earliest.load(Ordering::Relaxed);
        loop {
            if earliest < self.first.load(Ordering::Relaxed) {
                self.first.store(earliest, Ordering::Release);
            }
            match self.modified_earliest.compare_exchange_weak(
                earliest,
                NEVER,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => earliest = now,
            }
        }
        self.modified.drain(|node| self.settle(heap, node));
    }

    /// Adjusts ahead of time if many timers are linked and nobody has the lock.
    ///
    /// Whoever moves timers to earlier deadlines so pays for their moves, instead of one check that
    /// finds a million of them when the first is due and keeps the lock for all (as in Go).
    pub(super) fn adjust_some(&self) {
        if self.modified.is_long()
            && let Some(mut heap) = self.heap.try_lock()
        {
            self.adjust(&mut heap);
            self.publish(&heap);
        }
    }

    /// Sweeps once, if nobody has the lock.
    pub(super) fn clear_some(&self) {
        let Some(mut heap) = self.heap.try_lock() else {
            return;
        };
        let mut garbage = Garbage::default();
        self.sweep(&mut heap, &mut garbage);
        self.publish(&heap);
        let spare = heap.entries.spare_of_few();
        drop(heap);
        drop(garbage);
        if let Some(room) = spare {
            self.shrink(room);
        }
    }

    /// Goes on in smaller arrays, if [`Dary::spare`] said so. To be called when what was due has run: the
    /// allocator may take its time.
    #[cold]
    fn shrink(&self, room: usize) {
        let Some(room) = Dary::with_room(room) else {
            return;
        };
        let mut heap = self.lock();
        let old = heap.entries.move_into(room);
        drop(heap);
        drop(old);
    }

    /// Moves a modified timer to the place of its new deadline; leaves others alone.
    pub(super) fn settle(&self, heap: &mut Heap, node: Ref) {
        let mut turn = 0;
        loop {
            let status = node.status();
            match status {
                ModifiedEarlier | ModifiedLater => {
                    if let Some(mut held) = node.enter(status, Moving) {
                        let when = held.body(|body| {
                            body.when = body.next_when;
                            body.when
                        });
                        heap.entries.change(node.seat(), when);
                        held.leave(Waiting);
                        return;
                    }
                }
                Modifying => relax(&mut turn),
                Waiting | Deleted | Running | Removing | Moving => return,
                NoStatus | Removed => corrupt(status),
            }
        }
    }

    /// Go's `cleantimers`: puts the head right, a few entries at most, so that an insertion does not
    /// work around dead timers.
    pub(super) fn clean_head(&self, heap: &mut Heap, garbage: &mut Garbage) {
        for _ in 0..4 {
            let Some((_, node)) = heap.root() else { return };
            match node.status() {
                Deleted => self.remove(heap, node, garbage),
                ModifiedEarlier | ModifiedLater => self.settle(heap, node),
                _ => return,
            }
        }
    }

    /// The next piece of Go's `clearDeletedTimers`: looks at `SWEEP` entries and removes the stopped
    /// ones, as far as `garbage` holds them.
    ///
    /// While stopped timers exceed a quarter, each insertion sweeps once and at most one timer is
    /// stopped per insertion. A full round takes `len / 16` insertions and finds everything that was
    /// stopped when it began, so stopped timers stay below about a third.
    ///
    /// From the end to the root: timers that are stopped soon after they were made, as most are, lie
    /// together at the end. There the cursor then stays, and the others, which live, are not looked at:
    /// at a million timers one round over them is 30 ms of cache misses.
    pub(super) fn sweep(&self, heap: &mut Heap, garbage: &mut Garbage) {
        for _ in 0..SWEEP.min(heap.entries.len()) {
            if garbage.is_full() {
                break;
            }
            if heap.cursor == 0 || heap.cursor > heap.entries.len() {
                heap.cursor = heap.entries.len();
            }
            let next = heap.cursor.saturating_sub(1);
            let Some(node) = heap.nth(next) else { break };
            if node.status() == Deleted {
                // The last entry takes its place, and is looked at next.
                self.remove(heap, node, garbage);
            } else {
                heap.cursor = next;
            }
        }
    }
}

#[cold]
pub(super) fn corrupt(status: Status) -> ! {
    panic!("timer data corruption: {status:?} in a heap");
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::heap::{Handle, Status, Timers};
    use crate::{Armed, Callback};

    fn timers(heap: &Timers, whens: core::ops::Range<i64>) -> Vec<Handle> {
        let insert = |when| heap.insert(when, 0, Callback::none()).0;
        whens.map(insert).collect()
    }

    /// R60: once stopped timers exceed a quarter, a check clears some though nothing is due.
    #[test]
    fn r60_a_check_leaves_at_most_a_quarter_stopped() {
        let heap = Timers::new();
        let all = timers(&heap, 100..200);
        assert!(all[70..].iter().all(Handle::stop));
        assert_eq!(heap.len(), 100);
        assert_eq!(heap.check(0), (100, 0));
        assert!(heap.len() - 70 <= heap.len() / 4, "{}", heap.len());
    }

    /// R60: so does an insertion, and it does not work around a stopped root.
    #[test]
    fn r60_an_insertion_clears_stopped_timers() {
        let heap = Timers::new();
        let all = timers(&heap, 100..200);
        assert!(all[60..].iter().all(Handle::stop));
        let _one = timers(&heap, 300..301);
        assert!(heap.len() < 100, "{}", heap.len());

        let heap = Timers::new();
        let all = timers(&heap, 10..20);
        assert!(all[0].stop());
        assert_eq!(heap.next_when(), 10);
        let _late = timers(&heap, 30..31);
        assert_eq!(heap.next_when(), 11);
    }

    /// Who waits is woken for an earlier deadline alone, not for one that it waits for anyway.
    #[test]
    fn only_an_earlier_deadline_is_the_earliest() {
        let heap = Timers::new();
        let earliest = |when| heap.insert(when, 0, Callback::none());
        let (_first, woken) = earliest(50);
        assert!(woken);
        let (second, woken) = earliest(50);
        assert!(!woken);
        let (third, woken) = earliest(90);
        assert!(!woken);
        let armed = |earliest| Armed {
            was_pending: true,
            earliest,
        };
        assert_eq!(heap.reset(&second, 50), armed(false));
        assert_eq!(second.status(), Status::ModifiedLater, "it lies right");
        assert_eq!(heap.reset(&third, 60), armed(false), "not before the root");
        assert_eq!(heap.reset(&third, 40), armed(true));
        assert_eq!(heap.reset(&third, 40), armed(false));

        let (old, new) = (Timers::new(), Timers::new());
        let _same = (timers(&old, 7..8), timers(&new, 7..8));
        assert!(!new.adopt(&old));
    }

    /// Stopped timers at the end of a dying heap do not hide those before them.
    #[test]
    fn r60_a_heap_of_mostly_stopped_timers_is_moved_whole() {
        let (old, new) = (Timers::new(), Timers::new());
        let all = timers(&old, 10..40);
        assert!(all[1..].iter().all(Handle::stop));
        assert!(new.adopt(&old));
        assert_eq!((old.len(), new.len(), new.next_when()), (0, 1, 10));
    }

    /// Whoever moves many timers to earlier deadlines pays for it, not the next check.
    #[test]
    fn r61_many_resets_to_earlier_put_the_heap_right_themselves() {
        let heap = Timers::new();
        let all = timers(&heap, 1_000..2_000);
        for (when, timer) in (1..).zip(&all) {
            let _ = heap.reset(timer, when);
            assert!(!heap.shared.modified.is_long());
        }
        assert_eq!(heap.check(1_000).1, 1_000);
    }
}
