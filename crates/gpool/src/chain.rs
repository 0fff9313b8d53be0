//! `poolChain`: a queue of rings, each twice the size of the one before (R113).
//!
//! Re-creates `poolChain` of Go 1.27's `sync/poolqueue.go`. When the head ring is full the producer
//! links a ring of twice the size and pushes only there; consumers drain the tail ring and move on.
//!
//! ```text
//!   first                 tail                      head
//!     v                    v                          v
//!   [ 8 ] --next-->     [ 16 ] --next-->          [ 32 ]
//!   drained, unlinked          <-----------prev---
//! ```
//!
//! Invariants
//! - Only the producer writes `head`, `first` and `next`. `next` goes from null to a ring once.
//! - Consumers alone move `tail`, always forwards, after the first push has set it.
//! - `prev` names an older ring or is null, and what it skips is drained for good: only the head
//!   ring is pushed to, so an older ring that was once empty stays empty. The consumer that moves
//!   `tail` past a ring and the producer that finds one empty both shorten it; when they race, a
//!   drained ring may stay in the way, which costs one look.
//! - Rings live as long as the chain. Where Go's collector frees a drained ring, here it stays
//!   reachable from `first`: a consumer may still look at it. All drained rings together are
//!   smaller than the head ring, so this at most doubles the memory, and ageing frees the chain.
//!
//! Memory ordering: `next` and `tail` are published with Release and read with Acquire, which shows
//! a ring's cells. A consumer reads `next` *before* it tries the ring: if there is a next ring and
//! then the pop finds nothing, nothing can come any more, and the tail may move on. `prev` and
//! `head` are Relaxed: the producer alone follows them, to rings that it made itself.
//!
//! Rings are allocated by the caller, outside the pinned section, and handed in as a [`Spare`]: an
//! allocator is code of the user, and may fail.

use core::ptr;

use crate::dequeue::{Dequeue, LIMIT};
use crate::sync::{AtomicPtr, Ordering};

/// The first ring of a chain; small under loom, so that models reach growth.
pub(crate) const FIRST: usize = if cfg!(loom) { 2 } else { 8 };

struct Elt<T> {
    ring: Dequeue<T>,
    /// The younger ring. Written once, by the producer.
    next: AtomicPtr<Elt<T>>,
    /// The older ring, or null once it is known to be drained.
    prev: AtomicPtr<Elt<T>>,
}

/// A ring that is not part of a chain yet.
pub(crate) struct Spare<T>(Box<Elt<T>>);

impl<T> Spare<T> {
    /// A ring of `size` cells; `None` without memory.
    pub(crate) fn try_new(size: usize) -> Option<Self> {
        let elt = Elt {
            ring: Dequeue::try_new(size)?,
            next: AtomicPtr::new(ptr::null_mut()),
            prev: AtomicPtr::new(ptr::null_mut()),
        };
        try_box(elt).map(Self)
    }
}

/// `Box::new` that fails without memory instead of aborting.
pub(crate) fn try_box<E>(value: E) -> Option<Box<E>> {
    let mut one = Vec::new();
    one.try_reserve_exact(1).ok()?;
    one.push(value);
    let one: *mut [E] = Box::into_raw(one.into_boxed_slice());
    // SAFETY: a box of a slice of one has the layout of a box of that one.
    Some(unsafe { Box::from_raw(one.cast()) })
}

/// What a push wants before it can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NeedsRing(pub(crate) usize);

pub(crate) struct Chain<T> {
    /// The ring to push to; the producer's alone.
    head: AtomicPtr<Elt<T>>,
    /// The ring to steal from; set by the first push, moved on by consumers.
    tail: AtomicPtr<Elt<T>>,
    /// The oldest ring, from which `next` reaches all of them; set by the first push.
    first: AtomicPtr<Elt<T>>,
}

// SAFETY: a chain owns its rings, which are Send and Sync for `T: Send`.
unsafe impl<T: Send> Send for Chain<T> {}
// SAFETY: as above; the producer's fields are behind unsafe functions that demand one producer.
unsafe impl<T: Send> Sync for Chain<T> {}

impl<T> Chain<T> {
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
            tail: AtomicPtr::new(ptr::null_mut()),
            first: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Pushes at the head, or hands the item back where there is no ring yet or the head ring is full. O(1).
    ///
    /// # Safety
    /// The caller is the only producer.
    #[inline]
    pub(crate) unsafe fn push_head(&self, item: T) -> Result<(), T> {
        // SAFETY: `head` is null or a ring of this chain, which lives as long as the chain.
        match unsafe { self.head.load(Ordering::Relaxed).as_ref() } {
            // SAFETY: the caller is the only producer.
            Some(elt) => unsafe { elt.ring.push_head(item) },
            None => Err(item),
        }
    }

