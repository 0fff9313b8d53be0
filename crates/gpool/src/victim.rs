//! Ageing: the victim cache, and whatever else needs a pool to itself for a moment.
//!
//! Re-creates `poolCleanup` of Go 1.27's `sync/pool.go` (R109, R117), which runs with the world
//! stopped at the start of a collection: victims are dropped, this cycle's shards become victims.
//! An item that nobody uses is gone after two ages; one that is used moves back on its next put.
//! Nothing is swapped on a hit: the victim is only looked at when the shards had nothing.
//!
//! Here there is no world to stop, so one pool is stopped instead: under `lock` both pointers go to
//! null, and `Slots::quiesce` waits for the few instructions that anybody may still be inside.
//! Growth and shrinking use the same stop. Arrays and items are made and dropped outside the lock
//! and unpinned, so an item's `Drop` may use the pool, or panic.
//!
//! Rejected: copying items from the shards to the victim (linear; the pointers move in O(1));
//! leaving the old array behind when slots grow, as Go does (its collector sweeps up, and the items
//! are lost).

use core::ptr;

use crate::locals::Locals;
use crate::pin::Slots;
use crate::shards::Shards;
use crate::sync::{MutexGuard, Ordering};

/// A pool that nobody else is inside of. Both arrays are this value's until it is dropped, which
/// opens the pool again with what is in them.
struct Stopped<'a, T> {
    pool: &'a Shards<T>,
    locals: Option<Box<Locals<T>>>,
    victim: Option<Box<Locals<T>>>,
    _lock: MutexGuard<'a, ()>,
}

impl<T> Drop for Stopped<'_, T> {
    fn drop(&mut self) {
        let raw = |b: &mut Option<Box<Locals<T>>>| b.take().map_or(ptr::null_mut(), Box::into_raw);
        self.pool
            .victim
            .store(raw(&mut self.victim), Ordering::Release);
        self.pool
            .locals
            .store(raw(&mut self.locals), Ordering::Release);
    }
}

/// What an age took out of a pool.
pub(crate) struct Aged<T> {
    /// Items among it.
    pub(crate) out: usize,
    _victim: Option<Box<Locals<T>>>,
    /// This cycle's array, if it was empty.
    _empty: Option<Box<Locals<T>>>,
}

