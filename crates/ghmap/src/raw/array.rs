//! The array of 2^B buckets, in blocks: a growing map keeps what it has and adds as much again.
//!
//! ```text
//!   first block               block b+1        block b+2
//!   +-------+--------------+  +-------------+  +---------------------------+
//!   |levels | 0 .. 2^b - 1 |  | 2^b ..      |  | 2^(b+1) ..                |
//!   +-------+--------------+  +-------------+  +---------------------------+
//! ```
//!
//! Level k is the buckets whose index has k significant bits: {0}, {1}, {2, 3}, {4..7}, ... A level
//! lies in one block, and the table `levels` says for each where bucket 0 would be if its block went
//! on downwards, so that finding a bucket is: count the bits, load, multiply, add.
//!
//! Go allocates an array of double size and empties the old one into it. Blocks cost a lookup one load
//! more, which hits the first cache. For it, doubling a map of n bytes takes n bytes and not 2n beside
//! the n it has; half the entries stay where they are; half the pages are faulted in; and no old array
//! has to be given back, which takes the system longer than any insertion may.
//!
//! The table of a map of up to 2^7 buckets is in front of the first block, where it saves an allocation;
//! a larger one's is a block of its own.

use super::bucket::Bucket;
use super::pages;
use crate::TryReserveError;
use crate::alloc::{Allocator, allocate, deallocate};
use core::alloc::Layout;
use core::marker::PhantomData;
use core::mem;
use core::ptr::NonNull;

/// Levels of the table in the first block: of 2^7 buckets.
const NEAR: usize = 8;
/// Levels of any map.
const FAR: usize = usize::BITS as usize;

/// The layout of 2^b buckets behind `header` bytes.
///
/// # Errors
/// `CapacityOverflow` if the size passes `usize`. One that only passes `isize`, which no `Layout` can
/// say, counts as refused by the allocator.
fn layout<K, V>(header: usize, b: u8) -> Result<Layout, TryReserveError> {
    let align = Bucket::<K, V>::ALIGN;
    let size = 1usize
        .checked_shl(u32::from(b))
        .and_then(|n| n.checked_mul(Bucket::<K, V>::SIZE))
        .and_then(|n| n.checked_add(header))
        .ok_or(TryReserveError::CapacityOverflow)?;
    Layout::from_size_align(size, align).map_err(|_| {
        let most = isize::MAX as usize & !(align - 1);
        Layout::from_size_align(most, align).map_or(TryReserveError::CapacityOverflow, |layout| {
            TryReserveError::AllocError { layout }
        })
    })
}

/// The significant bits of `i`.
#[inline(always)]
const fn level(i: usize) -> usize {
    // Never zero, so that no processor needs a branch for it.
    (i << 1 | 1).ilog2() as usize
}

/// A fresh block, which goes back if it is dropped: if another that is wanted beside it is refused, or the
/// allocator unwinds.
struct Block<'a, A: Allocator> {
    at: NonNull<u8>,
    layout: Layout,
    alloc: &'a A,
}

impl<'a, A: Allocator> Block<'a, A> {
    fn new(
        alloc: &'a A,
        layout: Layout,
        zeroed: bool,
        huge: bool,
    ) -> Result<Self, TryReserveError> {
        let at = allocate(alloc, layout, zeroed)?;
        pages::advise(at, layout.size(), huge);
        Ok(Self { at, layout, alloc })
    }

    /// Leaves the block to the caller.
    fn keep(self) -> NonNull<u8> {
        mem::ManuallyDrop::new(self).at
    }
}

impl<A: Allocator> Drop for Block<'_, A> {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout, and nobody has been left it.
        unsafe { deallocate(self.alloc, self.at, self.layout) };
    }
}

/// The blocks of one array. Does not free itself: that takes the allocator.
pub(super) struct Array<K, V> {
    /// Per level, where bucket 0 would be. In the first block, or in one of `FAR` levels.
    levels: NonNull<*mut u8>,
    /// The first block.
    first: NonNull<u8>,
    /// log2 of the buckets in the first block, and in all.
    first_b: u8,
    b: u8,
    _entries: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Array<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Array<K, V> {}

impl<K, V> Array<K, V> {
    const HEADER: usize =
        (NEAR * mem::size_of::<*mut u8>()).next_multiple_of(Bucket::<K, V>::ALIGN);

    /// No array: nothing may be asked of it.
    pub(super) const fn none() -> Self {
        Self {
            levels: NonNull::dangling(),
            first: NonNull::dangling(),
            first_b: 0,
            b: 0,
            _entries: PhantomData,
        }
    }

    /// 2^b empty buckets in one block.
    ///
    /// # Errors
    /// The allocator refused.
    pub(super) fn new<A: Allocator>(b: u8, huge: bool, alloc: &A) -> Result<Self, TryReserveError> {
        let layout = layout::<K, V>(Self::HEADER, b)?;
        // Zeroed memory is empty buckets, and a large block is zero without being touched.
        let first = Block::new(alloc, layout, true, huge)?;
        let mut array = Self {
            levels: first.at.cast(),
            first: first.at,
            first_b: b,
            b,
            _entries: PhantomData,
        };
        if usize::from(b) >= NEAR {
            array.leave_first_block(0, alloc)?;
        }
        let first = first.keep();
        for level in 0..=usize::from(b) {
            // SAFETY: the table has room for level b; the buckets lie behind the header.
            unsafe {
                array
                    .levels
                    .add(level)
                    .write(first.as_ptr().add(Self::HEADER))
            };
        }
        Ok(array)
    }

