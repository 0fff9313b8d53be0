//! Go's size classes (`sizeclasses.go`; the table is the same from Go 1.16 to 1.27): 67 classes up
//! to 32 KiB, chosen so that rounding up wastes at most an eighth, and class 0 for large spans.
//!
//! Go 1.12 lacked the class of 24 bytes; no capacity of its growslice table depends on it.
//!
//! A span here holds up to eight times the pages of Go's and at most 128 KiB: Go sizes spans for a
//! sweeper, here a longer span means fewer trips to the page heap, which halves the time of
//! workloads that turn over many objects. It is carved as it is used, so its tail costs no memory.

/// Bytes of a heap page.
pub const PAGE_SIZE: usize = 8192;
/// Objects above this size have a span of their own.
pub const MAX_SMALL_SIZE: usize = 32768;
/// Number of classes, class 0 (large) included.
pub const NUM_SIZE_CLASSES: usize = 68;

const SMALL_SIZE_MAX: usize = 1024;
const MAX_SPAN_PAGES: usize = 16;

const CLASS_TO_SIZE: [u16; NUM_SIZE_CLASSES] = [
    0, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320,
    352, 384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048,
    2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728, 10240,
    10880, 12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768,
];

static SIZE_TO_CLASS8: [u8; SMALL_SIZE_MAX / 8 + 1] = size_to_class::<129>(0, 8);
static SIZE_TO_CLASS128: [u8; (MAX_SMALL_SIZE - SMALL_SIZE_MAX) / 128 + 1] =
    size_to_class::<249>(SMALL_SIZE_MAX, 128);
static SPAN_PAGES: [u8; NUM_SIZE_CLASSES] = span_pages();

/// Entry i is the class of `from + i * step` bytes; an allocation of no bytes gets the first class.
const fn size_to_class<const N: usize>(from: usize, step: usize) -> [u8; N] {
    let mut table = [0; N];
    let mut class = 1;
    let mut i = 0;
    while i < N {
        while (CLASS_TO_SIZE[class] as usize) < from + i * step {
            class += 1;
        }
        table[i] = class as u8;
        i += 1;
    }
    table
}

/// Go's rule: the fewest pages whose tail wastes at most an eighth.
const fn go_pages(class: usize) -> usize {
    let size = CLASS_TO_SIZE[class] as usize;
    let mut bytes = PAGE_SIZE;
    while bytes % size > bytes / 8 {
        bytes += PAGE_SIZE;
    }
    bytes / PAGE_SIZE
}

const fn span_pages() -> [u8; NUM_SIZE_CLASSES] {
    let mut table = [0; NUM_SIZE_CLASSES];
    let mut class = 1;
    while class < NUM_SIZE_CLASSES {
        let unit = go_pages(class);
        let mut pages = unit;
        while pages + unit <= MAX_SPAN_PAGES && pages + unit <= 8 * unit {
            pages += unit;
        }
        table[class] = pages as u8;
        class += 1;
    }
    table
}

/// The class of a small size, at most [`MAX_SMALL_SIZE`].
#[inline(always)]
pub(crate) fn class_of(size: usize) -> usize {
    if size <= SMALL_SIZE_MAX {
        SIZE_TO_CLASS8[(size + 7) >> 3] as usize
    } else {
        SIZE_TO_CLASS128[(size - SMALL_SIZE_MAX + 127) >> 7] as usize
    }
}

/// Bytes of an object of `class`; 0 for class 0.
///
/// # Panics
/// If `class` is not below [`NUM_SIZE_CLASSES`].
#[inline]
#[must_use]
pub const fn class_size(class: usize) -> usize {
    CLASS_TO_SIZE[class] as usize
}

/// Pages of a span of `class` in this allocator; 0 for class 0.
///
/// # Panics
/// If `class` is not below [`NUM_SIZE_CLASSES`].
#[inline]
#[must_use]
pub fn class_pages(class: usize) -> usize {
    SPAN_PAGES[class] as usize
}

/// The class for `size` bytes at `align` (a power of two above 16 and at most a page), or `None`
/// when only a large span will do. Objects of a class lie at multiples of its size from a page
/// boundary, so a class is aligned as far as its size is divisible.
pub(crate) fn class_of_aligned(size: usize, align: usize) -> Option<usize> {
    if size > MAX_SMALL_SIZE {
        return None;
    }
    (class_of(size.max(align))..NUM_SIZE_CLASSES).find(|&c| class_size(c) % align == 0)
}

/// The bytes the allocator really sets aside for a request (Go's `roundupsize`): the class size, or
/// whole pages; `size` itself where that overflows.
///
/// ```
/// assert_eq!(galloc::round_up_size(1025), 1152);
/// assert_eq!(galloc::round_up_size(40_000), 40_960);
/// ```
#[inline]
#[must_use]
pub fn round_up_size(size: usize) -> usize {
    if size == 0 {
        0
    } else if size <= MAX_SMALL_SIZE {
        class_size(class_of(size))
    } else {
        size.checked_next_multiple_of(PAGE_SIZE).unwrap_or(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r122_every_size_gets_the_smallest_class_that_holds_it() {
        for size in 1..=MAX_SMALL_SIZE {
            let class = class_of(size);
            assert!(class_size(class) >= size && class_size(class - 1) < size, "{size}");
        }
    }

    #[test]
    fn r122_spans_hold_whole_units_of_gos_pages_and_waste_at_most_an_eighth() {
        // Class and pages of Go's table, a few of each kind.
        for (class, pages) in [(1, 1), (35, 2), (41, 3), (50, 6), (60, 9), (65, 10), (67, 4)] {
            assert_eq!(go_pages(class), pages, "class {class}");
        }
        for class in 1..NUM_SIZE_CLASSES {
            let bytes = class_pages(class) * PAGE_SIZE;
            assert_eq!(class_pages(class) % go_pages(class), 0);
            assert!(bytes % class_size(class) <= bytes / 8, "class {class}");
            assert!(bytes / class_size(class) < 1 << 15, "a remote count has 15 bits");
        }
    }

    #[test]
    fn aligned_classes_divide_by_their_alignment() {
        for shift in 5..=13 {
            let align = 1 << shift;
            for size in [1, 24, 100, 1000, 5000, 20_000, 32_768] {
                let class = class_of_aligned(size, align).expect("32 KiB divides by any of these");
                assert!(class_size(class) >= size && class_size(class) % align == 0);
            }
        }
        assert_eq!(class_of_aligned(32_769, 32), None);
    }
}
