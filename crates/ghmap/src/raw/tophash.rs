//! What a tophash byte can say (R71, R76).
//!
//! Bytes below [`MIN_TOP_HASH`] are states, the others are the top byte of an entry's hash. A
//! bucket chain is either wholly in the evacuated states (2, 3, 4) or not at all in them.

/// This slot is empty, and so is every later one of the bucket and of its overflow chain.
pub(crate) const EMPTY_REST: u8 = 0;
/// This slot is empty.
pub(crate) const EMPTY_ONE: u8 = 1;
/// The entry has moved to the first half of the larger array.
pub(crate) const EVACUATED_X: u8 = 2;
/// The entry has moved to the second half of the larger array.
pub(crate) const EVACUATED_Y: u8 = 3;
/// The slot was empty when its bucket was evacuated.
pub(crate) const EVACUATED_EMPTY: u8 = 4;
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

/// Whether a bucket whose first byte is `top` has been evacuated.
#[inline(always)]
pub(crate) const fn is_evacuated(top: u8) -> bool {
    top > EMPTY_ONE && top < MIN_TOP_HASH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r71_r76_states_and_moved_top_bytes() {
        assert_eq!(
            [
                EMPTY_REST,
                EMPTY_ONE,
                EVACUATED_X,
                EVACUATED_Y,
                EVACUATED_EMPTY,
                MIN_TOP_HASH
            ],
            [0, 1, 2, 3, 4, 5]
        );
        for top in 0..=255u8 {
            let want = if top < 5 { top + 5 } else { top };
            assert_eq!(tophash(u64::from(top) << 56 | 0x00ff_ffff_ffff_ffff), want);
            assert_eq!(is_evacuated(top), (2..5).contains(&top));
        }
    }
}
