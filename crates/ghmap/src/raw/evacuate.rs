//! Evacuation: `growWork`, `evacuate`, `advanceEvacuationMark` of Go's `runtime/map.go`.
//!
//! Bucket `i` of n keeps the X half of its entries, packed to the front of its chain, and the Y half
//! moves to bucket `i + n`, by the next bit of each entry's hash. The Y bucket is initialised then and
//! not before: nothing is zeroed in advance. A growth of the same size only packs.
//!
//! Go moves both halves to a new array, and evacuates the bucket that the write addresses before the
//! next one in order. Here both are in order, and a write to a chain that has not had its turn goes to
//! it as it is. What a program can see is the same. The moves then read one stream of memory and write
//! two, where the addressed bucket is at a random place every time: nine cache lines and two page
//! faults. (Both were measured, in a table with the new array beside the old, growing to 1e7: p99 of an
//! insert 0.9 us in order and 1.2 with the addressed bucket first, p99.9 6 us and 8, a whole growth the
//! same.) And one index, `nevacuate`, says what has been evacuated: no mark is left in a bucket.
//!
//! Evacuation of a chain runs in three phases, because hashing calls the user's code: 1. hash every
//! key, and note the side it takes; 2. reserve the overflow buckets that the Y chain needs;
//! 3. move. The first two may unwind or fail and leave the chain as it was; the third cannot.
//! Moving while hashing, as Go does, would leave half a chain on each side.
//!
//! Nearly all chains are one bucket or two, of which Y gets at most one. Of those the X half stays in its slots,
//! and the second bucket's moves into the gaps; Y's is copied while it is hashed, to a bucket that nobody reads
//! before all are: nothing needs to be reserved, and phases 1 and 3 are one loop.

use super::bucket::{Bucket, SLOTS};
use super::group::Slots;
use super::hmap::{GROWING, HUGE_PAGES, Hmap, Rehash, SAME_SIZE};
use super::pages;
use super::tophash::{EMPTY_REST, tophash};
use crate::TryReserveError;
use crate::alloc::Allocator;
use core::alloc::Layout;
use stdalloc::vec::Vec;

/// Which side each full slot of a bucket takes, and which keys are irreflexive: a bit per slot.
#[derive(Clone, Copy)]
struct Sides {
    x: u8,
    y: u8,
    odd: u8,
}

/// Which side each full slot of a chain takes.
struct Plan {
    /// The first buckets of the chain: all of it, unless the hash is a bad one.
    near: [Sides; 8],
    far: Vec<Sides>,
    len: usize,
    /// Entries of either side.
    x: usize,
    y: usize,
}

impl Plan {
    fn new() -> Self {
        let none = Sides { x: 0, y: 0, odd: 0 };
        Self {
            near: [none; 8],
            far: Vec::new(),
            len: 0,
            x: 0,
            y: 0,
        }
    }

    /// # Errors
    /// The global allocator refused; nothing has changed.
    #[inline]
    fn push(&mut self, sides: Sides) -> Result<(), TryReserveError> {
        match self.near.get_mut(self.len) {
            Some(place) => *place = sides,
            None => self.push_far(sides)?,
        }
        self.len += 1;
        self.x += sides.x.count_ones() as usize;
        self.y += sides.y.count_ones() as usize;
        Ok(())
    }

    #[cold]
    fn push_far(&mut self, sides: Sides) -> Result<(), TryReserveError> {
        if self.far.try_reserve(1).is_err() {
            return Err(Layout::array::<Sides>(self.far.len() + 1)
                .map_or(TryReserveError::CapacityOverflow, |layout| {
                    TryReserveError::AllocError { layout }
                }));
        }
        self.far.push(sides);
        Ok(())
    }

    #[inline]
    fn get(&self, i: usize) -> Sides {
        match self.near.get(i) {
            Some(sides) => *sides,
            None => self.far[i - self.near.len()],
        }
    }

    /// Overflow buckets that the two chains need: that of X, which has them, and that of Y.
    #[inline]
    fn overflow_buckets(&self) -> (usize, usize) {
        let beyond_first = |n: usize| n.div_ceil(SLOTS).saturating_sub(1);
        (beyond_first(self.x), beyond_first(self.y))
    }
}

impl<K, V> Hmap<K, V> {
    /// The buckets in so many bytes as [`pages`] gives a page back for.
    const STRIDE: usize = (pages::STRIDE / Bucket::<K, V>::SIZE).next_power_of_two();

    /// `growWork`: evacuates the next two old buckets, for a write to the chain of `hash`. That chain is asked
    /// for first, so that it is on its way while they are moved. What takes an overflow bucket that the
    /// allocator refuses is left for a later write: the map is whole at every step of a growth.
    #[cold]
    #[inline(never)]
    pub(super) fn grow_work<A: Allocator, R: Rehash<K>>(
        &mut self,
        hash: u64,
        alloc: &A,
        rehash: &R,
    ) {
        self.prefetch(hash);
        self.prefetch_evacuation();
        let _ = self
            .evacuate(alloc, rehash)
            .and_then(|()| self.evacuate(alloc, rehash));
    }

