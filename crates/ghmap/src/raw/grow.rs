//! Growth: `hashGrow`, `growWork`, `evacuate`, `advanceEvacuationMark` of Go's `runtime/map.go`.
//!
//! A map doubles when its load passes 6.5 entries per bucket, and packs its chains anew when it has about
//! as many overflow buckets as buckets (R74): many insertions and deletions then have left long, thin
//! chains. Doubling only reserves memory (`array.rs`); every later insertion or removal evacuates the
//! next two buckets (R91), so that a growth is over before the next can begin, and no single call moves
//! more than two chains.
//!
//! Bucket `i` of n keeps the X half of its entries, packed to the front of its chain, and the Y half
//! moves to bucket `i + n`, by the next bit of each entry's hash. The Y bucket is initialised then and
//! not before: nothing is zeroed in advance. A growth of the same size only packs.
//!
//! Go moves both halves to a new array, and evacuates the bucket that the write addresses before the
//! next one in order. Here both are in order, and a write to a chain that has not had its turn goes to
//! it as it is. What a program can see is the same. The moves then read one stream of memory and write
//! two, where the addressed bucket is at a random place every time: nine cache lines and two page
//! faults. And one index, `nevacuate`, says what has been evacuated: no mark is left in a bucket.
//!
//! Evacuation of a chain runs in three phases, because hashing calls the user's code: 1. hash every
//! key, and note the side it takes; 2. reserve the overflow buckets that the Y chain needs;
//! 3. move. The first two may unwind or fail and leave the chain as it was; the third cannot.
//! Moving while hashing, as Go does, would leave half a chain on each side.

use super::array::Array;
use super::bucket::{Bucket, SLOTS};
use super::hmap::{ALLOCATED, GROWING, HUGE_PAGES, Hmap, Rehash, SAME_SIZE, capacity};
use super::tophash::tophash;
use crate::TryReserveError;
use crate::alloc::Allocator;
use stdalloc::vec::Vec;

/// The least B whose capacity is at least `n` (R73).
///
/// # Errors
/// `CapacityOverflow` if there is none.
pub(crate) fn b_for(n: usize) -> Result<u8, TryReserveError> {
    (0..usize::BITS as u8 - 4)
        .find(|&b| capacity(b) >= n)
        .ok_or(TryReserveError::CapacityOverflow)
}

/// Which side each full slot of a chain takes: per bucket, a bit per slot for Y and for irreflexive.
struct Plan {
    /// The first buckets of the chain: all of it, unless the hash is a bad one.
    near: [(u8, u8); 8],
    far: Vec<(u8, u8)>,
    len: usize,
    x: usize,
    y: usize,
}

impl Plan {
    #[inline]
    fn push(&mut self, bits: (u8, u8)) {
        match self.near.get_mut(self.len) {
            Some(place) => *place = bits,
            None => self.far.push(bits),
        }
        self.len += 1;
    }

