//! The soft memory limit: Go's `SetMemoryLimit`, and what bounds its price, `mgclimit.go` (1.19 on).
//!
//! What the heap occupies grows when pages are taken that occupied nothing. Over the limit, whoever takes such
//! pages gives as many free ones back at once; the rest of what is free goes back at the scavenger's pace. Pages
//! that are taken as they were left cost nothing here, so a program that uses more than the limit by itself
//! goes on as before where it uses the same pages again.
//!
//! Where it does not, for the runs that are free are too short for what it asks next, a page that was given back
//! must be faulted in again, and a loop of that took twelve times as long. Go bounds the CPU time of its collector
//! to a half, and keeps the limit no longer when that is used up. Here pages are counted, so that it does not
//! depend on the machine: in the long run at most an eighth of those taken are given back, and as many as the
//! limit is at once, which is as much as a program that turns to other sizes must give back.

use crate::mheap::{HEAP, Heap};
use crate::scavenge::{self, STEP};
use crate::sizeclass::PAGE_SIZE;
use crate::slot;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Of so many pages taken one may be given back.
const SHARE: usize = 8;

/// Soft limit in bytes; `usize::MAX` for none.
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// What allocations took, and what they may give back. Pages; the heap's, under its lock.
#[derive(Debug)]
pub(crate) struct Account {
    /// Taken since the last look, all and those that occupied no memory before.
    taken: usize,
    grown: usize,
    /// Below zero if more than was due has been given back, for the edge of a huge page.
    credit: isize,
}

impl Account {
    pub(crate) const fn new() -> Self {
        Self {
            taken: 0,
            grown: 0,
            credit: 0,
        }
    }

    /// `n` pages were taken, of which `grown` occupied nothing.
    pub(crate) fn took(&mut self, n: usize, grown: usize) {
        // Without a limit nobody looks, and the sums mean nothing.
        self.taken = self.taken.saturating_add(n);
        self.grown = self.grown.saturating_add(grown);
    }

    /// Begins anew under a limit of `limit` pages.
    fn reset(&mut self, limit: usize) {
        *self = Self::new();
        self.credit = most(limit);
    }

    /// How many of the `over` pages beyond a limit of `limit` are to be given back now.
    fn due(&mut self, over: usize, limit: usize) -> usize {
        let earned = (self.taken / SHARE).cast_signed();
        self.credit = self.credit.saturating_add(earned).min(most(limit));
        self.taken %= SHARE;
        let grown = core::mem::take(&mut self.grown);
        over.min(grown).min(self.credit.max(0).cast_unsigned())
    }

    fn gave_back(&mut self, n: usize) {
        self.credit -= n.cast_signed();
    }
}

/// Most pages that may be given back at once.
fn most(limit: usize) -> isize {
    limit.max(STEP).cast_signed()
}

/// Pages beyond the limit.
pub(crate) fn over(heap: &Heap) -> usize {
    let occupied = (heap.used + heap.free_dirty) * PAGE_SIZE + heap.huge_bytes;
    occupied
        .saturating_sub(LIMIT.load(Ordering::Relaxed))
        .div_ceil(PAGE_SIZE)
}

/// Sets the limit; returns the old one, and the pages that the heap is over it.
pub(crate) fn set(bytes: usize) -> (usize, usize) {
    let mut heap = HEAP.lock();
    let old = LIMIT.swap(bytes, Ordering::Relaxed);
    heap.account.reset(bytes / PAGE_SIZE);
    (old, over(&heap))
}

/// After memory was taken: keeps the limit.
pub(crate) fn after_alloc() {
    let limit = LIMIT.load(Ordering::Relaxed);
    if limit == usize::MAX {
        return;
    }
    let due = {
        let mut heap = HEAP.lock();
        let over = over(&heap);
        heap.account.due(over, limit / PAGE_SIZE)
    };
    if due > 0 {
        let n = give_back(due);
        HEAP.lock().account.gave_back(n);
    }
}

/// About `n` free pages, those on shelves if there are no others.
fn give_back(n: usize) -> usize {
    let any = || {
        let heap = HEAP.lock();
        heap.free_dirty > heap.stuck
    };
    if !any() {
        slot::clear_shelves();
    }
    if any() { scavenge::scavenge(n) } else { 0 }
}

/// Sets the soft limit on the memory the heap occupies, in bytes; `usize::MAX` for none. Returns
/// the old one.
///
/// What is free beyond it goes back at once. Above it, an allocation that makes the heap occupy more gives as much
/// free memory back, and the scavenger gives back the rest. What is in use is never refused, and keeping the limit
/// may not cost more than it is worth: in the long run allocations give back at most an eighth of the pages that they
/// take, besides once the limit itself, and the heap may pass it where that is not enough.
///
/// The environment variable `GALLOC_MEMORY_LIMIT` sets it too (`512MiB`); what the program says here later, or before
/// its first object, counts.
///
/// ```
/// assert_eq!(galloc::set_memory_limit(512 << 20), usize::MAX);
/// assert_eq!(galloc::set_memory_limit(usize::MAX), 512 << 20);
/// ```
pub fn set_memory_limit(bytes: usize) -> usize {
    slot::ensure_set_up();
    let (old, over) = set(bytes);
    if over > 0 {
        give_back(over);
    }
    old
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_paid_for_at_once_and_what_does_not_never() {
        let mut a = Account::new();
        a.reset(10_000);
        a.took(500, 300);
        assert_eq!(a.due(1000, 10_000), 300);
        a.took(500, 300);
        assert_eq!(a.due(200, 10_000), 200, "no more than it is over");
        a.took(500, 0);
        assert_eq!(a.due(1000, 10_000), 0, "pages taken as they were left");
        assert_eq!(a.due(1000, 10_000), 0, "nothing taken");
    }

    #[test]
    fn in_the_long_run_an_eighth_goes_back() {
        for limit in [0, 1000, 50_000] {
            let mut a = Account::new();
            a.reset(limit);
            let (mut taken, mut given) = (0, 0);
            for i in 0..100_000 {
                let n = 1 + i % 100;
                a.took(n, n);
                taken += n;
                let due = a.due(usize::MAX, limit);
                // As `scavenge`, which goes on to the edge of a huge page.
                let gives = if due > 0 { due + i % 256 } else { 0 };
                a.gave_back(gives);
                given += gives;
                let allowed = limit.max(STEP) + taken / SHARE;
                assert!(given <= allowed + 256);
            }
            assert!(given >= taken / SHARE, "all that is allowed");
        }
    }

    #[test]
    fn credit_is_bounded_by_the_limit() {
        let mut a = Account::new();
        a.reset(2000);
        a.took(usize::MAX, 0);
        assert_eq!(a.due(0, 2000), 0);
        a.took(5000, 5000);
        assert_eq!(a.due(5000, 2000), 2000);
        a.took(usize::MAX, usize::MAX);
        a.reset(0);
        a.took(5000, 5000);
        assert_eq!(a.due(5000, 0), STEP);
    }
}
