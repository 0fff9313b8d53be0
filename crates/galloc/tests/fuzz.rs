//! Random allocations, resizes and frees across threads, for `GORT_FUZZ_SECONDS` from
//! `GORT_FUZZ_SEED`; every object's bytes are checked before it goes.

use galloc::Galloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[global_allocator]
static A: Galloc = Galloc;

fn var(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

/// xorshift64*: the same run for the same seed, apart from how the threads interleave.
struct Rng(u64);

impl Rng {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }

    fn size(&mut self) -> usize {
        let most = [64, 1024, 40_000, 1 << 20][[0, 0, 0, 1, 1, 1, 2, 2, 3][self.next(9)]];
        1 + self.next(most)
    }
}

struct Object(usize, Layout, u8);

fn check(o: &Object, n: usize) {
    // SAFETY: the object is `n` initialised bytes or more.
    let bytes = unsafe { std::slice::from_raw_parts(o.0 as *const u8, n) };
    assert!(bytes.iter().all(|&b| b == o.2), "overwritten at {:#x}", o.0);
}

fn step(r: &mut Rng, pools: &[Mutex<Vec<Object>>]) {
    let mut pool = pools[r.next(pools.len())].lock().unwrap();
    let (what, tag) = (r.next(16), r.next(256) as u8);
    if what < 7 && pool.len() < 500 || pool.is_empty() {
        let layout = Layout::from_size_align(r.size(), 1 << r.next(15)).unwrap();
        // SAFETY: the size is not 0; the bytes are the new object's.
        unsafe {
            let p = A.alloc(layout);
            assert!(!p.is_null() && p.addr().is_multiple_of(layout.align()));
            p.write_bytes(tag, layout.size());
            pool.push(Object(p as usize, layout, tag));
        }
        return;
    }
    let i = r.next(pool.len());
    let mut o = pool.swap_remove(i);
    check(&o, o.1.size());
    // SAFETY: the object came from A with this layout, and is out of the pool.
    unsafe {
        if what < 13 {
            return A.dealloc(o.0 as *mut u8, o.1);
        }
        let size = r.size();
        let p = A.realloc(o.0 as *mut u8, o.1, size);
        assert!(!p.is_null());
        o.0 = p as usize;
        check(&o, size.min(o.1.size()));
        p.write_bytes(o.2, size);
        o.1 = Layout::from_size_align(size, o.1.align()).unwrap();
    }
    pool.push(o);
}

#[test]
fn fuzz() {
    let (seconds, seed) = (
        var("GORT_FUZZ_SECONDS", 1),
        var("GORT_FUZZ_SEED", 0x009a_110c),
    );
    println!("GORT_FUZZ_SEED={seed} GORT_FUZZ_SECONDS={seconds}");
    let until = Instant::now() + Duration::from_secs(seconds);
    let pools: Vec<_> = (0..4).map(|_| Mutex::new(Vec::new())).collect();
    let mut round = 0;
    while round == 0 || Instant::now() < until {
        std::thread::scope(|s| {
            for t in 1..=3u64 {
                let pools = &pools;
                s.spawn(move || {
                    let mut r = Rng((seed + t + round * 7) | 1 << 40);
                    for _ in 0..3000 {
                        step(&mut r, pools);
                    }
                    if t == 1 {
                        galloc::release();
                    }
                });
            }
        });
        round += 1;
    }
    println!("{round} rounds");
}
