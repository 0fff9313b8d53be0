//! Allocators, each the global one of its program (`allocators/`), called through `std::alloc`; the
//! first byte of every block is written and read back.

use crate::harness::{Context, Entry, Figure, Procs, Program, Rng, each, resident};

use std::alloc::Layout;
use std::hint::black_box;
use std::ptr::NonNull;
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Ours first; then whether it is a peer.
const SUBJECTS: [(&str, bool); 6] = [
    ("galloc", false),
    ("glibc", true),
    ("mimalloc", true),
    ("tikv-jemallocator", true),
    ("snmalloc-rs", true),
    ("rusty_alloc", true),
];

const FIGURES: [Figure; 12] = [
    ("pair_64", "ns", Procs::One, "pair_64"),
    ("pair_1k", "ns", Procs::One, "pair_1k"),
    ("pair_32k", "ns", Procs::One, "pair_32k"),
    ("pair_1m", "ns", Procs::One, "pair_1m"),
    ("fifo_256", "ns", Procs::One, "fifo_256"),
    ("fifo_1k", "ns", Procs::One, "fifo_1k"),
    ("random_live", "ns", Procs::One, "random_live"),
    ("larson", "ns", Procs::Machine, "larson"),
    (
        "producer_consumer",
        "ns",
        Procs::Machine,
        "producer_consumer",
    ),
    ("realloc_16m", "ms", Procs::One, "realloc_16m"),
    ("rss_per_live", "ratio", Procs::One, "rss_per_live"),
    ("rss_after_free", "MiB", Procs::One, "rss_per_live"),
];

/// The group's part of the catalogue.
#[must_use]
pub fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    for (workload, unit, procs, from) in FIGURES {
        for (subject, peer) in SUBJECTS {
            all.push(Entry {
                group: "alloc",
                workload,
                from,
                subject,
                peer,
                procs,
                unit,
                program: Program::Allocator,
            });
        }
    }
    all
}

/// The program of one allocator: the arguments are `bench-runner`'s.
///
/// # Errors
///
/// Arguments that are not those, or name another subject.
pub fn main(subject: &str) -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let [
        "alloc",
        workload,
        named,
        "--procs",
        procs,
        "--samples",
        samples,
    ] = words[..]
    else {
        return Err(format!("alloc WORKLOAD {subject} --procs N --samples K").into());
    };
    if named != subject {
        return Err(format!("this is {subject}, not {named}").into());
    }
    let c = Context {
        procs: procs.parse()?,
        samples: samples.parse()?,
    };
    match workload {
        "pair_64" => pair(&c, 64, 10_000_000),
        "pair_1k" => pair(&c, 1 << 10, 10_000_000),
        "pair_32k" => pair(&c, 32 << 10, 3_000_000),
        "pair_1m" => pair(&c, 1 << 20, 500_000),
        "fifo_256" => fifo(&c, 256),
        "fifo_1k" => fifo(&c, 1024),
        "random_live" => random_live(&c),
        "larson" => larson(&c),
        "producer_consumer" => producer_consumer(&c),
        "realloc_16m" => realloc_16m(&c),
        "rss_per_live" => rss(&c),
        other => return Err(format!("no workload {other}").into()),
    }
    Ok(())
}