    #[inline]
    fn get(&self, i: usize) -> (u8, u8) {
        match self.near.get(i) {
            Some(bits) => *bits,
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

/// The end of a chain that is being filled.
struct Dest<K, V> {
    bucket: Bucket<K, V>,
    i: usize,
}

impl<K, V> Hmap<K, V> {
    /// Buckets that a growth evacuates.
    #[inline]
    pub(super) fn old_len(&self) -> usize {
        if self.has(SAME_SIZE) {
            self.mask + 1
        } else {
            self.mask.div_ceil(2)
        }
    }

    /// The buckets that are initialised are those below this.
    #[inline]
    pub(super) fn live(&self) -> usize {
        if self.is_growing() && !self.has(SAME_SIZE) {
            self.old_len() + self.nevacuate
        } else {
            self.mask + 1
        }
    }

    /// Whether the chain of `hash` has its evacuation before it.
    #[inline]
    pub(super) fn in_old(&self, hash: u64) -> bool {
        self.is_growing() && hash as usize & (self.old_len() - 1) >= self.nevacuate
    }

    /// R82: while doubling, `i` is its old bucket until that is evacuated.
    #[cold]
    pub(super) fn index_growing(&self, i: usize) -> usize {
        let old = i & (self.old_len() - 1);
        if old >= self.nevacuate { old } else { i }
    }

    /// R74: about as many overflow buckets as buckets.
    fn too_many_overflow(&self) -> bool {
        self.noverflow >= 1 << self.b.min(15)
    }

    pub(super) fn set_limit(&mut self) {
        self.limit = if self.is_growing() {
            usize::MAX
        } else if self.too_many_overflow() || !self.has(ALLOCATED) {
            0
        } else {
            capacity(self.b)
        };
    }

    /// R68: exact below B = 16, then up with probability 1 / 2^(B-15), so that `1 << 15` stands for
    /// 2^B overflow buckets.
    pub(super) fn incr_noverflow(&mut self) {
        if self.b < 16 || self.random() & ((1 << (self.b - 15).min(31)) - 1) == 0 {
            self.noverflow = self.noverflow.saturating_add(1);
        }
        self.set_limit();
    }

    /// Links a new bucket behind `last`. `in_old` says that the chain has its evacuation before it,
    /// which will count its overflow buckets.
    ///
    /// # Safety
    /// `last` is the live last bucket of a chain.
    #[cold]
    pub(super) unsafe fn extend_chain<A: Allocator>(
        &mut self,
        last: Bucket<K, V>,
        in_old: bool,
        alloc: &A,
    ) -> Result<Bucket<K, V>, TryReserveError> {
        self.pool.ensure(1, self.b, alloc)?;
        if !in_old {
            self.incr_noverflow();
        }
        // SAFETY: one is available.
        Ok(unsafe { self.link_overflow(last) })
    }

    /// # Safety
    /// As `extend_chain`, and the pool has a bucket.
    unsafe fn link_overflow(&mut self, last: Bucket<K, V>) -> Bucket<K, V> {
        // SAFETY: the caller's promise.
        unsafe {
            let bucket = self.pool.take();
            last.set_overflow(Some(bucket));
            bucket
        }
    }

    /// Gives an empty map its first array of 2^b empty buckets.
    ///
    /// # Errors
    /// The allocator refused.
    pub(crate) fn allocate<A: Allocator>(
        &mut self,
        b: u8,
        alloc: &A,
    ) -> Result<(), TryReserveError> {
        debug_assert!(!self.has(ALLOCATED));
        self.array = Array::new(b, self.has(HUGE_PAGES), alloc)?;
        self.b = b;
        self.mask = (1 << b) - 1;
        self.flags |= ALLOCATED;
        self.set_limit();
        Ok(())
    }

    /// `hashGrow`: adds the second half of the array, unless it is too many overflow buckets.
    ///
    /// # Errors
    /// The allocator refused, and the map is as it was.
    #[cold]
    pub(super) fn start_growth<A: Allocator>(&mut self, alloc: &A) -> Result<(), TryReserveError> {
        if !self.has(ALLOCATED) {
            return self.allocate(0, alloc);
        }
        debug_assert!(!self.is_growing());
        let same_size = self.count < capacity(self.b);
        let b = self.b + u8::from(!same_size);
        if !same_size {
            self.array.double(self.has(HUGE_PAGES), alloc)?;
        }
        self.b = b;
        self.mask = (1 << b) - 1;
        self.flags = self.flags & !SAME_SIZE | GROWING | if same_size { SAME_SIZE } else { 0 };
        self.nevacuate = 0;
        self.noverflow = 0;
        self.set_limit();
        Ok(())
    }

    /// `growWork`: evacuates the next two old buckets.
    ///
    /// # Errors
    /// The allocator refused an overflow bucket; no entry is lost.
    #[cold]
    #[inline(never)]
    pub(super) fn grow_work<A: Allocator, R: Rehash<K>>(
        &mut self,
        alloc: &A,
        rehash: &R,
    ) -> Result<(), TryReserveError> {
        self.prefetch_evacuation();
        self.evacuate(alloc, rehash)?;
        self.evacuate(alloc, rehash)
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

    /// Ends a growth at once: linear in the buckets that are left.
    ///
    /// # Errors
    /// The allocator refused an overflow bucket; no entry is lost.
    pub(crate) fn finish_growth<A: Allocator, R: Rehash<K>>(
        &mut self,
        alloc: &A,
        rehash: &R,
    ) -> Result<(), TryReserveError> {
        while self.is_growing() {
            self.evacuate(alloc, rehash)?;
        }
        Ok(())
    }

    /// Evacuates old bucket `nevacuate`, if a growth is going on.
    #[inline]
    fn evacuate<A: Allocator, R: Rehash<K>>(
        &mut self,
        alloc: &A,
        rehash: &R,
    ) -> Result<(), TryReserveError> {
        if !self.is_growing() {
            return Ok(());
        }
        let i = self.nevacuate;
        // SAFETY: while growing, `nevacuate` is a live bucket whose turn has not come.
        unsafe {
            let plan = self.plan(self.bucket(i), rehash);
            self.pool.ensure(plan.overflow_buckets().1, self.b, alloc)?;
            self.move_chain(i, &plan);
        }
        self.nevacuate = i + 1;
        if self.nevacuate == self.old_len() {
            self.nevacuate = 0;
            self.flags &= !(GROWING | SAME_SIZE);
            self.set_limit();
        }
        Ok(())
    }

    /// Phase 1. Nothing is changed, so the user's code may unwind.
    ///
    /// # Safety
    /// `head` leads a live chain that is not evacuated.
    #[inline(always)]
    unsafe fn plan<R: Rehash<K>>(&self, head: Bucket<K, V>, rehash: &R) -> Plan {
        let mut plan = Plan {
            near: [(0, 0); 8],
            far: Vec::new(),
            len: 0,
            x: 0,
            y: 0,
        };
        let (same_size, bit) = (self.has(SAME_SIZE), self.old_len());
        let mut next = Some(head);
        while let Some(bucket) = next {
            let (mut y, mut odd) = (0u8, 0u8);
            // SAFETY: live; the slots of `full` are.
            unsafe {
                for slot in bucket.group().full() {
                    if same_size {
                        plan.x += 1;
                        continue;
                    }
                    let key = &*bucket.key(slot);
                    // R90: the hash of an irreflexive key changes every time, its tophash byte
                    // does not, so that an iterator can foresee the side.
                    let up = if rehash.irreflexive(key) {
                        odd |= 1 << slot;
                        bucket.top(slot) & 1 != 0
                    } else {
                        rehash.hash(key) as usize & bit != 0
                    };
                    if up {
                        y |= 1 << slot;
                        plan.y += 1;
                    } else {
                        plan.x += 1;
                    }
                }
                next = bucket.overflow();
            }
            plan.push((y, odd));
        }
        plan
    }

    /// Phase 3. Cannot fail.
    ///
    /// # Safety
    /// `i` is `nevacuate`; `plan` is its chain's plan, and the pool has the buckets for Y.
    #[inline(always)]
    unsafe fn move_chain(&mut self, i: usize, plan: &Plan) {
        // SAFETY: the chain is live; bucket `i + old_len` belongs to it alone, and nobody reads it
        // before `nevacuate` passes `i`. The X half is packed towards the front of the chain: as many
        // entries have been read as written at any time, so that no entry is written over.
        unsafe {
            let head = self.bucket(i);
            // X and Y; the side is an index and not a branch, which would be mispredicted half the time.
            let x = Dest { bucket: head, i: 0 };
            let mut dest = [Dest { ..x }, x];
            if !self.has(SAME_SIZE) {
                dest[1].bucket = self.bucket(i + self.old_len());
                dest[1].bucket.init();
            }
            let mut bucket = head;
            for n in 0..plan.len {
                let (ys, odd) = plan.get(n);
                for slot in bucket.group().full() {
                    let up = ys >> slot & 1 != 0;
                    let top = if odd >> slot & 1 != 0 {
                        tophash(u64::from(self.random()) << 32)
                    } else {
                        bucket.top(slot)
                    };
                    let to = &mut dest[usize::from(up)];
                    if to.i == SLOTS {
                        to.bucket = match to.bucket.overflow() {
                            Some(next) if !up => next,
                            _ => self.link_overflow(to.bucket),
                        };
                        to.i = 0;
                    }
                    to.bucket.copy_entry(to.i, top, bucket, slot);
                    to.i += 1;
                }
                if let Some(next) = bucket.overflow() {
                    bucket = next;
                }
            }
            // What the chain does not need any more.
            let [Dest { bucket: last, i }, _] = dest;
            last.truncate(i);
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

    /// Moves all entries to an array of 2^b buckets at once: linear in the map. Ends any growth.
    ///
    /// # Errors
    /// The allocator refused, and the map is as it was. It is too if the user's code unwinds.
    pub(crate) fn rebuild<A: Allocator, R: Rehash<K>>(
        &mut self,
        b: u8,
        alloc: &A,
        rehash: &R,
    ) -> Result<(), TryReserveError> {
        let mut fresh = Memory {
            map: Self::new(),
            alloc,
        };
        fresh.map.flags = self.flags & HUGE_PAGES;
        fresh.map.rng = self.rng;
        fresh.map.allocate(b, alloc)?;
        for (bucket, slot) in self.iter() {
            // SAFETY: the iterator gives full slots of live buckets. Entries are copied, and owned by
            // the present array until the swap; `fresh` frees memory only.
            unsafe {
                let mut hash = rehash.hash(&*bucket.key(slot));
                if rehash.irreflexive(&*bucket.key(slot)) {
                    hash ^= u64::from(fresh.map.random()) << 32 | u64::from(fresh.map.random());
                }
                let vacancy = fresh.map.bucket(hash as usize & fresh.map.mask);
                let mut dest = Dest {
                    bucket: vacancy,
                    i: 0,
                };
                while let Some(next) = dest.bucket.overflow() {
                    dest.bucket = next;
                }
                dest.i = match dest.bucket.group().empty().first() {
                    Some(i) => i,
                    None => {
                        dest.bucket = fresh.map.extend_chain(dest.bucket, false, alloc)?;
                        0
                    }
                };
                dest.bucket.copy_entry(dest.i, tophash(hash), bucket, slot);
            }
        }
        fresh.map.count = self.count;
        core::mem::swap(self, &mut fresh.map);
        Ok(())
    }

    /// Gives a map without entries and growth an array as that of `other`, if it has not got one: all
    /// buckets empty, as many of them evacuated.
    ///
    /// # Errors
    /// The allocator refused, and the map is without entries and growth.
    pub(super) fn allocate_like<A: Allocator>(
        &mut self,
        other: &Self,
        alloc: &A,
    ) -> Result<(), TryReserveError> {
        debug_assert!(self.count == 0 && !self.is_growing());
        if self.has(ALLOCATED) && self.b != other.b {
            // SAFETY: no entry is left.
            unsafe { self.free(alloc) };
        }
        if !self.has(ALLOCATED) {
            self.allocate(other.b, alloc)?;
        }
        self.flags |= other.flags & (GROWING | SAME_SIZE);
        self.nevacuate = other.nevacuate;
        self.set_limit();
        Ok(())
    }

    /// Makes the map empty, ends its growth, and keeps the array and the overflow buckets.
    ///
    /// # Safety
    /// Its entries have been moved out or are leaked.
    pub(super) unsafe fn reset(&mut self) {
        // SAFETY: no chain is left to use a bucket.
        unsafe { self.pool.recycle() };
        self.flags &= !(GROWING | SAME_SIZE);
        self.nevacuate = 0;
        self.noverflow = 0;
        self.count = 0;
        if self.has(ALLOCATED) {
            for i in 0..=self.mask {
                // SAFETY: inside the array.
                unsafe { self.bucket(i).init() };
            }
        }
        self.set_limit();
    }

    /// Frees array and chunks, but no entry and no entry's boxes.
    ///
    /// # Safety
    /// `alloc` is the map's, and nothing in its memory is used again.
    pub(crate) unsafe fn free<A: Allocator>(&mut self, alloc: &A) {
        // SAFETY: the caller's promise; the layouts are those of the allocations.
        unsafe {
            if self.has(ALLOCATED) {
                self.array.free(alloc);
            }
            self.pool.free(alloc);
        }
        let (flags, rng) = (self.flags & HUGE_PAGES, self.rng);
        *self = Self::new();
        (self.flags, self.rng) = (flags, rng);
    }
}

/// A map of which only the memory is owned.
struct Memory<'a, K, V, A: Allocator> {
    map: Hmap<K, V>,
    alloc: &'a A,
}

impl<K, V, A: Allocator> Drop for Memory<'_, K, V, A> {
    fn drop(&mut self) {
        // SAFETY: its entries are copies, or have moved to another array.
        unsafe { self.map.free(self.alloc) };
    }
}
