//! The workload that `stress` and `fuzz` share.

use gtimer::{Callback, Engine, Fire, NEVER};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::thread;

const THREADS: usize = 4;

pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[derive(Default)]
pub(crate) struct Count(pub(crate) AtomicUsize);

impl Fire for Count {
    fn fire(&self, _: usize, _: i64) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// One thread arms, resets and stops its timers at random while all threads run all heaps. Each
/// arming ends in one firing or in one answer "was pending", never both, never neither (R58, R61).
pub(crate) fn every_arming_is_answered_for<E: Engine>(
    heaps: Vec<E>,
    may_move: bool,
    seed: u64,
    rounds: usize,
) {
    let heaps = Arc::new(heaps);
    let clock = Arc::new(AtomicI64::new(0));
    let workers: Vec<_> = (0..THREADS)
        .map(|t| {
            let (heaps, clock) = (Arc::clone(&heaps), Arc::clone(&clock));
            thread::spawn(move || {
                let mut rng = Rng(seed ^ (t as u64 + 1) << 32 | 1);
                let timers: Vec<_> = (0..50)
                    .map(|i| (heaps[i % heaps.len()].handle(), Arc::new(Count::default())))
                    .collect();
                let (mut armed, mut prevented) = ([0; 50], [0; 50]);
                for _ in 0..rounds {
                    let i = rng.below(50) as usize;
                    let home = if may_move {
                        rng.below(heaps.len() as u64) as usize
                    } else {
                        i
                    };
                    let heap = &heaps[home % heaps.len()];
                    let now = clock.fetch_add(1, Relaxed);
                    let (handle, count) = &timers[i];
                    let when = now + rng.below(200) as i64;
                    match rng.below(8) {
                        0..=2 => {
                            let callback = Callback::shared(Arc::clone(count) as _, 0);
                            armed[i] += 1;
                            prevented[i] +=
                                usize::from(heap.arm(handle, when, 0, callback).was_pending);
                        }
                        3..=4 if armed[i] > 0 => {
                            armed[i] += 1;
                            prevented[i] += usize::from(heap.reset(handle, when).was_pending);
                        }
                        5 => prevented[i] += usize::from(E::stop(handle)),
                        _ => {
                            heaps[rng.below(heaps.len() as u64) as usize].check(now);
                        }
                    }
                }
                (timers, armed, prevented)
            })
        })
        .collect();
    let done: Vec<_> = workers.into_iter().map(|w| w.join().unwrap()).collect();
    for heap in heaps.iter() {
        while heap.next_when() != NEVER {
            heap.check(NEVER);
        }
        assert!(heap.is_empty());
    }
    for (timers, armed, prevented) in &done {
        for (i, (_, count)) in timers.iter().enumerate() {
            assert_eq!(armed[i], prevented[i] + count.0.load(Relaxed));
        }
    }
}
