//! Between threads of the system, which schedules them; and by one thread alone.

use super::{Channel, FEW, Gchan, MANY, Rx, Shape, Shared, Std, Tx};
use gort_benches::harness::{Context, Entry, Procs, Program};

use std::thread;

const TRIES: u64 = 4_000_000;
const ROUND_TRIPS: u64 = 10_000;

fn shapes<C: Channel>() -> Vec<Shape> {
    vec![
        ("spsc_0", |c| single::<C>(c, 1, 0, FEW)),
        ("mpsc_0", |c| single::<C>(c, 4, 0, FEW)),
        ("spsc_512", |c| single::<C>(c, 1, 512, MANY)),
        ("mpsc_512", |c| single::<C>(c, 4, 512, MANY)),
        ("seq_512", sequential::<C>),
        ("try_recv_empty", try_recv_empty::<C>),
        ("ping_pong_0", ping_pong::<C>),
    ]
}

fn shared<C: Shared>() -> Vec<Shape> {
    let mut all = shapes::<C>();
    all.push(("mpmc_0", |c| multiple::<C>(c, 0, FEW)));
    all.push(("mpmc_512", |c| multiple::<C>(c, 512, MANY)));
    all
}

pub(super) fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    let mut add = |subject, peer, shapes: Vec<Shape>| {
        for (workload, run) in shapes {
            let procs = match workload {
                "seq_512" | "try_recv_empty" => Procs::One,
                _ => Procs::Machine,
            };
            let name = ("chan", workload, subject);
            all.push(Entry::new(name, peer, procs, "ns", Program::Here(run)));
        }
    };
    add("gchan", false, shared::<Gchan>());
    add("std", true, shapes::<Std>());
    #[cfg(feature = "crossbeam-channel")]
    add("crossbeam-channel", true, shared::<super::Crossbeam>());
    #[cfg(feature = "kanal")]
    add("kanal", true, shared::<super::Kanal>());
    #[cfg(feature = "flume")]
    add("flume", true, shared::<super::Flume>());
    all
}

/// Starts `producers` threads that send `0..messages` between them.
fn produce<T: Tx>(tx: T, producers: u64, messages: u64) -> Vec<thread::JoinHandle<()>> {
    (0..producers)
        .map(|p| {
            let tx = tx.clone();
            thread::spawn(move || {
                (p..messages)
                    .step_by(producers as usize)
                    .for_each(|x| tx.send(x))
            })
        })
        .collect()
}

fn single<C: Channel>(c: &Context, producers: u64, cap: usize, messages: u64) {
    c.time(messages, || {
        let (tx, rx) = C::bounded(cap);
        let threads = produce(tx, producers, messages);
        let mut sum = 0;
        while let Some(x) = rx.recv() {
            sum += x;
        }
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(sum, messages * (messages - 1) / 2);
    });
}

fn multiple<C: Shared>(c: &Context, cap: usize, messages: u64) {
    c.time(messages, || {
        let (tx, rx) = C::bounded(cap);
        let consumers: Vec<_> = (0..4)
            .map(|_| {
                let rx = rx.clone();
                thread::spawn(move || std::iter::from_fn(|| rx.recv()).sum::<u64>())
            })
            .collect();
        let threads = produce(tx, 4, messages);
        threads.into_iter().for_each(|t| t.join().unwrap());
        let sum: u64 = consumers.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(sum, messages * (messages - 1) / 2);
    });
}

/// One thread fills and empties.
fn sequential<C: Channel>(c: &Context) {
    let (tx, rx) = C::bounded(512);
    let rounds = MANY / 512;
    c.time(rounds * 512, || {
        let mut sum = 0;
        for _ in 0..rounds {
            (0..512).for_each(|x| tx.send(x));
            (0..512).for_each(|_| sum += rx.recv().unwrap());
        }
        assert_eq!(sum, rounds * 512 * 511 / 2);
    });
}

fn try_recv_empty<C: Channel>(c: &Context) {
    let (tx, rx) = C::bounded(512);
    tx.send(1);
    assert_eq!(rx.try_recv(), Some(1));
    c.time(TRIES, || {
        let got = (0..TRIES).filter(|_| std::hint::black_box(&rx).try_recv().is_some());
        assert_eq!(got.count(), 0);
    });
}

fn ping_pong<C: Channel>(c: &Context) {
    c.time(ROUND_TRIPS, || {
        let (ping, pings) = C::bounded(0);
        let (pong, pongs) = C::bounded(0);
        let echo = thread::spawn(move || {
            while let Some(x) = pings.recv() {
                pong.send(x);
            }
        });
        for i in 0..ROUND_TRIPS {
            ping.send(i);
            assert_eq!(pongs.recv(), Some(i));
        }
        drop(ping);
        echo.join().unwrap();
    });
}