    /// Asks for the overflow buckets that the next calls will read: the processor foresees the array, but
    /// not them.
    #[inline(always)]
    fn prefetch_evacuation(&self) {
        let soon = self.nevacuate + 2;
        for i in soon..(soon + 2).min(self.old_len()) {
            // SAFETY: below `old_len`, so inside the array and live.
            if let Some(next) = unsafe { self.bucket(i).overflow() } {
                next.prefetch();
            }
        }
    }

    /// Evacuates old bucket `nevacuate`, if a growth is going on.
    #[inline]
    pub(super) fn evacuate<A: Allocator, R: Rehash<K>>(
        &mut self,
        alloc: &A,
        rehash: &R,
    ) -> Result<(), TryReserveError> {
        if !self.is_growing() {
            return Ok(());
        }
        let i = self.nevacuate;
        if i.is_multiple_of(Self::STRIDE) && !self.has(SAME_SIZE) {
            let block = self.old_len() * Bucket::<K, V>::SIZE;
            pages::give_one_back(block, self.has(HUGE_PAGES));
        }
        // SAFETY: while growing, `nevacuate` is a live bucket whose turn has not come.
        unsafe {
            let head = self.bucket(i);
            let done = if self.has(SAME_SIZE) {
                // There may be no chain to be packed.
                head.overflow().is_none()
            } else {
                self.split(i, head, rehash)
            };
            if !done {
                self.evacuate_chain(i, head, alloc, rehash)?;
            }
        }
        self.nevacuate = i + 1;
        if self.nevacuate == self.old_len() {
            self.nevacuate = 0;
            self.flags &= !(GROWING | SAME_SIZE);
            self.set_limit();
        }
        Ok(())
    }

    /// `evacuate` of a chain of one or two buckets, of which Y gets no more than one: nearly every chain of a map
    /// that doubles. What stays in the first bucket, stays where it is. Says whether it was such a chain; if not,
    /// it is as it was.
    ///
    /// # Safety
    /// `i` is `nevacuate`, and `head` its bucket.
    #[inline(always)]
    unsafe fn split<R: Rehash<K>>(&mut self, i: usize, head: Bucket<K, V>, rehash: &R) -> bool {
        // SAFETY: the caller's promise; bucket `i + old_len` belongs to this chain alone, and nobody reads it
        // before `nevacuate` passes `i`. Only `sides` may unwind, and until both are known the chain is whole.
        unsafe {
            let next = head.overflow();
            if next.is_some_and(|next| next.overflow().is_some()) {
                return false;
            }
            let to = self.bucket(i + self.old_len());
            to.init();
            // Every entry is copied, and the next one over it if it stays: no branch would foresee which do.
            let mut n = 0;
            let first = self.sides(head, rehash, |slot, up| {
                to.copy_entry(n, head.top(slot), head, slot);
                n += usize::from(up);
            });
            let behind = next.map(|next| {
                let sides = self.sides(next, rehash, |slot, up| {
                    if n < SLOTS {
                        to.copy_entry(n, next.top(slot), next, slot);
                    }
                    n += usize::from(up);
                });
                (next, sides)
            });
            if n > SLOTS || first.odd | behind.map_or(0, |(_, sides)| sides.odd) != 0 {
                return false;
            }
            if n < SLOTS {
                to.set_top(n, EMPTY_REST);
            }
            match behind {
                None => head.keep(first.x),
                Some((next, sides)) => self.fill_up(head, first.x, next, sides.x),
            }
            true
        }
    }

    /// Keeps the entries `x` of a bucket and `behind` of the next one, of which so many move up as there is room
    /// for.
    ///
    /// # Safety
    /// A live chain of two; the slots are full, and the entries of all others have been moved out.
    #[inline(always)]
    unsafe fn fill_up(&mut self, head: Bucket<K, V>, x: u8, next: Bucket<K, V>, behind: u8) {
        let (mut full, mut left) = (x, behind);
        // SAFETY: the caller's promise; an entry that moves up is given up behind.
        unsafe {
            for (to, from) in Slots::of(!x).zip(Slots::of(behind)) {
                head.copy_entry(to, next.top(from), next, from);
                full |= 1 << to;
                left &= !(1 << from);
            }
            head.keep(full);
            if left == 0 {
                head.set_overflow(None);
                self.pool.give_back(next);
            } else {
                next.keep(left);
                self.incr_noverflow();
            }
        }
    }

    /// `evacuate` of any chain: both halves are packed.
    ///
    /// # Safety
    /// `i` is `nevacuate`, and `head` its bucket.
    ///
    /// # Errors
    /// The allocator refused an overflow bucket, or the global one the plan; the chain is as it was.
    #[inline(never)]
    unsafe fn evacuate_chain<A: Allocator, R: Rehash<K>>(
        &mut self,
        i: usize,
        head: Bucket<K, V>,
        alloc: &A,
        rehash: &R,
    ) -> Result<(), TryReserveError> {
        let mut plan = Plan::new();
        // SAFETY: the caller's promise.
        unsafe {
            self.plan(head, rehash, &mut plan)?;
            self.pool.ensure(plan.overflow_buckets().1, self.b, alloc)?;
            self.move_chain(i, head, &plan);
        }
        Ok(())
    }

