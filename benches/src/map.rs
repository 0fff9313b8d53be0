//! Maps of `u64` to `u64`, all with foldhash's `fast` variant, so that tables are compared and not hashes.

use gort_benches::harness::{Context, Entry, Procs, Program, each, peak, resident};

use std::time::Instant;

type Hasher = foldhash::fast::RandomState;

trait Map {
    fn new() -> Self;
    fn insert(&mut self, k: u64, v: u64) -> Option<u64>;
    fn get(&self, k: u64) -> Option<u64>;
    fn remove(&mut self, k: u64) -> Option<u64>;
    fn sum(&self) -> u64;
}

macro_rules! impl_map {
    ($ty:ty) => {
        impl Map for $ty {
            fn new() -> Self {
                <$ty>::with_hasher(Hasher::default())
            }
            #[inline]
            fn insert(&mut self, k: u64, v: u64) -> Option<u64> {
                <$ty>::insert(self, k, v)
            }
            #[inline]
            fn get(&self, k: u64) -> Option<u64> {
                <$ty>::get(self, &k).copied()
            }
            #[inline]
            fn remove(&mut self, k: u64) -> Option<u64> {
                <$ty>::remove(self, &k)
            }
            fn sum(&self) -> u64 {
                self.iter().fold(0u64, |a, (k, v)| a.wrapping_add(k ^ v))
            }
        }
    };
}

type Ours = ghmap::HashMap<u64, u64, Hasher>;
type Std = std::collections::HashMap<u64, u64, Hasher>;
impl_map!(Ours);
impl_map!(Std);
#[cfg(feature = "hashbrown")]
type Hashbrown = hashbrown::HashMap<u64, u64, Hasher>;
#[cfg(feature = "hashbrown")]
impl_map!(Hashbrown);
#[cfg(feature = "griddle")]
type Griddle = griddle::HashMap<u64, u64, Hasher>;
#[cfg(feature = "griddle")]
impl_map!(Griddle);

const E3: usize = 1_000;
const E5: usize = 100_000;
const E7: usize = 10_000_000;
/// Over one map for one sample; Go's program makes as many.
const PASSES: usize = 3;
/// Two figures of one run.
const BYTES: [&str; 2] = ["bytes_per_entry_best", "bytes_per_entry_worst"];

/// Workload and its code for one map type.
type Shape = (&'static str, fn(&Context));

fn shapes<M: Map>() -> Vec<Shape> {
    vec![
        ("insert_max_1e5", |c| c.repeat(|| insert_max::<M>(E5))),
        ("insert_max_1e7", |c| {
            c.without_warming(|| insert_max::<M>(E7))
        }),
        ("dep_hit_1e7", |c| dependent::<M>(c, E7)),
        ("hit_1e5", |c| hit::<M>(c, E5)),
        ("hit_1e7", |c| hit::<M>(c, E7)),
        ("grow_1e5", |c| c.repeat(|| grow::<M>(E5))),
        ("grow_1e7", |c| c.without_warming(|| grow::<M>(E7))),
        ("churn_1e7", |c| churn::<M>(c, E7)),
        ("miss_1e3", |c| miss::<M>(c, E3)),
        ("miss_1e7", |c| miss::<M>(c, E7)),
        ("iterate_1e7", |c| iterate::<M>(c, E7)),
        (BYTES[0], bytes_per_entry::<M>),
        (BYTES[1], bytes_per_entry::<M>),
    ]
}

/// What the machine makes of the longest of so many steps, whatever the map: nobody's figure, and no peer's.
fn controls() -> Vec<Shape> {
    vec![
        ("insert_max_1e5_control", |c| c.repeat(|| write_max(E5))),
        ("insert_max_1e7_control", |c| {
            c.without_warming(|| write_max(E7))
        }),
    ]
}

pub(crate) fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    let mut add = |subject, peer, shapes: Vec<Shape>| {
        for (workload, run) in shapes {
            all.push(entry(workload, subject, peer, Program::Here(run)));
        }
    };
    let mut longest = shapes::<Ours>();
    let others = longest.split_off(2);
    add("ghmap", false, longest);
    // The rows stand in this order: these below those that they are read beside.
    add("control", false, controls());
    add("ghmap", false, others);
    add("std", true, shapes::<Std>());
    #[cfg(feature = "hashbrown")]
    add("hashbrown", true, shapes::<Hashbrown>());
    #[cfg(feature = "griddle")]
    add("griddle", true, shapes::<Griddle>());
    for (subject, program) in [("go", Program::Go), ("go1.19", Program::Go119)] {
        for (workload, _) in shapes::<Ours>() {
            all.push(entry(workload, subject, true, program));
        }
    }
    all
}

