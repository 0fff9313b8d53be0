//! What one thread pays, by criterion: `cargo bench -p gort-benches [--features peers] [-- FILTER]`.
//!
//! To look while one changes a crate: criterion says what changed since the last run. The figures that are
//! published are `cargo xtask bench-all`'s, each subject in a process of its own. Every answer is verified.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use std::alloc::{GlobalAlloc, Layout, System};
use std::any::Any;
use std::hint::black_box;

const E5: u64 = 100_000;

fn key(i: u64) -> u64 {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

type Hasher = foldhash::fast::FixedState;

macro_rules! map {
    ($c:expr, $name:literal, $map:ty) => {{
        let mut map: $map = Default::default();
        (0..E5).for_each(|i| assert_eq!(map.insert(key(i), i), None));
        let mut group = $c.benchmark_group("map");
        group.throughput(Throughput::Elements(E5));
        group.bench_function(BenchmarkId::new("hit_1e5", $name), |b| {
            b.iter(|| {
                let sum: u64 = (0..E5).filter_map(|i| map.get(&key(i))).sum();
                assert_eq!(sum, E5 * (E5 - 1) / 2);
            });
        });
        group.bench_function(BenchmarkId::new("miss_1e5", $name), |b| {
            b.iter(|| {
                let found = (E5..2 * E5).filter(|i| map.contains_key(&key(*i)));
                assert_eq!(found.count(), 0);
            });
        });
        group.bench_function(BenchmarkId::new("iterate_1e5", $name), |b| {
            b.iter(|| assert_eq!(map.values().sum::<u64>(), E5 * (E5 - 1) / 2));
        });
        group.bench_function(BenchmarkId::new("grow_1e5", $name), |b| {
            b.iter(|| {
                let mut new: $map = Default::default();
                (0..E5).for_each(|i| assert_eq!(new.insert(key(i), i), None));
                assert_eq!(new.len() as u64, E5);
            });
        });
        group.finish();
    }};
}

fn map(c: &mut Criterion) {
    map!(c, "ghmap", ghmap::HashMap<u64, u64, Hasher>);
    #[cfg(feature = "hashbrown")]
    map!(c, "hashbrown", hashbrown::HashMap<u64, u64, Hasher>);
}

macro_rules! chan {
    ($c:expr, $name:literal, $bounded:path, $empty:expr) => {{
        let (tx, rx) = $bounded(512);
        let mut group = $c.benchmark_group("chan");
        group.throughput(Throughput::Elements(512));
        group.bench_function(BenchmarkId::new("seq_512", $name), |b| {
            b.iter(|| {
                (0..512).for_each(|x: u64| tx.send(black_box(x)).unwrap());
                let sum: u64 = (0..512).map(|_| rx.recv().unwrap()).sum();
                assert_eq!(sum, 512 * 511 / 2);
            });
        });
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("try_recv_empty", $name), |b| {
            b.iter(|| assert!($empty(black_box(&rx).try_recv())));
        });
        group.finish();
    }};
}

fn chan(c: &mut Criterion) {
    chan!(c, "gchan", gchan::bounded, |r: Result<u64, _>| r.is_err());
    #[cfg(feature = "crossbeam-channel")]
    chan!(
        c,
        "crossbeam-channel",
        crossbeam_channel::bounded,
        |r: Result<u64, _>| r.is_err()
    );
    #[cfg(feature = "kanal")]
    chan!(c, "kanal", kanal::bounded, |r: Result<Option<u64>, _>| r
        == Ok(None));
}

fn pool(c: &mut Criterion) {
    type Item = Box<[u8; 256]>;
    fn item() -> Item {
        Box::new([1; 256])
    }
    let mut group = c.benchmark_group("pool");
    let pool = gpool::Pool::new(item);
    group.bench_function(BenchmarkId::new("pair_1t", "gpool"), |b| {
        b.iter(|| {
            let item = pool.get();
            assert_eq!(black_box(&item)[7], 1);
            pool.put(item);
        });
    });
    #[cfg(feature = "crossbeam-queue")]
    {
        let queue = crossbeam_queue::ArrayQueue::<Item>::new(16);
        group.bench_function(BenchmarkId::new("pair_1t", "crossbeam-queue"), |b| {
            b.iter(|| {
                let item = queue.pop().unwrap_or_else(item);
                assert_eq!(black_box(&item)[7], 1);
                drop(queue.push(item));
            });
        });
    }
    group.finish();
}

fn alloc(c: &mut Criterion) {
    pairs(c, "galloc", &galloc::Galloc);
    pairs(c, "system", &System);
}

fn pairs(c: &mut Criterion, name: &str, allocator: &impl GlobalAlloc) {
    let mut group = c.benchmark_group("alloc");
    for size in [64, 1024, 32 << 10] {
        let layout = Layout::from_size_align(size, 8).expect("a small size");
        group.bench_function(BenchmarkId::new(format!("pair_{size}"), name), |b| {
            b.iter(|| {
                // SAFETY: the layout has a size; what is written to and given back was just allocated by it.
                unsafe {
                    let p = allocator.alloc(layout);
                    assert!(!p.is_null());
                    p.write(7);
                    assert_eq!(black_box(p).read(), 7);
                    allocator.dealloc(p, layout);
                }
            });
        });
    }
    group.finish();
}

fn timer(c: &mut Criterion) {
    use gtimer::{Callback, Engine, heap::Timers, now};
    let mut group = c.benchmark_group("timer");
    for live in [0_i64, 1_000, 100_000] {
        let timers = Timers::default();
        let due = now() + 3_600_000_000_000;
        let _others: Vec<_> = (0..live)
            .map(|i| timers.insert(due + i, 0, Callback::none()).0)
            .collect();
        group.bench_function(
            BenchmarkId::new(format!("add_stop_{live}"), "gtimer"),
            |b| {
                let mut i = 0;
                b.iter(|| {
                    i += 7_919;
                    let (timer, earliest) = timers.insert(due + i % 100_000, 0, Callback::none());
                    black_box(earliest);
                    assert!(Timers::stop(&timer));
                });
            },
        );
    }
    group.finish();
}

struct Seven(u64);
impl Seven {
    fn get(&self) -> u64 {
        self.0
    }
}
gitab::describe! { struct Seven { fn get(&self) -> u64; } }
gitab::interface! { trait Get { fn get(&self) -> u64; } }
gitab::interface! { trait Lacks { fn get(&self) -> u64; fn set(&self); } }

fn itab(c: &mut Criterion) {
    let seven = Seven(7);
    let value = gitab::Eface::new(&seven);
    let mut group = c.benchmark_group("itab");
    group.bench_function(BenchmarkId::new("hit_1_and_call", "gitab"), |b| {
        b.iter(|| {
            assert_eq!(
                black_box(value).assert::<dyn Get>().map(|i| i.get()),
                Some(7)
            )
        });
    });
    group.bench_function(BenchmarkId::new("miss_1", "gitab"), |b| {
        b.iter(|| assert!(black_box(value).assert::<dyn Lacks>().is_none()));
    });
    group.bench_function(BenchmarkId::new("assert_type", "gitab"), |b| {
        b.iter(|| assert!(black_box(value).downcast::<Seven>().is_some()));
    });
    let any: &dyn Any = &seven;
    group.bench_function(BenchmarkId::new("assert_type", "std"), |b| {
        b.iter(|| assert!(black_box(any).downcast_ref::<Seven>().is_some()));
    });
    group.finish();
}

criterion_group!(benches, map, chan, pool, alloc, timer, itab);
criterion_main!(benches);
