//! The local run queue of a P: a ring of 256 and the slot `runnext` (R22, R24).
//!
//! Re-creates `runqput`, `runqget`, `runqgrab` and `runqputslow` of Go 1.19's `proc.go`.
//!
//! One *owner* (the M that holds the P, inside its bracket) puts at the tail and gets at the head;
//! any number of *thieves* take from the head. `head` and `tail` count for ever and wrap at 2^32;
//! their difference is the length.
//!
//! Invariants
//! - `tail` is written by the owner only; `head` moves only forwards, and by compare-exchange unless there is nobody but
//!   the owner.
//! - `tail - head <= N`: the owner puts only after it has seen room, and `head` only grows.
//! - A slot is written only by the owner and only outside `head..tail`. A thief reads slots first
//!   and takes them by moving `head` afterwards; if `head` moved meanwhile, what it read is void.
//! - Only the owner makes `runnext` non-null, so filling an empty one needs no read-modify-write.
//!   Thieves may empty it, so emptying and replacing it do.
//!
//! Ordering: an item is published by the release store of `tail` (or of `runnext`) and taken
//! behind an acquire load of it; a slot is handed back for reuse by the release in `head`'s
//! compare-exchange, which the owner's acquire load of `head` sees.
//!
//! Rejected: a `runnext` that only its owner may touch, which saves an atomic per switch but lets a
//! goroutine that computes hold its successor back while other Ps idle.

use crate::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Slots of the ring; shrunk under loom so that it wraps within a model.
pub(crate) const LEN: usize = if cfg!(loom) { 4 } else { 256 };

const MASK: u32 = LEN as u32 - 1;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct RunQueue<T> {
    head: AtomicU32,
    tail: AtomicU32,
    next: AtomicPtr<T>,
    /// How often `next` was filled. By the owner; a thief takes from it that the owner goes on.
    nexts: AtomicU32,
    ring: [AtomicPtr<T>; LEN],
}

