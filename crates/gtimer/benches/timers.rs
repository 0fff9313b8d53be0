//! The timer table: operations at a given number of live timers, and what firing costs.
//!
//! `cargo bench -p gtimer --bench timers -- [ops] [fire] [idle]`; without an argument all of them.
//! Every figure is the median of the rounds, with the fastest and the slowest beside it, and every
//! workload checks its answer.

use gtimer::{Callback, Engine, bucket, heap};
use std::hint::black_box;
use std::time::Instant;

/// A small generator, so that every engine sees the same deadlines.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One to sixty-one seconds ahead: timeouts, most of which never fire.
    fn deadline(&mut self) -> i64 {
        1_000_000_000 + (self.next() % 60_000_000_000) as i64
    }
}

fn median(name: &str, live: usize, ops: usize, mut round: impl FnMut()) {
    let mut ns: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed().as_nanos() as f64 / ops as f64
        })
        .collect();
    ns.sort_by(f64::total_cmp);
    println!(
        "{name:<24} {live:>8} live  {:7.1} ns  ({:.1} to {:.1})",
        ns[3], ns[0], ns[6]
    );
}

fn ops<E: Engine>(engine: &str) {
    for live in [0_usize, 1_000, 100_000, 1_000_000] {
        let timers = E::default();
        let mut rng = Rng(0x9E37_79B9_7F4A_7C15);
        let handles: Vec<E::Handle> = (0..live)
            .map(|_| timers.insert(rng.deadline(), 0, Callback::none()).0)
            .collect();
        let n = 500_000;
        median(&format!("{engine} add + stop"), live, n, || {
            for _ in 0..n {
                let (timer, earliest) = timers.insert(rng.deadline(), 0, Callback::none());
                black_box(earliest);
                assert!(E::stop(&timer));
            }
        });
        assert!(timers.len() <= 2 * live + 16);
        if live > 0 {
            median(&format!("{engine} reset"), live, n, || {
                for _ in 0..n {
                    let timer = &handles[rng.next() as usize % live];
                    assert!(timers.reset(timer, rng.deadline()).was_pending);
                }
            });
        }
        let start = Instant::now();
        let (_, ran) = timers.check(i64::MAX - 1);
        assert_eq!(ran, live);
        if live > 0 {
            let each = start.elapsed().as_nanos() / live as u128;
            println!("{engine} fire, virtual          {live:>8} live  {each:7} ns");
        }
    }
}

/// A heap filled once and then run dry, all due over one virtual second in steps of 10 us.
fn virtual_fire<E: Engine>(engine: &str) {
    let n = 1_000_000;
    let mut rng = Rng(0x9E37_79B9_7F4A_7C15);
    let mut rounds: Vec<(u128, u128)> = (0..3)
        .map(|_| {
            let timers = E::default();
            let start = Instant::now();
            for _ in 0..n {
                let when = (rng.next() % 1_000_000_000) as i64;
                E::detach(timers.insert(when, 0, Callback::none()).0);
            }
            let filled = start.elapsed().as_nanos();
            let start = Instant::now();
            let ran: usize = (0..=100_000)
                .map(|step| timers.check(step * 10_000).1)
                .sum();
            assert_eq!(ran, n);
            (filled / n as u128, start.elapsed().as_nanos() / n as u128)
        })
        .collect();
    rounds.sort_unstable();
    println!(
        "{engine} insert, fire (virtual)  {n:>8} live  {:?} ns",
        rounds[1]
    );
}

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let wanted = |name: &str| args.is_empty() || args.iter().any(|a| a == name);
    if wanted("ops") {
        ops::<heap::Timers>("heap");
        ops::<bucket::Timers>("bucket");
    }
    if wanted("fire") {
        virtual_fire::<heap::Timers>("heap");
        virtual_fire::<bucket::Timers>("bucket");
    }
}
