//! Seeded histories on real threads: `GORT_FUZZ_SECONDS` (1) from `GORT_FUZZ_SEED`.
//!
//! Items are numbered. A table says who has each: a number that is handed out while somebody holds
//! it, or dropped twice, or lost when all is over, is a wrong answer.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gpool::Pool;

const THREADS: u64 = 4;
const ITEMS: usize = 1 << 16;

static HELD: [AtomicBool; ITEMS] = [const { AtomicBool::new(false) }; ITEMS];
static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());
static MADE: AtomicUsize = AtomicUsize::new(0);

struct Item(usize);

impl Item {
    /// A number that nobody has; `New` of the pool.
    fn new() -> Self {
        let free = FREE.lock().unwrap().pop();
        let n = free.unwrap_or_else(|| MADE.fetch_add(1, Ordering::Relaxed));
        Self(n)
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        assert!(!HELD[self.0].load(Ordering::Relaxed), "dropped while held");
        FREE.lock().unwrap().push(self.0);
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().expect("a number"))
}

fn user(pool: &Pool<Item>, random: &mut Random, until: Instant) {
    let mut mine: Vec<Item> = Vec::new();
    while Instant::now() < until {
        match random.below(100) {
            0..45 if mine.len() < 1000 => {
                let item = pool.get();
                assert!(!HELD[item.0].swap(true, Ordering::Relaxed), "held twice");
                mine.push(item);
            }
            45..95 => {
                for _ in 0..=random.below(3) {
                    if let Some(item) = mine.pop() {
                        assert!(HELD[item.0].swap(false, Ordering::Relaxed));
                        pool.put(item);
                    }
                }
            }
            95 if random.below(20) == 0 => drop(pool.age()),
            96 if random.below(20) == 0 => drop(gpool::age_all()),
            97 if random.below(20) == 0 => {
                pool.shrink_to(usize::try_from(random.below(50)).unwrap())
            }
            98 => gpool::release_slot(),
            _ => {}
        }
    }
    for item in mine {
        HELD[item.0].store(false, Ordering::Relaxed);
        pool.put(item);
    }
}

#[test]
fn fuzz_no_item_is_held_twice_dropped_twice_or_lost() {
    let seed = from_env("GORT_FUZZ_SEED", 0x009d_eece);
    let seconds = from_env("GORT_FUZZ_SECONDS", 1);
    println!("GORT_FUZZ_SEED={seed} GORT_FUZZ_SECONDS={seconds}");
    let until = Instant::now() + Duration::from_secs(seconds);
    let pool: Pool<Item> = Pool::new(Item::new);
    std::thread::scope(|s| {
        for n in 0..THREADS {
            let pool = &pool;
            s.spawn(move || user(pool, &mut Random(seed ^ (n << 56)), until));
        }
    });
    drop(pool);
    let mut free = FREE.lock().unwrap().clone();
    free.sort_unstable();
    let made = MADE.load(Ordering::Relaxed);
    assert!(made > 0);
    assert!(free.into_iter().eq(0..made), "each number is free once");
}
