//! The map's head: lookup, assignment, deletion. Re-creates `hmap`, `mapaccess`, `mapassign` and
//! `mapdelete` of Go's `runtime/map.go` as of 1.12 to 1.23 (bucketed).
//!
//! The low B bits of a hash choose the bucket, its top byte the slot's tophash byte. All growing work
//! is in [`super::grow`]; the paths here only ask "is it growing", once, and leave for a cold function
//! if it is.
//!
//! Departures from Go, none of which the rules of the map let a program see:
//! * A lookup asks for all cache lines of its bucket before it reads the tophash bytes.
//! * "Must it grow" is one comparison with `limit`, which is recomputed when its causes change.
//! * A chain ends where slot 7 is `EMPTY_REST`: by the rule of deletion the overflow chain is then
//!   empty too, so Go's test at every slot is one test per bucket, and only of buckets that have an
//!   overflow link. (Testing it first would save reading the link, but whether slot 7 is in use is a
//!   coin toss in a well filled map, and a mispredicted branch costs more.)
//! * The seed is in the `BuildHasher`, not here.

use super::array::Array;
use super::bucket::{Boxes, Bucket, SLOTS};
use super::group::Group;
use super::overflow::Pool;
use super::tophash::{EMPTY_ONE, EMPTY_REST, tophash};
use crate::TryReserveError;
use crate::alloc::Allocator;
use core::marker::PhantomData;

/// How the table asks about keys it holds.
pub(crate) trait Rehash<K> {
    /// The hash of `key`. May unwind.
    fn hash(&self, key: &K) -> u64;
    /// Whether `key` is unequal to itself, so that its hash says nothing (a NaN). May unwind.
    #[inline(always)]
    fn irreflexive(&self, _key: &K) -> bool {
        false
    }
}

/// A hasher given as a closure.
pub(crate) struct ByClosure<H>(pub(crate) H);

impl<K, H: Fn(&K) -> u64> Rehash<K> for ByClosure<H> {
    #[inline(always)]
    fn hash(&self, key: &K) -> u64 {
        (self.0)(key)
    }
}

/// The most entries of 2^b buckets before the map doubles (R67): 6.5 per bucket, and all eight slots
/// of a single bucket.
pub(crate) const fn capacity(b: u8) -> usize {
    if b == 0 { SLOTS } else { 13 << (b - 1) }
}

/// The growth packs the chains and adds no buckets.
pub(super) const SAME_SIZE: u8 = 1;
/// `array` is one.
pub(super) const ALLOCATED: u8 = 2;
/// Large arrays ask for huge pages.
pub(super) const HUGE_PAGES: u8 = 4;
/// Buckets are being evacuated.
pub(super) const GROWING: u8 = 8;

/// The head of a map. Only the owner of the map writes any of it.
pub(crate) struct Hmap<K, V> {
    /// Live entries.
    pub(super) count: usize,
    /// The 2^B buckets, if `ALLOCATED`. While doubling, bucket `i` of the second half is initialised
    /// once bucket `i` of the first is evacuated.
    pub(super) array: Array<K, V>,
    /// 2^B - 1.
    pub(super) mask: usize,
    /// An insert that finds `count` at or above this starts a growth. Never while growing, at once
    /// with too many overflow buckets or no array, else at the load factor.
    pub(super) limit: usize,
    /// While growing, the buckets below this are evacuated, those from it to `old_len` are not.
    pub(super) nevacuate: usize,
    /// Overflow buckets.
    pub(super) pool: Pool<K, V>,
    /// Overflow buckets of chains that need no evacuation: exact below B = 16, approximate above (R68).
    pub(super) noverflow: u16,
    /// log2 of the number of buckets.
    pub(super) b: u8,
    /// `SAME_SIZE`, `ALLOCATED`, `HUGE_PAGES`, `GROWING`.
    pub(super) flags: u8,
    /// The state of a xorshift generator, for `noverflow` and the tophash bytes of irreflexive keys.
    pub(super) rng: u32,
    pub(super) _entries: PhantomData<(K, V)>,
}

/// Where an entry is: bucket, slot, and the first bucket of its chain.
pub(crate) struct Slot<K, V> {
    pub(super) bucket: Bucket<K, V>,
    pub(super) i: usize,
    pub(super) head: Bucket<K, V>,
}

impl<K, V> Clone for Slot<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Slot<K, V> {}

