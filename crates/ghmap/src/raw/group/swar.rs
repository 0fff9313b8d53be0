//! Eight bytes in one 64-bit word, for processors without a file of their own. Every test is exact
//! (no false positives), so that the number of key comparisons is the same everywhere.

use super::Slots;
use crate::raw::tophash::{EMPTY_ONE, MIN_TOP_HASH};

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The tophash bytes of one bucket, slot 0 in the lowest byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group(u64);

/// Eight bits per slot, the highest of them set.
pub(crate) type Mask = Slots<3>;

impl Slots<3> {
    /// A bit per slot.
    #[inline(always)]
    pub(crate) fn bits(self) -> u8 {
        // The highest bit of byte n goes to bit 56 + n.
        ((self.0 >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
    }
}

impl Group {
    /// # Safety
    /// Eight initialised bytes are readable at `p`.
    #[inline(always)]
    pub(crate) unsafe fn load(p: *const u8) -> Self {
        // SAFETY: the caller's promise.
        Self(u64::from_le_bytes(unsafe { *p.cast::<[u8; 8]>() }))
    }

    /// The slots whose byte is `byte`.
    #[inline(always)]
    pub(crate) fn matches(self, byte: u8) -> Mask {
        let x = self.0 ^ (LOW * u64::from(byte));
        // Adding 127 to the low seven bits carries into bit 7 unless they are all zero.
        Slots(!(((x & !HIGH) + !HIGH) | x) & HIGH)
    }

    /// The high bit of every byte that is at least `floor`, for `floor` in 1..=128.
    #[inline(always)]
    fn at_least(self, floor: u8) -> u64 {
        (((self.0 & !HIGH) + LOW * u64::from(128 - floor)) | self.0) & HIGH
    }

    /// The slots that hold an entry.
    #[inline(always)]
    pub(crate) fn full(self) -> Mask {
        Slots(self.at_least(MIN_TOP_HASH))
    }

    /// The slots that may take a new entry.
    #[inline(always)]
    pub(crate) fn empty(self) -> Mask {
        Slots(!self.at_least(EMPTY_ONE + 1) & HIGH)
    }
}
