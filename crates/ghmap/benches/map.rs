//! `u64` to `u64` beside hashbrown, side by side in one run: medians, and the worst of every insert.
//!
//! `cargo bench -p ghmap --bench map -- [ENTRIES...] [only=NAME] [huge]`; answers are verified. With `huge`,
//! ghmap asks for huge pages.
//!
//! Both maps use the same hasher, so that the tables are compared and not the hashes. Every sample is taken in a
//! process of its own: what one map gave back to the allocator, and what glibc concludes from it about memory to
//! keep, is nothing that the other's figure should depend on.

use hdrhistogram::Histogram;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

type Hasher = foldhash::fast::RandomState;

/// The same hashes in every run.
type SameHasher = foldhash::fast::FixedState;

/// What the workloads need of a map.
trait Map {
    const NAME: &'static str;
    fn new() -> Self;
    fn insert(&mut self, k: u64, v: u64) -> Option<u64>;
    fn get(&self, k: u64) -> Option<u64>;
    fn remove(&mut self, k: u64) -> Option<u64>;
    fn sum(&self) -> u64;
    fn bytes(&self) -> usize;
}

macro_rules! impl_map {
    ($name:literal, $ty:ty, $new:expr) => {
        impl Map for $ty {
            const NAME: &'static str = $name;
            fn new() -> Self {
                $new
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
            fn bytes(&self) -> usize {
                self.allocation_size()
            }
        }
    };
}

type OursAgain = ghmap::HashMap<u64, u64, SameHasher>;
type TheirsAgain = hashbrown::HashMap<u64, u64, SameHasher>;
impl_map!("ghmap", OursAgain, {
    let mut map = OursAgain::with_hasher(SameHasher::with_seed(42));
    map.huge_pages(HUGE.load(Relaxed));
    map
});
impl_map!(
    "hashbrown",
    TheirsAgain,
    TheirsAgain::with_hasher(SameHasher::with_seed(42))
);

type Ours = ghmap::HashMap<u64, u64, Hasher>;
type Theirs = hashbrown::HashMap<u64, u64, Hasher>;
impl_map!("ghmap", Ours, {
    let mut map = Ours::with_hasher(Hasher::default());
    map.huge_pages(HUGE.load(Relaxed));
    map
});
impl_map!("hashbrown", Theirs, Theirs::with_hasher(Hasher::default()));

/// Whether ghmap asks for huge pages.
static HUGE: AtomicBool = AtomicBool::new(false);

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

/// Nanoseconds for each of `ops`.
fn each(start: Instant, ops: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / ops as f64
}

fn ops(n: usize) -> usize {
    2_000_000.max(n.min(4_000_000))
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
        spent += each(start, n);
        assert_eq!(map.get(keys[n - 1]), Some(n as u64 - 1));
    }
    spent / rounds as f64
}

fn hit<M: Map>(n: usize) -> f64 {
    let map: M = filled(n);
    let order = shuffled(n);
    let keys: Vec<u64> = order.iter().map(|&i| key(i)).collect();
    let total = ops(n);
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
    let ns = each(start, total);
    let want: u64 = order
        .iter()
        .cycle()
        .take(total)
        .fold(0, |a, &i| a.wrapping_add(i));
    assert_eq!(sum, want);
    ns
}

fn dependent<M: Map>(n: usize) -> f64 {
    // One random cycle through all entries: each value says which key comes next.
    let order = shuffled(n);
    let mut map = M::new();
    for i in 0..n {
        map.insert(key(order[i]), order[(i + 1) % n]);
    }
    let total = ops(n).min(2_000_000);
    let start = Instant::now();
    let mut at = order[0];
    for _ in 0..total {
        at = map.get(key(at)).unwrap_or(u64::MAX);
    }
    let ns = each(start, total);
    assert_eq!(at, order[total % n]);
    ns
}

/// A chain of pointers through as many buckets of as many bytes as ghmap has: what memory alone makes of
/// lookups that wait for one another, whatever the map.
fn chain(n: usize) -> f64 {
    let buckets = filled::<Ours>(n).stats().buckets;
    let order = shuffled(buckets);
    let mut memory = vec![[0u64; 18]; buckets];
    for i in 0..buckets {
        memory[order[i] as usize][0] = order[(i + 1) % buckets];
    }
    let total = ops(n).min(2_000_000);
    let start = Instant::now();
    let mut at = order[0];
    for _ in 0..total {
        at = memory[at as usize][0];
    }
    let ns = each(start, total);
    assert_eq!(at, order[total % buckets]);
    ns
}