fn entry(workload: &'static str, subject: &'static str, peer: bool, program: Program) -> Entry {
    let name = ("map", workload, subject);
    if BYTES.contains(&workload) {
        let from = BYTES[0];
        let entry = Entry::new(name, peer, Procs::One, "bytes", program);
        return Entry { from, ..entry };
    }
    Entry::new(name, peer, Procs::One, "ns", program)
}

/// Spread keys: a bijection, so that keys of different `n` differ.
fn key(n: u64) -> u64 {
    let mut x = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A permutation of `0..n`.
fn shuffled(n: usize) -> Vec<u64> {
    let mut order: Vec<u64> = (0..n as u64).collect();
    for i in (1..n).rev() {
        order.swap(i, (key(i as u64) % (i as u64 + 1)) as usize);
    }
    order
}

fn filled<M: Map>(n: usize) -> M {
    let mut map = M::new();
    for i in 0..n as u64 {
        map.insert(key(i), i);
    }
    map
}

fn operations(n: usize) -> usize {
    n.clamp(2_000_000, 4_000_000)
}

/// The longest single insert while growing, the clock included.
fn insert_max<M: Map>(n: usize) -> f64 {
    let mut map = M::new();
    let mut longest = 0;
    for i in 0..n as u64 {
        let k = key(i);
        let start = Instant::now();
        map.insert(k, i);
        longest = longest.max(start.elapsed().as_nanos());
    }
    assert_eq!(map.get(key(n as u64 / 2)), Some(n as u64 / 2));
    longest as f64
}

/// The longest single write of four words, which is what an entry takes in ghmap, to memory that has been reserved:
/// page faults, interrupts and the machine's other users, timed as [`insert_max`] times.
fn write_max(n: usize) -> f64 {
    let mut entries: Vec<[u64; 4]> = Vec::with_capacity(n);
    let mut longest = 0;
    for i in 0..n as u64 {
        let entry = [key(i), i, i, i];
        let start = Instant::now();
        entries.push(entry);
        longest = longest.max(start.elapsed().as_nanos());
    }
    assert_eq!(
        entries[n / 2],
        [key(n as u64 / 2), n as u64 / 2, n as u64 / 2, n as u64 / 2]
    );
    longest as f64
}

/// One sample of a workload that leaves the map as it is: the median of [`PASSES`], because a pass takes a tenth
/// of the time that filling the map does, and one burst of the machine's other users would be the whole sample.
/// One pass before is not measured.
fn passes(c: &Context, mut pass: impl FnMut() -> f64) {
    pass();
    c.without_warming(|| {
        let mut took: [f64; PASSES] = std::array::from_fn(|_| pass());
        took.sort_by(f64::total_cmp);
        took[PASSES / 2]
    });
}

fn dependent<M: Map>(c: &Context, n: usize) {
    // One random cycle through all entries: each value says which key comes next.
    let order = shuffled(n);
    let mut map = M::new();
    for i in 0..n {
        map.insert(key(order[i]), order[(i + 1) % n]);
    }
    let total = 1_000_000;
    passes(c, || {
        let start = Instant::now();
        let mut at = order[0];
        for _ in 0..total {
            at = map.get(key(at)).unwrap_or(u64::MAX);
        }
        let ns = each(start, total as u64);
        assert_eq!(at, order[total % n]);
        ns
    });
}

fn hit<M: Map>(c: &Context, n: usize) {
    let map: M = filled(n);
    let order = shuffled(n);
    let keys: Vec<u64> = order.iter().map(|&i| key(i)).collect();
    let total = operations(n);
    let want = order
        .iter()
        .cycle()
        .take(total)
        .fold(0u64, |a, &i| a.wrapping_add(i));
    passes(c, || {
        let mut sum = 0u64;
        let start = Instant::now();
        let mut left = total;
        while left > 0 {
            let take = left.min(n);
            for &k in &keys[..take] {
                sum = sum.wrapping_add(map.get(k).unwrap_or(u64::MAX));
            }
            left -= take;
        }
        let ns = each(start, total as u64);
        assert_eq!(sum, want);
        ns
    });
}

fn miss<M: Map>(c: &Context, n: usize) {
    let map: M = filled(n);
    let total = operations(n);
    let absent: Vec<u64> = (0..n as u64).map(|i| key(i + (1 << 40))).collect();
    passes(c, || {
        let start = Instant::now();
        let (mut found, mut left) = (0u64, total);
        while left > 0 {
            let take = left.min(n);
            for &k in &absent[..take] {
                found += u64::from(map.get(k).is_some());
            }
            left -= take;
        }
        assert_eq!(found, 0);
        each(start, total as u64)
    });
}

/// Inserting into an empty map; dropping it is not counted.
fn grow<M: Map>(n: usize) -> f64 {
    let rounds = (1_000_000 / n).max(1);
    let keys: Vec<u64> = (0..n as u64).map(key).collect();
    let mut spent = 0.0;
    for _ in 0..rounds {
        let start = Instant::now();
        let mut map = M::new();
        for (i, &k) in keys.iter().enumerate() {
            map.insert(k, i as u64);
        }
        spent += each(start, n as u64);
        assert_eq!(map.get(keys[n - 1]), Some(n as u64 - 1));
    }
    spent / rounds as f64
}

/// One removal and one insertion of another key.
fn churn<M: Map>(c: &Context, n: usize) {
    let mut map: M = filled(n);
    let total = operations(n).min(n);
    let mut oldest = 0;
    c.repeat(|| {
        let keys: Vec<u64> = (oldest..oldest + total + n)
            .map(|i| key(i as u64))
            .collect();
        let start = Instant::now();
        for i in 0..total {
            assert_eq!(map.remove(keys[i]), Some((oldest + i) as u64));
            map.insert(keys[i + n], (oldest + i + n) as u64);
        }
        let ns = each(start, total as u64);
        oldest += total;
        ns
    });
}

fn iterate<M: Map>(c: &Context, n: usize) {
    let map: M = filled(n);
    let want = (0..n as u64).fold(0u64, |a, i| a.wrapping_add(key(i) ^ i));
    passes(c, || {
        let start = Instant::now();
        assert_eq!(map.sum(), want);
        each(start, n as u64)
    });
}

/// Resident bytes for each entry while a map grows to 4,000,000: the least seen, and the most, which counts
/// what was resident for a moment while it grew. One sample from a fresh process.
fn bytes_per_entry<M: Map>(c: &Context) {
    let mut map = M::new();
    let before = resident();
    let (mut best, mut worst) = (f64::INFINITY, 0.0f64);
    let (mut n, mut next) = (0u64, 500_000u64);
    while n < 4_000_000 {
        while n < next {
            map.insert(key(n), n);
            n += 1;
        }
        best = best.min((resident() - before) / n as f64);
        worst = worst.max((peak() - before) / n as f64);
        next += next / 50;
    }
    assert_eq!(
        map.sum(),
        (0..n).fold(0u64, |a, i| a.wrapping_add(key(i) ^ i))
    );
    c.figure(BYTES[0], best);
    c.figure(BYTES[1], worst);
}
