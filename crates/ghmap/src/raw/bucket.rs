//! One bucket: eight tophash bytes, eight keys, eight values, the link to the next bucket (R70, R75).
//!
//! ```text
//!   0        8                                              SIZE - 8
//!   +--------+---------------------+---------------------+---------+
//!   | top[8] | key 0 ... key 7     | value 0 ... value 7 | overflow|
//!   +--------+---------------------+---------------------+---------+
//! ```
//!
//! Keys and values stand apart, so that an `(i64, i8)` bucket is 88 bytes and not 136. A key or a
//! value of more than 128 bytes is replaced by a pointer to its own block (R78): evacuation then
//! moves eight bytes. The layout is arithmetic on constants, not a `#[repr(C)]` struct, because the
//! stored type depends on the size of `K` and `V`, which no stable type can express.

use super::group::Group;
use super::tophash::EMPTY_ONE;
use crate::TryReserveError;
use crate::alloc::{Allocator, allocate, deallocate};
use core::alloc::Layout;
use core::marker::PhantomData;
use core::mem;
use core::ptr::{self, NonNull};

/// Slots of a bucket.
pub(crate) const SLOTS: usize = 8;
/// The largest key or value kept inside the bucket, in bytes.
pub(crate) const MAX_INLINE: usize = 128;