fn miss<M: Map>(n: usize) -> f64 {
    let map: M = filled(n);
    let total = ops(n);
    let absent: Vec<u64> = (0..n as u64).map(|i| key(i + (1 << 40))).collect();
    let start = Instant::now();
    let (mut found, mut left) = (0, total);
    while left > 0 {
        let take = left.min(n);
        for &k in &absent[..take] {
            found += u64::from(map.get(k).is_some());
        }
        left -= take;
    }
    assert_eq!(found, 0);
    each(start, total)
}

fn churn<M: Map>(n: usize) -> f64 {
    let mut map: M = filled(n);
    let total = ops(n).min(n * 4).max(n);
    let keys: Vec<u64> = (0..(total + n) as u64).map(key).collect();
    let start = Instant::now();
    for i in 0..total {
        assert_eq!(map.remove(keys[i]), Some(i as u64));
        map.insert(keys[i + n], (i + n) as u64);
    }
    each(start, total)
}

fn iterate<M: Map>(n: usize) -> f64 {
    let map: M = filled(n);
    let rounds = (4_000_000 / n).max(1);
    let want = (0..n as u64).fold(0u64, |a, i| a.wrapping_add(key(i) ^ i));
    let start = Instant::now();
    for _ in 0..rounds {
        assert_eq!(map.sum(), want);
    }
    each(start, rounds * n)
}

/// The tail of a loop that only writes memory it has reserved: what page faults, interrupts and other
/// users of the machine make of the longest step, whatever the map.
fn control(n: usize) -> f64 {
    let mut histogram = Histogram::<u64>::new(3).expect("3 digits");
    let mut entries: Vec<[u64; 5]> = Vec::with_capacity(n);
    for i in 0..n as u64 {
        let entry = [key(i); 5];
        let start = Instant::now();
        entries.push(entry);
        let ns = start.elapsed().as_nanos() as u64;
        histogram.record(ns).expect("auto-resizing");
    }
    assert_eq!(entries[n - 1][4], key(n as u64 - 1));
    quantiles("control", n, &histogram);
    histogram.max() as f64
}

fn quantiles(name: &str, n: usize, histogram: &Histogram<u64>) {
    eprintln!(
        "    {name:>9} n={n}: p50 {} p99 {} p99.9 {} p99.99 {} p99.999 {} max {} ns",
        histogram.value_at_quantile(0.5),
        histogram.value_at_quantile(0.99),
        histogram.value_at_quantile(0.999),
        histogram.value_at_quantile(0.9999),
        histogram.value_at_quantile(0.99999),
        histogram.max()
    );
}

/// The tail of single inserts: nanoseconds of the longest, and a line of quantiles.
fn tail<M: Map>(n: usize) -> f64 {
    let mut histogram = Histogram::<u64>::new(3).expect("3 digits");
    let mut map = M::new();
    for i in 0..n as u64 {
        let k = key(i);
        let start = Instant::now();
        map.insert(k, i);
        let ns = start.elapsed().as_nanos() as u64;
        histogram.record(ns).expect("auto-resizing");
    }
    quantiles(M::NAME, n, &histogram);
    histogram.max() as f64
}

/// The tail of what repeats: the same inserts in five maps, and of every insert the shortest time. What
/// the machine does to one run is gone, what the map does every time is left.
fn again<M: Map>(n: usize) -> f64 {
    let mut shortest = vec![u64::MAX; n];
    for _ in 0..5 {
        let mut map = M::new();
        for (i, shortest) in shortest.iter_mut().enumerate() {
            let k = key(i as u64);
            let start = Instant::now();
            map.insert(k, i as u64);
            let ns = start.elapsed().as_nanos() as u64;
            *shortest = ns.min(*shortest);
        }
        assert_eq!(map.get(key(n as u64 - 1)), Some(n as u64 - 1));
    }
    let mut histogram = Histogram::<u64>::new(3).expect("3 digits");
    for ns in shortest {
        histogram.record(ns).expect("auto-resizing");
    }
    quantiles(M::NAME, n, &histogram);
    histogram.max() as f64
}

