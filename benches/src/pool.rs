//! Pools of boxed 256-byte items: get + put pairs by 1, 2 and 8 threads, and 10,000 out and in at once.

use gort_benches::harness::{Context, Entry, Procs, Program, each};

use std::hint::black_box;
use std::sync::{Barrier, Mutex};
use std::time::Instant;

type Item = Box<[u8; 256]>;

const PAIRS: u64 = 2_000_000;
const BURST: u64 = 10_000;
const BURSTS: u64 = 50;

fn item() -> Item {
    Box::new([1; 256])
}

trait Pool: Sync {
    /// An item in use.
    type Held<'a>
    where
        Self: 'a;
    fn new() -> Self;
    fn get(&self) -> Self::Held<'_>;
    fn put<'a>(&'a self, held: Self::Held<'a>);
    fn bytes<'a>(held: &'a mut Self::Held<'_>) -> &'a mut [u8; 256];
}

/// A pool that hands out the items themselves.
macro_rules! pool {
    ($ty:ty, $new:expr, $get:expr, $put:expr) => {
        impl Pool for $ty {
            type Held<'a> = Item;
            fn new() -> Self {
                $new
            }
            #[inline]
            fn get(&self) -> Item {
                let get: fn(&$ty) -> Item = $get;
                get(self)
            }
            #[inline]
            fn put(&self, held: Item) {
                let put: fn(&$ty, Item) = $put;
                put(self, held);
            }
            fn bytes(held: &mut Item) -> &mut [u8; 256] {
                held
            }
        }
    };
}

pool!(
    gpool::Pool<Item>,
    Self::new(item),
    gpool::Pool::get,
    gpool::Pool::put
);
pool!(
    Mutex<Vec<Item>>,
    Self::default(),
    |p| {
        let kept = p.lock().unwrap().pop();
        kept.unwrap_or_else(item)
    },
    |p, held| p.lock().unwrap().push(held)
);
#[cfg(feature = "parking_lot")]
pool!(
    parking_lot::Mutex<Vec<Item>>,
    Self::default(),
    |p| {
        let kept = p.lock().pop();
        kept.unwrap_or_else(item)
    },
    |p, held| p.lock().push(held)
);
#[cfg(feature = "crossbeam-queue")]
pool!(
    crossbeam_queue::ArrayQueue<Item>,
    Self::new(BURST as usize),
    |p| p.pop().unwrap_or_else(item),
    |p, held| drop(p.push(held))
);

/// No pool at all.
struct Malloc;
pool!(Malloc, Self, |_| item(), |_, held| drop(held));

/// opool hands out guards.
#[cfg(feature = "opool")]
struct Items;

#[cfg(feature = "opool")]
impl opool::PoolAllocator<Item> for Items {
    fn allocate(&self) -> Item {
        item()
    }
}

#[cfg(feature = "opool")]
type Opool = opool::Pool<Items, Item>;

#[cfg(feature = "opool")]
impl Pool for Opool {
    type Held<'a> = opool::RefGuard<'a, Items, Item>;
    fn new() -> Self {
        Self::new(BURST as usize, Items)
    }
    #[inline]
    fn get(&self) -> Self::Held<'_> {
        Self::get(self)
    }
    #[inline]
    fn put<'a>(&'a self, held: Self::Held<'a>) {
        drop(held);
    }
    fn bytes<'a>(held: &'a mut Self::Held<'_>) -> &'a mut [u8; 256] {
        held
    }
}

type Shape = (&'static str, fn(&Context));

fn shapes<P: Pool>() -> Vec<Shape> {
    vec![
        ("pair_1t", |c| pairs::<P>(c, 1)),
        ("pair_2t", |c| pairs::<P>(c, 2)),
        ("pair_8t", |c| pairs::<P>(c, 8)),
        ("burst_10k", burst::<P>),
    ]
}

pub(crate) fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    let mut add = |subject, peer, shapes: Vec<Shape>| {
        for (workload, run) in shapes {
            let procs = match workload {
                "pair_1t" | "burst_10k" => Procs::One,
                _ => Procs::Machine,
            };
            let name = ("pool", workload, subject);
            all.push(Entry::new(name, peer, procs, "ns", Program::Here(run)));
        }
    };
    add("gpool", false, shapes::<gpool::Pool<Item>>());
    add("mutex-vec", true, shapes::<Mutex<Vec<Item>>>());
    add("malloc", true, shapes::<Malloc>());
    #[cfg(feature = "parking_lot")]
    add(
        "parking_lot",
        true,
        shapes::<parking_lot::Mutex<Vec<Item>>>(),
    );
    #[cfg(feature = "crossbeam-queue")]
    add(
        "crossbeam-queue",
        true,
        shapes::<crossbeam_queue::ArrayQueue<Item>>(),
    );
    #[cfg(feature = "opool")]
    add("opool", true, shapes::<Opool>());
    for (workload, procs) in [
        ("pair_1t", Procs::One),
        ("pair_2t", Procs::Machine),
        ("pair_8t", Procs::Machine),
        ("burst_10k", Procs::One),
    ] {
        let name = ("pool", workload, "go");
        all.push(Entry::new(name, true, procs, "ns", Program::Go));
    }
    all
}

/// Wall-clock time for each pair of all threads together.
fn pairs<P: Pool>(c: &Context, threads: u64) {
    let pool = P::new();
    let mine = PAIRS / threads;
    c.repeat(|| {
        let start = Barrier::new(threads as usize);
        let spans: Vec<(Instant, Instant)> = std::thread::scope(|s| {
            let users: Vec<_> = (0..threads)
                .map(|_| {
                    s.spawn(|| {
                        pool.put(pool.get());
                        start.wait();
                        let began = Instant::now();
                        for _ in 0..mine {
                            let mut item = black_box(pool.get());
                            let bytes = P::bytes(&mut item);
                            assert_eq!(bytes[0], 1);
                            bytes[1] = bytes[1].wrapping_add(1);
                            pool.put(item);
                        }
                        (began, Instant::now())
                    })
                })
                .collect();
            users.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let began = spans.iter().map(|s| s.0).min().unwrap();
        let ended = spans.iter().map(|s| s.1).max().unwrap();
        (ended - began).as_nanos() as f64 / (mine * threads) as f64
    });
}

fn burst<P: Pool>(c: &Context) {
    let pool = P::new();
    let mut held: Vec<P::Held<'_>> = Vec::with_capacity(BURST as usize);
    c.repeat(|| {
        let start = Instant::now();
        for _ in 0..BURSTS {
            held.extend((0..BURST).map(|_| pool.get()));
            let intact = held
                .iter_mut()
                .filter_map(|i| (P::bytes(i)[0] == 1).then_some(()));
            assert_eq!(intact.count() as u64, BURST);
            held.drain(..).for_each(|item| pool.put(item));
        }
        each(start, BURST * BURSTS)
    });
}