const fn round_up(n: usize, align: usize) -> usize {
    (n + align - 1) & !(align - 1)
}

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// A byte of ones for every bit that is set.
const fn spread(bits: u8) -> u64 {
    let low = u64::from_le_bytes([0x7f; SLOTS]);
    // Bit n to byte n, then from there to the highest bit of that byte, then to all of them.
    let apart = (bits as u64 * 0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
    (((apart + low) & !low) >> 7) * 0xff
}

/// The slot of a `T`: itself, or a pointer to it.
const fn slot<T>() -> Layout {
    if mem::size_of::<T>() > MAX_INLINE {
        Layout::new::<*mut T>()
    } else {
        Layout::new::<T>()
    }
}

/// A pointer to a bucket. Copying it copies the pointer, which owns nothing: `fn() -> (K, V)` says so, and leaves
/// it to whoever holds one whether that may be pinned, sent or used after a panic.
///
/// Every method's contract, called "live": the bucket lies in an array or chunk that has not been
/// freed, its tophash bytes and its overflow link are initialised, and nobody else accesses it while
/// the method runs (readers may share).
pub(crate) struct Bucket<K, V> {
    at: NonNull<u8>,
    _entries: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Bucket<K, V> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Bucket<K, V> {}

impl<K, V> PartialEq for Bucket<K, V> {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<K, V> Bucket<K, V> {
    const KEYS: usize = round_up(SLOTS, slot::<K>().align());
    const VALUES: usize = round_up(Self::KEYS + SLOTS * slot::<K>().size(), slot::<V>().align());
    const OVERFLOW: usize = round_up(
        Self::VALUES + SLOTS * slot::<V>().size(),
        mem::align_of::<*mut u8>(),
    );
    /// The alignment of a bucket.
    pub(crate) const ALIGN: usize = max(
        max(slot::<K>().align(), slot::<V>().align()),
        mem::align_of::<*mut u8>(),
    );
    /// The distance between two buckets of an array, in bytes.
    pub(crate) const SIZE: usize =
        round_up(Self::OVERFLOW + mem::size_of::<*mut u8>(), Self::ALIGN);

    #[inline(always)]
    pub(crate) const fn new(at: NonNull<u8>) -> Self {
        Self {
            at,
            _entries: PhantomData,
        }
    }

    #[inline(always)]
    pub(crate) fn as_ptr(self) -> NonNull<u8> {
        self.at
    }

    /// The bucket `n` places further.
    ///
    /// # Safety
    /// That place is inside the same array, or just past its end.
    #[inline(always)]
    pub(crate) unsafe fn add(self, n: usize) -> Self {
        // SAFETY: the caller's promise.
        Self::new(unsafe { self.at.byte_add(n * Self::SIZE) })
    }

    /// The bucket `n` places before.
    ///
    /// # Safety
    /// That place is inside the same array.
    #[cfg(feature = "rayon")]
    pub(crate) unsafe fn sub(self, n: usize) -> Self {
        // SAFETY: the caller's promise.
        Self::new(unsafe { self.at.byte_sub(n * Self::SIZE) })
    }

    /// Makes the bucket empty without looking at what it held.
    ///
    /// # Safety
    /// The memory is a bucket's place that may be written.
    #[inline(always)]
    pub(crate) unsafe fn init(self) {
        // SAFETY: the caller's promise; both offsets are inside the bucket and aligned.
        unsafe {
            self.at.cast::<[u8; SLOTS]>().write([0; SLOTS]);
            self.set_overflow(None);
        }
    }

    /// Asks for all cache lines of the bucket but the first, which the caller reads at once. The
    /// entry is thus on its way while the tophash bytes are still being waited for.
    #[inline(always)]
    pub(crate) fn prefetch_rest(self) {
        let mut line = 64;
        // Three lines hold a bucket of u64s; beyond that the key's own line is fetched on demand.
        while line < Self::SIZE && line <= 128 {
            prefetch(self.at.as_ptr().wrapping_add(line));
            line += 64;
        }
    }

    /// Asks for the bucket's first cache line too.
    #[inline(always)]
    pub(crate) fn prefetch(self) {
        prefetch(self.at.as_ptr());
        self.prefetch_rest();
    }

    /// # Safety
    /// Live.
    #[inline(always)]
    pub(crate) unsafe fn group(self) -> Group {
        // SAFETY: live.
        unsafe { Group::load(self.at.as_ptr()) }
    }

    /// # Safety
    /// Live, and `i < SLOTS`.
    #[inline(always)]
    pub(crate) unsafe fn top(self, i: usize) -> u8 {
        debug_assert!(i < SLOTS);
        // SAFETY: live; the tophash bytes come first.
        unsafe { *self.at.as_ptr().add(i) }
    }

    /// # Safety
    /// Live, and `i < SLOTS`.
    #[inline(always)]
    pub(crate) unsafe fn set_top(self, i: usize, top: u8) {
        debug_assert!(i < SLOTS);
        // SAFETY: live; the tophash bytes come first.
        unsafe { *self.at.as_ptr().add(i) = top }
    }

    /// Makes the slots from `i` on `EMPTY_REST`.
    ///
    /// # Safety
    /// Live, `i <= SLOTS`, and their entries have been moved out.
    #[inline(always)]
    pub(crate) unsafe fn truncate(self, i: usize) {
        let keep = u64::MAX.checked_shl(8 * i as u32).map_or(u64::MAX, |m| !m);
        // SAFETY: live; the tophash bytes come first, and `ALIGN` is not asked of them.
        unsafe {
            let tops = self.at.cast::<[u8; SLOTS]>();
            tops.write((u64::from_le_bytes(tops.read()) & keep).to_le_bytes());
        }
    }

    /// Makes all slots empty but those of `full`, a bit per slot: `EMPTY_ONE` before the last of them,
    /// `EMPTY_REST` behind it.
    ///
    /// # Safety
    /// Live, the slots of `full` are, and the entries of the others have been moved out. All are full, or no
    /// entry follows in the chain.
    #[inline(always)]
    pub(crate) unsafe fn keep(self, full: u8) {
        let kept = spread(full);
        let gaps = u64::MAX.checked_shr(8 * full.leading_zeros()).unwrap_or(0) & !kept;
        let ones = u64::from_le_bytes([EMPTY_ONE; SLOTS]);
        // SAFETY: live; the tophash bytes come first, and `ALIGN` is not asked of them.
        unsafe {
            let tops = self.at.cast::<[u8; SLOTS]>();
            let now = u64::from_le_bytes(tops.read());
            tops.write(((now & kept) | (ones & gaps)).to_le_bytes());
        }
    }

    /// The next bucket of the chain.
    ///
    /// # Safety
    /// Live.
    #[inline(always)]
    pub(crate) unsafe fn overflow(self) -> Option<Self> {
        // SAFETY: live; the link is an aligned pointer or null.
        let p = unsafe { *self.at.as_ptr().add(Self::OVERFLOW).cast::<*mut u8>() };
        NonNull::new(p).map(Self::new)
    }

    /// # Safety
    /// The memory is a bucket's place that may be written.
    #[inline(always)]
    pub(crate) unsafe fn set_overflow(self, next: Option<Self>) {
        let p = next.map_or(ptr::null_mut(), |b| b.at.as_ptr());
        // SAFETY: the caller's promise.
        unsafe { *self.at.as_ptr().add(Self::OVERFLOW).cast::<*mut u8>() = p }
    }

    #[inline(always)]
    unsafe fn key_slot(self, i: usize) -> *mut u8 {
        // SAFETY: the callers' promise, `i < SLOTS` in a live bucket.
        unsafe { self.at.as_ptr().add(Self::KEYS + i * slot::<K>().size()) }
    }

    #[inline(always)]
    unsafe fn value_slot(self, i: usize) -> *mut u8 {
        // SAFETY: the callers' promise, `i < SLOTS` in a live bucket.
        unsafe { self.at.as_ptr().add(Self::VALUES + i * slot::<V>().size()) }
    }

    /// Where the key of slot `i` is.
    ///
    /// # Safety
    /// Live, and slot `i` is full.
    #[inline(always)]
    pub(crate) unsafe fn key(self, i: usize) -> *mut K {
        // SAFETY: live; a full slot of an indirect key holds its pointer.
        unsafe { resolve(self.key_slot(i)) }
    }

    /// Where the value of slot `i` is.
    ///
    /// # Safety
    /// Live, and slot `i` is full.
    #[inline(always)]
    pub(crate) unsafe fn value(self, i: usize) -> *mut V {
        // SAFETY: live; a full slot of an indirect value holds its pointer.
        unsafe { resolve(self.value_slot(i)) }
    }

    /// Fills slot `i`.
    ///
    /// # Safety
    /// Live, slot `i` is empty, and `boxes` came from [`Boxes::new`] with the map's allocator.
    #[inline(always)]
    pub(crate) unsafe fn write(self, i: usize, top: u8, boxes: Boxes, key: K, value: V) {
        // SAFETY: live; the slots are big enough and aligned by construction of the offsets.
        unsafe {
            store(self.key_slot(i), boxes.key, key);
            store(self.value_slot(i), boxes.value, value);
            self.set_top(i, top);
        }
    }

    /// Copies the entry of slot `from` of `source`, whose boxes change owner with it.
    ///
    /// # Safety
    /// Both live, `from` full; `to` is empty or the same place; only one of two copies is used
    /// afterwards.
    #[inline(always)]
    pub(crate) unsafe fn copy_entry(self, to: usize, top: u8, source: Self, from: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            ptr::copy(source.key_slot(from), self.key_slot(to), slot::<K>().size());
            ptr::copy(
                source.value_slot(from),
                self.value_slot(to),
                slot::<V>().size(),
            );
            self.set_top(to, top);
        }
    }

    /// Gives the empty slots the states they have in `source`.
    ///
    /// # Safety
    /// Both live, and the same slots full.
    pub(crate) unsafe fn copy_states(self, source: Self) {
        for i in 0..SLOTS {
            // SAFETY: live, and the bytes of full slots are equal already.
            unsafe { self.set_top(i, source.top(i)) };
        }
    }

    /// Moves the entry of slot `i` out, and gives its boxes. The tophash byte is the caller's business.
    ///
    /// # Safety
    /// Live, and slot `i` full; the slot counts as empty afterwards.
    #[inline(always)]
    pub(crate) unsafe fn read(self, i: usize) -> ((K, V), Boxes) {
        // SAFETY: full, so both are initialised.
        unsafe {
            let (key, value) = (self.key(i), self.value(i));
            let boxes = Boxes {
                key: key.cast(),
                value: value.cast(),
            };
            ((key.read(), value.read()), boxes)
        }
    }
}

/// The blocks of an indirect key and value, allocated before a slot is touched: an allocator that
/// unwinds then finds the map unchanged. They are freed after their slot has become empty, for the same
/// reason.
pub(crate) struct Boxes {
    key: *mut u8,
    value: *mut u8,
}

impl Boxes {
    /// # Errors
    /// The allocator refused.
    #[inline(always)]
    pub(crate) fn new<K, V, A: Allocator>(alloc: &A) -> Result<Self, TryReserveError> {
        // Freed if there is none for the value.
        struct KeyBox<'a, K, A: Allocator>(*mut u8, &'a A, PhantomData<K>);
        impl<K, A: Allocator> Drop for KeyBox<'_, K, A> {
            fn drop(&mut self) {
                // SAFETY: just allocated, and nobody else knows it.
                unsafe { free_box::<K, A>(self.0, self.1) };
            }
        }
        let key = KeyBox::<K, A>(new_box::<K, A>(alloc)?, alloc, PhantomData);
        let value = new_box::<V, A>(alloc)?;
        let boxes = Self { key: key.0, value };
        mem::forget(key);
        Ok(boxes)
    }

    /// # Safety
    /// They are of an entry that has been moved out, of a map of `K` and `V` with this allocator.
    #[inline(always)]
    pub(crate) unsafe fn free<K, V, A: Allocator>(self, alloc: &A) {
        // SAFETY: the caller's promise; they were made by `new`.
        unsafe {
            free_box::<K, A>(self.key, alloc);
            free_box::<V, A>(self.value, alloc);
        }
    }
}

