//! What a tophash byte can say (R71, R76).
//!
//! Bytes below [`MIN_TOP_HASH`] are states, the others are the top byte of an entry's hash. Go's
//! states of an evacuated slot (2, 3, 4) are never written: old buckets are evacuated in order, so that
//! one index says which are.

/// This slot is empty, and so is every later one of the bucket and of its overflow chain.
pub(crate) const EMPTY_REST: u8 = 0;
/// This slot is empty.
pub(crate) const EMPTY_ONE: u8 = 1;
/// The least byte of an entry.
pub(crate) const MIN_TOP_HASH: u8 = 5;

/// The tophash byte of `hash`: its top byte, moved out of the states' way.
#[inline(always)]
pub(crate) const fn tophash(hash: u64) -> u8 {
    let top = (hash >> 56) as u8;
    if top < MIN_TOP_HASH {
        top + MIN_TOP_HASH
    } else {
        top
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r71_r76_states_and_moved_top_bytes() {
        assert_eq!([EMPTY_REST, EMPTY_ONE, MIN_TOP_HASH], [0, 1, 5]);
        for top in 0..=255u8 {
            let want = if top < 5 { top + 5 } else { top };
            assert_eq!(tophash(u64::from(top) << 56 | 0x00ff_ffff_ffff_ffff), want);
        }
    }
}
