//! The capacity rule of `append`: Go 1.12's `growslice` (`slice.go`), R126 to R131.
//!
//! Go 1.18 moved the threshold to 256 and smoothed the step; the older rule is the one re-created.
//! Its size table had no class of 24 bytes (Go 1.16 added it), so 17 to 24 bytes round to 32 here.

use crate::sizeclass::round_up_size;

/// Why no capacity could be computed: what Go panics with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrowError {
    /// The result would not fit the address space, or `needed` is less than the old capacity.
    CapOutOfRange,
}

impl core::fmt::Display for GrowError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("growslice: cap out of range")
    }
}

impl core::error::Error for GrowError {}

/// The capacity a slice of `old_len` elements and `old_cap` capacity grows to, so as to hold
/// `needed` elements of `elem_size` bytes. O(log(needed / old_cap)).
///
/// # Errors
/// [`GrowError::CapOutOfRange`] if `needed < old_cap`, or if the bytes pass `isize::MAX`.
///
/// ```
/// use galloc::grow_capacity;
/// assert_eq!(grow_capacity(512, 512, 513, 8), Ok(1024));
/// assert_eq!(grow_capacity(1024, 1024, 1025, 8), Ok(1280));
/// assert_eq!(grow_capacity(2, 2, 5, 8), Ok(6));
/// assert!(grow_capacity(0, 0, usize::MAX, 8).is_err());
/// ```
pub fn grow_capacity(
    old_len: usize,
    old_cap: usize,
    needed: usize,
    elem_size: usize,
) -> Result<usize, GrowError> {
    if needed < old_cap {
        return Err(GrowError::CapOutOfRange);
    }
    if elem_size == 0 {
        return Ok(needed);
    }
    let wanted = step(old_len, old_cap, needed);
    let bytes = match wanted.checked_mul(elem_size) {
        Some(0) => return Ok(0),
        Some(17..=24) => 32,
        Some(bytes) => round_up_size(bytes),
        None => return Err(GrowError::CapOutOfRange),
    };
    if bytes > isize::MAX as usize {
        return Err(GrowError::CapOutOfRange);
    }
    Ok(bytes / elem_size)
}

/// Elements before rounding: double while short, then a quarter more until it is enough.
fn step(old_len: usize, old_cap: usize, needed: usize) -> usize {
    if needed > old_cap.saturating_mul(2) {
        return needed;
    }
    if old_len < 1024 {
        return old_cap.saturating_mul(2);
    }
    let mut cap = old_cap;
    while cap < needed {
        match cap.checked_add(cap / 4).filter(|&c| c > cap) {
            Some(more) => cap = more,
            None => return needed,
        }
    }
    cap
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn sequence(elem: usize, count: usize) -> Vec<usize> {
        let (mut cap, mut caps) = (0, Vec::new());
        while caps.len() < count {
            cap = grow_capacity(cap, cap, cap + 1, elem).unwrap();
            caps.push(cap);
        }
        caps
    }

    #[test]
    fn r130_capacities_are_those_of_go_1_12() {
        let tables: [(usize, &[usize]); 5] = [
            (
                1,
                &[
                    8, 16, 32, 64, 128, 256, 512, 1024, 1280, 1792, 2304, 3072, 4096, 5376, 6784,
                    9472, 12288, 16384, 20480,
                ],
            ),
            (
                8,
                &[
                    1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1280, 1696, 2304, 3072, 4096,
                    5120, 7168, 9216, 12288, 15360, 19456, 24576,
                ],
            ),
            (
                16,
                &[
                    1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1280, 1704, 2560, 3584, 4608,
                    6144, 7680, 9728, 12288, 15360, 19456, 24576,
                ],
            ),
            (
                20,
                &[
                    1, 2, 4, 8, 16, 32, 64, 134, 268, 544, 1088, 1363, 2048, 2867, 3686, 4915,
                    6144, 7782, 9830, 12288, 15564, 19660, 24576,
                ],
            ),
            (
                24,
                &[
                    1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1365, 1706, 2389, 3072, 4096,
                    5120, 6485, 8192, 10240, 12970, 16384, 20480,
                ],
            ),
        ];
        for (elem, expected) in tables {
            assert_eq!(
                sequence(elem, expected.len()),
                expected,
                "elements of {elem} bytes"
            );
        }
    }

    #[test]
    fn r127_more_than_double_is_taken_as_asked() {
        assert_eq!(grow_capacity(2, 2, 5, 8), Ok(6));
        assert_eq!(
            grow_capacity(0, 0, 3, 8),
            Ok(4),
            "no class of 24 bytes in 1.12"
        );
    }

    #[test]
    fn r128_the_threshold_looks_at_the_length() {
        assert_eq!(grow_capacity(1023, 1024, 1025, 8), Ok(2048));
        assert_eq!(grow_capacity(1024, 1024, 1025, 8), Ok(1280));
    }

    #[test]
    fn r126_r129_r131_overflow_shrinking_and_empty_elements() {
        assert_eq!(
            grow_capacity(0, 0, 1 << 62, 8),
            Err(GrowError::CapOutOfRange)
        );
        assert_eq!(grow_capacity(4, 4, 3, 8), Err(GrowError::CapOutOfRange));
        assert_eq!(grow_capacity(5, 5, 9, 0), Ok(9));
        assert_eq!(
            grow_capacity(0, 0, isize::MAX as usize, 1),
            Err(GrowError::CapOutOfRange)
        );
    }
}