    /// Gives the array a table of `FAR` levels, with the first `n` of the present one.
    fn leave_first_block<A: Allocator>(
        &mut self,
        n: usize,
        alloc: &A,
    ) -> Result<(), TryReserveError> {
        let far = allocate(alloc, Layout::new::<[*mut u8; FAR]>(), false)?.cast::<*mut u8>();
        // SAFETY: two tables of at least `n` levels.
        unsafe { far.copy_from_nonoverlapping(self.levels, n) };
        self.levels = far;
        Ok(())
    }

    /// Adds as many buckets again, which are not initialised.
    ///
    /// # Errors
    /// The allocator refused; the array is as it was.
    pub(super) fn double<A: Allocator>(
        &mut self,
        huge: bool,
        alloc: &A,
    ) -> Result<(), TryReserveError> {
        let layout = layout::<K, V>(0, self.b)?;
        // That all of them together can be addressed too.
        self::layout::<K, V>(Self::HEADER, self.b + 1)?;
        let level = usize::from(self.b) + 1;
        let block = Block::new(alloc, layout, false, huge)?;
        if level == NEAR && self.levels == self.first.cast() {
            self.leave_first_block(NEAR, alloc)?;
        }
        let at = block.keep();
        // SAFETY: the table has room for this level: `NEAR` are the first block's, `FAR` any map's.
        unsafe {
            let bucket_0 = at.as_ptr().wrapping_sub(Bucket::<K, V>::SIZE << self.b);
            self.levels.add(level).write(bucket_0);
        }
        self.b += 1;
        Ok(())
    }

    /// Bucket `i`.
    ///
    /// # Safety
    /// This is an array, and `i` is below 2^b.
    #[inline(always)]
    pub(super) unsafe fn bucket(&self, i: usize) -> Bucket<K, V> {
        // SAFETY: the levels of all buckets are filled in. The sum is inside the block of that level,
        // from which the pointer was made, so that it is no null pointer.
        unsafe {
            let bucket_0 = self.levels.add(level(i)).read();
            Bucket::new(NonNull::new_unchecked(
                bucket_0.wrapping_add(i * Bucket::<K, V>::SIZE),
            ))
        }
    }

    /// The index of a bucket, if it is of this array: constant on average over all buckets, at worst one
    /// step for every time the array doubled.
    ///
    /// # Safety
    /// This is an array.
    pub(super) unsafe fn position(&self, bucket: Bucket<K, V>) -> Option<usize> {
        let at = bucket.as_ptr().as_ptr() as usize;
        let (mut from, mut len) = (1usize << self.b >> 1, 1usize << self.b >> 1);
        for b in (self.first_b..=self.b).rev() {
            if b == self.first_b {
                (from, len) = (0, 1 << b);
            }
            // SAFETY: below 2^b, being the first bucket of a block.
            let first = unsafe { self.bucket(from) }.as_ptr().as_ptr() as usize;
            let i = at.wrapping_sub(first) / Bucket::<K, V>::SIZE;
            if i < len {
                return Some(from + i);
            }
            (from, len) = (from / 2, len / 2);
        }
        None
    }

    /// Buckets that lie side by side from bucket `from` on, if `from` is 0 or where the last run ended.
    #[inline]
    pub(super) fn run_end(&self, from: usize) -> usize {
        if from == 0 {
            1 << self.first_b
        } else {
            2 * from
        }
    }

    /// Bytes of all blocks.
    pub(super) fn bytes(&self) -> usize {
        let table = if self.levels == self.first.cast() {
            0
        } else {
            mem::size_of::<[*mut u8; FAR]>()
        };
        Self::HEADER + table + (Bucket::<K, V>::SIZE << self.b)
    }

    /// Frees all blocks.
    ///
    /// # Safety
    /// This is an array of `alloc`, and nothing in its memory is used again.
    pub(super) unsafe fn free<A: Allocator>(&self, alloc: &A) {
        // SAFETY: the caller's promise; the layouts are those of the allocations, and were valid then.
        unsafe {
            for b in self.first_b..self.b {
                if let Ok(layout) = layout::<K, V>(0, b) {
                    deallocate(alloc, self.bucket(1 << b).as_ptr(), layout);
                }
            }
            if self.levels != self.first.cast() {
                deallocate(alloc, self.levels.cast(), Layout::new::<[*mut u8; FAR]>());
            }
            if let Ok(layout) = layout::<K, V>(Self::HEADER, self.first_b) {
                deallocate(alloc, self.first, layout);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Global;
    use std::vec::Vec;

    #[test]
    fn every_bucket_has_a_place_of_its_own_whatever_the_first_block() {
        const SIZE: usize = Bucket::<u64, u64>::SIZE;
        for first_b in 0..10 {
            let mut array =
                Array::<u64, u64>::new(first_b, false, &Global).expect("a little memory");
            for b in first_b..11 {
                let mut places: Vec<usize> = (0..1 << b)
                    // SAFETY: below 2^b.
                    .map(|i| unsafe { array.bucket(i).as_ptr().as_ptr() as usize })
                    .collect();
                let mut from = 0;
                while from < 1 << b {
                    let end = array.run_end(from);
                    let side_by_side = places[from..end].windows(2).all(|w| w[0] + SIZE == w[1]);
                    assert!(side_by_side);
                    from = end;
                }
                assert_eq!(from, 1 << b);
                for i in 0..1 << b {
                    // SAFETY: below 2^b.
                    assert_eq!(unsafe { array.position(array.bucket(i)) }, Some(i));
                }
                places.sort_unstable();
                assert!(places.windows(2).all(|w| w[1] - w[0] >= SIZE));
                assert!(array.double(false, &Global).is_ok());
            }
            // SAFETY: not used again.
            unsafe { array.free(&Global) };
        }
    }
}