#[inline(always)]
fn new_box<T, A: Allocator>(alloc: &A) -> Result<*mut u8, TryReserveError> {
    if mem::size_of::<T>() > MAX_INLINE {
        allocate(alloc, Layout::new::<T>(), false).map(NonNull::as_ptr)
    } else {
        Ok(ptr::null_mut())
    }
}

/// # Safety
/// For an indirect `T`, `p` came from `new_box` with this allocator and is not used again.
#[inline(always)]
unsafe fn free_box<T, A: Allocator>(p: *mut u8, alloc: &A) {
    if mem::size_of::<T>() > MAX_INLINE {
        // SAFETY: the caller's promise; a box is never null.
        unsafe { deallocate(alloc, NonNull::new_unchecked(p), Layout::new::<T>()) }
    }
}

/// # Safety
/// `p` is the slot of a full entry.
#[inline(always)]
unsafe fn resolve<T>(p: *mut u8) -> *mut T {
    if mem::size_of::<T>() > MAX_INLINE {
        // SAFETY: an indirect slot holds a pointer.
        unsafe { *p.cast::<*mut T>() }
    } else {
        p.cast()
    }
}

/// # Safety
/// `p` is a slot, and `block` the box for an indirect `T`.
#[inline(always)]
unsafe fn store<T>(p: *mut u8, block: *mut u8, value: T) {
    // SAFETY: the caller's promise.
    unsafe {
        if mem::size_of::<T>() > MAX_INLINE {
            block.cast::<T>().write(value);
            p.cast::<*mut u8>().write(block);
        } else {
            p.cast::<T>().write(value);
        }
    }
}