/// What the longest insert into ghmap did besides writing the entry, found out by a second map with the same
/// hashes.
fn cause(n: usize) -> f64 {
    let mut map = OursAgain::new();
    let mut longest = (0, 0);
    for i in 0..n as u64 {
        let k = key(i);
        let start = Instant::now();
        map.insert(k, i);
        longest = longest.max((start.elapsed().as_nanos() as u64, i));
    }
    drop(map);
    let (ns, at) = longest;
    let mut map = OursAgain::new();
    for i in 0..at {
        map.insert(key(i), i);
    }
    let before = map.stats();
    map.insert(key(at), at);
    let after = map.stats();
    let did = if after.buckets > before.buckets {
        "began to double"
    } else if after.bytes > before.bytes {
        "reserved overflow buckets"
    } else if before.growing || after.growing {
        "moved two buckets"
    } else {
        "nothing else"
    };
    eprintln!("        insert {at}: {ns} ns, {did}");
    ns as f64
}

/// Bytes per entry, at the best and worst of all lengths up to `n`, from a quarter of it on.
fn bytes<M: Map>(n: usize) {
    let mut map = M::new();
    let (mut best, mut worst) = (f64::MAX, 0.0f64);
    for i in 0..n as u64 {
        map.insert(key(i), i);
        if i % 64 == 0 && i as usize > n / 4 {
            let each = map.bytes() as f64 / (i + 1) as f64;
            (best, worst) = (best.min(each), worst.max(each));
        }
    }
    println!(
        "{:>9}  bytes per entry up to n={n}: best {best:.1} worst {worst:.1}",
        M::NAME
    );
}

fn median(mut figures: Vec<f64>) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    (
        figures[figures.len() / 2],
        figures[0],
        figures[figures.len() - 1],
    )
}

/// One sample of ours or theirs, from a process of its own.
fn sample(name: &str, n: usize, whose: &str) -> f64 {
    let mut this = Command::new(std::env::current_exe().expect("this program has a path"));
    this.args([format!("{whose}={name}"), n.to_string()])
        .stderr(Stdio::inherit());
    if HUGE.load(Relaxed) {
        this.arg("huge");
    }
    let out = this.output().expect("this program runs");
    assert!(out.status.success(), "{whose} {name} n={n} failed");
    let text = String::from_utf8_lossy(&out.stdout);
    text.trim().parse().expect("a figure")
}

fn compare(name: &str, n: usize, repeats: usize) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        b.push(sample(name, n, "theirs"));
        a.push(sample(name, n, "ours"));
    }
    let (a, b) = (median(a), median(b));
    println!(
        "{name:>10} n={n:<9} ghmap {:>10.1} [{:.1}..{:.1}]  {} {:>10.1} [{:.1}..{:.1}]  ratio {:.2}",
        a.0,
        a.1,
        a.2,
        match name {
            "control" | "cause" => "the control",
            "chain" => "the chain",
            _ => Theirs::NAME,
        },
        b.0,
        b.1,
        b.2,
        a.0 / b.0
    );
}

type Workload = (&'static str, fn(usize) -> f64, fn(usize) -> f64);

const WORKLOADS: &[Workload] = &[
    ("grow", grow::<Ours>, grow::<Theirs>),
    ("hit", hit::<Ours>, hit::<Theirs>),
    ("dependent", dependent::<Ours>, dependent::<Theirs>),
    ("chain", dependent::<Ours>, chain),
    ("miss", miss::<Ours>, miss::<Theirs>),
    ("churn", churn::<Ours>, churn::<Theirs>),
    ("iterate", iterate::<Ours>, iterate::<Theirs>),
    ("tail", tail::<Ours>, tail::<Theirs>),
    ("control", tail::<Ours>, control),
    ("cause", cause, control),
    ("again", again::<OursAgain>, again::<TheirsAgain>),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    HUGE.store(args.iter().any(|a| a == "huge"), Relaxed);
    let only: Vec<&str> = args
        .iter()
        .filter_map(|a| a.strip_prefix("only="))
        .collect();
    let mut sizes: Vec<usize> = args.iter().filter_map(|a| a.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 100_000, 1_000_000];
    }
    for &(name, ours, theirs) in WORKLOADS {
        for (whose, run) in [("ours", ours), ("theirs", theirs)] {
            if args.contains(&format!("{whose}={name}")) {
                return println!("{}", run(sizes[0]));
            }
        }
    }
    for n in sizes {
        let repeats = if n >= 5_000_000 { 3 } else { 5 };
        for (name, ..) in WORKLOADS {
            if only.is_empty() || only.contains(name) {
                let repeats = match *name {
                    "again" => 1,
                    "cause" => 4 * repeats,
                    _ => repeats,
                };
                compare(name, n, repeats);
            }
        }
        if only.is_empty() || only.contains(&"bytes") {
            bytes::<Ours>(n);
            bytes::<Theirs>(n);
        }
    }
}
