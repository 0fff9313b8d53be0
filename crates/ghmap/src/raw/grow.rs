//! Growth: `hashGrow`, `growWork`, `evacuate`, `advanceEvacuationMark` of Go's `runtime/map.go`.
//!
//! A map doubles when its load passes 6.5 entries per bucket, and moves to an array of its own size
//! when it has about as many overflow buckets as buckets (R74): many insertions and deletions then
//! have left long, thin chains. Either way the new array is only reserved; every later insertion or
//! removal evacuates the next two old buckets (R91), so that a growth is over before the next can
//! begin, and no single call moves more than two chains.
//!
//! Go evacuates the old bucket that the write addresses, and then the next one in order. Here both
//! are in order, and a write to a chain that has not had its turn goes to the old chain. What a
//! program can see is the same, and the moves read one stream of memory and write two, where the
//! addressed bucket is at a random place every time: nine cache lines, two page faults, and an old
//! array whose pages cannot be given back before the end. The mark "evacuated" is then the index
//! `nevacuate` alone, and nothing is written to a bucket that is left.
//!
//! Old bucket `i` of n goes to new buckets `i` (the X half) and `i + n` (Y), by the next bit of each
//! entry's hash. These two are initialised then and not before: nothing is zeroed in advance.
//!
//! Evacuation of a chain runs in three phases, because hashing calls the user's code: 1. hash every
//! key, and note the side it takes; 2. reserve the overflow buckets that the two new chains need;
//! 3. move. The first two may unwind or fail and leave the chain as it was; the third cannot.
//! Moving while hashing, as Go does, would leave half a chain on each side.

use super::bucket::{Bucket, SLOTS};
use super::hmap::{ALLOCATED, HUGE_PAGES, Hmap, Rehash, SAME_SIZE, capacity};
use super::pages;
use super::tophash::tophash;
use crate::TryReserveError;
use crate::alloc::{Allocator, allocate, deallocate};
use core::alloc::Layout;
use core::ptr::NonNull;
use stdalloc::vec::Vec;

/// The layout of 2^b buckets.
///
/// # Errors
/// `CapacityOverflow` if the size passes `usize`. One that only passes `isize`, which no `Layout` can
/// say, counts as refused by the allocator.
pub(super) fn array<K, V>(b: u8) -> Result<Layout, TryReserveError> {
    let align = Bucket::<K, V>::ALIGN;
    let size = 1usize
        .checked_shl(u32::from(b))
        .and_then(|n| n.checked_mul(Bucket::<K, V>::SIZE))
        .ok_or(TryReserveError::CapacityOverflow)?;
    Layout::from_size_align(size, align).map_err(|_| {
        let most = isize::MAX as usize & !(align - 1);
        Layout::from_size_align(most, align).map_or(TryReserveError::CapacityOverflow, |layout| {
            TryReserveError::AllocError { layout }
        })
    })
}

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

    /// Overflow buckets that the two new chains need.
    #[inline]
    fn overflow_buckets(&self) -> usize {
        let beyond_first = |n: usize| n.div_ceil(SLOTS).saturating_sub(1);
        beyond_first(self.x) + beyond_first(self.y)
    }
}

/// The end of a chain that is being filled.
struct Dest<K, V> {
    bucket: Bucket<K, V>,
    i: usize,
}

impl<K, V> Hmap<K, V> {
    /// Buckets of the old array.
    #[inline]
    pub(super) fn old_len(&self) -> usize {
        if self.has(SAME_SIZE) {
            self.mask + 1
        } else {
            self.mask.div_ceil(2)
        }
    }

    /// Whether `hash` still has its chain in the old array.
    #[inline]
    pub(super) fn in_old(&self, hash: u64) -> bool {
        self.is_growing() && hash as usize & (self.old_len() - 1) >= self.nevacuate
    }

