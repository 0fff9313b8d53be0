//! The scheduling workloads on tokio's multi-thread runtime: bounded channels of 1 where goroutines meet
//! unbuffered (tokio has no rendezvous).

use super::{MILLION, RING, ROUND_TRIPS, SLEEP, SLEEPERS};
use gort_benches::harness::{Context, resident};

use ::tokio::runtime::{Builder, Runtime};
use ::tokio::sync::{Semaphore, mpsc};

use std::pin::Pin;
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
        "rss_future" => rss_future,
        _ => return None,
    })
}

pub(super) fn runtime(procs: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(procs)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Runs `future` on a worker: `block_on` itself would poll it on the calling thread.
pub(super) fn on_worker<T: Send + 'static>(
    rt: &Runtime,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    rt.block_on(async { ::tokio::spawn(future).await.unwrap() })
}

fn spawn_all(c: &Context) {
    let rt = runtime(c.procs);
    c.time(MILLION, || {
        on_worker(&rt, async {
            let handles: Vec<_> = (0..MILLION)
                .map(|i| ::tokio::spawn(async move { i }))
                .collect();
            let mut sum = 0;
            for h in handles {
                sum += h.await.unwrap();
            }
            assert_eq!(sum, MILLION * (MILLION - 1) / 2);
        });
    });
}

fn sleepers(c: &Context) {
    let rt = runtime(c.procs);
    c.time(MILLION, || {
        on_worker(&rt, async {
            let sleeper = |i| {
                ::tokio::spawn(async move {
                    ::tokio::time::sleep(SLEEP).await;
                    i
                })
            };
            let handles: Vec<_> = (0..SLEEPERS).map(sleeper).collect();
            let mut sum = 0;
            for h in handles {
                sum += h.await.unwrap();
            }
            assert_eq!(sum, SLEEPERS * (SLEEPERS - 1) / 2);
        });
    });
}

fn spawn_batch(c: &Context) {
    let rt = runtime(c.procs);
    c.time(500_000, || {
        on_worker(&rt, async {
            for _ in 0..5_000 {
                let handles: Vec<_> = (0..100u64)
                    .map(|i| ::tokio::spawn(async move { i }))
                    .collect();
                let mut sum = 0;
                for h in handles {
                    sum += h.await.unwrap();
                }
                assert_eq!(sum, 4950);
            }
        });
    });
}

fn yields(c: &Context) {
    let rt = runtime(c.procs);
    c.time(2 * MILLION, || {
        on_worker(&rt, async {
            let other = ::tokio::spawn(async {
                for _ in 0..MILLION {
                    ::tokio::task::yield_now().await;
                }
                MILLION
            });
            for _ in 0..MILLION {
                ::tokio::task::yield_now().await;
            }
            assert_eq!(other.await.unwrap(), MILLION);
        });
    });
}

fn ping_pong(c: &Context) {
    let rt = runtime(c.procs);
    c.time(ROUND_TRIPS, || {
        on_worker(&rt, async {
            let (ping, mut pings) = mpsc::channel::<u64>(1);
            let (pong, mut pongs) = mpsc::channel::<u64>(1);
            let echo = ::tokio::spawn(async move {
                while let Some(x) = pings.recv().await {
                    pong.send(x).await.unwrap();
                }
            });
            for i in 0..ROUND_TRIPS {
                ping.send(i).await.unwrap();
                assert_eq!(pongs.recv().await, Some(i));
            }
            drop(ping);
            echo.await.unwrap();
        });
    });
}

fn ring(c: &Context) {
    let rt = runtime(c.procs);
    c.time(MILLION, || {
        on_worker(&rt, async {
            let (first, mut last) = mpsc::channel::<u64>(1);
            for _ in 1..RING {
                let (tx, rx) = mpsc::channel(1);
                let mut input = std::mem::replace(&mut last, rx);
                drop(::tokio::spawn(async move {
                    while let Some(x) = input.recv().await {
                        if tx.send(x + 1).await.is_err() {
                            return;
                        }
                    }
                }));
            }
            let mut value = 0;
            for _ in 0..MILLION / RING {
                first.send(value).await.unwrap();
                value = last.recv().await.unwrap() + 1;
            }
            assert_eq!(value, MILLION);
        });
    });
}

fn node(up: mpsc::Sender<u64>, number: u64, size: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if size == 1 {
            up.send(number).await.unwrap();
            return;
        }
        let (tx, mut rx) = mpsc::channel(10);
        let size = size / 10;
        for i in 0..10 {
            ::tokio::spawn(node(tx.clone(), number + i * size, size));
        }
        drop(tx);
        let mut sum = 0;
        while let Some(x) = rx.recv().await {
            sum += x;
        }
        up.send(sum).await.unwrap();
    })
}

fn skynet(c: &Context) {
    let rt = runtime(c.procs);
    c.time(1_000_000, || {
        on_worker(&rt, async {
            let (tx, mut rx) = mpsc::channel(1);
            ::tokio::spawn(node(tx, 0, MILLION));
            assert_eq!(rx.recv().await, Some(MILLION * (MILLION - 1) / 2));
        });
    });
}

/// Parked on a semaphore: tokio's channels have one receiver.
fn rss_future(c: &Context) {
    let rt = runtime(c.procs);
    c.once(on_worker(&rt, async {
        let gate = Arc::new(Semaphore::new(0));
        let parked = Arc::new(AtomicU64::new(0));
        let before = resident();
        let handles: Vec<_> = (0..MILLION)
            .map(|_| {
                let (gate, parked) = (Arc::clone(&gate), Arc::clone(&parked));
                ::tokio::spawn(async move {
                    parked.fetch_add(1, Ordering::Relaxed);
                    gate.acquire().await.is_err()
                })
            })
            .collect();
        while parked.load(Ordering::Relaxed) < MILLION {
            ::tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ::tokio::time::sleep(Duration::from_millis(50)).await;
        let grown = resident() - before;
        gate.close();
        for h in handles {
            assert!(h.await.unwrap());
        }
        grown / MILLION as f64
    }));
}
