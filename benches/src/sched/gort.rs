//! The scheduling workloads on goroutines.

use super::{MILLION, RING, ROUND_TRIPS, SLEEP, SLEEPERS};
use gort_benches::harness::{Context, resident};

use ::gort::{Runtime, chan, go, yield_now};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(super) fn workload(name: &str) -> Option<fn(&Context)> {
    Some(match name {
        "spawn_all" => spawn_all,
        "spawn_batch" => spawn_batch,
        "yield" => yields,
        "ping_pong" => ping_pong,
        "ring" => ring,
        "skynet" => skynet,
        "sleepers" => sleepers,
        "rss_stackful" => rss_stackful,
        "rss_future" => rss_future,
        _ => return None,
    })
}

pub(super) fn runtime(procs: usize) -> Runtime {
    // SAFETY: no workload of this group keeps a thread-local's reference or a `!Send` guard across a
    // call that may park.
    unsafe { Runtime::builder().procs(procs).build_stackful() }.expect("a runtime")
}

fn spawn_all(c: &Context) {
    let rt = runtime(c.procs);
    c.time(MILLION, || {
        rt.run(|| {
            let handles: Vec<_> = (0..MILLION).map(|i| go(move || i)).collect();
            let sum: u64 = handles.into_iter().map(|h| h.join().unwrap()).sum();
            assert_eq!(sum, MILLION * (MILLION - 1) / 2);
        });
    });
}

fn spawn_batch(c: &Context) {
    let rt = runtime(c.procs);
    c.time(500_000, || {
        rt.run(|| {
            for _ in 0..5_000 {
                let handles: Vec<_> = (0..100u64).map(|i| go(move || i)).collect();
                let sum: u64 = handles.into_iter().map(|h| h.join().unwrap()).sum();
                assert_eq!(sum, 4950);
            }
        });
    });
}

fn yields(c: &Context) {
    let rt = runtime(c.procs);
    c.time(2 * MILLION, || {
        rt.run(|| {
            let other = go(|| {
                for _ in 0..MILLION {
                    yield_now();
                }
                MILLION
            });
            for _ in 0..MILLION {
                yield_now();
            }
            assert_eq!(other.join().unwrap(), MILLION);
        });
    });
}

fn sleepers(c: &Context) {
    let rt = runtime(c.procs);
    c.time(MILLION, || {
        rt.run(|| {
            let sleeper = |i| {
                go(move || {
                    ::gort::sleep(SLEEP);
                    i
                })
            };
            let handles: Vec<_> = (0..SLEEPERS).map(sleeper).collect();
            let sum: u64 = handles.into_iter().map(|h| h.join().unwrap()).sum();
            assert_eq!(sum, SLEEPERS * (SLEEPERS - 1) / 2);
        });
    });
}

fn ping_pong(c: &Context) {
    let rt = runtime(c.procs);
    c.time(ROUND_TRIPS, || {
        rt.run(|| {
            let (ping, pings) = chan::bounded::<u64>(0);
            let (pong, pongs) = chan::bounded::<u64>(0);
            let echo = go(move || {
                for x in pings {
                    pong.send(x).unwrap();
                }
            });
            for i in 0..ROUND_TRIPS {
                ping.send(i).unwrap();
                assert_eq!(pongs.recv(), Ok(i));
            }
            drop(ping);
            echo.join().unwrap();
        });
    });
}

fn ring(c: &Context) {
    let rt = runtime(c.procs);
    c.time(MILLION, || {
        rt.run(|| {
            let (first, mut last) = chan::bounded::<u64>(0);
            for _ in 1..RING {
                let (tx, rx) = chan::bounded(0);
                let input = std::mem::replace(&mut last, rx);
                drop(go(move || {
                    for x in input {
                        if tx.send(x + 1).is_err() {
                            return;
                        }
                    }
                }));
            }
            let mut value = 0;
            for _ in 0..MILLION / RING {
                first.send(value).unwrap();
                value = last.recv().unwrap() + 1;
            }
            assert_eq!(value, MILLION);
        });
    });
}

fn node(up: chan::Sender<u64>, number: u64, size: u64) {
    if size == 1 {
        up.send(number).unwrap();
        return;
    }
    let (tx, rx) = chan::bounded(10);
    let size = size / 10;
    for i in 0..10 {
        let tx = tx.clone();
        drop(go(move || node(tx, number + i * size, size)));
    }
    drop(tx);
    up.send(rx.iter().sum()).unwrap();
}

fn skynet(c: &Context) {
    let rt = runtime(c.procs);
    c.time(1_000_000, || {
        rt.run(|| {
            let (tx, rx) = chan::bounded(1);
            drop(go(move || node(tx, 0, MILLION)));
            assert_eq!(rx.recv(), Ok(MILLION * (MILLION - 1) / 2));
        });
    });
}

/// One sample from a fresh process: a second would find the first one's memory.
fn rss_stackful(c: &Context) {
    let rt = runtime(c.procs);
    c.once(rt.run(|| {
        let (tx, rx) = chan::bounded::<u64>(0);
        let parked = Arc::new(AtomicU64::new(0));
        let before = resident();
        let handles: Vec<_> = (0..MILLION)
            .map(|_| {
                let (rx, parked) = (rx.clone(), Arc::clone(&parked));
                go(move || {
                    parked.fetch_add(1, Ordering::Relaxed);
                    rx.recv().is_err()
                })
            })
            .collect();
        while parked.load(Ordering::Relaxed) < MILLION {
            ::gort::sleep(Duration::from_millis(10));
        }
        ::gort::sleep(Duration::from_millis(50));
        let grown = resident() - before;
        drop(tx);
        assert!(handles.into_iter().all(|h| h.join().unwrap()));
        grown / MILLION as f64
    }));
}

fn rss_future(c: &Context) {
    let rt = runtime(c.procs);
    c.once(rt.run(|| {
        let (tx, rx) = chan::bounded::<u64>(0);
        let parked = Arc::new(AtomicU64::new(0));
        let before = resident();
        let handles: Vec<_> = (0..MILLION)
            .map(|_| {
                let (rx, parked) = (rx.clone(), Arc::clone(&parked));
                ::gort::spawn(async move {
                    parked.fetch_add(1, Ordering::Relaxed);
                    rx.recv_async().await.is_err()
                })
            })
            .collect();
        while parked.load(Ordering::Relaxed) < MILLION {
            ::gort::sleep(Duration::from_millis(10));
        }
        ::gort::sleep(Duration::from_millis(50));
        let grown = resident() - before;
        drop(tx);
        assert!(handles.into_iter().all(|h| h.join().unwrap()));
        grown / MILLION as f64
    }));
}
