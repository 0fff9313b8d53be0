//! `cargo bench -p gchan`: nanoseconds per message, median of five runs with the least and the most; every answer is
//! checked. The peer that needs no dependency, `std::sync::mpsc`, runs beside it.

use gchan::{bounded, select, unbounded};
use std::hint::black_box;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

fn row(name: &str, n: u64, mut run: impl FnMut()) {
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_nanos() as f64 / n as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "{name:32} {:9.1}  [{:.1} .. {:.1}]",
        times[2], times[0], times[4]
    );
}

fn many_to_many(producers: u64, consumers: u64, cap: usize, n: u64) {
    let (s, r) = bounded(cap);
    let per = n / producers;
    let sum: u64 = thread::scope(|scope| {
        for _ in 0..producers {
            let s = s.clone();
            scope.spawn(move || (0..per).for_each(|i| s.send(i).unwrap()));
        }
        drop(s);
        let sums: Vec<_> = (0..consumers)
            .map(|_| {
                let r = r.clone();
                scope.spawn(move || r.iter().sum::<u64>())
            })
            .collect();
        sums.into_iter().map(|h| h.join().unwrap()).sum()
    });
    assert_eq!(sum, producers * per * (per - 1) / 2);
}

fn std_spsc(cap: usize, n: u64) {
    let (s, r) = mpsc::sync_channel(cap);
    thread::scope(|scope| {
        scope.spawn(move || (0..n).for_each(|i| s.send(i).unwrap()));
        assert_eq!(r.iter().sum::<u64>(), n * (n - 1) / 2);
    });
}

fn select_over_four(cap: Option<usize>, n: u64) {
    let ends = (0..4).map(|_| cap.map_or_else(unbounded, bounded));
    let (senders, receivers): (Vec<_>, Vec<_>) = ends.unzip();
    thread::scope(|scope| {
        let senders = &senders;
        scope.spawn(move || {
            for i in 0..n / 4 {
                senders.iter().for_each(|s| s.send(i).unwrap());
            }
        });
        let mut sum = 0;
        for _ in 0..n {
            sum += select! {
                recv(receivers[0]) -> i => i.unwrap(),
                recv(receivers[1]) -> i => i.unwrap(),
                recv(receivers[2]) -> i => i.unwrap(),
                recv(receivers[3]) -> i => i.unwrap(),
            };
        }
        assert_eq!(sum, 4 * (n / 4) * (n / 4 - 1) / 2);
    });
}

fn main() {
    println!("{:32} {:>9}  ns per message", "", "median");
    for (shape, p, c) in [("spsc", 1, 1), ("mpsc", 4, 1), ("mpmc", 4, 4)] {
        row(&format!("{shape} cap 0"), 40_000, || {
            many_to_many(p, c, 0, 40_000)
        });
        row(&format!("{shape} cap 512"), 400_000, || {
            many_to_many(p, c, 512, 400_000);
        });
    }
    row("std spsc cap 512", 400_000, || std_spsc(512, 400_000));
    let (s, r) = bounded(512);
    row("same thread cap 512", 1_000_000, || {
        for i in 0..1_000_000_u64 {
            s.send(i).unwrap();
            assert_eq!(r.recv(), Ok(i));
        }
    });
    row("try_recv on empty", 10_000_000, || {
        for _ in 0..10_000_000 {
            assert!(black_box(&r).try_recv().is_err());
        }
    });
    for cap in [Some(0), Some(1), Some(512), None] {
        let name = cap.map_or("unbounded".into(), |cap| format!("cap {cap}"));
        row(&format!("select over 4, {name}"), 40_000, || {
            select_over_four(cap, 40_000);
        });
    }
}
