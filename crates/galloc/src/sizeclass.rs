//! The small size classes: Go's `sizeclasses.go` (1.16 to 1.27), 67 sizes from 8 bytes to 32 KiB.
//!
//! The sizes and the pages of a span are Go's facts; the lookup tables are computed from them when
//! the crate is compiled. A span here is a multiple of Go's: up to eight times as long while it
//! stays within 128 KiB. The waste per span can only shrink by that, and a thread takes the heap
//! lock an eighth as often.

use core::ops::Range;

/// Bytes of a page of the heap (R120).
pub const PAGE_SIZE: usize = 8192;
/// The largest small object (R121); anything larger has a span of its own.
pub const MAX_SMALL_SIZE: usize = 32 << 10;
/// The number of classes, class 0 (large objects) included.
pub const NUM_SIZE_CLASSES: usize = 68;

/// Objects of every class lie at multiples of this.
pub(crate) const SMALL_SIZE_DIV: usize = 8;
/// The largest of the sizes whose classes lie close together.
pub(crate) const SMALL_SIZE_MAX: usize = 1024;
const LARGE_SIZE_DIV: usize = 128;
const LONGEST_SPAN: usize = 128 << 10;

const SIZES: [u16; NUM_SIZE_CLASSES] = [
    0, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320,
    352, 384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792,
    2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728,
    10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672,
    32768,
];

/// Pages of Go's own span of each class, from which ours are derived.
const GO_PAGES: [u8; NUM_SIZE_CLASSES] = [
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 2, 1, 2, 1, 2, 1, 3, 2, 3, 1, 3, 2, 3, 4, 5, 6, 1, 7, 6, 5, 4, 3, 5, 7, 2, 9, 7, 5, 8,
    3, 10, 7, 4,
];

const CLASS8: [u8; SMALL_SIZE_MAX / SMALL_SIZE_DIV + 1] = steps(0, SMALL_SIZE_DIV);
const CLASS128: [u8; (MAX_SMALL_SIZE - SMALL_SIZE_MAX) / LARGE_SIZE_DIV + 1] =
    steps(SMALL_SIZE_MAX, LARGE_SIZE_DIV);
const PAGES: [u8; NUM_SIZE_CLASSES] = span_pages();

const fn steps<const N: usize>(from: usize, step: usize) -> [u8; N] {
    let mut table = [0; N];
    let (mut i, mut class) = (0, 0);
    while i < N {
        while (SIZES[class] as usize) < from + i * step {
            class += 1;
        }
        table[i] = class as u8;
        i += 1;
    }
    table
}

const fn span_pages() -> [u8; NUM_SIZE_CLASSES] {
    let mut table = [0; NUM_SIZE_CLASSES];
    let mut class = 1;
    while class < NUM_SIZE_CLASSES {
        let mut times = 8;
        while times > 1 && GO_PAGES[class] as usize * times * PAGE_SIZE > LONGEST_SPAN {
            times -= 1;
        }
        table[class] = GO_PAGES[class] * times as u8;
        class += 1;
    }
    table
}

/// The class of a small object: the lowest whose size is at least `size`.
///
/// # Panics
/// If `size` is over [`MAX_SMALL_SIZE`].
#[must_use]
#[inline]
pub const fn class_of(size: usize) -> usize {
    if size <= SMALL_SIZE_MAX {
        CLASS8[size.div_ceil(SMALL_SIZE_DIV)] as usize
    } else {
        class_of_longer(size)
    }
}

/// [`class_of`] a size over [`SMALL_SIZE_MAX`].
#[inline]
pub(crate) const fn class_of_longer(size: usize) -> usize {
    CLASS128[(size - SMALL_SIZE_MAX - 1) / LARGE_SIZE_DIV + 1] as usize
}

/// Bytes of an object of a class.
///
/// # Panics
/// If there is no such class.
#[must_use]
#[inline]
pub const fn class_size(class: usize) -> usize {
    SIZES[class] as usize
}

/// Pages of a span of a class (0 for class 0).
///
/// # Panics
/// If there is no such class.
#[must_use]
pub const fn class_pages(class: usize) -> usize {
    PAGES[class] as usize
}

/// The most common sizes, those of up to [`SMALL_SIZE_MAX`], counted in words: this many counts.
pub(crate) const COMMON_WORDS: usize = words_of(SMALL_SIZE_MAX) + 1;

