//! Channels of `u64`: between threads of the system, between futures on tokio (`async_*`), and between
//! goroutines beside Go's (`go_*`). A file for each.
//!
//! `mpsc` is 4 producers, `mpmc` 4 and 4. Every message is summed; the sum is checked.

mod futures;
mod goroutines;
mod latency;
mod select;
mod threads;

use gort_benches::harness::{Context, Entry, Procs, Program};

/// Messages at capacity 0, where some peers put a thread to sleep for each.
const FEW: u64 = 20_000;
const MANY: u64 = 1_000_000;

type Shape = (&'static str, fn(&Context));

/// The rows of one subject, all of its own program.
fn rows(subject: &'static str, peer: bool, procs: Procs, shapes: Vec<Shape>) -> Vec<Entry> {
    let row = |(workload, run)| {
        let name = ("chan", workload, subject);
        Entry::new(name, peer, procs, "ns", Program::Here(run))
    };
    shapes.into_iter().map(row).collect()
}

pub(crate) fn entries() -> Vec<Entry> {
    [
        threads::entries(),
        select::entries(),
        futures::entries(),
        latency::entries(),
        goroutines::entries(),
    ]
    .concat()
}

trait Tx: Clone + Send + 'static {
    fn send(&self, x: u64);
}

trait Rx: Send + 'static {
    /// `None`: every sender is gone.
    fn recv(&self) -> Option<u64>;
    fn try_recv(&self) -> Option<u64>;
}

trait Channel: 'static {
    type Tx: Tx;
    type Rx: Rx;
    fn bounded(cap: usize) -> (Self::Tx, Self::Rx);
}

/// A channel whose receivers can be cloned.
trait Shared: Channel<Rx: Clone> {}

macro_rules! channel {
    ($name:ident, $tx:ty, $rx:ty, $bounded:path, $try_recv:expr) => {
        struct $name;
        impl Tx for $tx {
            #[inline]
            fn send(&self, x: u64) {
                <$tx>::send(self, x).unwrap();
            }
        }
        impl Rx for $rx {
            #[inline]
            fn recv(&self) -> Option<u64> {
                <$rx>::recv(self).ok()
            }
            #[inline]
            fn try_recv(&self) -> Option<u64> {
                let f: fn(&$rx) -> Option<u64> = $try_recv;
                f(self)
            }
        }
        impl Channel for $name {
            type Tx = $tx;
            type Rx = $rx;
            fn bounded(cap: usize) -> ($tx, $rx) {
                $bounded(cap)
            }
        }
    };
}

channel!(
    Gchan,
    gchan::Sender<u64>,
    gchan::Receiver<u64>,
    gchan::bounded,
    |r| r.try_recv().ok()
);
impl Shared for Gchan {}
channel!(
    Std,
    std::sync::mpsc::SyncSender<u64>,
    std::sync::mpsc::Receiver<u64>,
    std::sync::mpsc::sync_channel,
    |r| r.try_recv().ok()
);
#[cfg(feature = "crossbeam-channel")]
channel!(
    Crossbeam,
    crossbeam_channel::Sender<u64>,
    crossbeam_channel::Receiver<u64>,
    crossbeam_channel::bounded,
    |r| r.try_recv().ok()
);
#[cfg(feature = "crossbeam-channel")]
impl Shared for Crossbeam {}
#[cfg(feature = "flume")]
channel!(
    Flume,
    flume::Sender<u64>,
    flume::Receiver<u64>,
    flume::bounded,
    |r| r.try_recv().ok()
);
#[cfg(feature = "flume")]
impl Shared for Flume {}
#[cfg(feature = "kanal")]
channel!(
    Kanal,
    kanal::Sender<u64>,
    kanal::Receiver<u64>,
    kanal::bounded,
    |r| r.try_recv().ok().flatten()
);
#[cfg(feature = "kanal")]
impl Shared for Kanal {}
