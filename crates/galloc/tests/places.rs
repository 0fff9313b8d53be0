//! Where objects lie (R119): arenas of 64 MiB from 0xc000000000 up, the lowest with room first. A program of one test,
//! whose arenas are the first; under AddressSanitizer they lie where it says.
#![cfg(not(gort_asan))]

use std::alloc::{GlobalAlloc, Layout};

#[global_allocator]
static A: galloc::Galloc = galloc::Galloc;

const ARENA: usize = 64 << 20;
const FIRST: usize = 0xc0_0000_0000;

/// Nothing of it is touched.
fn object(size: usize) -> Vec<u8> {
    let v = Vec::with_capacity(size);
    assert!(v.capacity() >= size);
    v
}

fn place(v: &[u8]) -> usize {
    v.as_ptr().addr()
}

/// The arena it lies in, from the first on.
fn arena(v: &[u8]) -> usize {
    place(v).wrapping_sub(FIRST) / ARENA
}

#[test]
fn r119_arenas_follow_each_other_and_the_lowest_is_taken_first() {
    assert_eq!(arena(&object(1)), 0);
    // Three fit beside the record.
    let mut all: Vec<_> = (0..30).map(|_| object(20 << 20)).collect();
    let arenas: Vec<_> = all.iter().map(|v| arena(v)).collect();
    assert_eq!(arenas, (0..30).map(|i| i / 3).collect::<Vec<_>>());
    // First fit, in the lowest arena that has room.
    let [third, second, first] = [25, 13, 4].map(|i| place(&all.swap_remove(i)));
    let again = [0, 1, 2].map(|_| object(20 << 20));
    let again = again.each_ref().map(|v| place(v));
    assert_eq!(again, [first, second, third]);

    // Two of half an arena, less its record, share one; what is longer is a mapping of its own, aligned as an arena.
    let record = 10 * galloc::PAGE_SIZE;
    let half = ARENA / 2 - record;
    let halves = [object(half), object(half)];
    assert_eq!(arena(&halves[0]), arena(&halves[1]));
    let huge = object(ARENA / 2 + 1);
    assert!(place(&huge).is_multiple_of(ARENA));
    // A huge object has no place in the order of arenas.
    assert_eq!(arena(&object(half)), arena(&halves[0]) + 1);
    // SAFETY: the size is not 0; freed once.
    unsafe {
        let layout = Layout::from_size_align(8, ARENA).unwrap();
        let p = A.alloc(layout);
        assert!(p.addr().is_multiple_of(ARENA));
        A.dealloc(p, layout);
    }
}