/// A size in words of [`SMALL_SIZE_DIV`] bytes.
#[inline(always)]
pub(crate) const fn words_of(size: usize) -> usize {
    size.div_ceil(SMALL_SIZE_DIV)
}

/// The common sizes, in words, whose objects are of `class`. Those of no bytes are of class 1.
pub(crate) const fn words_for(class: usize) -> Range<usize> {
    if class_size(class) > SMALL_SIZE_MAX {
        return 0..0;
    }
    let below = class_size(class - 1) + if class == 1 { 0 } else { SMALL_SIZE_DIV };
    words_of(below)..words_of(class_size(class)) + 1
}

/// Objects of a small class hold `size` bytes at multiples of `align`.
#[inline(always)]
pub(crate) const fn is_small(size: usize, align: usize) -> bool {
    size <= MAX_SMALL_SIZE && align <= PAGE_SIZE
}

/// The class whose objects hold `size` bytes at multiples of `align`, if [a small one does](is_small).
///
/// Objects lie at multiples of their size from a page, so they are aligned to every power of two
/// that divides both. Each power of two up to 32 KiB is a class: the search ends.
#[must_use]
#[inline]
pub(crate) const fn class_for(size: usize, align: usize) -> Option<usize> {
    if !is_small(size, align) {
        return None;
    }
    // A request of no bytes still gets an address of its own.
    let mut class = class_of(if size == 0 { 1 } else { size });
    if align > 8 {
        while !(SIZES[class] as usize).is_multiple_of(align) {
            class += 1;
        }
    }
    Some(class)
}

/// Bytes the allocator would really hand out for `size`: a class, or whole pages.
/// Saturates at `usize::MAX` rounded down to a page.
#[must_use]
pub const fn round_up_size(size: usize) -> usize {
    if size <= MAX_SMALL_SIZE {
        return class_size(class_of(size));
    }
    match size.checked_next_multiple_of(PAGE_SIZE) {
        Some(rounded) => rounded,
        None => usize::MAX & !(PAGE_SIZE - 1),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn r122_every_size_gets_the_lowest_class_that_holds_it() {
        for size in 1..=MAX_SMALL_SIZE {
            let class = class_of(size);
            assert!(
                class_size(class) >= size && class_size(class - 1) < size,
                "{size}"
            );
        }
    }

    #[test]
    fn r122_the_tail_of_a_span_wastes_at_most_an_eighth() {
        for (class, &go) in GO_PAGES.iter().enumerate().skip(1) {
            let bytes = class_pages(class) * PAGE_SIZE;
            assert!(bytes <= LONGEST_SPAN && class_pages(class) >= go as usize);
            assert!(bytes % class_size(class) <= bytes / 8, "class {class}");
        }
    }

    /// Eight of Go's spans, or as many as 128 KiB hold.
    #[test]
    fn spans_are_longer_than_gos() {
        for (class, &go) in GO_PAGES.iter().enumerate().skip(1) {
            let (pages, go) = (class_pages(class), go as usize);
            assert!(pages.is_multiple_of(go), "class {class}");
            assert_eq!(pages / go, (16 / go).clamp(1, 8), "class {class}");
        }
    }

    #[test]
    fn aligned_requests_get_a_class_that_is_a_multiple() {
        for shift in 0..=13 {
            for size in 0..=MAX_SMALL_SIZE {
                let class = class_for(size, 1 << shift).unwrap();
                assert!(class_size(class) >= size);
                assert_eq!(class_size(class) % (1 << shift).min(8), 0);
                assert!(shift <= 3 || class_size(class).is_multiple_of(1 << shift));
            }
        }
        assert_eq!(class_for(8, 16384), None);
    }

    #[test]
    fn common_sizes_are_of_one_class_each() {
        for size in 0..=SMALL_SIZE_MAX {
            let words = words_of(size);
            assert!(words < COMMON_WORDS);
            let of: Vec<_> = (1..NUM_SIZE_CLASSES)
                .filter(|&class| words_for(class).contains(&words))
                .collect();
            assert_eq!(of, [class_for(size, 8).unwrap()], "{size}");
        }
        let all: usize = (1..NUM_SIZE_CLASSES)
            .map(|class| words_for(class).len())
            .sum();
        assert_eq!(all, COMMON_WORDS);
    }
}
