//! Eight bytes in half an SSE2 register; SSE2 is part of every x86-64.

use super::Slots;
use crate::raw::tophash::{EMPTY_ONE, MIN_TOP_HASH};
use core::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_loadl_epi64, _mm_max_epu8, _mm_min_epu8, _mm_movemask_epi8,
    _mm_set1_epi8,
};

/// The tophash bytes of one bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group(__m128i);

/// One bit per slot.
pub(crate) type Mask = Slots<0>;

impl Slots<0> {
    /// A bit per slot.
    #[inline(always)]
    pub(crate) fn bits(self) -> u8 {
        self.0 as u8
    }
}

impl Group {
    /// # Safety
    /// Eight initialised bytes are readable at `p`.
    #[inline(always)]
    pub(crate) unsafe fn load(p: *const u8) -> Self {
        // SAFETY: the caller's promise; the load takes eight bytes and needs no alignment.
        Self(unsafe { _mm_loadl_epi64(p.cast()) })
    }

    /// The slots for which `test` sets its byte.
    #[inline(always)]
    fn mask(self, test: impl FnOnce(__m128i) -> __m128i) -> Mask {
        // SAFETY: SSE2 is part of every x86-64.
        let bits = unsafe { _mm_movemask_epi8(test(self.0)) };
        // The upper half of the register holds no slots.
        Slots(bits as u64 & 0xff)
    }

    /// The slots whose byte is `byte`.
    #[inline(always)]
    pub(crate) fn matches(self, byte: u8) -> Mask {
        // SAFETY: SSE2 is part of every x86-64.
        self.mask(|tops| unsafe { _mm_cmpeq_epi8(tops, _mm_set1_epi8(byte as i8)) })
    }

    /// The slots that hold an entry.
    #[inline(always)]
    pub(crate) fn full(self) -> Mask {
        // SAFETY: SSE2 is part of every x86-64.
        self.mask(|tops| unsafe {
            _mm_cmpeq_epi8(_mm_max_epu8(tops, _mm_set1_epi8(MIN_TOP_HASH as i8)), tops)
        })
    }

    /// The slots that may take a new entry.
    #[inline(always)]
    pub(crate) fn empty(self) -> Mask {
        // SAFETY: SSE2 is part of every x86-64.
        self.mask(|tops| unsafe {
            _mm_cmpeq_epi8(_mm_min_epu8(tops, _mm_set1_epi8(EMPTY_ONE as i8)), tops)
        })
    }
}
