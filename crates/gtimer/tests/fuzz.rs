//! Seeded fuzz: `GORT_FUZZ_SECONDS` (default 1) from the seed `GORT_FUZZ_SEED`, printed first.
//!
//! Each round is a storm of threads in which every arming must be answered for, and a long run of
//! one thread against a plain list, with heaps of thousands.

mod common;

use common::{Rng, every_arming_is_answered_for};
use gtimer::{Callback, Engine, NEVER, bucket, heap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().expect("a number"))
}

/// Random operations on thousands of timers; what fires must be what the list says.
fn agrees_with_a_list<E: Engine>(seed: u64) {
    let mut rng = Rng(seed | 1);
    let heap = E::default();
    let fired = Arc::new(Mutex::new(Vec::new()));
    let mut timers: Vec<(E::Handle, Option<i64>)> = Vec::new();
    let mut now = 0;
    let most = 1 + rng.below(5_000) as usize;
    let spread = 1 + rng.below(100_000);
    for _ in 0..20_000 {
        let when = now + rng.below(spread) as i64;
        match rng.below(16) {
            0..=4 if timers.len() < most => {
                let (id, fired) = (timers.len(), Arc::clone(&fired));
                let note = Callback::shared(Arc::new(move || fired.lock().unwrap().push(id)), 0);
                timers.push((heap.insert(when, 0, note).0, Some(when)));
            }
            _ if timers.is_empty() => {}
            0..=8 => {
                let i = rng.below(timers.len() as u64) as usize;
                let pending = heap.reset(&timers[i].0, when).was_pending;
                assert_eq!(pending, timers[i].1.replace(when).is_some());
            }
            9..=11 => {
                let i = rng.below(timers.len() as u64) as usize;
                assert_eq!(E::stop(&timers[i].0), timers[i].1.take().is_some());
            }
            12..=14 => {
                now += rng.below(spread / 100 + 1) as i64;
                assert!(heap.check(now).0 > now);
                let mut due: Vec<_> = std::mem::take(&mut *fired.lock().unwrap());
                due.sort_unstable();
                let expected: Vec<_> = (0..timers.len())
                    .filter(|&i| timers[i].1.is_some_and(|when| when <= now))
                    .collect();
                assert_eq!(due, expected);
                due.iter().for_each(|&i| timers[i].1 = None);
            }
            _ => {
                let next = timers.iter().filter_map(|t| t.1).min().unwrap_or(NEVER);
                assert!(heap.next_when() <= next);
            }
        }
    }
}

#[test]
fn fuzz() {
    let mut seed = setting("GORT_FUZZ_SEED", 0x5EED);
    let end = Instant::now() + Duration::from_secs(setting("GORT_FUZZ_SECONDS", 1));
    println!("GORT_FUZZ_SEED={seed}");
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < end {
        every_arming_is_answered_for(
            (0..1 + seed % 4).map(|_| heap::Timers::new()).collect(),
            true,
            seed,
            5_000,
        );
        every_arming_is_answered_for(
            (0..1 + seed % 4).map(|_| bucket::Timers::new()).collect(),
            false,
            seed,
            2_000,
        );
        agrees_with_a_list::<heap::Timers>(seed);
        agrees_with_a_list::<bucket::Timers>(seed);
        rounds += 1;
        seed += 1;
    }
    println!("{rounds} rounds, next GORT_FUZZ_SEED={seed}");
}