#[inline(always)]
fn prefetch(p: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch may name any address.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(p.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = p;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pointer: the link, and an entry's key or value in a block of its own.
    const LINK: usize = size_of::<*mut u8>();

    #[test]
    fn r70_keys_and_values_apart_save_padding() {
        assert_eq!(Bucket::<i64, i8>::SIZE, 8 + 64 + 8 + LINK);
        assert_eq!(Bucket::<u64, u64>::SIZE, 8 + 64 + 64 + LINK);
        assert_eq!(Bucket::<(), ()>::SIZE, 8 + LINK);
        assert_eq!(Bucket::<u8, u128>::ALIGN, 16);
        assert_eq!(Bucket::<u8, u128>::SIZE % 16, 0);
    }

    #[test]
    fn bits_spread_to_bytes() {
        for bits in 0..=255u8 {
            let want = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| 0u8.wrapping_sub(bits >> i & 1));
            assert_eq!(spread(bits).to_le_bytes(), want);
        }
    }

    #[test]
    fn r78_128_bytes_stay_inside_and_129_do_not() {
        assert_eq!(Bucket::<[u8; 128], ()>::SIZE, 8 + 8 * 128 + LINK);
        assert_eq!(Bucket::<[u8; 129], ()>::SIZE, 8 + 8 * LINK + LINK);
        assert_eq!(Bucket::<(), [u8; 128]>::SIZE, 8 + 8 * 128 + LINK);
        assert_eq!(Bucket::<(), [u8; 129]>::SIZE, 8 + 8 * LINK + LINK);
    }
}
