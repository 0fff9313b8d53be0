//! Shapes that only cheap goroutines allow: a sieve of filters, a tree and a ring of goroutines, and a
//! crowd of futures.

use crate::report::Report;
use gort::chan::{self, Receiver, Sender};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};

/// The concurrent prime sieve: a chain of filters, one for each prime found.
pub(crate) fn sieve(report: &mut Report<'_>) -> Result<(), String> {
    const NTH: usize = 5000;
    fn filter(input: Receiver<u32>, output: Sender<u32>, prime: u32) {
        for n in input {
            if n % prime != 0 && output.send(n).is_err() {
                return;
            }
        }
    }
    let concurrent = || {
        let (source, mut stage) = chan::bounded(64);
        // Without it the filters would learn one by one, each at its next send, that nobody listens.
        let done = Arc::new(AtomicBool::new(false));
        let stop = done.clone();
        gort::go(move || {
            (2..)
                .take_while(|n| !stop.load(Ordering::Relaxed) && source.send(*n).is_ok())
                .for_each(drop)
        });
        for _ in 1..NTH {
            let prime = stage.recv().expect("numbers do not end");
            let (out, next) = chan::bounded(64);
            let input = std::mem::replace(&mut stage, next);
            gort::go(move || filter(input, out, prime));
        }
        let last = stage.recv().expect("numbers do not end");
        done.store(true, Ordering::Relaxed);
        last
    };
    let sequential = || {
        let mut primes: Vec<u32> = Vec::new();
        for n in 2.. {
            if primes
                .iter()
                .take_while(|p| *p * *p <= n)
                .all(|p| n % p != 0)
            {
                primes.push(n);
                if primes.len() == NTH {
                    break;
                }
            }
        }
        primes[NTH - 1]
    };
    report.row("prime sieve, 5,000th prime", concurrent, sequential)
}

/// A tree of goroutines, ten children each, a million leaves; every leaf sends its number up.
pub(crate) fn skynet(report: &mut Report<'_>) -> Result<(), String> {
    const LEAVES: u64 = 1_000_000;
    fn node(up: &Sender<u64>, number: u64, size: u64) {
        if size == 1 {
            return up.send(number).expect("the parent waits");
        }
        let (tx, rx) = chan::bounded(10);
        let size = size / 10;
        for i in 0..10 {
            let tx = tx.clone();
            gort::go(move || node(&tx, number + i * size, size));
        }
        drop(tx);
        up.send(rx.iter().sum()).expect("the parent waits");
    }
    let concurrent = || {
        let (tx, rx) = chan::bounded(1);
        gort::go(move || node(&tx, 0, LEAVES));
        rx.recv().expect("the root answers")
    };
    report.row("skynet, a million goroutines", concurrent, || {
        (0..LEAVES).sum()
    })
}

/// Ten thousand goroutines in a ring pass a counter round ten times.
pub(crate) fn ring(report: &mut Report<'_>) -> Result<(), String> {
    const LEN: u64 = 10_000;
    const ROUNDS: u64 = 10;
    let concurrent = || {
        let (first, mut left) = chan::bounded::<u64>(0);
        for _ in 1..LEN {
            let (tx, rx) = chan::bounded(0);
            let input = std::mem::replace(&mut left, rx);
            gort::go(move || {
                for n in input {
                    if tx.send(n + 1).is_err() {
                        return;
                    }
                }
            });
        }
        let mut n = 0;
        for _ in 0..ROUNDS {
            first.send(n).expect("the ring is whole");
            n = left.recv().expect("the ring is whole") + 1;
        }
        n
    };
    report.row("ring of 10,000, ten rounds", concurrent, || LEN * ROUNDS)
}

/// A million futures park at a gate, all are woken, each adds its number.
pub(crate) fn futures(report: &mut Report<'_>) -> Result<(), String> {
    const N: u64 = 1_000_000;
    #[derive(Default)]
    struct Gate(Mutex<(bool, Vec<Waker>)>);
    let concurrent = || {
        let gate = Arc::new(Gate::default());
        let sum = Arc::new(AtomicU64::new(0));
        let handles: Vec<_> = (0..N)
            .map(|i| {
                let (gate, sum) = (gate.clone(), sum.clone());
                gort::spawn(async move {
                    std::future::poll_fn(|cx| {
                        let mut gate = gate.0.lock().expect("no panics");
                        if gate.0 {
                            return Poll::Ready(());
                        }
                        gate.1.push(cx.waker().clone());
                        Poll::Pending
                    })
                    .await;
                    sum.fetch_add(i, Ordering::Relaxed);
                })
            })
            .collect();
        while gate.0.lock().expect("no panics").1.len() < N as usize {
            gort::yield_now();
        }
        let wakers = {
            let mut gate = gate.0.lock().expect("no panics");
            gate.0 = true;
            std::mem::take(&mut gate.1)
        };
        wakers.into_iter().for_each(Waker::wake);
        for h in handles {
            h.join().expect("no panics");
        }
        sum.load(Ordering::Relaxed)
    };
    report.row("a million futures woken", concurrent, || (0..N).sum())
}
