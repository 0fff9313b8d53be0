//! Get and put against a lock around a `Vec`, a lock-free queue and the allocator.
//!
//! `cargo bench -p gpool [-- PART]`, where PART is a part of the rows' names, such as `steal`. Medians of 5 rounds
//! with the lowest and highest, in ns per get + put unless said. Every round checks that each item came back: a
//! pool that made new ones fails.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use gpool::Pool;
use parking_lot::Mutex;

type Item = Box<[u8; 256]>;

const ROUNDS: usize = 5;
const PAIRS: u32 = 8_000_000;
const BURST: usize = 10_000;

fn item() -> Item {
    Box::new([1; 256])
}

/// What all of them can do.
trait Peer: Sync {
    const NAME: &'static str;
    fn get(&self) -> Item;
    fn put(&self, item: Item);
}

impl Peer for Pool<Item> {
    const NAME: &'static str = "gpool";
    fn get(&self) -> Item {
        Self::get(self)
    }
    fn put(&self, item: Item) {
        Self::put(self, item);
    }
}

impl Peer for Mutex<Vec<Item>> {
    const NAME: &'static str = "Mutex<Vec>";
    fn get(&self) -> Item {
        let kept = self.lock().pop();
        kept.unwrap_or_else(item)
    }
    fn put(&self, item: Item) {
        self.lock().push(item);
    }
}

impl Peer for ArrayQueue<Item> {
    const NAME: &'static str = "ArrayQueue";
    fn get(&self) -> Item {
        self.pop().unwrap_or_else(item)
    }
    fn put(&self, item: Item) {
        drop(self.push(item));
    }
}

struct Malloc;

impl Peer for Malloc {
    const NAME: &'static str = "malloc";
    fn get(&self) -> Item {
        item()
    }
    fn put(&self, item: Item) {
        drop(item);
    }
}

fn pairs(peer: &impl Peer, threads: usize) -> f64 {
    let start = Barrier::new(threads + 1);
    let each = PAIRS / u32::try_from(threads).unwrap();
    std::thread::scope(|s| {
        let users: Vec<_> = (0..threads)
            .map(|_| {
                s.spawn(|| {
                    peer.put(item());
                    start.wait();
                    let began = Instant::now();
                    for _ in 0..each {
                        let mut item = black_box(peer.get());
                        assert_eq!(item[0], 1);
                        item[1] = item[1].wrapping_add(1);
                        peer.put(item);
                    }
                    (began, Instant::now())
                })
            })
            .collect();
        start.wait();
        let spans: Vec<_> = users.into_iter().map(|t| t.join().unwrap()).collect();
        let began = spans.iter().map(|s| s.0).min().unwrap();
        let ended = spans.iter().map(|s| s.1).max().unwrap();
        per(ended - began, PAIRS as usize)
    })
}

fn burst(peer: &impl Peer) -> f64 {
    let mut held = Vec::with_capacity(BURST);
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let began = Instant::now();
        held.extend((0..BURST).map(|_| peer.get()));
        held.drain(..).for_each(|item| peer.put(item));
        best = best.min(began.elapsed());
    }
    per(best, BURST)
}

fn per(time: Duration, n: usize) -> f64 {
    time.as_nanos() as f64 / n as f64
}

/// Measures a row, if its name holds what the command line asks for.
fn report(name: &str, what: &str, mut measure: impl FnMut() -> f64) {
    // cargo adds `--bench`.
    let mut asked = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    if !asked.all(|part| what.contains(&part)) {
        return;
    }
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| measure()).collect();
    rounds.sort_by(f64::total_cmp);
    let (low, median, high) = (rounds[0], rounds[ROUNDS / 2], rounds[ROUNDS - 1]);
    println!("{name:>12} {what:<36} {median:8.1}  ({low:.1} to {high:.1})");
}

fn compare<P: Peer>(new: impl Fn() -> P) {
    for threads in [1, 2, 8] {
        let peer = new();
        let what = format!("{threads} threads");
        report(P::NAME, &what, || pairs(&peer, threads));
    }
    let peer = new();
    report(P::NAME, "burst of 10k", || burst(&peer));
}

/// One thread puts a burst, another takes it: every item but one is stolen.
fn steal() -> f64 {
    let pool = Pool::new(item as fn() -> Item);
    (0..BURST).for_each(|_| pool.put(item()));
    let mut out = Vec::with_capacity(BURST);
    let time = std::thread::scope(|s| {
        let thief = s.spawn(|| {
            gpool::release_slot();
            let began = Instant::now();
            out.extend((1..BURST).map(|_| pool.get()));
            began.elapsed()
        });
        thief.join().unwrap()
    });
    assert_eq!(pool.stats().stolen as usize, BURST - 1);
    per(time, BURST - 1)
}