impl<K, V> Slot<K, V> {
    /// Whether both are the same place.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.bucket == other.bucket && self.i == other.i
    }

    /// Bucket and slot.
    pub(crate) fn place(self) -> (Bucket<K, V>, usize) {
        (self.bucket, self.i)
    }

    /// The key's place. Dereferencing it needs the map to be as it was when the slot was found.
    #[inline(always)]
    pub(crate) fn key(self) -> *mut K {
        // SAFETY: a slot is made for a full slot of a live bucket, and used before the map changes.
        unsafe { self.bucket.key(self.i) }
    }

    /// The value's place, on the same terms.
    #[inline(always)]
    pub(crate) fn value(self) -> *mut V {
        // SAFETY: as for the key.
        unsafe { self.bucket.value(self.i) }
    }
}

/// What [`Hmap::find_or_insert`] gives: the entry's place, and the new entry if an old one was found.
pub(crate) type Assigned<K, V> = (Slot<K, V>, Option<(K, V)>);

/// Where a new entry may go.
pub(super) struct Vacancy<K, V> {
    head: Bucket<K, V>,
    /// The first empty slot of the chain.
    pub(super) empty: Option<(Bucket<K, V>, usize)>,
    /// The last bucket seen: of the whole chain if there is no empty slot.
    pub(super) last: Bucket<K, V>,
}

impl<K, V> Hmap<K, V> {
    pub(crate) const fn new() -> Self {
        Self {
            count: 0,
            array: Array::none(),
            mask: 0,
            limit: 0,
            nevacuate: 0,
            pool: Pool::new(),
            noverflow: 0,
            b: 0,
            flags: 0,
            rng: 0x9e37_79b9,
            _entries: PhantomData,
        }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    #[inline(always)]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    #[inline(always)]
    pub(crate) fn is_growing(&self) -> bool {
        self.has(GROWING)
    }

    /// The most entries before an insert starts to double the array.
    pub(crate) fn capacity(&self) -> usize {
        if self.has(ALLOCATED) {
            capacity(self.b)
        } else {
            0
        }
    }

    #[inline]
    pub(super) fn random(&mut self) -> u32 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 17;
        self.rng ^= self.rng << 5;
        self.rng
    }

    /// Bucket `i`.
    ///
    /// # Safety
    /// `ALLOCATED`, and `i <= mask`.
    #[inline(always)]
    pub(super) unsafe fn bucket(&self, i: usize) -> Bucket<K, V> {
        // SAFETY: the caller's promise.
        unsafe { self.array.bucket(i) }
    }

    /// The first bucket of the chain that holds `hash` if any does.
    ///
    /// # Safety
    /// `ALLOCATED`.
    #[inline(always)]
    pub(super) unsafe fn chain(&self, hash: u64) -> Bucket<K, V> {
        let mut i = hash as usize & self.mask;
        if self.is_growing() {
            i = self.index_growing(i);
        }
        // SAFETY: `ALLOCATED`; masked to the array.
        unsafe { self.bucket(i) }
    }

