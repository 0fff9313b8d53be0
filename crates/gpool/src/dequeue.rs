//! `poolDequeue`: a fixed ring with one producer and many consumers (R114, R115).
//!
//! Re-creates `poolDequeue` of Go 1.27's `sync/poolqueue.go`. The producer pushes and pops at the
//! head, as on a stack; anybody pops at the tail, as from a queue.
//!
//! ```text
//!             tail                 head
//!              v                    v
//!   | free | free | item | item | free | free |        index & (size - 1) names the slot
//!      ^
//!      a consumer that has moved `tail` on may still be reading here, until it clears `full`
//! ```
//!
//! Invariants
//! - `head` and `tail` are u32 counters that wrap, packed in one word (`head` high), and
//!   `head - tail <= size`. Sizes are powers of two up to 2^30, so that the difference of two
//!   wrapped counters is never ambiguous.
//! - Slots in `[tail, head)` belong to whoever moves the word past them by compare-and-swap. A slot
//!   outside belongs to the producer once its `full` is false.
//!
//! Memory ordering
//! - Push writes the item, then adds to the word with Release; a consumer's compare-and-swap
//!   acquires it. Every other write of the word is a read-modify-write, so it stays in the release
//!   sequence of that push however many pops come between.
//! - A consumer clears `full` with Release once it has moved the item out; push loads it with
//!   Acquire before it writes there again. The move of `tail` itself publishes nothing.
//! - The producer's own pop takes back a slot that it wrote itself: Relaxed.
//!
//! A stale (head, tail) whose counters came round to the same values is harmless: nothing is read
//! from a slot before the compare-and-swap has taken it.
//!
//! Rejected: a sequence number per slot (Vyukov's ring), which gives many producers that nobody
//! needs here and cannot pop at the head; a Chase-Lev deque, whose buffers need reclamation while
//! in use and whose owner pays a full fence for each pop.

use core::mem::MaybeUninit;

use crate::sync::{AtomicBool, AtomicU64, Ordering, UnsafeCell};

/// One place for one item. Who may touch it is the affair of whoever holds it.
pub(crate) struct Cell<T> {
    /// Whether `item` is initialised. In a ring: set by the producer, cleared by who takes the
    /// item. As a shard's `private`: written by the slot's thread alone.
    full: AtomicBool,
    item: UnsafeCell<MaybeUninit<T>>,
}

impl<T> Cell<T> {
    pub(crate) fn empty() -> Self {
        Self {
            full: AtomicBool::new(false),
            item: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    #[inline(always)]
    pub(crate) fn is_full(&self, order: Ordering) -> bool {
        self.full.load(order)
    }

    /// Fills the cell.
    ///
    /// # Safety
    /// The caller owns the cell, and it is empty.
    #[inline(always)]
    pub(crate) unsafe fn fill(&self, item: T) {
        self.item.with_mut(|p| {
            // SAFETY: the caller owns the cell, so nobody else reads or writes it; it is empty, so
            // no item is overwritten without being dropped.
            unsafe { p.write(MaybeUninit::new(item)) }
        });
        // Release for a fork in between: the child must not find the cell full before it is (`Slots::forget_pins`).
        self.full.store(true, Ordering::Release);
    }

    /// Empties the cell.
    ///
    /// # Safety
    /// The caller owns the cell, and it is full.
    #[inline(always)]
    pub(crate) unsafe fn empty_out(&self) -> T {
        let item = self.item.with_mut(|p| {
            // SAFETY: the caller owns a full cell: the item is initialised, and clearing `full`
            // below makes this the only copy.
            unsafe { p.read().assume_init() }
        });
        self.full.store(false, Ordering::Release);
        item
    }
}

/// The largest ring, a quarter of the counters' range.
pub(crate) const LIMIT: usize = 1 << 30;

const HEAD: u64 = 1 << 32;

fn pack(head: u32, tail: u32) -> u64 {
    (u64::from(head) << 32) | u64::from(tail)
}

fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

pub(crate) struct Dequeue<T> {
    /// Head counter in the high half, written by the producer; tail counter in the low half,
    /// written by consumers.
    head_tail: AtomicU64,
    /// As many cells as a power of two. Fixed for life.
    cells: Box<[Cell<T>]>,
}

// SAFETY: an item moves in on one thread and out on another, which `T: Send` allows; no two threads
// ever hold a reference to the same item (see the invariants).
unsafe impl<T: Send> Send for Dequeue<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Dequeue<T> {}

impl<T> Dequeue<T> {
    /// An empty ring of `size` cells, a power of two up to [`LIMIT`]; `None` without memory.
    pub(crate) fn try_new(size: usize) -> Option<Self> {
        debug_assert!(size.is_power_of_two() && size <= LIMIT);
        let mut cells = Vec::new();
        cells.try_reserve_exact(size).ok()?;
        cells.resize_with(size, Cell::empty);
        Some(Self {
            head_tail: AtomicU64::new(0),
            cells: cells.into_boxed_slice(),
        })
    }

    pub(crate) fn size(&self) -> usize {
        self.cells.len()
    }

    /// Items inside: exact for the producer while no consumer is at work, else a moment's truth.
    pub(crate) fn len(&self) -> usize {
        let (head, tail) = unpack(self.head_tail.load(Ordering::Relaxed));
        head.wrapping_sub(tail) as usize
    }

    #[inline]
    fn cell(&self, index: u32) -> &Cell<T> {
        &self.cells[index as usize & (self.cells.len() - 1)]
    }

    /// Pushes at the head, or hands the item back when the ring is full. O(1).
    ///
    /// # Safety
    /// The caller is the only producer.
    #[inline]
    pub(crate) unsafe fn push_head(&self, item: T) -> Result<(), T> {
        let (head, tail) = unpack(self.head_tail.load(Ordering::Relaxed));
        if head.wrapping_sub(tail) as usize == self.size() {
            return Err(item);
        }
        let cell = self.cell(head);
        // A consumer that moved the tail past this cell may not be done with it.
        if cell.is_full(Ordering::Acquire) {
            return Err(item);
        }
        // SAFETY: the cell is outside [tail, head) and not full: it is the producer's, and empty.
        unsafe { cell.fill(item) };
        self.head_tail.fetch_add(HEAD, Ordering::Release);
        Ok(())
    }

    /// Pops what was pushed last. O(1) unless consumers interfere.
    ///
    /// # Safety
    /// The caller is the only producer.
    #[inline]
    pub(crate) unsafe fn pop_head(&self) -> Option<T> {
        let mut word = self.head_tail.load(Ordering::Relaxed);
        loop {
            let (head, tail) = unpack(word);
            if head == tail {
                return None;
            }
            let head = head.wrapping_sub(1);
            let new = pack(head, tail);
            match self.head_tail.compare_exchange_weak(
                word,
                new,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                // SAFETY: the exchange took the cell out of [tail, head), and only the producer
                // fills cells, so this one still holds what it pushed there.
                Ok(_) => return Some(unsafe { self.cell(head).empty_out() }),
                Err(seen) => word = seen,
            }
        }
    }

    /// Pops what was pushed first. Any thread, at any time. Lock-free.
    pub(crate) fn pop_tail(&self) -> Option<T> {
        let mut word = self.head_tail.load(Ordering::Relaxed);
        loop {
            let (head, tail) = unpack(word);
            if head == tail {
                return None;
            }
            let new = pack(head, tail.wrapping_add(1));
            match self.head_tail.compare_exchange_weak(
                word,
                new,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                // SAFETY: the exchange took the cell out of [tail, head) for this thread; the
                // producer does not touch it before `full` is cleared, and the Acquire shows
                // the item that was pushed.
                Ok(_) => return Some(unsafe { self.cell(tail).empty_out() }),
                Err(seen) => word = seen,
            }
        }
    }
}

// Items left inside are dropped by the chain that owns the ring, which can go on after a panic.

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool as Flag, AtomicUsize};

