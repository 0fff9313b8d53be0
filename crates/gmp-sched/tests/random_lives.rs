//! Seeded random lives of goroutines on random runtimes, each of which is then dropped, busy or idle: they yield,
//! compute, block, are bound, panic, exit, change the number of Ps, stop the world, and start others.
//!
//! Runs for `GORT_FUZZ_SECONDS` (1) from `GORT_FUZZ_SEED`. Fails if a goroutine's destructors do not all
//! run, if goroutine-locals mix, or if a runtime neither works nor ends.

use gmp_sched::{
    Builder, GoLocal, Goroutine, Handle, Mutex, Semaphore, Shutdown, WaitGroup, WaitReason,
    blocking, blocking_now, check_preempt, go, goexit, lock_os_thread, park, scope, spawn,
    unlock_os_thread, yield_now,
};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

static STARTED: AtomicUsize = AtomicUsize::new(0);
static ENDED: AtomicUsize = AtomicUsize::new(0);

/// Counts those who live, and those whose destructors ran.
struct Counted;

impl Counted {
    fn new() -> Self {
        STARTED.fetch_add(1, SeqCst);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ENDED.fetch_add(1, SeqCst);
    }
}

#[derive(Clone)]
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

fn compute(us: u64) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(us) {
        std::hint::spin_loop();
    }
}

/// What all lives of a runtime share.
#[derive(Clone)]
struct World {
    on: Handle,
    over: Arc<AtomicBool>,
    count: Arc<Mutex<u64>>,
}

impl World {
    fn live(&self, mut rng: Rng, depth: u32) {
        let _counted = Counted::new();
        for _ in 0..rng.below(12) {
            if self.over.load(SeqCst) {
                return;
            }
            match rng.below(5) {
                0 => self.waits(&mut rng),
                1 => Self::calls(&mut rng),
                2 if depth > 0 => self.starts(&mut rng, depth - 1),
                3 => self.changes_the_runtime(&mut rng),
                _ => Self::is_odd(&mut rng),
            }
        }
    }

    fn child(&self, rng: &mut Rng, depth: u32) -> impl FnOnce() + Send + use<> {
        let (world, rng) = (self.clone(), Rng(rng.next() | 1));
        move || world.live(rng, depth)
    }

    fn waits(&self, rng: &mut Rng) {
        match rng.below(6) {
            0 => *self.count.lock() += 1,
            1 => {
                let held = self.count.lock();
                yield_now();
                drop(held);
            }
            2 => {
                let none = Semaphore::new(0);
                assert!(!none.acquire_timeout(1, Duration::from_micros(rng.below(500))));
            }
            3 => {
                let group = Arc::new(WaitGroup::new());
                group.add(1);
                let done = group.clone();
                drop(go(move || done.done()));
                let _ = group.wait_timeout(Duration::from_millis(2));
            }
            4 => {
                Goroutine::current().unwrap().unpark();
                park(WaitReason::Park);
            }
            _ => yield_now(),
        }
    }

    fn calls(rng: &mut Rng) {
        match rng.below(6) {
            0 => blocking(|| thread::sleep(Duration::from_micros(rng.below(300)))),
            1 => blocking_now(|| compute(50)),
            2 => compute(rng.below(300)),
            3 if rng.one_in(20) => compute(25_000),
            4 if rng.one_in(20) => thread::sleep(Duration::from_millis(3)),
            _ => check_preempt(),
        }
    }

    fn starts(&self, rng: &mut Rng, depth: u32) {
        match rng.below(5) {
            0 => drop(go(self.child(rng, depth))),
            1 => drop(go(self.child(rng, depth)).join()),
            2 => {
                let children: Vec<_> = (0..3).map(|_| self.child(rng, 0)).collect();
                // An abort passes through.
                drop(catch_unwind(AssertUnwindSafe(|| {
                    scope(|s| {
                        let children: Vec<_> = children.into_iter().map(|c| s.go(c)).collect();
                        yield_now();
                        children.into_iter().for_each(|h| drop(h.join()));
                    });
                })));
            }
            3 => {
                let world = self.clone();
                drop(spawn(async move {
                    let _counted = Counted::new();
                    for _ in 0..5 {
                        if world.over.load(SeqCst) {
                            return;
                        }
                        *world.count.lock() += 1;
                        drop(spawn(async { 1 }).await);
                    }
                }));
            }
            _ => {
                let on = self.on;
                let from_outside = thread::spawn(move || drop(on.spawn(async { 7 }).join()));
                drop(blocking(|| from_outside.join()));
            }
        }
    }

    fn changes_the_runtime(&self, rng: &mut Rng) {
        match rng.below(20) {
            0 => self.on.set_procs(1 + rng.below(4) as usize).unwrap(),
            1 => self.on.stop_the_world(|| compute(20)),
            _ => {}
        }
    }

    fn is_odd(rng: &mut Rng) {
        static LOCAL: GoLocal<Cell<u64>> = GoLocal::new(|| Cell::new(0));
        match rng.below(16) {
            0 => {
                lock_os_thread();
                yield_now();
                unlock_os_thread();
            }
            1 if rng.one_in(4) => {
                lock_os_thread();
                goexit();
            }
            2 if rng.one_in(2) => goexit(),
            3 if rng.one_in(2) => resume_unwind(Box::new("a life that ends badly")),
            4 => {
                struct Parks;
                impl Drop for Parks {
                    fn drop(&mut self) {
                        yield_now();
                    }
                }
                let parks = Parks;
                drop(catch_unwind(AssertUnwindSafe(move || {
                    let _parks = parks;
                    resume_unwind(Box::new("caught"));
                })));
            }
            _ => {
                let own = rng.next();
                LOCAL.with(|l| l.set(own));
                yield_now();
                assert_eq!(LOCAL.with(Cell::get), own);
            }
        }
    }
}

/// One runtime from its beginning to its end.
fn round(rng: &mut Rng) {
    // SAFETY: nothing bound to a thread is kept across a park.
    let rt = unsafe {
        Builder::new()
            .procs(1 + rng.below(4) as usize)
            .build_stackful()
    }
    .unwrap();
    let world = World {
        on: rt.handle(),
        over: Arc::default(),
        count: Arc::default(),
    };
    let waits = rng.one_in(3);
    let lives: Vec<_> = (0..40).map(|_| world.child(rng, 3)).collect();
    rt.run(move || {
        let lives: Vec<_> = lives.into_iter().map(go).collect();
        if waits {
            lives.into_iter().for_each(|h| drop(h.join()));
        }
    });
    if rng.one_in(2) {
        world.over.store(true, SeqCst);
    }
    rt.shutdown(Shutdown::Abort(Duration::from_secs(1_000)));
    assert_eq!(STARTED.load(SeqCst), ENDED.load(SeqCst));
}

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().expect("a number"))
}

#[test]
fn runtimes_end_whatever_their_goroutines_do() {
    let seed = env("GORT_FUZZ_SEED", 0x5EED);
    let seconds = env("GORT_FUZZ_SECONDS", 1);
    println!("GORT_FUZZ_SEED={seed} GORT_FUZZ_SECONDS={seconds}");
    let mut rng = Rng(seed | 1);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(seconds) {
        round(&mut rng);
    }
}