    /// R82: while growing, the chain of `hash` is the old one until it is evacuated.
    ///
    /// # Safety
    /// `ALLOCATED`; `bucket` is the new bucket of `hash`.
    #[cold]
    pub(super) unsafe fn chain_growing(&self, hash: u64, bucket: Bucket<K, V>) -> Bucket<K, V> {
        match self.old.map(Bucket::new) {
            // SAFETY: masked to the old array.
            Some(old) if self.in_old(hash) => unsafe {
                old.add(hash as usize & (self.old_len() - 1))
            },
            _ => bucket,
        }
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

    /// Links a new bucket behind `last`. `in_old` says that the chain is one of the old array, whose
    /// overflow buckets count no more.
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
        let layout = array::<K, V>(b)?;
        // Zeroed memory is empty buckets, and a large block is zero without being touched.
        self.buckets = allocate(alloc, layout, true)?;
        pages::advise(self.buckets, layout.size(), self.has(HUGE_PAGES));
        self.b = b;
        self.mask = (1 << b) - 1;
        self.flags |= ALLOCATED;
        self.set_limit();
        Ok(())
    }

    /// `hashGrow`: reserves the new array and makes the present one the old.
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
        let layout = array::<K, V>(b)?;
        let buckets = allocate(alloc, layout, false)?;
        pages::advise(buckets, layout.size(), self.has(HUGE_PAGES));
        self.old = Some(self.buckets);
        self.buckets = buckets;
        self.b = b;
        self.mask = (1 << b) - 1;
        self.flags = self.flags & !SAME_SIZE | if same_size { SAME_SIZE } else { 0 };
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

    /// Asks for what the next calls will read. The processor foresees the array itself, but not the
    /// overflow buckets.
    #[inline(always)]
    fn prefetch_evacuation(&self) {
        let Some(old) = self.old.map(Bucket::<K, V>::new) else {
            return;
        };
        let (soon, end) = (self.nevacuate + 2, self.old_len());
        for i in soon..(soon + 2).min(end) {
            // SAFETY: in the old array, behind `nevacuate`, so live.
            if let Some(next) = unsafe { old.add(i).overflow() } {
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
        let Some(old) = self.old else {
            return Ok(());
        };
        // SAFETY: while growing, `nevacuate` is a bucket of the old array whose turn has not come.
        unsafe {
            let head = Bucket::new(old).add(self.nevacuate);
            let plan = self.plan(head, rehash);
            self.pool.ensure(plan.overflow_buckets(), self.b, alloc)?;
            self.move_chain(head, self.nevacuate, &plan);
        }
        self.advance_evacuation_mark(old, alloc);
        Ok(())
    }

    /// Phase 1. Nothing is changed, so the user's code may unwind.
    ///
    /// # Safety
    /// `head` leads a live chain of the old array that is not evacuated.
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
    /// `head` is old bucket `i`, not evacuated; `plan` is its plan, and the pool has the buckets for it.
    #[inline(always)]
    unsafe fn move_chain(&mut self, head: Bucket<K, V>, i: usize, plan: &Plan) {
        // SAFETY: new buckets `i` and `i + old_len` belong to this old bucket alone; nobody reads
        // them before `nevacuate` passes it.
        unsafe {
            // X and Y; the side is an index and not a branch, which would be mispredicted half the time.
            let x = Dest {
                bucket: self.bucket(i),
                i: 0,
            };
            x.bucket.init();
            let y = Dest { ..x };
            let mut dest = [x, y];
            if !self.has(SAME_SIZE) {
                dest[1].bucket = self.bucket(i + self.old_len());
                dest[1].bucket.init();
            }
            let mut bucket = head;
            for n in 0..plan.len {
                let (ys, odd) = plan.get(n);
                for slot in bucket.group().full() {
                    let up = usize::from(ys >> slot & 1);
                    let top = if odd >> slot & 1 != 0 {
                        tophash(u64::from(self.random()) << 32)
                    } else {
                        bucket.top(slot)
                    };
                    self.append(&mut dest[up], top, bucket, slot);
                }
                let next = bucket.overflow();
                if n > 0 {
                    self.pool.give_back(bucket);
                }
                if let Some(next) = next {
                    bucket = next;
                }
            }
        }
    }

    /// # Safety
    /// `dest` ends a live chain of the new array and the pool has a bucket if it is full; slot `from`
    /// of `source` is full, and its entry is not used there again.
    #[inline(always)]
    unsafe fn append(&mut self, dest: &mut Dest<K, V>, top: u8, source: Bucket<K, V>, from: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            if dest.i == SLOTS {
                self.incr_noverflow();
                dest.bucket = self.link_overflow(dest.bucket);
                dest.i = 0;
            }
            dest.bucket.copy_entry(dest.i, top, source, from);
        }
        dest.i += 1;
    }

    /// Moves `nevacuate` on, gives the pages behind it back, and ends the growth at the end of `old`,
    /// the old array.
    #[inline]
    fn advance_evacuation_mark<A: Allocator>(&mut self, old: NonNull<u8>, alloc: &A) {
        let (len, from) = (self.old_len(), self.nevacuate);
        let to = from + 1;
        self.nevacuate = to;
        let size = Bucket::<K, V>::SIZE;
        // SAFETY: buckets below `nevacuate` are never read again.
        unsafe { pages::release(old, len * size, from * size, to * size) };
        if to == len {
            let b = len.trailing_zeros() as u8;
            self.old = None;
            self.nevacuate = 0;
            self.flags &= !SAME_SIZE;
            self.set_limit();
            // SAFETY: the old array was allocated with this layout, and all entries have left it.
            unsafe { free_array::<K, V, A>(old, b, alloc) };
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
            // the old array until the swap; `fresh` frees memory only.
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
                dest.i = dest.bucket.group().empty().first().unwrap_or(SLOTS);
                if dest.i == SLOTS {
                    fresh.map.pool.ensure(1, b, alloc)?;
                }
                fresh.map.append(&mut dest, tophash(hash), bucket, slot);
            }
        }
        fresh.map.count = self.count;
        core::mem::swap(self, &mut fresh.map);
        Ok(())
    }

