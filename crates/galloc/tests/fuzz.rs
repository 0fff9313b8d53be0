//! Seeded random traces of alloc, realloc and free across threads, against a shadow heap.
//! `GORT_FUZZ_SECONDS` (default 1), `GORT_FUZZ_SEED`.

mod common;

use common::{Block, Rng, Shadow};
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[global_allocator]
static GLOBAL: galloc::Galloc = galloc::Galloc;

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().expect("a number"))
}

/// One round: threads that allocate, resize, free, and pass blocks to one another.
fn round(seed: u64) {
    let pool: Mutex<Vec<Block>> = Mutex::default();
    std::thread::scope(|s| {
        for t in 0..3 {
            let pool = &pool;
            s.spawn(move || worker(Rng(seed ^ (t << 56)), pool));
        }
    });
    pool.into_inner().unwrap().into_iter().for_each(Block::free);
}

fn worker(mut rng: Rng, pool: &Mutex<Vec<Block>>) {
    let mut mine: Vec<Block> = Vec::new();
    let mut shadow = Shadow::default();
    for _ in 0..3000 {
        match rng.below(10) {
            0..5 => {
                let block = Block::new(&mut rng);
                shadow.add(&block);
                mine.push(block);
            }
            5 if !mine.is_empty() => {
                let i = rng.below(mine.len());
                shadow.remove(&mine[i]);
                mine[i].resize(rng.size());
                shadow.add(&mine[i]);
            }
            6 if !mine.is_empty() => {
                let block = mine.swap_remove(rng.below(mine.len()));
                shadow.remove(&block);
                pool.lock().unwrap().push(block);
            }
            7 => {
                let block = pool.lock().unwrap().pop();
                if let Some(block) = block {
                    block.free();
                }
            }
            8 if rng.below(200) == 0 => {
                galloc::release_slot();
            }
            9 if rng.below(400) == 0 => {
                galloc::release();
            }
            _ if !mine.is_empty() => {
                let block = mine.swap_remove(rng.below(mine.len()));
                shadow.remove(&block);
                block.free();
            }
            _ => {}
        }
    }
    // Half is freed here, half by whoever comes later.
    for (i, block) in mine.into_iter().enumerate() {
        if i % 2 == 0 {
            block.free();
        } else {
            pool.lock().unwrap().push(block);
        }
    }
}

#[test]
fn random_traces_across_threads_never_overlap_or_lose_contents() {
    let seed = env("GORT_FUZZ_SEED", 1);
    let end = Instant::now() + Duration::from_secs(env("GORT_FUZZ_SECONDS", 1));
    println!("GORT_FUZZ_SEED={seed}");
    let mut n = 0;
    while n == 0 || Instant::now() < end {
        round(seed.wrapping_add(n * 0x1_0001));
        n += 1;
    }
    println!("{n} rounds");
}