impl<T> RunQueue<T> {
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            next: AtomicPtr::new(core::ptr::null_mut()),
            nexts: AtomicU32::new(0),
            ring: core::array::from_fn(|_| AtomicPtr::new(core::ptr::null_mut())),
        }
    }

    /// Items in the ring, `runnext` apart. Exact for the owner, a guess for others.
    #[inline]
    pub(crate) fn ring_len(&self) -> u32 {
        let head = self.head.load(Ordering::Acquire);
        self.tail.load(Ordering::Acquire).wrapping_sub(head)
    }

    /// Whether there is nothing, `runnext` included, at one moment.
    ///
    /// As in Go's `runqempty`: an owner that kicks `runnext` out puts it in the ring afterwards, so
    /// the three loads count only if `tail` has not moved between them.
    pub(crate) fn is_empty(&self) -> bool {
        loop {
            let head = self.head.load(Ordering::Acquire);
            let tail = self.tail.load(Ordering::Acquire);
            let next = self.next.load(Ordering::Acquire);
            if tail == self.tail.load(Ordering::Acquire) {
                return head == tail && next.is_null();
            }
        }
    }

    /// Makes `item` the next to run; what was next comes back, to be put at the tail. By the owner.
    #[inline]
    pub(crate) fn put_next(&self, item: *mut T) -> *mut T {
        let nexts = self.nexts.load(Ordering::Relaxed).wrapping_add(1);
        self.nexts.store(nexts, Ordering::Relaxed);
        if self.next.load(Ordering::Relaxed).is_null() {
            self.next.store(item, Ordering::Release);
            return core::ptr::null_mut();
        }
        self.next.swap(item, Ordering::AcqRel)
    }

    /// Puts at the tail; false if the ring is full. By the owner.
    #[inline]
    pub(crate) fn put(&self, item: *mut T) -> bool {
        let head = self.head.load(Ordering::Acquire);
        let tail = self.tail.load(Ordering::Relaxed);
        if tail.wrapping_sub(head) >= LEN as u32 {
            return false;
        }
        self.slot(tail).store(item, Ordering::Relaxed);
        self.tail.store(tail.wrapping_add(1), Ordering::Release);
        true
    }

    /// Takes the older half of a full ring and passes it on, with `last` behind it: what goes to the
    /// global queue. False if a thief was faster: then there is room. By the owner.
    ///
    /// Not inlined: its array would sit in the frame of every scheduler loop.
    #[cold]
    #[inline(never)]
    pub(crate) fn take_half(&self, last: *mut T, pass_on: impl FnOnce(&[*mut T])) -> bool {
        let n = LEN / 2;
        let head = self.head.load(Ordering::Acquire);
        if self.tail.load(Ordering::Relaxed).wrapping_sub(head) < LEN as u32 {
            return false;
        }
        let mut batch = [core::ptr::null_mut(); LEN / 2 + 1];
        for (i, to) in batch.iter_mut().take(n).enumerate() {
            *to = self
                .slot(head.wrapping_add(i as u32))
                .load(Ordering::Relaxed);
        }
        let next = head.wrapping_add(n as u32);
        if self
            .head
            .compare_exchange(head, next, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            return false;
        }
        batch[n] = last;
        pass_on(&batch);
        true
    }

    /// How often `runnext` was filled: whether the owner does anything. A guess for others.
    #[cfg(not(loom))]
    pub(crate) fn nexts(&self) -> u32 {
        self.nexts.load(Ordering::Relaxed)
    }

    /// Whether there is a `runnext`. By the owner; others may take it at any time.
    #[inline]
    pub(crate) fn has_next(&self) -> bool {
        !self.next.load(Ordering::Relaxed).is_null()
    }

    /// Takes `runnext`, or null. By the owner.
    #[inline]
    pub(crate) fn get_next(&self) -> *mut T {
        if self.next.load(Ordering::Relaxed).is_null() {
            return core::ptr::null_mut();
        }
        // Whoever sees it empty sees what was kicked out of it before: `is_empty` asks.
        self.next.swap(core::ptr::null_mut(), Ordering::AcqRel)
    }

    /// Takes from the head of the ring, or null. By the owner.
    #[inline]
    pub(crate) fn get(&self) -> *mut T {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let tail = self.tail.load(Ordering::Relaxed);
            if head == tail {
                return core::ptr::null_mut();
            }
            let item = self.slot(head).load(Ordering::Relaxed);
            match self.head.compare_exchange_weak(
                head,
                head.wrapping_add(1),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return item,
                Err(now) => head = now,
            }
        }
    }

    /// [`get`](Self::get) where there is no thief.
    #[inline]
    pub(crate) fn get_alone(&self) -> *mut T {
        let (head, tail) = (
            self.head.load(Ordering::Relaxed),
            self.tail.load(Ordering::Relaxed),
        );
        if head == tail {
            return core::ptr::null_mut();
        }
        let item = self.slot(head).load(Ordering::Relaxed);
        self.head.store(head.wrapping_add(1), Ordering::Release);
        item
    }

    /// What [`get`](Self::get) would take, or null. By the owner; others may take it at any time.
    #[inline]
    pub(crate) fn peek(&self) -> *mut T {
        let head = self.head.load(Ordering::Acquire);
        if head == self.tail.load(Ordering::Relaxed) {
            return core::ptr::null_mut();
        }
        self.slot(head).load(Ordering::Relaxed)
    }

    /// Moves half of `victim`'s ring (rounded up) here and returns one of the items to run, or null.
    /// If the ring is empty and `take_next` agrees, takes the victim's `runnext` instead.
    /// By the owner of `self`, whose ring has room for half a ring.
    pub(crate) fn steal(&self, victim: &Self, take_next: impl FnOnce() -> bool) -> *mut T {
        let tail = self.tail.load(Ordering::Relaxed);
        let n = self.grab(victim, tail);
        if n == 0 {
            return victim.grab_next(take_next);
        }
        let n = n - 1;
        let item = self.slot(tail.wrapping_add(n)).load(Ordering::Relaxed);
        if n > 0 {
            self.tail.store(tail.wrapping_add(n), Ordering::Release);
        }
        item
    }

    /// Copies half of the victim's items behind our tail, unpublished; returns how many.
    fn grab(&self, victim: &Self, tail: u32) -> u32 {
        loop {
            let head = victim.head.load(Ordering::Acquire);
            let vtail = victim.tail.load(Ordering::Acquire);
            let have = vtail.wrapping_sub(head);
            let n = have - have / 2;
            if n == 0 {
                return 0;
            }
            if n > LEN as u32 / 2 {
                // The two loads were not of one moment.
                core::hint::spin_loop();
                #[cfg(loom)]
                loom::thread::yield_now();
                continue;
            }
            for i in 0..n {
                let item = victim.slot(head.wrapping_add(i)).load(Ordering::Relaxed);
                self.slot(tail.wrapping_add(i))
                    .store(item, Ordering::Relaxed);
            }
            if victim
                .head
                .compare_exchange(
                    head,
                    head.wrapping_add(n),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                )
                .is_ok()
            {
                return n;
            }
        }
    }

    fn grab_next(&self, agree: impl FnOnce() -> bool) -> *mut T {
        let next = self.next.load(Ordering::Acquire);
        let nexts = self.nexts.load(Ordering::Relaxed);
        if next.is_null() || !agree() || nexts != self.nexts.load(Ordering::Relaxed) {
            return core::ptr::null_mut();
        }
        // Only this very item: if the owner has run it and put another, leave that alone. Of two that ready each
        // other it may be the same again, time after time; the count tells.
        match self.next.compare_exchange(
            next,
            core::ptr::null_mut(),
            Ordering::Acquire,
            Ordering::Relaxed,
        ) {
            Ok(item) => item,
            Err(_) => core::ptr::null_mut(),
        }
    }

    #[inline(always)]
    fn slot(&self, i: u32) -> &AtomicPtr<T> {
        &self.ring[(i & MASK) as usize]
    }

    /// Starts the counters at `at`, to test how they wrap.
    #[cfg(all(test, not(loom)))]
    fn starting_at(at: u32) -> Self {
        let q = Self::new();
        q.head.store(at, Ordering::Relaxed);
        q.tail.store(at, Ordering::Relaxed);
        q
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{LEN, RunQueue};
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn fake(i: usize) -> *mut u8 {
        core::ptr::without_provenance_mut(i + 1)
    }

    #[test]
    fn r22_a_full_ring_gives_half_and_the_new_one_to_the_global_queue() {
        let q = RunQueue::<u8>::new();
        for i in 0..LEN {
            assert!(q.put(fake(i)));
        }
        assert!(!q.put(fake(LEN)));
        let mut batch = Vec::new();
        assert!(q.take_half(fake(LEN), |b| batch.extend_from_slice(b)));
        assert_eq!(batch.len(), 129);
        assert_eq!(batch[..128], (0..128).map(fake).collect::<Vec<_>>()[..]);
        assert_eq!(batch[128], fake(LEN));
        assert!(!q.take_half(fake(0), |_| unreachable!("there is room")));
        assert_eq!(q.ring_len(), 128);
        assert_eq!(q.get(), fake(128));
    }

    #[test]
    fn r24_a_thief_takes_half_and_runnext_only_when_allowed() {
        let (a, b) = (RunQueue::<u8>::new(), RunQueue::<u8>::new());
        for i in 0..5 {
            assert!(a.put(fake(i)));
        }
        a.put_next(fake(9));
        assert_eq!(
            b.steal(&a, || unreachable!("the ring was not empty")),
            fake(2)
        );
        assert_eq!((a.ring_len(), b.ring_len()), (2, 2));
        while !a.get().is_null() {}
        assert!(b.steal(&a, || false).is_null());
        assert_eq!(b.steal(&a, || true), fake(9));
        assert!(a.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Op {
        Put,
        PutNext,
        Get(bool),
        Steal(bool),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            5 => Just(Op::Put),
            2 => Just(Op::PutNext),
            3 => any::<bool>().prop_map(Op::Get),
            1 => any::<bool>().prop_map(Op::Steal),
        ]
    }

    #[test]
    fn r24_a_runnext_that_its_owner_has_run_and_got_again_is_left_to_it() {
        let (a, b) = (RunQueue::new(), RunQueue::new());
        a.put_next(fake(9));
        let owner_goes_on = || {
            assert_eq!(a.get_next(), fake(9));
            a.put_next(fake(9));
            true
        };
        assert!(b.steal(&a, owner_goes_on).is_null());
        assert_eq!(b.steal(&a, || true), fake(9), "it computes now");
    }

    proptest! {
        /// The queue against a `VecDeque` and an `Option`, from every phase of the counters.
        #[test]
        fn behaves_as_its_reference(ops in prop::collection::vec(op(), 0..2000), start in any::<u32>()) {
            let (q, thief) = (RunQueue::<u8>::starting_at(start), RunQueue::<u8>::starting_at(!start));
            let (mut ring, mut next) = (VecDeque::new(), None);
            let mut made = 0;
            for op in ops {
                match op {
                    Op::Put => {
                        made += 1;
                        let full = ring.len() == LEN;
                        prop_assert_eq!(q.put(fake(made)), !full);
                        if full {
                            let mut want: Vec<_> = ring.drain(..LEN / 2).collect();
                            want.push(fake(made));
                            let mut got = Vec::new();
                            prop_assert!(q.take_half(fake(made), |b| got.extend_from_slice(b)));
                            prop_assert_eq!(got, want);
                        } else {
                            ring.push_back(fake(made));
                        }
                    }
                    Op::PutNext => {
                        made += 1;
                        let old = q.put_next(fake(made));
                        prop_assert_eq!(next.replace(fake(made)).unwrap_or_default_null(), old);
                    }
                    Op::Get(alone) => {
                        let want = next.take().or_else(|| ring.pop_front()).unwrap_or_default_null();
                        let ring_get = || if alone { q.get_alone() } else { q.get() };
                        let got = q.get_next();
                        prop_assert_eq!(if got.is_null() { ring_get() } else { got }, want);
                    }
                    Op::Steal(take_next) => {
                        let n = ring.len() - ring.len() / 2;
                        let taken: Vec<_> = ring.drain(..n).collect();
                        let got = thief.steal(&q, || take_next);
                        match taken.last() {
                            Some(last) => prop_assert_eq!(got, *last),
                            None if take_next => prop_assert_eq!(got, next.take().unwrap_or_default_null()),
                            None => prop_assert!(got.is_null()),
                        }
                        for want in &taken[..taken.len().saturating_sub(1)] {
                            prop_assert_eq!(thief.get(), *want);
                        }
                        prop_assert!(thief.is_empty());
                    }
                }
                prop_assert_eq!(q.ring_len() as usize, ring.len());
                prop_assert_eq!(q.is_empty(), ring.is_empty() && next.is_none());
            }
        }
    }

    trait OrNull<T> {
        fn unwrap_or_default_null(self) -> *mut T;
    }

    impl<T> OrNull<T> for Option<*mut T> {
        fn unwrap_or_default_null(self) -> *mut T {
            self.unwrap_or(core::ptr::null_mut())
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::RunQueue;
    use loom::sync::Arc;
    use loom::thread;

    fn items(n: usize) -> Vec<*mut loom::cell::UnsafeCell<u32>> {
        (0..n)
            .map(|_| Box::into_raw(Box::new(loom::cell::UnsafeCell::new(0))))
            .collect()
    }

    /// Counts an item as run: loom reports a race if two threads got it.
    fn run(item: *mut loom::cell::UnsafeCell<u32>) {
        // SAFETY: items live until `finish`; exclusive by the protocol under test.
        unsafe { (*item).with_mut(|n| *n += 1) };
    }

    fn finish(items: Vec<*mut loom::cell::UnsafeCell<u32>>) {
        for i in items {
            // SAFETY: made by `items`, and all threads are joined.
            let cell = unsafe { Box::from_raw(i) };
            assert_eq!(
                cell.with(|n| unsafe { *n }),
                1,
                "each item runs exactly once"
            );
        }
    }

    struct Shared(RunQueue<loom::cell::UnsafeCell<u32>>);
    // SAFETY: the items are shared by the protocol under test.
    unsafe impl Send for Shared {}
    // SAFETY: as above.
    unsafe impl Sync for Shared {}

    #[test]
    fn loom_owner_and_thief_run_each_item_once() {
        loom::model(|| {
            let all = items(4);
            let q = Arc::new(Shared(RunQueue::new()));
            assert!(q.0.put(all[0]));
            assert!(q.0.put(all[1]));
            let thief = {
                let q = q.clone();
                thread::spawn(move || {
                    let mine = RunQueue::new();
                    let got = mine.steal(&q.0, || true);
                    if !got.is_null() {
                        run(got);
                    }
                    loop {
                        let got = mine.get();
                        if got.is_null() {
                            break;
                        }
                        run(got);
                    }
                })
            };
            let kicked = q.0.put_next(all[2]);
            assert!(kicked.is_null());
            let kicked = q.0.put_next(all[3]);
            if !kicked.is_null() {
                assert!(q.0.put(kicked));
            }
            loop {
                let next = q.0.get_next();
                let got = if next.is_null() { q.0.get() } else { next };
                if got.is_null() {
                    break;
                }
                run(got);
            }
            thief.join().unwrap();
            finish(all);
        });
    }

    #[test]
    fn loom_overflow_against_a_thief() {
        loom::model(|| {
            let all = items(5);
            let q = Arc::new(Shared(RunQueue::new()));
            for i in &all[..4] {
                assert!(q.0.put(*i));
            }
            let thief = {
                let q = q.clone();
                thread::spawn(move || {
                    let mine = RunQueue::new();
                    let got = mine.steal(&q.0, || false);
                    if !got.is_null() {
                        run(got);
                    }
                    let got = mine.get();
                    if !got.is_null() {
                        run(got);
                    }
                })
            };
            while !q.0.put(all[4]) {
                if q.0
                    .take_half(all[4], |batch| batch.iter().for_each(|i| run(*i)))
                {
                    break;
                }
            }
            loop {
                let got = q.0.get();
                if got.is_null() {
                    break;
                }
                run(got);
            }
            thief.join().unwrap();
            finish(all);
        });
    }

    /// What an owner kicks out of `runnext` and leaves in the ring is seen there, even if `runnext` has become
    /// empty meanwhile: a queue that holds something at all times is never empty.
    #[test]
    fn loom_a_queue_whose_next_goes_to_the_ring_is_not_empty() {
        loom::model(|| {
            let owned = items(2);
            let q = Arc::new(Shared(RunQueue::new()));
            assert!(q.0.put_next(owned[0]).is_null());
            let looks = {
                let q = q.clone();
                thread::spawn(move || q.0.is_empty())
            };
            let kicked = q.0.put_next(owned[1]);
            assert!(q.0.put(kicked));
            run(q.0.get_next());
            assert!(!looks.join().unwrap(), "one of the two is always there");
            run(q.0.get());
            finish(owned);
        });
    }
}