    /// Which sides the entries of a bucket take; `each` is told the slot, and whether it is Y. Nothing is
    /// changed, so the user's code may unwind.
    ///
    /// # Safety
    /// The bucket is live and not evacuated.
    #[inline(always)]
    unsafe fn sides<R: Rehash<K>>(
        &self,
        bucket: Bucket<K, V>,
        rehash: &R,
        mut each: impl FnMut(usize, bool),
    ) -> Sides {
        let bit = self.old_len();
        let (mut y, mut odd) = (0u8, 0u8);
        // SAFETY: live; the slots of `full` are.
        unsafe {
            let full = bucket.group().full();
            for slot in full {
                let key = &*bucket.key(slot);
                // R90: the hash of an irreflexive key changes every time, its tophash byte does not,
                // so that an iterator can foresee the side.
                let up = if rehash.irreflexive(key) {
                    odd |= 1 << slot;
                    bucket.top(slot) & 1 != 0
                } else {
                    rehash.hash(key) as usize & bit != 0
                };
                y |= u8::from(up) << slot;
                each(slot, up);
            }
            let x = full.bits() & !y;
            Sides { x, y, odd }
        }
    }

    /// The tophash byte of an entry after its evacuation: an irreflexive key gets a new one.
    ///
    /// # Safety
    /// The bucket is live, and the slot is full.
    #[inline(always)]
    unsafe fn moved_top(&mut self, bucket: Bucket<K, V>, slot: usize, odd: u8) -> u8 {
        if odd >> slot & 1 != 0 {
            tophash(u64::from(self.random()) << 32)
        } else {
            // SAFETY: the caller's promise.
            unsafe { bucket.top(slot) }
        }
    }

    /// Phase 1. Nothing is changed, so the user's code may unwind.
    ///
    /// # Safety
    /// `head` leads a live chain that is not evacuated.
    ///
    /// # Errors
    /// As [`Plan::push`].
    #[inline(always)]
    unsafe fn plan<R: Rehash<K>>(
        &self,
        head: Bucket<K, V>,
        rehash: &R,
        plan: &mut Plan,
    ) -> Result<(), TryReserveError> {
        let same_size = self.has(SAME_SIZE);
        let mut next = Some(head);
        while let Some(bucket) = next {
            // SAFETY: live.
            unsafe {
                plan.push(if same_size {
                    let x = bucket.group().full().bits();
                    Sides { x, y: 0, odd: 0 }
                } else {
                    self.sides(bucket, rehash, |_, _| {})
                })?;
                next = bucket.overflow();
            }
        }
        Ok(())
    }

    /// Phase 3. Cannot fail.
    ///
    /// # Safety
    /// `i` is `nevacuate`; `plan` is the plan of its chain, that of `head`, and the pool has the buckets
    /// for Y.
    #[inline(always)]
    unsafe fn move_chain(&mut self, i: usize, head: Bucket<K, V>, plan: &Plan) {
        // SAFETY: the chain is live; bucket `i + old_len` belongs to it alone, and nobody reads it
        // before `nevacuate` passes `i`. The entries of Y are moved out first. The X half is packed towards
        // the front of the chain: as many entries have been read as written at any time, so that no entry
        // is written over.
        unsafe {
            if !self.has(SAME_SIZE) {
                let y = self.bucket(i + self.old_len());
                y.init();
                self.move_side(head, plan, |sides| sides.y, y);
            }
            let (last, full) = self.move_side(head, plan, |sides| sides.x, head);
            // What the chain does not need any more.
            last.truncate(full);
            let mut surplus = last.overflow();
            last.set_overflow(None);
            while let Some(bucket) = surplus {
                surplus = bucket.overflow();
                self.pool.give_back(bucket);
            }
        }
        let (x, y) = plan.overflow_buckets();
        for _ in 0..x + y {
            self.incr_noverflow();
        }
    }

    /// Moves the entries of one side to the chain of `to`, from its first slot on, and gives the last bucket
    /// that it fills and how far.
    ///
    /// # Safety
    /// As `move_chain`; `to` is an empty bucket or `head` itself.
    #[inline(always)]
    unsafe fn move_side(
        &mut self,
        head: Bucket<K, V>,
        plan: &Plan,
        side: impl Fn(Sides) -> u8,
        mut to: Bucket<K, V>,
    ) -> (Bucket<K, V>, usize) {
        let (mut bucket, mut i) = (head, 0);
        for n in 0..plan.len {
            let sides = plan.get(n);
            // SAFETY: the caller's promise; the plan has a bit for every full slot of the chain.
            unsafe {
                for slot in Slots::of(side(sides)) {
                    if i == SLOTS {
                        to = match to.overflow() {
                            Some(next) => next,
                            None => self.link_overflow(to),
                        };
                        i = 0;
                    }
                    let top = self.moved_top(bucket, slot, sides.odd);
                    to.copy_entry(i, top, bucket, slot);
                    i += 1;
                }
                if let Some(next) = bucket.overflow() {
                    bucket = next;
                }
            }
        }
        (to, i)
    }
}