/// A block straight from the global allocator: a `Vec` between would cost more than some allocators do.
struct Block {
    at: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns its memory, as a `Box` does.
unsafe impl Send for Block {}

impl Block {
    #[inline]
    fn mark(&self) -> u8 {
        // SAFETY: `block` wrote this byte.
        unsafe { self.at.read() }
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `block` allocated it with this layout, and nobody else frees it.
        unsafe { std::alloc::dealloc(self.at.as_ptr(), self.layout) }
    }
}

#[inline]
fn block(size: usize, mark: u8) -> Block {
    let layout = Layout::from_size_align(black_box(size), 8).expect("a small size");
    assert_ne!(size, 0);
    // SAFETY: the size is not zero.
    let at = NonNull::new(unsafe { std::alloc::alloc(layout) }).expect("memory");
    // SAFETY: there is room for a byte.
    unsafe { at.write(mark) };
    Block {
        at: black_box(at),
        layout,
    }
}

/// Allocate, touch, free.
fn pair(c: &Context, size: usize, pairs: u64) {
    c.time(pairs, || {
        let mut sum = 0;
        for i in 0..pairs {
            sum += u64::from(block(size, i as u8).mark() & 1);
        }
        assert_eq!(sum, pairs / 2);
    });
}

/// 10,000 live; the oldest gives way to the newest.
fn fifo(c: &Context, size: usize) {
    const LIVE: usize = 10_000;
    let rounds = 200;
    let mut queue: Vec<Block> = (0..LIVE).map(|i| block(size, i as u8)).collect();
    c.time((LIVE * rounds) as u64, || {
        for _ in 0..rounds {
            for (i, slot) in queue.iter_mut().enumerate() {
                assert_eq!(slot.mark(), i as u8);
                *slot = block(size, i as u8);
            }
        }
    });
}

/// 100,000 live blocks of 16 to 1,024 bytes; a random one gives way.
fn random_live(c: &Context) {
    const LIVE: u64 = 100_000;
    const REPLACED: u64 = 2_000_000;
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let size = |rng: &mut Rng| 16 + rng.below(1009) as usize;
    let mut live: Vec<Block> = (0..LIVE)
        .map(|i| {
            let size = size(&mut rng);
            block(size, i as u8)
        })
        .collect();
    c.time(REPLACED, || {
        for _ in 0..REPLACED {
            let i = rng.below(LIVE) as usize;
            assert_eq!(live[i].mark(), i as u8);
            live[i] = block(size(&mut rng), i as u8);
        }
    });
}

/// Two threads replace random blocks of 16 to 511 bytes in arrays of 1,000, which then go to new threads.
fn larson(c: &Context) {
    const THREADS: u64 = 2;
    const SLOTS: u64 = 1_000;
    const GENERATIONS: u64 = 10;
    const REPLACED: u64 = 200_000;
    let mut arrays: Vec<Vec<Block>> = (0..THREADS)
        .map(|_| (0..SLOTS).map(|i| block(64, i as u8)).collect())
        .collect();
    let mut seed = 1;
    c.time(THREADS * GENERATIONS * REPLACED, || {
        for _ in 0..GENERATIONS {
            let start = Barrier::new(THREADS as usize);
            thread::scope(|s| {
                for array in &mut arrays {
                    seed += 1;
                    let (start, mut rng) = (&start, Rng(seed * 0x9e37_79b9));
                    s.spawn(move || {
                        start.wait();
                        for _ in 0..REPLACED {
                            let i = rng.below(SLOTS) as usize;
                            assert_eq!(array[i].mark(), i as u8);
                            array[i] = block(16 + rng.below(496) as usize, i as u8);
                        }
                    });
                }
            });
            arrays.rotate_left(1);
        }
    });
}

/// One thread allocates blocks of 64 bytes, another frees them all; they go over in lots of 256.
fn producer_consumer(c: &Context) {
    const LOT: u64 = 256;
    const LOTS: u64 = 8_000;
    c.time(LOT * LOTS, || {
        let (tx, rx) = mpsc::sync_channel::<Vec<Block>>(16);
        let (back, empty) = mpsc::channel::<Vec<Block>>();
        let producer = thread::spawn(move || {
            for _ in 0..LOTS {
                let mut lot = empty
                    .try_recv()
                    .unwrap_or_else(|_| Vec::with_capacity(LOT as usize));
                lot.extend((0..LOT).map(|i| block(64, i as u8)));
                tx.send(lot).unwrap();
            }
        });
        let mut sum = 0;
        for mut lot in rx {
            for block in lot.drain(..) {
                sum += u64::from(block.mark());
            }
            // The producer may be gone.
            drop(back.send(lot));
        }
        producer.join().unwrap();
        assert_eq!(sum, LOTS * (LOT * (LOT - 1) / 2));
    });
}

/// A vector grows to 16 MiB by doubling; ten of them, milliseconds each.
fn realloc_16m(c: &Context) {
    const WORDS: u64 = (16 << 20) / 8;
    c.time(10 * 1_000_000, || {
        for _ in 0..10 {
            let mut v: Vec<u64> = Vec::new();
            for i in 0..WORDS {
                v.push(i);
            }
            assert_eq!(black_box(&v)[WORDS as usize - 1], WORDS - 1);
        }
    });
}

/// 400 MiB in blocks of 16 to 1,024 bytes, every byte written: resident bytes for each byte asked for, then
/// resident MiB two seconds after all are freed. One sample from a fresh process.
fn rss(c: &Context) {
    const BYTES: usize = 400 << 20;
    let before = resident();
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let mut all: Vec<Vec<u8>> = Vec::with_capacity(1_000_000);
    let mut asked = all.capacity() * size_of::<Vec<u8>>();
    while asked < BYTES {
        let size = 16 + rng.below(1009) as usize;
        asked += size;
        all.push(vec![1 + (asked % 255) as u8; size]);
    }
    let table = (all.capacity() - all.len()) * size_of::<Vec<u8>>();
    let live = (asked - table) as f64;
    c.figure("rss_per_live", (resident() - before) / live);
    assert!(all.iter().all(|b| b[0] != 0 && b[0] == b[b.len() - 1]));
    let start = Instant::now();
    drop(all);
    thread::sleep(Duration::from_secs(2));
    assert!(each(start, 1) >= 2e9);
    c.figure("rss_after_free", resident() / f64::from(1 << 20));
}