/// An age of a pool that holds items, and drops none.
fn age() -> f64 {
    let pool = Pool::new(item as fn() -> Item);
    let mut total = Duration::ZERO;
    for _ in 0..1_000 {
        let kept = pool.get();
        pool.put(kept);
        let began = Instant::now();
        assert_eq!(pool.age(), 0);
        total += began.elapsed();
    }
    assert_eq!(pool.stats().created, 1);
    per(total, 1_000)
}

/// As `age`, while another thread uses the pool: the barrier interrupts it.
fn age_in_use() -> f64 {
    let pool = Pool::new(item as fn() -> Item);
    let done = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let kept = black_box(pool.get());
                pool.put(kept);
            }
        });
        let mut total = Duration::ZERO;
        for _ in 0..1_000 {
            // An age of an empty pool needs no barrier: wait for a put since the last one.
            while pool.stats().slots == 0 {
                std::hint::spin_loop();
            }
            let began = Instant::now();
            pool.age();
            total += began.elapsed();
        }
        done.store(true, Ordering::Relaxed);
        per(total, 1_000)
    })
}

/// One thread puts items made before while another takes: all but the private one cross over.
fn steal_in_use() -> f64 {
    const ITEMS: usize = 200_000;
    let pool = Pool::new(item as fn() -> Item);
    let items: Vec<Item> = (0..=ITEMS).map(|_| item()).collect();
    let mut out = Vec::with_capacity(ITEMS);
    std::thread::scope(|s| {
        s.spawn(|| items.into_iter().for_each(|item| pool.put(item)));
        while pool.stats().idle == 0 {
            std::hint::spin_loop();
        }
        let began = Instant::now();
        while out.len() < ITEMS {
            out.extend(pool.try_get());
        }
        let time = began.elapsed();
        assert_eq!(pool.stats().stolen as usize, ITEMS);
        per(time, ITEMS)
    })
}

/// How many items are stolen from an owner that has other things to do.
const STOLEN: usize = 200_000;

/// About as long as it takes to make an item, in which nothing is touched.
fn work() {
    let mut x = black_box(1_u64);
    for _ in 0..150 {
        x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    }
    black_box(x);
}

/// What the owner takes for an item, with nobody there to take it.
fn alone(mut each: impl FnMut() + Send) -> f64 {
    // A thread of its own, as when it is stolen from.
    let time = std::thread::scope(|s| {
        let owner = s.spawn(move || {
            let began = Instant::now();
            (0..STOLEN).for_each(|_| each());
            began.elapsed()
        });
        owner.join().unwrap()
    });
    per(time, STOLEN)
}

fn make() -> f64 {
    let pool = Pool::new(item as fn() -> Item);
    let time = alone(|| pool.put(item()));
    assert_eq!(pool.stats().idle, STOLEN);
    time
}

/// What of an owner's time for an item is the pool's, where a thief waits for each: the owner works before each
/// item that it puts, which were all made before, and the work is taken off.
fn steal_share() -> f64 {
    let pool = Pool::new(item as fn() -> Item);
    let items: Vec<Item> = (0..=STOLEN).map(|_| item()).collect();
    let mut out = Vec::with_capacity(STOLEN);
    let total = std::thread::scope(|s| {
        s.spawn(|| {
            for item in items {
                work();
                pool.put(item);
            }
        });
        while pool.stats().idle == 0 {
            std::hint::spin_loop();
        }
        let began = Instant::now();
        while out.len() < STOLEN {
            out.extend(pool.try_get());
        }
        per(began.elapsed(), STOLEN)
    });
    assert_eq!(pool.stats().stolen as usize, STOLEN);
    total - alone(work)
}

/// The owner makes each item as it puts it, and the thief, faster than that, looks in vain.
fn steal_from_maker() -> f64 {
    let pool = Pool::new(item as fn() -> Item);
    let mut out = Vec::with_capacity(STOLEN);
    std::thread::scope(|s| {
        s.spawn(|| (0..=STOLEN).for_each(|_| pool.put(item())));
        let began = Instant::now();
        while out.len() < STOLEN {
            out.extend(pool.try_get());
        }
        per(began.elapsed(), STOLEN)
    })
}

fn main() {
    println!("{:>12} {:<36} {:>8}", "", "ns", "median");
    let pool = || Pool::new(item as fn() -> Item);
    compare(pool);
    compare(|| Mutex::new(Vec::<Item>::new()));
    compare(|| ArrayQueue::<Item>::new(BURST));
    compare(|| Malloc);
    report("gpool", "steal, per item", steal);
    report("gpool", "steal while owner puts", steal_in_use);
    report("gpool", "steal while owner makes", steal_from_maker);
    report("gpool", "not to steal: owner makes, no thief", make);
    report("gpool", "steal, the pool's share of it", steal_share);
    report("gpool", "age, nothing to drop", age);
    report("gpool", "age while in use", age_in_use);
}
