//! Between futures. All of them, ours as well, run on tokio's multi-thread runtime, which favours none of the
//! channels but tokio's own.

use super::{MANY, Shape, rows};
use gort_benches::harness::{Context, Entry, Procs};

trait Tx: Clone + Send + 'static {
    fn send(&self, x: u64) -> impl Future<Output = ()> + Send;
}

trait Rx: Send + 'static {
    /// `None`: every sender is gone.
    fn recv(&mut self) -> impl Future<Output = Option<u64>> + Send;
}

trait Channel: 'static {
    type Tx: Tx;
    type Rx: Rx;
    fn bounded(cap: usize) -> (Self::Tx, Self::Rx);
}

/// A channel whose receivers can be cloned.
trait Shared: Channel<Rx: Clone> {}

macro_rules! channel {
    ($name:ident, $tx:ty, $rx:ty, $bounded:path, $send:ident, $recv:ident, $some:expr) => {
        struct $name;
        impl Tx for $tx {
            async fn send(&self, x: u64) {
                <$tx>::$send(self, x).await.unwrap();
            }
        }
        impl Rx for $rx {
            async fn recv(&mut self) -> Option<u64> {
                $some(<$rx>::$recv(self).await)
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
    send_async,
    recv_async,
    Result::ok
);
impl Shared for Gchan {}
#[cfg(feature = "kanal")]
channel!(
    Kanal,
    kanal::AsyncSender<u64>,
    kanal::AsyncReceiver<u64>,
    kanal::bounded_async,
    send,
    recv,
    Result::ok
);
#[cfg(feature = "kanal")]
impl Shared for Kanal {}
#[cfg(feature = "flume")]
channel!(
    Flume,
    flume::Sender<u64>,
    flume::Receiver<u64>,
    flume::bounded,
    send_async,
    recv_async,
    Result::ok
);
#[cfg(feature = "flume")]
impl Shared for Flume {}
#[cfg(feature = "tokio")]
channel!(
    Tokio,
    tokio::sync::mpsc::Sender<u64>,
    tokio::sync::mpsc::Receiver<u64>,
    tokio::sync::mpsc::channel,
    send,
    recv,
    std::convert::identity
);

const FEW: u64 = 200_000;

/// tokio's has no capacity 0, and one receiver.
#[cfg(feature = "tokio")]
fn buffered<C: Channel>() -> Vec<Shape> {
    vec![
        ("async_spsc_1", |c| spsc::<C>(c, 1, FEW)),
        ("async_spsc_512", |c| spsc::<C>(c, 512, MANY)),
    ]
}

fn shapes<C: Shared>() -> Vec<Shape> {
    vec![
        ("async_spsc_0", |c| spsc::<C>(c, 0, FEW)),
        ("async_spsc_1", |c| spsc::<C>(c, 1, FEW)),
        ("async_spsc_512", |c| spsc::<C>(c, 512, MANY)),
        ("async_mpmc_512", mpmc::<C>),
    ]
}

pub(super) fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    let mut add = |subject, peer, shapes| all.extend(rows(subject, peer, Procs::Each, shapes));
    add("gchan", false, shapes::<Gchan>());
    #[cfg(feature = "kanal")]
    add("kanal", true, shapes::<Kanal>());
    #[cfg(feature = "flume")]
    add("flume", true, shapes::<Flume>());
    #[cfg(feature = "tokio")]
    add("tokio", true, buffered::<Tokio>());
    all
}

fn runtime(procs: usize) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(procs).build().expect("a runtime")
}

fn spsc<C: Channel>(c: &Context, cap: usize, messages: u64) {
    let rt = runtime(c.procs);
    c.time(messages, || {
        let (tx, mut rx) = C::bounded(cap);
        let producer = rt.spawn(async move {
            for x in 0..messages {
                tx.send(x).await;
            }
        });
        let consumer = rt.spawn(async move {
            let mut sum = 0;
            while let Some(x) = rx.recv().await {
                sum += x;
            }
            sum
        });
        let sum: u64 = rt.block_on(async {
            producer.await.unwrap();
            consumer.await.unwrap()
        });
        assert_eq!(sum, messages * (messages - 1) / 2);
    });
}

fn mpmc<C: Shared>(c: &Context) {
    let rt = runtime(c.procs);
    c.time(MANY, || {
        let (tx, rx) = C::bounded(512);
        let consumers: Vec<_> = (0..4)
            .map(|_| {
                let mut rx = rx.clone();
                rt.spawn(async move {
                    let mut sum = 0;
                    while let Some(x) = rx.recv().await {
                        sum += x;
                    }
                    sum
                })
            })
            .collect();
        for p in 0..4 {
            let tx = tx.clone();
            drop(rt.spawn(async move {
                for x in (p..MANY).step_by(4) {
                    tx.send(x).await;
                }
            }));
        }
        drop((tx, rx));
        let sum: u64 = rt.block_on(async {
            let mut sum = 0;
            for consumer in consumers {
                sum += consumer.await.unwrap();
            }
            sum
        });
        assert_eq!(sum, MANY * (MANY - 1) / 2);
    });
}