    /// Makes the spare ring the head and pushes there: for an item that [`push_head`](Self::push_head) handed
    /// back. Where `spare` holds none that is large enough, hands it back again with the size to bring.
    ///
    /// # Safety
    /// The caller is the only producer.
    #[cold]
    pub(crate) unsafe fn push_new(
        &self,
        item: T,
        spare: &mut Option<Spare<T>>,
    ) -> Result<(), (T, NeedsRing)> {
        let head = self.head.load(Ordering::Relaxed);
        // SAFETY: `head` is null or a ring of this chain, which lives as long as the chain.
        let old = unsafe { head.as_ref() };
        let size = old.map_or(FIRST, |old| (old.ring.size() * 2).min(LIMIT));
        let Some(Spare(elt)) = spare.take_if(|s| s.0.ring.size() >= size) else {
            return Err((item, NeedsRing(size)));
        };
        // SAFETY: nobody else knows the new ring yet, so this thread is its only producer.
        if unsafe { elt.ring.push_head(item) }.is_err() {
            unreachable!("a new ring has room");
        }
        elt.prev.store(head, Ordering::Relaxed);
        let elt = Box::into_raw(elt);
        self.head.store(elt, Ordering::Relaxed);
        match old {
            Some(old) => old.next.store(elt, Ordering::Release),
            None => {
                self.first.store(elt, Ordering::Relaxed);
                self.tail.store(elt, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Pops what was pushed last: O(1) but for rings that consumers have drained.
    ///
    /// # Safety
    /// The caller is the only producer.
    #[inline]
    pub(crate) unsafe fn pop_head(&self) -> Option<T> {
        // SAFETY: `head` is null or a ring of this chain, which lives as long as the chain.
        let head = unsafe { self.head.load(Ordering::Relaxed).as_ref() }?;
        // SAFETY: the caller is the only producer of every ring.
        if let Some(item) = unsafe { head.ring.pop_head() } {
            return Some(item);
        }
        // SAFETY: `prev` is null or a ring of this chain.
        while let Some(older) = unsafe { head.prev.load(Ordering::Relaxed).as_ref() } {
            // SAFETY: the caller is the only producer of every ring.
            if let Some(item) = unsafe { older.ring.pop_head() } {
                return Some(item);
            }
            // Empty, and never pushed to again: skip it from now on.
            head.prev
                .store(older.prev.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        None
    }

    /// Pops what was pushed first. Any thread, at any time. Lock-free.
    pub(crate) fn pop_tail(&self) -> Option<T> {
        let mut at = self.tail.load(Ordering::Acquire);
        loop {
            // SAFETY: `tail` and `next` are null or rings of this chain, which live as long as it.
            let elt = unsafe { at.as_ref() }?;
            let next = elt.next.load(Ordering::Acquire); // before the pop: see the head comment
            if let Some(item) = elt.ring.pop_tail() {
                return Some(item);
            }
            // SAFETY: as above.
            let younger = unsafe { next.as_ref() }?;
            if self
                .tail
                .compare_exchange(at, next, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                younger.prev.store(ptr::null_mut(), Ordering::Relaxed);
            }
            at = next;
        }
    }

    /// Items inside; exact while nobody else is at work. O(rings).
    pub(crate) fn len(&self) -> usize {
        let mut total = 0;
        let mut at = self.tail.load(Ordering::Acquire);
        // SAFETY: `tail` and `next` are null or rings of this chain, which live as long as it.
        while let Some(elt) = unsafe { at.as_ref() } {
            total += elt.ring.len();
            at = elt.next.load(Ordering::Acquire);
        }
        total
    }
}

impl<T> Drop for Chain<T> {
    /// Drops what is inside, and goes on with the rest if an item's `Drop` panics.
    fn drop(&mut self) {
        struct Rest<'a, T>(&'a Chain<T>);
        impl<T> Drop for Rest<'_, T> {
            fn drop(&mut self) {
                while let Some(item) = self.0.pop_tail() {
                    drop(item);
                }
                let mut at = self.0.first.load(Ordering::Relaxed);
                while !at.is_null() {
                    // SAFETY: the chain is being dropped, so nobody looks at its rings; each came
                    // from a box, and `next` visits each once.
                    let elt = unsafe { Box::from_raw(at) };
                    at = elt.next.load(Ordering::Relaxed);
                }
            }
        }
        let rest = Rest(self);
        while let Some(item) = rest.0.pop_tail() {
            drop(item);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool as Flag, AtomicUsize};

    /// Pushes from the one producer, bringing rings as they are asked for; returns their sizes.
    fn push<T>(chain: &Chain<T>, item: T) -> Option<usize> {
        // SAFETY: every test pushes and pops the head from one thread.
        let Err(item) = (unsafe { chain.push_head(item) }) else {
            return None;
        };
        // SAFETY: as above.
        match unsafe { chain.push_new(item, &mut None) } {
            Ok(()) => unreachable!("there is no ring to take"),
            Err((item, NeedsRing(size))) => {
                let mut spare = Spare::try_new(size);
                // SAFETY: as above.
                assert!(unsafe { chain.push_new(item, &mut spare) }.is_ok());
                Some(size)
            }
        }
    }

    #[test]
    fn r113_rings_start_at_8_and_double() {
        let chain = Chain::new();
        let sizes: Vec<_> = (0..100).filter_map(|i| push(&chain, i)).collect();
        assert_eq!(sizes, [8, 16, 32, 64]);
        assert_eq!(chain.len(), 100);
    }

    #[test]
    fn r113_the_head_is_a_stack_and_the_tail_a_queue_across_rings() {
        let chain = Chain::new();
        for i in 0..100 {
            push(&chain, i);
        }
        for i in 0..40 {
            assert_eq!(chain.pop_tail(), Some(i));
        }
        for i in (40..100).rev() {
            // SAFETY: one thread.
            assert_eq!(unsafe { chain.pop_head() }, Some(i));
        }
        // SAFETY: one thread.
        assert_eq!(unsafe { chain.pop_head() }, None);
        assert_eq!(chain.pop_tail(), None);
    }

    #[test]
    fn a_chain_that_is_filled_and_emptied_for_long_stops_growing() {
        let chain = Chain::new();
        let mut rings = 0;
        for round in 0..10_000 {
            for i in 0..100 {
                rings += usize::from(push(&chain, i).is_some());
            }
            for _ in 0..100 {
                let item = if round % 2 == 0 {
                    chain.pop_tail()
                } else {
                    // SAFETY: one thread.
                    unsafe { chain.pop_head() }
                };
                assert!(item.is_some());
            }
        }
        assert!(rings <= 5, "{rings} rings for 100 items");
    }

    /// Go's TestPoolChain: one producer that also pops, ten consumers, each item out once.
    #[test]
    fn r113_a_producer_and_ten_consumers_see_each_item_once() {
        const ITEMS: usize = 100_000;
        let chain = Chain::new();
        let seen: Vec<AtomicUsize> = (0..ITEMS).map(|_| AtomicUsize::new(0)).collect();
        let done = Flag::new(false);
        std::thread::scope(|s| {
            for _ in 0..10 {
                s.spawn(|| {
                    loop {
                        let last = done.load(Ordering::Acquire);
                        match chain.pop_tail() {
                            Some(i) => {
                                let i: usize = i;
                                seen[i].fetch_add(1, Ordering::Relaxed);
                            }
                            None if last => break,
                            None => std::thread::yield_now(),
                        }
                    }
                });
            }
            for i in 0..ITEMS {
                push(&chain, i);
                if i % 10 == 0 {
                    // SAFETY: this thread is the only producer.
                    if let Some(i) = unsafe { chain.pop_head() } {
                        seen[i].fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            done.store(true, Ordering::Release);
        });
        assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 1));
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;

    /// The producer grows the chain while a consumer steals twice. Each item once.
    #[test]
    fn loom_chain_hands_each_item_out_once_while_it_grows() {
        loom::model(|| {
            let chain = Arc::new(Chain::<u32>::new());
            let thief = {
                let chain = chain.clone();
                loom::thread::spawn(move || [chain.pop_tail(), chain.pop_tail()])
            };
            for i in 1..=3 {
                // SAFETY: this thread is the only producer.
                if let Err(i) = unsafe { chain.push_head(i) } {
                    let mut spare = Spare::try_new(FIRST * 2);
                    // SAFETY: as above.
                    assert!(unsafe { chain.push_new(i, &mut spare) }.is_ok());
                }
            }
            // SAFETY: as above.
            let mut out: Vec<_> = unsafe { [chain.pop_head(), chain.pop_head()] }
                .into_iter()
                .flatten()
                .collect();
            out.extend(thief.join().unwrap().into_iter().flatten());
            while let Some(i) = chain.pop_tail() {
                out.push(i);
            }
            out.sort_unstable();
            assert_eq!(out, [1, 2, 3]);
        });
    }
}
