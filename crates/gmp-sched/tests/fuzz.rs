//! Seeded random use of all locks at once, by goroutines, threads and futures that give up half-way.
//!
//! Runs for `GORT_FUZZ_SECONDS` (1) from `GORT_FUZZ_SEED`. Fails if an exclusion is broken, if a
//! lock is left in a state of its own, or, by the deadlock report or the watchdog, if a
//! wake-up is lost.

use gmp_sched::{
    AsyncMutex, AsyncRwLock, Builder, Condvar, Context, Mutex, RwLock, Semaphore, WaitGroup, go,
    spawn,
};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context as Cx, Waker};
use std::time::{Duration, Instant};

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}

#[derive(Default)]
struct World {
    pair: Mutex<(u64, u64)>,
    rw: RwLock<(u64, u64)>,
    sema: Semaphore3,
    inside: AtomicUsize,
    level: Mutex<u64>,
    risen: Condvar,
}

struct Semaphore3(Semaphore);

impl Default for Semaphore3 {
    fn default() -> Self {
        Self(Semaphore::new(3))
    }
}

impl World {
    fn bump(&self, pair: &mut (u64, u64), rng: &mut Rng) {
        assert_eq!(pair.0, pair.1);
        pair.0 += 1;
        if rng.below(4) == 0 {
            gmp_sched::yield_now();
        }
        pair.1 += 1;
    }

    fn enter(&self, n: usize) {
        assert!(self.inside.fetch_add(n, Ordering::SeqCst) + n <= 3);
        gmp_sched::yield_now();
        self.inside.fetch_sub(n, Ordering::SeqCst);
        self.sema.0.release(n);
    }

    /// One random thing, done to its end.
    fn step(&self, rng: &mut Rng) {
        let short = Duration::from_micros(rng.below(300));
        let n = rng.below(3) as usize + 1;
        match rng.below(10) {
            0 | 1 => self.bump(&mut self.pair.lock(), rng),
            2 => {
                if let Some(mut pair) = self.pair.try_lock_for(short) {
                    self.bump(&mut pair, rng);
                }
            }
            3 => self.bump(&mut self.rw.write(), rng),
            4 => {
                let read = self.rw.read();
                assert_eq!(read.0, read.1);
            }
            5 => {
                if let Some(mut pair) = self.rw.try_write_for(short) {
                    self.bump(&mut pair, rng);
                }
                drop(self.rw.try_read_for(short));
            }
            6 => {
                self.sema.0.acquire(n);
                self.enter(n);
            }
            7 => {
                if self.sema.0.acquire_timeout(n, short) {
                    self.enter(n);
                }
            }
            8 => {
                *self.level.lock() += 1;
                if rng.below(2) == 0 {
                    self.risen.notify_one();
                } else {
                    self.risen.notify_all();
                }
            }
            _ => {
                let mut level = self.level.lock();
                let seen = *level;
                let timed = self.risen.wait_while_for(&mut level, |l| *l == seen, short);
                assert!(timed.timed_out() || *level > seen);
            }
        }
    }

    /// Futures that are polled a few times, then dropped, in whatever state they are.
    fn give_up(&self, rng: &mut Rng) {
        let mut cx = Cx::from_waker(Waker::noop());
        let (mut a, mut b) = (pin!(self.pair.lock_async()), pin!(self.rw.write_async()));
        let (mut c, mut d) = (
            pin!(self.rw.read_async()),
            pin!(self.sema.0.acquire_async(2)),
        );
        match rng.below(4) {
            0 => drop(a.as_mut().poll(&mut cx)),
            1 => drop(b.as_mut().poll(&mut cx)),
            2 => drop(c.as_mut().poll(&mut cx)),
            _ => {
                if d.as_mut().poll(&mut cx).is_ready() {
                    self.enter(2);
                }
            }
        }
        for _ in 0..rng.below(3) {
            gmp_sched::yield_now();
        }
    }

    async fn step_async(&self, rng: &mut Rng) {
        match rng.below(3) {
            0 => self.bump(&mut *self.pair.lock_async().await, &mut Rng(1)),
            1 => self.bump(&mut *self.rw.write_async().await, &mut Rng(1)),
            _ => {
                let n = rng.below(3) as usize + 1;
                self.sema.0.acquire_async(n).await;
                self.enter(n);
            }
        }
    }

    fn check_idle(&self) {
        let pair = *self.pair.try_lock().expect("nobody holds it");
        assert_eq!(pair.0, pair.1);
        assert!(!self.rw.is_locked());
        assert_eq!(self.sema.0.available(), 3);
        assert!(!self.risen.notify_one(), "a listener was left behind");
    }
}

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

fn round(seed: u64, procs: usize) {
    const STEPS: usize = 60;
    // SAFETY: no thread-locals across a park.
    let rt = unsafe { Builder::new().procs(procs).build_stackful() }.unwrap();
    let world = Arc::new(World::default());
    let wg = Arc::new(WaitGroup::new());
    let blocking = |i: u64| {
        let (world, wg) = (world.clone(), wg.clone());
        move || {
            let mut rng = Rng(seed.wrapping_mul(31).wrapping_add(i) | 1);
            for _ in 0..STEPS {
                world.step(&mut rng);
                if rng.below(3) == 0 {
                    world.give_up(&mut rng);
                }
            }
            wg.done();
        }
    };
    wg.add(14);
    let threads: Vec<_> = (0..2).map(|i| std::thread::spawn(blocking(i))).collect();
    rt.run(|| {
        let blocked: Vec<_> = (2..10).map(|i| go(blocking(i))).collect();
        let polled: Vec<_> = (10..14)
            .map(|i| {
                let (world, wg) = (world.clone(), wg.clone());
                spawn(async move {
                    let mut rng = Rng(seed.wrapping_add(i) | 1);
                    for _ in 0..STEPS {
                        world.step_async(&mut rng).await;
                    }
                    wg.done();
                })
            })
            .collect();
        blocked
            .into_iter()
            .chain(polled)
            .for_each(|h| h.join().unwrap());
        wg.wait();
    });
    threads.into_iter().for_each(|t| t.join().unwrap());
    world.check_idle();
}

#[test]
fn locks_hold_under_random_use() {
    let seed = env("GORT_FUZZ_SEED", 0x5EED);
    let seconds = env("GORT_FUZZ_SECONDS", 1);
    println!("GORT_FUZZ_SEED={seed} GORT_FUZZ_SECONDS={seconds}");
    let over = Arc::new(AtomicBool::new(false));
    let rounds = Arc::new(AtomicUsize::new(0));
    let watch = {
        let (over, rounds) = (over.clone(), rounds.clone());
        std::thread::spawn(move || {
            let (mut last, mut since) = (0, Instant::now());
            while !over.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
                let now = rounds.load(Ordering::SeqCst);
                if now != last {
                    (last, since) = (now, Instant::now());
                }
                if since.elapsed() > Duration::from_secs(60) {
                    eprintln!("round {now} of seed {seed} does not end: a wake-up was lost");
                    std::process::abort();
                }
            }
        })
    };
    let (ctx, _cancel) = Context::background().with_timeout(Duration::from_secs(seconds));
    let mut n = 0;
    while n < 2 || !ctx.is_done() {
        round(seed.wrapping_add(n), n as usize % 2 + 1);
        n += 1;
        rounds.fetch_add(1, Ordering::SeqCst);
    }
    over.store(true, Ordering::SeqCst);
    watch.join().unwrap();
}
