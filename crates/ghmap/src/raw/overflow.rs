//! Overflow buckets: chunks of spares, and a list of those given back.
//!
//! Go 1.12 appends 2^(B-4) spare buckets to the array itself and lets the collector have them with
//! it. Here the spares stand in chunks of their own (of the same number, at most
//! [`CHUNK_BYTES`] each, and reserved at the first need), because evacuation empties overflow buckets
//! one by one: they go on a free list and serve other chains for as long as the map lives. An iterator
//! walks the chunks from end to end instead of following the links: a bucket on the free list has no
//! full slot.
//!
//! Invariants: every bucket below `used` of every chunk is initialised; those on the free list have
//! only `EMPTY_REST` bytes; each is in exactly one chain or on the free list; all chunks but the
//! newest are used up.

use super::bucket::Bucket;
use crate::TryReserveError;
use crate::alloc::{Allocator, allocate, deallocate};
use core::alloc::Layout;
use core::marker::PhantomData;
use core::mem;
use core::ptr::NonNull;

/// The largest chunk: small enough that reserving one is no slow insert.
const CHUNK_BYTES: usize = 256 << 10;

/// The header of a chunk; its buckets follow.
struct Chunk {
    /// The chunk before this one.
    older: Option<NonNull<Chunk>>,
    /// Buckets of all older chunks.
    base: usize,
    /// Buckets of this chunk.
    cap: usize,
    /// Buckets handed out at least once; `cap` in all chunks but the newest.
    used: usize,
    /// The free list of the whole pool, linked through the overflow links. Newest chunk only.
    free: Option<NonNull<u8>>,
    /// The length of the free list. Newest chunk only.
    free_len: usize,
}

/// All overflow buckets of one map. One pointer, so that a map without any pays only that.
pub(crate) struct Pool<K, V> {
    newest: Option<NonNull<Chunk>>,
    _entries: PhantomData<(K, V)>,
}

impl<K, V> Pool<K, V> {
    const BUCKETS: usize = mem::size_of::<Chunk>().next_multiple_of(Bucket::<K, V>::ALIGN);

    pub(crate) const fn new() -> Self {
        Self {
            newest: None,
            _entries: PhantomData,
        }
    }

    fn layout(cap: usize) -> Result<Layout, TryReserveError> {
        let align = Bucket::<K, V>::ALIGN.max(mem::align_of::<Chunk>());
        cap.checked_mul(Bucket::<K, V>::SIZE)
            .and_then(|n| n.checked_add(Self::BUCKETS))
            .and_then(|n| Layout::from_size_align(n, align).ok())
            .ok_or(TryReserveError::CapacityOverflow)
    }

    /// How many buckets can be taken without asking the allocator.
    pub(crate) fn available(&self) -> usize {
        self.newest.map_or(0, |chunk| {
            // SAFETY: a chunk of the list is alive and only this pool writes it.
            let c = unsafe { chunk.as_ref() };
            c.free_len + c.cap - c.used
        })
    }

    /// Sees to it that `n` buckets can be taken; `b` is the map's B.
    ///
    /// # Errors
    /// The allocator refused; nothing has changed.
    #[inline]
    pub(crate) fn ensure<A: Allocator>(
        &mut self,
        n: usize,
        b: u8,
        alloc: &A,
    ) -> Result<(), TryReserveError> {
        if n <= self.available() {
            return Ok(());
        }
        self.add_chunk(n, b, alloc)
    }

    #[cold]
    fn add_chunk<A: Allocator>(
        &mut self,
        n: usize,
        b: u8,
        alloc: &A,
    ) -> Result<(), TryReserveError> {
        // Go's rule: none below B = 4, then one spare for sixteen buckets.
        let spares = 1usize << b.saturating_sub(4);
        let most = (CHUNK_BYTES / Bucket::<K, V>::SIZE).max(1);
        let cap = spares.min(most).max(n);
        let at = allocate(alloc, Self::layout(cap)?, false)?.cast::<Chunk>();
        // What is left of the newest chunk goes on the free list: fewer than `n` buckets.
        let (mut free, mut free_len, mut base) = (None, 0, 0);
        if let Some(mut newest) = self.newest {
            // SAFETY: a chunk of the list is alive and only this pool writes it.
            let c = unsafe { newest.as_mut() };
            (free, free_len, base) = (c.free, c.free_len, c.base + c.cap);
            while c.used < c.cap {
                // SAFETY: bucket `used` lies inside the chunk; it is initialised before it is linked.
                unsafe {
                    let bucket = Self::bucket(newest, c.used);
                    bucket.init();
                    bucket.set_overflow(free.map(Bucket::new));
                    free = Some(bucket.as_ptr());
                }
                c.used += 1;
                free_len += 1;
            }
        }
        let header = Chunk {
            older: self.newest,
            base,
            cap,
            used: 0,
            free,
            free_len,
        };
        // SAFETY: the block is fresh, aligned and begins with room for the header.
        unsafe { at.write(header) };
        self.newest = Some(at);
        Ok(())
    }

    /// # Safety
    /// `chunk` is alive and `i` at most its `cap`.
    unsafe fn bucket(chunk: NonNull<Chunk>, i: usize) -> Bucket<K, V> {
        // SAFETY: the buckets begin `BUCKETS` bytes into the block (`layout`).
        unsafe { Bucket::new(chunk.cast::<u8>().byte_add(Self::BUCKETS)).add(i) }
    }

