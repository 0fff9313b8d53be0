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

/// All threads arm, reset and stop the same timers at random, and run all heaps. Each arming ends in
/// one firing or in one answer "was pending", never both, never neither (R58, R61).
///
/// With `may_move` a timer that is in no heap may be armed on any.
pub(crate) fn every_arming_is_answered_for<E: Engine>(
    heaps: Vec<E>,
    may_move: bool,
    seed: u64,
    rounds: usize,
) {
    const TIMERS: usize = 50;
    let timers: Vec<_> = (0..TIMERS)
        .map(|i| {
            let count = Arc::new(Count::default());
            let callback = Callback::shared(Arc::clone(&count) as _, 0);
            (heaps[i % heaps.len()].insert(0, 0, callback).0, count)
        })
        .collect();
    let timers = Arc::new(timers);
    let heaps = Arc::new(heaps);
    let clock = Arc::new(AtomicI64::new(0));
    let workers: Vec<_> = (0..THREADS)
        .map(|t| {
            let (heaps, clock, timers) =
                (Arc::clone(&heaps), Arc::clone(&clock), Arc::clone(&timers));
            thread::spawn(move || {
                let mut rng = Rng(seed ^ (t as u64 + 1) << 32 | 1);
                let (mut armed, mut prevented) = ([0; TIMERS], [0; TIMERS]);
                for _ in 0..rounds {
                    let i = rng.below(TIMERS as u64) as usize;
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
                        3..=4 => {
                            armed[i] += 1;
                            prevented[i] += usize::from(heap.reset(handle, when).was_pending);
                        }
                        5 => prevented[i] += usize::from(E::stop(handle)),
                        _ => {
                            heaps[rng.below(heaps.len() as u64) as usize].check(now);
                        }
                    }
                }
                (armed, prevented)
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
    for (i, (_, count)) in timers.iter().enumerate() {
        let armed: usize = done.iter().map(|(armed, _)| armed[i]).sum();
        let prevented: usize = done.iter().map(|(_, prevented)| prevented[i]).sum();
        assert_eq!(1 + armed, prevented + count.0.load(Relaxed), "timer {i}");
    }
}