impl<T> Shards<T> {
    /// Stops the pool. `None`, with nothing changed, if the kernel refuses the barrier.
    fn stop(&self, slots: &Slots) -> Option<Stopped<'_, T>> {
        self.stop_locked(self.lock.lock(), slots)
    }

    fn stop_locked<'a>(
        &'a self,
        lock: MutexGuard<'a, ()>,
        slots: &Slots,
    ) -> Option<Stopped<'a, T>> {
        let locals = self.locals.load(Ordering::Relaxed);
        let victim = self.victim.load(Ordering::Relaxed);
        self.locals.store(ptr::null_mut(), Ordering::Relaxed);
        self.victim.store(ptr::null_mut(), Ordering::Relaxed);
        let empty = locals.is_null() && victim.is_null();
        if !empty && !slots.quiesce(self.address()) {
            self.victim.store(victim, Ordering::Release);
            self.locals.store(locals, Ordering::Release);
            return None;
        }
        let own = |p: *mut Locals<T>| {
            // SAFETY: the pointer came from a box; the pool no longer holds it, writers of the
            // pointers are kept out by the lock, and everybody who was inside has left.
            (!p.is_null()).then(|| unsafe { Box::from_raw(p) })
        };
        Some(Stopped {
            pool: self,
            locals: own(locals),
            victim: own(victim),
            _lock: lock,
        })
    }

    /// One age: the victim is handed out, to be dropped by the caller; the shards become victim, or
    /// are handed out too if they hold nothing that anybody could find there.
    #[must_use = "dropping it drops the items"]
    pub(crate) fn age(&self, slots: &Slots) -> Option<Aged<T>> {
        let mut stopped = self.stop(slots)?;
        let old = stopped.victim.take();
        let locals = stopped.locals.take();
        let (kept, empty) = match locals {
            Some(locals) if locals.is_empty() => (None, Some(locals)),
            locals => (locals, None),
        };
        stopped.victim = kept;
        self.drained.store(false, Ordering::Relaxed);
        drop(stopped);
        let out = old.as_ref().map_or(0, |l| l.len());
        self.counters.ages.fetch_add(1, Ordering::Relaxed);
        self.counters
            .aged_out
            .fetch_add(out as u64, Ordering::Relaxed);
        Some(Aged {
            out,
            _victim: old,
            _empty: empty,
        })
    }

    /// Makes sure that the array reaches to slot `id`. False without memory, or without barrier.
    ///
    /// Where another thread's growth was enough, the pool is not stopped: whoever puts meanwhile would find no array,
    /// and come here in turn, and so on.
    pub(crate) fn grow(&self, slots: &Slots, id: usize) -> bool {
        let Some(mut new) = Locals::try_new(id) else {
            return false;
        };
        let old = {
            let lock = self.lock.lock();
            // SAFETY: arrays leave the pointer only under the lock, which is held.
            let now = unsafe { self.locals.load(Ordering::Relaxed).as_ref() };
            if now.is_some_and(|l| l.reaches(id)) {
                drop(lock); // before `new`, whose memory goes back to an allocator
                return true;
            }
            let Some(mut stopped) = self.stop_locked(lock, slots) else {
                return false;
            };
            let mut old = stopped.locals.take();
            if let Some(old) = &mut old {
                new.adopt(old);
            }
            stopped.locals = Some(new);
            old
        };
        drop(old); // no shards
        true
    }

    /// Takes items out until at most `keep` are left: victims first, then the oldest.
    ///
    /// Returns as many as found room in `out`, whose capacity was reserved beforehand, because no
    /// allocator runs under the lock. True if that was enough.
    pub(crate) fn shrink(&self, slots: &Slots, keep: usize, out: &mut Vec<T>) -> bool {
        let Some(mut stopped) = self.stop(slots) else {
            return true;
        };
        let len = |l: &Option<Box<Locals<T>>>| l.as_ref().map_or(0, |l| l.len());
        let mut surplus = (len(&stopped.victim) + len(&stopped.locals)).saturating_sub(keep);
        while surplus > 0 && out.len() < out.capacity() {
            let Stopped { victim, locals, .. } = &mut stopped;
            let item = [victim, locals]
                .into_iter()
                .flatten()
                .find_map(|l| l.take_any());
            out.extend(item);
            surplus -= 1;
        }
        surplus == 0
    }

    /// Slots, items in the shards, items in the victim. O(slots + rings), under the lock.
    pub(crate) fn census(&self) -> (usize, usize, usize) {
        let _lock = self.lock.lock();
        // SAFETY: arrays leave the pointers only under the lock, which is held.
        let locals = unsafe { self.locals.load(Ordering::Acquire).as_ref() };
        // SAFETY: as above.
        let victim = unsafe { self.victim.load(Ordering::Acquire).as_ref() };
        (
            locals.map_or(0, Locals::shards),
            locals.map_or(0, Locals::len),
            victim.map_or(0, Locals::len),
        )
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::barrier::Barrier;
    use crate::pin::{Leased, Slots};
    use crate::shards::Shards;

    /// What several threads ask for at once is done once. Were the pool stopped again, this would wait for the thread
    /// inside of it, which is this one.
    #[test]
    fn growth_that_came_before_does_not_stop_the_pool_again() {
        let slots = Slots::new(Barrier::Full);
        let pool = Shards::<u64>::new(usize::MAX);
        assert!(pool.grow(&slots, 20));
        // SAFETY: this thread alone has the record, and the table's pins are full.
        let inside = unsafe { Leased::new(slots.lease(), Barrier::Full) }.pin(pool.address());
        assert!(pool.grow(&slots, 0));
        assert!(pool.grow(&slots, 20));
        drop(inside);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::barrier::Barrier;
    use crate::chain::Spare;
    use crate::locals::Local;
    use crate::pin::{Leased, Record};
    use crate::shards::{Missing, Spares};
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;

    /// An item that counts its drops.
    struct Item(Arc<AtomicUsize>);

    impl Drop for Item {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn leased(record: &'static Record) -> Leased<'static> {
        // SAFETY: every model's thread has a record to itself, and pins are full.
        unsafe { Leased::new(record, Barrier::Full) }
    }

    /// As `Pool::put`.
    fn put(pool: &Shards<Item>, slots: &Slots, record: &'static Record, item: Item) {
        let full = pool.put_private(leased(record), item);
        let Some(mut item) = full.and_then(|(pinned, item)| pool.put_shared(pinned, item)) else {
            return;
        };
        let mut spares = Spares::none();
        while let Err((back, missing)) = pool.put(leased(record), item, &mut spares) {
            item = back;
            match missing {
                Missing::Place(id) => assert!(pool.grow(slots, id)),
                Missing::Local => spares.local = Local::try_new(),
                Missing::Ring(size) => spares.ring = Spare::try_new(size),
                Missing::Room => unreachable!("no limit"),
            }
        }
    }

    /// The owner takes and puts its private item while an ager drops what is two ages old: loom
    /// checks every access to the items, the count checks that each is dropped once.
    #[test]
    fn loom_ager_waits_for_the_pinned_owner() {
        loom::model(|| {
            let slots = Arc::new(Slots::new(Barrier::Full));
            let pool = Arc::new(Shards::new(usize::MAX));
            let drops = Arc::new(AtomicUsize::new(0));
            let record = slots.lease();
            put(&pool, &slots, record, Item(drops.clone()));
            let ager = {
                let (pool, slots) = (pool.clone(), slots.clone());
                loom::thread::spawn(move || {
                    drop(pool.age(&slots));
                    drop(pool.age(&slots));
                })
            };
            if let Some(item) = pool.get(leased(record)) {
                drop(item);
            }
            ager.join().unwrap();
            assert_eq!(drops.load(Ordering::Relaxed), 1);
            drop(pool);
            assert_eq!(drops.load(Ordering::Relaxed), 1);
        });
    }

    /// A second slot makes the array grow while the first takes its item out of the old one: the
    /// item is neither lost nor there twice.
    #[test]
    fn loom_growth_keeps_items_in_use() {
        loom::model(|| {
            let slots = Arc::new(Slots::new(Barrier::Full));
            let pool = Arc::new(Shards::new(usize::MAX));
            let drops = Arc::new(AtomicUsize::new(0));
            let first = slots.lease();
            put(&pool, &slots, first, Item(drops.clone()));
            let grower = {
                let (pool, slots) = (pool.clone(), slots.clone());
                loom::thread::spawn(move || assert!(pool.grow(&slots, 4)))
            };
            let got = pool.get(leased(first));
            grower.join().unwrap();
            let late = pool.get(leased(first));
            assert_eq!(usize::from(got.is_some()) + usize::from(late.is_some()), 1);
            drop((got, late));
            assert_eq!(drops.load(Ordering::Relaxed), 1);
        });
    }

    /// A thief looks while the owner's first puts install a shard and its ring: it finds an item that is
    /// all there, or none.
    #[test]
    fn loom_thief_meets_a_new_shard() {
        loom::model(|| {
            let slots = Arc::new(Slots::new(Barrier::Full));
            let pool = Arc::new(Shards::new(usize::MAX));
            let drops = Arc::new(AtomicUsize::new(0));
            let (owner, thief) = (slots.lease(), slots.lease());
            assert!(pool.grow(&slots, 1));
            let stolen = {
                let pool = pool.clone();
                loom::thread::spawn(move || drop(pool.get(leased(thief))))
            };
            for _ in 0..2 {
                put(&pool, &slots, owner, Item(drops.clone()));
            }
            stolen.join().unwrap();
            let left = pool.census().1;
            assert_eq!(drops.load(Ordering::Relaxed) + left, 2);
            drop(pool);
            assert_eq!(drops.load(Ordering::Relaxed), 2);
        });
    }

    /// A thief pops the tail of a shard that an ager retires and drops.
    #[test]
    fn loom_ager_waits_for_a_thief() {
        loom::model(|| {
            let slots = Arc::new(Slots::new(Barrier::Full));
            let pool = Arc::new(Shards::new(usize::MAX));
            let drops = Arc::new(AtomicUsize::new(0));
            let (owner, thief) = (slots.lease(), slots.lease());
            for _ in 0..2 {
                put(&pool, &slots, owner, Item(drops.clone()));
            }
            let stolen = {
                let pool = pool.clone();
                loom::thread::spawn(move || drop(pool.get(leased(thief))))
            };
            drop(pool.age(&slots));
            drop(pool.age(&slots));
            stolen.join().unwrap();
            assert_eq!(drops.load(Ordering::Relaxed), 2);
        });
    }
}