    /// Takes an empty bucket.
    ///
    /// # Safety
    /// One is available.
    #[inline]
    pub(crate) unsafe fn take(&mut self) -> Bucket<K, V> {
        debug_assert_ne!(self.available(), 0);
        // SAFETY: one is available, so there is a chunk; it is alive and only this pool writes it. A
        // bucket of the free list is initialised; bucket `used` lies inside the chunk.
        unsafe {
            let mut newest = self.newest.unwrap_unchecked();
            let c = newest.as_mut();
            if let Some(p) = c.free {
                let bucket = Bucket::new(p);
                c.free = bucket.overflow().map(Bucket::as_ptr);
                c.free_len -= 1;
                bucket.set_overflow(None);
                bucket
            } else {
                let bucket = Self::bucket(newest, c.used);
                bucket.init();
                c.used += 1;
                bucket
            }
        }
    }

    /// Gives a bucket back.
    ///
    /// # Safety
    /// It came from this pool and is in no chain any more; its entries have been moved out.
    #[inline]
    pub(crate) unsafe fn give_back(&mut self, bucket: Bucket<K, V>) {
        // SAFETY: a bucket of this pool lies in a chunk, so there is one; the bucket is ours to write.
        unsafe {
            let mut newest = self.newest.unwrap_unchecked();
            let c = newest.as_mut();
            bucket.init();
            bucket.set_overflow(c.free.map(Bucket::new));
            c.free = Some(bucket.as_ptr());
            c.free_len += 1;
        }
    }

    /// The initialised buckets, chunk by chunk.
    pub(crate) fn chunks(&self) -> Chunks<K, V> {
        Chunks {
            next: self.newest,
            _entries: PhantomData,
        }
    }

    /// Buckets of all chunks.
    pub(crate) fn buckets(&self) -> usize {
        self.newest.map_or(0, |chunk| {
            // SAFETY: a chunk of the list is alive.
            let c = unsafe { chunk.as_ref() };
            c.base + c.cap
        })
    }

    /// Buckets of all chunks, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let (mut next, mut buckets, mut bytes) = (self.newest, 0, 0);
        while let Some(chunk) = next {
            // SAFETY: a chunk of the list is alive.
            let c = unsafe { chunk.as_ref() };
            buckets += c.cap;
            bytes += Self::BUCKETS + c.cap * Bucket::<K, V>::SIZE;
            next = c.older;
        }
        (buckets, bytes)
    }

    /// Takes every bucket back: linear in those handed out.
    ///
    /// # Safety
    /// No bucket of the pool is in a chain any more, and all entries have been moved out or are leaked.
    pub(crate) unsafe fn recycle(&mut self) {
        let Some(newest) = self.newest else { return };
        let (mut free, mut free_len) = (None, 0);
        let mut runs = self.chunks();
        // SAFETY: the chunks are alive, and their buckets below `used` are initialised and ours alone.
        unsafe {
            while let Some((first, used)) = runs.next() {
                for i in 0..used {
                    let bucket = first.add(i);
                    bucket.init();
                    bucket.set_overflow(free.map(Bucket::new));
                    free = Some(bucket.as_ptr());
                }
                free_len += used;
            }
            (*newest.as_ptr()).free = free;
            (*newest.as_ptr()).free_len = free_len;
        }
    }

    /// Frees every chunk.
    ///
    /// # Safety
    /// `alloc` is the allocator the chunks came from, and no bucket of them is used again.
    pub(crate) unsafe fn free<A: Allocator>(&mut self, alloc: &A) {
        while let Some(chunk) = self.newest {
            // SAFETY: alive until the next line; its layout was valid when it was allocated.
            let (older, cap) = unsafe { (chunk.as_ref().older, chunk.as_ref().cap) };
            self.newest = older;
            if let Ok(layout) = Self::layout(cap) {
                // SAFETY: the caller's promise.
                unsafe { deallocate(alloc, chunk.cast(), layout) };
            }
        }
    }
}

/// The runs of initialised buckets of a [`Pool`]: first bucket and number.
pub(crate) struct Chunks<K, V> {
    next: Option<NonNull<Chunk>>,
    _entries: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Chunks<K, V> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<K, V> Chunks<K, V> {
    pub(crate) const fn none() -> Self {
        Self {
            next: None,
            _entries: PhantomData,
        }
    }

    /// How many buckets of the pool come before this one, counted from its oldest chunk: linear in the
    /// number of chunks.
    ///
    /// # Safety
    /// The pool's chunks are still alive.
    pub(crate) unsafe fn position(&self, bucket: Bucket<K, V>) -> Option<usize> {
        let at = bucket.as_ptr().as_ptr() as usize;
        let mut next = self.next;
        while let Some(chunk) = next {
            // SAFETY: the caller's promise.
            let c = unsafe { chunk.as_ref() };
            let first = chunk.as_ptr() as usize + Pool::<K, V>::BUCKETS;
            let i = at.wrapping_sub(first) / Bucket::<K, V>::SIZE;
            if i < c.cap {
                return Some(c.base + i);
            }
            next = c.older;
        }
        None
    }

    /// The bucket at a position, if that is initialised.
    ///
    /// # Safety
    /// The pool's chunks are still alive.
    pub(crate) unsafe fn at(&self, position: usize) -> Option<Bucket<K, V>> {
        let mut next = self.next;
        while let Some(chunk) = next {
            // SAFETY: the caller's promise; bucket `i` lies inside the chunk.
            unsafe {
                let c = chunk.as_ref();
                if let Some(i) = position.checked_sub(c.base) {
                    return (i < c.used).then(|| Pool::bucket(chunk, i));
                }
                next = c.older;
            }
        }
        None
    }

    /// The next run.
    ///
    /// # Safety
    /// The pool's chunks are still alive.
    pub(crate) unsafe fn next(&mut self) -> Option<(Bucket<K, V>, usize)> {
        let chunk = self.next?;
        // SAFETY: the caller's promise.
        unsafe {
            let c = chunk.as_ref();
            self.next = c.older;
            Some((Pool::bucket(chunk, 0), c.used))
        }
    }
}
