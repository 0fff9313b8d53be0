//! Memory that small objects leave serves larger ones. A program of one test: the statistics are the
//! process's.

use galloc::MemStats;

#[global_allocator]
static A: galloc::Galloc = galloc::Galloc;

/// xorshift64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
}

/// Bytes of the heap that occupy memory.
fn occupied() -> usize {
    let now = MemStats::read();
    now.heap_sys - now.heap_released
}

#[test]
fn nine_tenths_freed_at_random_and_replaced_by_larger_ones_occupy_1_3_of_what_is_live() {
    const N: usize = 100_000;
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let mut all: Vec<Vec<u8>> = Vec::with_capacity(N);
    let mut order: Vec<usize> = (0..N).collect();
    for i in (1..N).rev() {
        order.swap(i, rng.below(i + 1));
    }
    order.truncate(N / 10 * 9);
    let before = occupied();
    all.extend((0..N).map(|_| vec![1; 16 + rng.below(1009)]));
    for &i in &order {
        all[i] = Vec::new();
    }
    for &i in &order {
        all[i] = vec![2; 1024 + rng.below(3073)];
    }
    let live: usize = all.iter().map(Vec::len).sum();
    let ratio = (occupied() - before) as f64 / live as f64;
    assert!(ratio <= 1.3, "{ratio}");
    assert!(all.iter().all(|v| v.iter().all(|b| *b == v[0])));
}
