//! Prices of the calls that many make, each answer verified. `cargo bench -p gmp-sched --bench calls`
//!
//! - `blocking`: entry and exit of `blocking` around a call that does nothing, on a goroutine at P = 1; and of the
//!   same loop without it. ns a turn.
//! - `check_preempt`: the preemption point of a loop that makes no other call, ns.
//! - `yield_now`: two goroutines that yield to each other, ns a yield.
//!
//! Medians of the rounds, with the fastest and the slowest.

use gmp_sched::{Builder, blocking, check_preempt, go, yield_now};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 25;
const TURNS: u64 = 5_000_000;

/// ns a turn of `turn`, which gives its argument back.
fn price(turn: impl Fn(u64) -> u64 + Copy + Send) -> Vec<f64> {
    // SAFETY: no thread-locals across a park.
    let rt = unsafe { Builder::new().procs(1).build_stackful() }.unwrap();
    rt.run(move || {
        (0..ROUNDS)
            .map(|_| {
                let begin = Instant::now();
                let right = (0..TURNS).filter(|i| turn(*i) == *i).count();
                let took = begin.elapsed();
                assert_eq!(right as u64, TURNS);
                took.as_nanos() as f64 / TURNS as f64
            })
            .collect()
    })
}

fn yields() -> Vec<f64> {
    // SAFETY: as above.
    let rt = unsafe { Builder::new().procs(1).build_stackful() }.unwrap();
    rt.run(|| {
        (0..ROUNDS)
            .map(|_| {
                let turns = || {
                    (0..TURNS / 10)
                        .filter(|i| (yield_now(), black_box(*i) == *i).1)
                        .count()
                };
                let begin = Instant::now();
                let other = go(turns);
                let sum = turns() + other.join().unwrap();
                let took = begin.elapsed();
                assert_eq!(sum as u64, TURNS / 10 * 2);
                took.as_nanos() as f64 / (TURNS / 10 * 2) as f64
            })
            .collect()
    })
}

fn report(name: &str, mut ns: Vec<f64>) {
    ns.sort_by(f64::total_cmp);
    println!(
        "{name:16} {:6.2} ({:.2} .. {:.2})",
        ns[ns.len() / 2],
        ns[0],
        ns[ns.len() - 1]
    );
}

fn main() {
    report("loop alone", price(black_box));
    report("blocking", price(|i| blocking(|| black_box(i))));
    report(
        "check_preempt",
        price(|i| {
            check_preempt();
            black_box(i)
        }),
    );
    report("yield_now", yields());
}
