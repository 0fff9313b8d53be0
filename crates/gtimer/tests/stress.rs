//! Many threads add, stop, reset, fire, steal and move the same timers, and every timer fires exactly as
//! often as its answers allow.

mod common;

use common::{Count, Rng, every_arming_is_answered_for};
use gtimer::{Callback, Engine, NEVER, bucket, heap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::thread;

const ROUNDS: usize = 1_000_000;

#[test]
fn every_arming_on_the_heap_engine_is_answered_for() {
    every_arming_is_answered_for(
        (0..3).map(|_| heap::Timers::new()).collect(),
        true,
        1,
        ROUNDS,
    );
}

#[test]
fn every_arming_on_the_bucket_engine_is_answered_for() {
    every_arming_is_answered_for(
        (0..3).map(|_| bucket::Timers::new()).collect(),
        false,
        1,
        ROUNDS,
    );
}

/// R59: Ps come and go while their timers are in use.
#[test]
fn timers_survive_the_death_of_their_p() {
    let (a, b) = (Arc::new(heap::Timers::new()), Arc::new(heap::Timers::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let mover = {
        let (a, b, stop) = (Arc::clone(&a), Arc::clone(&b), Arc::clone(&stop));
        thread::spawn(move || {
            while !stop.load(Relaxed) {
                a.adopt(&b);
                b.adopt(&a);
                thread::yield_now();
            }
        })
    };
    let mut rng = Rng(42);
    let count = Arc::new(Count::default());
    let timers: Vec<_> = (0..200)
        .map(|i| {
            a.insert(i, 0, Callback::shared(Arc::clone(&count) as _, 0))
                .0
        })
        .collect();
    let (mut armed, mut prevented) = (200, 0);
    for now in 0..50_000 {
        let timer = &timers[rng.below(200) as usize];
        let when = now + rng.below(100) as i64;
        match rng.below(4) {
            0 => prevented += usize::from(timer.stop()),
            1 => {
                a.check(now);
                b.check(now);
            }
            _ => {
                armed += 1;
                prevented += usize::from(a.reset(timer, when).was_pending);
            }
        }
    }
    stop.store(true, Relaxed);
    mover.join().unwrap();
    a.adopt(&b);
    assert!(b.is_empty());
    while a.next_when() != NEVER {
        a.check(NEVER);
    }
    assert_eq!(armed, prevented + count.0.load(Relaxed));
}

#[test]
fn callbacks_are_dropped_exactly_once() {
    dropped_exactly_once::<heap::Timers>();
    dropped_exactly_once::<bucket::Timers>();
}

/// Handles are dropped, with their callbacks, while another thread fires, sweeps and removes them.
fn dropped_exactly_once<E: Engine>() {
    struct Token(Arc<AtomicUsize>);
    impl Drop for Token {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let timers = Arc::new(E::default());
    let dropped = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let runner = {
        let (timers, stop) = (Arc::clone(&timers), Arc::clone(&stop));
        thread::spawn(move || {
            let mut now = 0;
            while !stop.load(Relaxed) {
                now += 50;
                timers.check(now);
            }
        })
    };
    let mut rng = Rng(7);
    for i in 0..100_000 {
        let token = Token(Arc::clone(&dropped));
        let when = i + rng.below(1_000) as i64;
        let (timer, _) = timers.insert(when, 0, Callback::once(move || drop(token)));
        match rng.below(4) {
            0 => E::detach(timer),
            1 => {
                E::stop(&timer);
            }
            2 => {
                let _ = timers.reset(&timer, i);
            }
            _ => {}
        }
    }
    stop.store(true, Relaxed);
    runner.join().unwrap();
    drop(timers);
    assert_eq!(dropped.load(SeqCst), 100_000);
}
