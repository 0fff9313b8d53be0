//! The scheduling workloads on may's coroutines. Its channels have no bound: `ping_pong` and `ring` use those.
//!
//! No `spawn_all`, `skynet` and `rss_stackful`: a coroutine's stack is two mappings of its own, and Linux's
//! default of 65,530 mappings ends the program at some 32,000 coroutines that live at once. Its configuration
//! is the process's, so each run sets it once.

use super::{MILLION, RING, ROUND_TRIPS};
use gort_benches::harness::Context;

use ::may::coroutine::{self, JoinHandle, yield_now};
use ::may::sync::mpsc;

pub(super) fn workload(name: &str) -> Option<fn(&Context)> {
    Some(match name {
        "spawn_batch" => spawn_batch,
        "yield" => yields,
        "ping_pong" => ping_pong,
        "ring" => ring,
        _ => return None,
    })
}

/// Before the first coroutine.
pub(super) fn configure(procs: usize) {
    ::may::config().set_workers(procs);
}

pub(super) fn go<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: no workload of this group keeps a thread-local's reference across a call that may park, and
    // none uses much stack.
    unsafe { coroutine::spawn(f) }
}

/// Runs `f` in a coroutine, as the others run theirs on a worker.
pub(super) fn on_worker<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    go(f).join().unwrap()
}

fn spawn_batch(c: &Context) {
    configure(c.procs);
    c.time(500_000, || {
        on_worker(|| {
            for _ in 0..5_000 {
                let handles: Vec<_> = (0..100u64).map(|i| go(move || i)).collect();
                let sum: u64 = handles.into_iter().map(|h| h.join().unwrap()).sum();
                assert_eq!(sum, 4950);
            }
        });
    });
}

fn yields(c: &Context) {
    configure(c.procs);
    c.time(2 * MILLION, || {
        on_worker(|| {
            let other = go(|| {
                (0..MILLION).for_each(|_| yield_now());
                MILLION
            });
            (0..MILLION).for_each(|_| yield_now());
            assert_eq!(other.join().unwrap(), MILLION);
        });
    });
}

fn ping_pong(c: &Context) {
    configure(c.procs);
    c.time(ROUND_TRIPS, || {
        on_worker(|| {
            let (ping, pings) = mpsc::channel::<u64>();
            let (pong, pongs) = mpsc::channel::<u64>();
            let echo = go(move || {
                while let Ok(x) = pings.recv() {
                    pong.send(x).unwrap();
                }
            });
            for i in 0..ROUND_TRIPS {
                ping.send(i).unwrap();
                assert_eq!(pongs.recv().ok(), Some(i));
            }
            drop(ping);
            echo.join().unwrap();
        });
    });
}

fn ring(c: &Context) {
    configure(c.procs);
    c.time(MILLION, || {
        on_worker(|| {
            let (first, mut last) = mpsc::channel::<u64>();
            for _ in 1..RING {
                let (tx, rx) = mpsc::channel();
                let input = std::mem::replace(&mut last, rx);
                drop(go(move || {
                    while let Ok(x) = input.recv() {
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
