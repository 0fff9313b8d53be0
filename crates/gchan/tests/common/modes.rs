//! One test body, several ways to wait: a mode says how a send and a receive are made.

use gchan::{Receiver, Sender};

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
