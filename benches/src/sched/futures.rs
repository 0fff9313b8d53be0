//! The rendezvous workloads once more, as futures on gort: what tokio's tasks are, on the queues and the
//! channels that goroutines use.

use super::{MILLION, RING, ROUND_TRIPS, gort::runtime};
use gort_benches::harness::Context;

use ::gort::{Runtime, chan, spawn};

use std::pin::Pin;

pub(super) fn workload(name: &str) -> Option<fn(&Context)> {
    Some(match name {
        "ping_pong" => ping_pong,
        "ring" => ring,
        "skynet" => skynet,
        _ => return None,
    })
}

/// Runs `future` as a task, as the others run theirs on a worker.
fn on_worker(rt: &Runtime, future: impl Future<Output = ()> + Send + 'static) {
    rt.run(|| spawn(future).join().unwrap());
}

fn ping_pong(c: &Context) {
    let rt = runtime(c.procs);
    c.time(ROUND_TRIPS, || {
        on_worker(&rt, async {
            let (ping, pings) = chan::bounded::<u64>(0);
            let (pong, pongs) = chan::bounded::<u64>(0);
            let echo = spawn(async move {
                while let Ok(x) = pings.recv_async().await {
                    pong.send_async(x).await.unwrap();
                }
            });
            for i in 0..ROUND_TRIPS {
                ping.send_async(i).await.unwrap();
                assert_eq!(pongs.recv_async().await, Ok(i));
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
            let (first, mut last) = chan::bounded::<u64>(0);
            for _ in 1..RING {
                let (tx, rx) = chan::bounded(0);
                let input = std::mem::replace(&mut last, rx);
                drop(spawn(async move {
                    while let Ok(x) = input.recv_async().await {
                        if tx.send_async(x + 1).await.is_err() {
                            return;
                        }
                    }
                }));
            }
            let mut value = 0;
            for _ in 0..MILLION / RING {
                first.send_async(value).await.unwrap();
                value = last.recv_async().await.unwrap() + 1;
            }
            assert_eq!(value, MILLION);
        });
    });
}

fn node(up: chan::Sender<u64>, number: u64, size: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if size == 1 {
            up.send_async(number).await.unwrap();
            return;
        }
        let (tx, rx) = chan::bounded(10);
        let size = size / 10;
        for i in 0..10 {
            drop(spawn(node(tx.clone(), number + i * size, size)));
        }
        drop(tx);
        let mut sum = 0;
        while let Ok(x) = rx.recv_async().await {
            sum += x;
        }
        up.send_async(sum).await.unwrap();
    })
}

fn skynet(c: &Context) {
    let rt = runtime(c.procs);
    c.time(1_000_000, || {
        on_worker(&rt, async {
            let (tx, rx) = chan::bounded(1);
            drop(spawn(node(tx, 0, MILLION)));
            assert_eq!(rx.recv_async().await, Ok(MILLION * (MILLION - 1) / 2));
        });
    });
}
