//! One test body, several ways to wait: a mode says how a send and a receive are made.
#![expect(dead_code, reason = "each test file uses its part")]

use gchan::{Receiver, Sender};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// How a test sends and receives.
pub(crate) trait Mode: Sync {
    /// Only tries: two such never meet at capacity zero, there being nobody who waits.
    fn only_tries(&self) -> bool {
        false
    }
    fn send(&self, s: &Sender<u64>, value: u64);
    fn recv(&self, r: &Receiver<u64>) -> Option<u64>;
}

struct Blocking;
struct Async;
struct Polling;

impl Mode for Blocking {
    fn send(&self, s: &Sender<u64>, value: u64) {
        s.send(value).unwrap();
    }
    fn recv(&self, r: &Receiver<u64>) -> Option<u64> {
        r.recv().ok()
    }
}

impl Mode for Async {
    fn send(&self, s: &Sender<u64>, value: u64) {
        gchan::block_on(s.send_async(value)).unwrap();
    }
    fn recv(&self, r: &Receiver<u64>) -> Option<u64> {
        gchan::block_on(r.recv_async()).ok()
    }
}

impl Mode for Polling {
    fn only_tries(&self) -> bool {
        true
    }
    fn send(&self, s: &Sender<u64>, value: u64) {
        while s.try_send(value).is_err() {
            std::thread::yield_now();
        }
    }
    fn recv(&self, r: &Receiver<u64>) -> Option<u64> {
        loop {
            match r.try_recv() {
                Ok(value) => return Some(value),
                Err(e) if e.is_disconnected() => return None,
                Err(_) => std::thread::yield_now(),
            }
        }
    }
}

pub(crate) fn modes() -> [&'static dyn Mode; 3] {
    [&Blocking, &Async, &Polling]
}

/// Counts drops.
pub(crate) struct Counted<'a>(pub(crate) &'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts wakes.
#[derive(Default)]
pub(crate) struct Bell(pub(crate) AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    pub(crate) fn rings(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Polls once with a bell's waker.
pub(crate) fn poll_with<F: Future>(
    future: std::pin::Pin<&mut F>,
    bell: &Arc<Bell>,
) -> Poll<F::Output> {
    let waker = Waker::from(bell.clone());
    future.poll(&mut Context::from_waker(&waker))
}

/// Polls a fresh future once.
pub(crate) fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