    /// Gives a map without entries and growth the arrays of `other`, as far as it has not got them: all
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
        if other.is_growing() {
            let len = other.old_len();
            let layout = array::<K, V>(len.trailing_zeros() as u8)?;
            let at = allocate(alloc, layout, true)?;
            pages::advise(at, layout.size(), self.has(HUGE_PAGES));
            self.flags |= other.flags & SAME_SIZE;
            self.nevacuate = other.nevacuate;
            self.old = Some(at);
        }
        self.set_limit();
        Ok(())
    }

    /// Makes the map empty, ends its growth, and keeps the newer array and the overflow buckets.
    ///
    /// # Safety
    /// `alloc` is the map's, and its entries have been moved out or are leaked.
    pub(super) unsafe fn reset<A: Allocator>(&mut self, alloc: &A) {
        if let Some(old) = self.old.take() {
            let b = self.b - u8::from(!self.has(SAME_SIZE));
            // SAFETY: the old array was allocated with this layout, and has no entries left.
            unsafe { free_array::<K, V, A>(old, b, alloc) };
        }
        // SAFETY: no chain is left to use a bucket.
        unsafe { self.pool.recycle() };
        self.flags &= !SAME_SIZE;
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

    /// Frees arrays and chunks, but no entry and no entry's boxes.
    ///
    /// # Safety
    /// `alloc` is the map's, and nothing in its memory is used again.
    pub(crate) unsafe fn free<A: Allocator>(&mut self, alloc: &A) {
        // SAFETY: the caller's promise; the layouts are those of the allocations.
        unsafe {
            if let Some(old) = self.old {
                free_array::<K, V, A>(old, self.old_len().trailing_zeros() as u8, alloc);
            }
            if self.has(ALLOCATED) {
                free_array::<K, V, A>(self.buckets, self.b, alloc);
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

/// # Safety
/// `array` was allocated for 2^b buckets by `alloc` and is not used again.
unsafe fn free_array<K, V, A: Allocator>(at: NonNull<u8>, b: u8, alloc: &A) {
    if let Ok(layout) = array::<K, V>(b) {
        // SAFETY: the caller's promise; the layout was valid at the allocation.
        unsafe { deallocate(alloc, at, layout) };
    }
}