    fn ring(size: usize, start: u32) -> Dequeue<u64> {
        let ring = Dequeue::try_new(size).unwrap();
        ring.head_tail.store(pack(start, start), Ordering::Relaxed);
        ring
    }

    #[test]
    fn r114_head_is_a_stack_and_tail_a_queue_across_the_wrap_of_the_counters() {
        for start in [0, 1, u32::MAX - 5, u32::MAX] {
            let ring = ring(8, start);
            // SAFETY: this thread is the only producer.
            unsafe {
                for round in 0..20 {
                    for i in 0..8 {
                        ring.push_head(round * 10 + i).unwrap();
                    }
                    assert_eq!(ring.push_head(99), Err(99), "full at {start}");
                    assert_eq!(ring.len(), 8);
                    assert_eq!(ring.pop_head(), Some(round * 10 + 7));
                    assert_eq!(ring.pop_tail(), Some(round * 10));
                    for i in 1..7 {
                        assert_eq!(ring.pop_tail(), Some(round * 10 + i));
                    }
                    assert_eq!(ring.pop_head(), None);
                    assert_eq!(ring.pop_tail(), None);
                }
            }
        }
    }

    /// Go's TestPoolDequeue: one producer that also pops, ten consumers, each item out once.
    #[test]
    fn r114_a_producer_and_ten_consumers_see_each_item_once() {
        const ITEMS: usize = 100_000;
        let ring = ring(16, u32::MAX - 50_000);
        let seen: Vec<AtomicUsize> = (0..ITEMS).map(|_| AtomicUsize::new(0)).collect();
        let done = Flag::new(false);
        let mark = |i: u64| seen[usize::try_from(i).unwrap()].fetch_add(1, Ordering::Relaxed);
        std::thread::scope(|s| {
            for _ in 0..10 {
                s.spawn(|| {
                    loop {
                        let last = done.load(Ordering::Acquire);
                        match ring.pop_tail() {
                            Some(i) => {
                                mark(i);
                            }
                            None if last => break,
                            None => std::thread::yield_now(),
                        }
                    }
                });
            }
            for mut i in 0..ITEMS as u64 {
                // SAFETY: this thread is the only producer.
                while let Err(back) = unsafe { ring.push_head(i) } {
                    i = back;
                    std::thread::yield_now();
                }
                if i % 10 == 0 {
                    // SAFETY: as above.
                    if let Some(i) = unsafe { ring.pop_head() } {
                        mark(i);
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

    /// The producer pushes three into two cells and pops; two consumers steal. Each item once.
    #[test]
    fn loom_ring_hands_each_item_out_once() {
        loom::model(|| {
            let ring = Arc::new(Dequeue::<u32>::try_new(2).unwrap());
            ring.head_tail
                .store(pack(u32::MAX, u32::MAX), Ordering::Relaxed);
            let steal = |ring: &Arc<Dequeue<u32>>| {
                let ring = ring.clone();
                loom::thread::spawn(move || ring.pop_tail())
            };
            let (a, b) = (steal(&ring), steal(&ring));
            let mut out = Vec::new();
            for i in 1..=3 {
                // SAFETY: this thread is the only producer.
                if let Err(i) = unsafe { ring.push_head(i) } {
                    out.push(i);
                }
            }
            // SAFETY: as above.
            out.extend(unsafe { ring.pop_head() });
            out.extend(a.join().unwrap());
            out.extend(b.join().unwrap());
            while let Some(i) = ring.pop_tail() {
                out.push(i);
            }
            out.sort_unstable();
            assert_eq!(out, [1, 2, 3]);
        });
    }
}