    /// Asks for the cache lines in which `hash` would be found.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) {
        if self.has(ALLOCATED) {
            // SAFETY: `ALLOCATED`.
            unsafe { self.chain(hash).prefetch() };
        }
    }

    /// Finds the entry with this hash whose key satisfies `eq`.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, mut eq: impl FnMut(&K) -> bool) -> Option<Slot<K, V>> {
        if self.count == 0 {
            return None;
        }
        // SAFETY: entries exist, so `ALLOCATED`; the buckets of a chain are live.
        unsafe {
            let head = self.chain(hash);
            head.prefetch_rest();
            let top = tophash(hash);
            let mut bucket = head;
            loop {
                let group = bucket.group();
                if let Some(i) = find_in(bucket, group, top, &mut eq) {
                    return Some(Slot { bucket, i, head });
                }
                // Most buckets have no overflow: that is the branch which predicts well.
                let next = bucket.overflow()?;
                // R83: nothing lives behind `EMPTY_REST`.
                if bucket.top(SLOTS - 1) == EMPTY_REST {
                    return None;
                }
                bucket = next;
            }
        }
    }

    /// Finds the entry, or else the place for it.
    ///
    /// # Safety
    /// `ALLOCATED`.
    #[inline(always)]
    unsafe fn find_or_vacancy(
        &self,
        hash: u64,
        mut eq: impl FnMut(&K) -> bool,
    ) -> Result<Slot<K, V>, Vacancy<K, V>> {
        // SAFETY: `ALLOCATED`; the buckets of a chain are live.
        unsafe {
            let head = self.chain(hash);
            head.prefetch_rest();
            let top = tophash(hash);
            let (mut bucket, mut empty) = (head, None);
            loop {
                let group = bucket.group();
                if let Some(i) = find_in(bucket, group, top, &mut eq) {
                    return Ok(Slot { bucket, i, head });
                }
                if empty.is_none() {
                    empty = group.empty().first().map(|i| (bucket, i));
                }
                match bucket.overflow() {
                    Some(next) if bucket.top(SLOTS - 1) != EMPTY_REST => bucket = next,
                    _ => break,
                }
            }
            Err(Vacancy {
                head,
                empty,
                last: bucket,
            })
        }
    }

    /// `mapassign`: inserts the entry, or finds that of an equal key and gives the new one back. Does
    /// growing work first, and starts a growth before it inserts (never when the key is found).
    ///
    /// Here is what most insertions take: no growth is under way, and the chain is one bucket. It is short, and
    /// no call in it wants registers saved. The others go the whole way, from the start.
    ///
    /// # Errors
    /// The allocator refused; the map is as it was, or has grown a little.
    #[inline(always)]
    pub(crate) fn find_or_insert<A: Allocator, R: Rehash<K>>(
        &mut self,
        hash: u64,
        (key, value): (K, V),
        mut eq: impl FnMut(&K, &K) -> bool,
        alloc: &A,
        rehash: &R,
    ) -> Result<Assigned<K, V>, TryReserveError> {
        if self.flags & (ALLOCATED | GROWING) == ALLOCATED {
            // SAFETY: `ALLOCATED`, so the bucket is live; its slots are tested before they are used.
            unsafe {
                let bucket = self.bucket(hash as usize & self.mask);
                bucket.prefetch_rest();
                let (group, top) = (bucket.group(), tophash(hash));
                let slot = |i| Slot {
                    bucket,
                    i,
                    head: bucket,
                };
                if let Some(i) = find_in(bucket, group, top, |k| eq(&key, k)) {
                    return Ok((slot(i), Some((key, value))));
                }
                if let Some(i) = group.empty().first()
                    && bucket.overflow().is_none()
                    && self.count < self.limit
                {
                    bucket.write(i, top, Boxes::new::<K, V, A>(alloc)?, key, value);
                    self.count += 1;
                    return Ok((slot(i), None));
                }
            }
        }
        self.find_or_insert_slowly(hash, (key, value), eq, alloc, rehash)
    }

    /// All of [`find_or_insert`](Self::find_or_insert).
    #[inline(never)]
    fn find_or_insert_slowly<A: Allocator, R: Rehash<K>>(
        &mut self,
        hash: u64,
        (key, value): (K, V),
        mut eq: impl FnMut(&K, &K) -> bool,
        alloc: &A,
        rehash: &R,
    ) -> Result<Assigned<K, V>, TryReserveError> {
        if self.is_growing() {
            self.grow_work(hash, alloc, rehash);
        }
        if self.has(ALLOCATED) {
            // SAFETY: `ALLOCATED`.
            let vacancy = match unsafe { self.find_or_vacancy(hash, |k| eq(&key, k)) } {
                Ok(slot) => return Ok((slot, Some((key, value)))),
                Err(vacancy) => vacancy,
            };
            if self.count < self.limit {
                // SAFETY: the vacancy is of this map, which nobody has changed since.
                let slot = unsafe { self.fill(vacancy, hash, key, value, alloc) };
                return slot.map(|slot| (slot, None));
            }
        }
        let slot = self.insert_unique(hash, key, value, alloc, rehash)?;
        Ok((slot, None))
    }

    /// Inserts an entry whose key is known to be absent.
    ///
    /// # Errors
    /// The allocator refused; the entry is dropped and the map is as it was, or has grown a little.
    #[inline]
    pub(crate) fn insert_unique<A: Allocator, R: Rehash<K>>(
        &mut self,
        hash: u64,
        key: K,
        value: V,
        alloc: &A,
        rehash: &R,
    ) -> Result<Slot<K, V>, TryReserveError> {
        if self.count >= self.limit {
            self.start_growth(alloc)?;
        }
        if self.is_growing() {
            self.grow_work(hash, alloc, rehash);
        }
        // SAFETY: a growth has been started if there was no array. The vacancy is used before anything
        // changes.
        unsafe {
            let head = self.chain(hash);
            head.prefetch_rest();
            let vacancy = self.vacancy(head);
            self.fill(vacancy, hash, key, value, alloc)
        }
    }

    /// The place for a new entry in the chain of `head`.
    ///
    /// # Safety
    /// `head` is live.
    #[inline(always)]
    pub(super) unsafe fn vacancy(&self, head: Bucket<K, V>) -> Vacancy<K, V> {
        // SAFETY: the buckets of a chain are live.
        unsafe {
            let mut bucket = head;
            loop {
                let empty = bucket.group().empty().first().map(|i| (bucket, i));
                match (empty, bucket.overflow()) {
                    (None, Some(next)) => bucket = next,
                    _ => {
                        return Vacancy {
                            head,
                            empty,
                            last: bucket,
                        };
                    }
                }
            }
        }
    }

    /// # Safety
    /// `vacancy` is of this map, which has not changed since, for a key that is absent.
    #[inline(always)]
    unsafe fn fill<A: Allocator>(
        &mut self,
        vacancy: Vacancy<K, V>,
        hash: u64,
        key: K,
        value: V,
        alloc: &A,
    ) -> Result<Slot<K, V>, TryReserveError> {
        let (bucket, i) = match vacancy.empty {
            Some(place) => place,
            None => {
                let in_old = self.in_old(hash);
                // SAFETY: the last bucket of a chain without an empty slot.
                let bucket = unsafe { self.extend_chain(vacancy.last, in_old, alloc) };
                (bucket?, 0)
            }
        };
        let boxes = Boxes::new::<K, V, A>(alloc)?;
        // SAFETY: an empty slot of a live bucket.
        unsafe { bucket.write(i, tophash(hash), boxes, key, value) };
        self.count += 1;
        Ok(Slot {
            bucket,
            i,
            head: vacancy.head,
        })
    }

    /// `mapdelete`'s first half: growing work.
    #[inline(always)]
    pub(crate) fn before_delete<A: Allocator, R: Rehash<K>>(
        &mut self,
        hash: u64,
        alloc: &A,
        rehash: &R,
    ) {
        if self.is_growing() {
            self.grow_work(hash, alloc, rehash);
        }
    }

    /// `mapdelete`'s second half: moves the entry out.
    ///
    /// # Safety
    /// `slot` was found in this map, which has not changed since; `alloc` is the map's.
    #[inline]
    pub(crate) unsafe fn remove<A: Allocator>(&mut self, slot: Slot<K, V>, alloc: &A) -> (K, V) {
        // SAFETY: a full slot of a live bucket, and the head of its chain. The allocator, which may unwind, is
        // called when the entry is out of the map.
        unsafe {
            let (entry, boxes) = slot.bucket.read(slot.i);
            self.count -= 1;
            mark_empty(slot);
            boxes.free::<K, V, A>(alloc);
            entry
        }
    }
}

