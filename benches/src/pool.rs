//! Pools of boxed 256-byte items: get + put pairs by 1, 2 and 8 threads, and 10,000 out and in at once.

use crate::harness::{Context, Entry, Procs, each};

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
    fn new() -> Self;
    fn get(&self) -> Item;
    fn put(&self, item: Item);
}

impl Pool for gpool::Pool<Item> {
    fn new() -> Self {
        Self::new(item)
    }
    fn get(&self) -> Item {
        Self::get(self)
    }
    fn put(&self, item: Item) {
        Self::put(self, item);
    }
}

impl Pool for Mutex<Vec<Item>> {
    fn new() -> Self {
        Self::default()
    }
    fn get(&self) -> Item {
        let kept = self.lock().unwrap().pop();
        kept.unwrap_or_else(item)
    }
    fn put(&self, item: Item) {
        self.lock().unwrap().push(item);
    }
}

#[cfg(feature = "peers")]
impl Pool for crossbeam_queue::ArrayQueue<Item> {
    fn new() -> Self {
        Self::new(BURST as usize)
    }
    fn get(&self) -> Item {
        self.pop().unwrap_or_else(item)
    }
    fn put(&self, item: Item) {
        drop(self.push(item));
    }
}

/// No pool at all.
struct Malloc;

impl Pool for Malloc {
    fn new() -> Self {
        Self
    }
    fn get(&self) -> Item {
        item()
    }
    fn put(&self, item: Item) {
        drop(item);
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
            let (group, unit, run) = ("pool", "ns", Some(run));
            all.push(Entry {
                group,
                workload,
                subject,
                peer,
                procs,
                unit,
                run,
            });
        }
    };
    add("gpool", false, shapes::<gpool::Pool<Item>>());
    add("mutex-vec", true, shapes::<Mutex<Vec<Item>>>());
    add("malloc", true, shapes::<Malloc>());
    #[cfg(feature = "peers")]
    add(
        "crossbeam-queue",
        true,
        shapes::<crossbeam_queue::ArrayQueue<Item>>(),
    );
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
                        pool.put(item());
                        start.wait();
                        let began = Instant::now();
                        for _ in 0..mine {
                            let mut item = black_box(pool.get());
                            assert_eq!(item[0], 1);
                            item[1] = item[1].wrapping_add(1);
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
    let mut held: Vec<Item> = Vec::with_capacity(BURST as usize);
    c.repeat(|| {
        let start = Instant::now();
        for _ in 0..BURSTS {
            held.extend((0..BURST).map(|_| pool.get()));
            assert_eq!(held.iter().filter(|i| i[0] == 1).count() as u64, BURST);
            held.drain(..).for_each(|item| pool.put(item));
        }
        each(start, BURST * BURSTS)
    });
}