/// The slot of one bucket, whose tophash bytes are `group`, with the byte `top` and a key that `eq` accepts (R94).
///
/// # Safety
/// The bucket is live.
#[inline(always)]
unsafe fn find_in<K, V>(
    bucket: Bucket<K, V>,
    group: Group,
    top: u8,
    mut eq: impl FnMut(&K) -> bool,
) -> Option<usize> {
    // SAFETY: live, and a slot with the byte of an entry is full.
    group.matches(top).find(|&i| eq(unsafe { &*bucket.key(i) }))
}

/// R88: the slot becomes `EMPTY_ONE`; if nothing lives behind it, it and all empty slots before it,
/// back to the chain's head, become `EMPTY_REST`.
///
/// # Safety
/// `slot` is a slot of a live bucket whose entry has been moved out, and `head` leads its chain.
unsafe fn mark_empty<K, V>(slot: Slot<K, V>) {
    let Slot {
        mut bucket,
        mut i,
        head,
    } = slot;
    // SAFETY: all buckets of the chain are live.
    unsafe {
        bucket.set_top(i, EMPTY_ONE);
        let rest_is_empty = if i + 1 < SLOTS {
            bucket.top(i + 1) == EMPTY_REST
        } else {
            bucket
                .overflow()
                .is_none_or(|next| next.top(0) == EMPTY_REST)
        };
        if !rest_is_empty {
            return;
        }
        loop {
            bucket.set_top(i, EMPTY_REST);
            if i > 0 {
                i -= 1;
            } else if bucket == head {
                return;
            } else {
                let behind = bucket;
                bucket = head;
                while let Some(next) = bucket.overflow()
                    && next != behind
                {
                    bucket = next;
                }
                i = SLOTS - 1;
            }
            if bucket.top(i) != EMPTY_ONE {
                return;
            }
        }
    }
}
