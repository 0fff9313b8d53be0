//! Channels of `u64`: between threads of the system, and (`go_*`) between goroutines beside Go's.
//!
//! `mpsc` is 4 producers, `mpmc` 4 and 4. Every message is summed; the sum is checked.

use gort_benches::harness::{Context, Entry, Procs, Program};

use std::thread;

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
#[cfg(feature = "peers")]
channel!(
    Crossbeam,
    crossbeam_channel::Sender<u64>,
    crossbeam_channel::Receiver<u64>,
    crossbeam_channel::bounded,
    |r| r.try_recv().ok()
);
#[cfg(feature = "peers")]
impl Shared for Crossbeam {}
#[cfg(feature = "peers")]
channel!(
    Flume,
    flume::Sender<u64>,
    flume::Receiver<u64>,
    flume::bounded,
    |r| r.try_recv().ok()
);
#[cfg(feature = "peers")]
impl Shared for Flume {}
#[cfg(feature = "peers")]
channel!(
    Kanal,
    kanal::Sender<u64>,
    kanal::Receiver<u64>,
    kanal::bounded,
    |r| r.try_recv().ok().flatten()
);
#[cfg(feature = "peers")]
impl Shared for Kanal {}

/// A channel that a select can wait on. Four of them, because a list made at run time is another workload.
trait Selected: Channel {
    fn select4(rx: &[Self::Rx; 4]) -> u64;
}

macro_rules! selected {
    ($name:ident, $select:path) => {
        impl Selected for $name {
            fn select4(rx: &[Self::Rx; 4]) -> u64 {
                use $select as select;
                select! {
                    recv(rx[0]) -> x => x.unwrap(),
                    recv(rx[1]) -> x => x.unwrap(),
                    recv(rx[2]) -> x => x.unwrap(),
                    recv(rx[3]) -> x => x.unwrap(),
                }
            }
        }
    };
}

selected!(Gchan, gchan::select);
#[cfg(feature = "peers")]
selected!(Crossbeam, crossbeam_channel::select);

/// Messages at capacity 0, where some peers put a thread to sleep for each.
const FEW: u64 = 20_000;
const MANY: u64 = 1_000_000;
const TRIES: u64 = 4_000_000;
const ROUND_TRIPS: u64 = 10_000;
/// On goroutines.
const GO: u64 = 300_000;

type Shape = (&'static str, fn(&Context));

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

fn selects<C: Selected>() -> Vec<Shape> {
    vec![
        ("select4_0", |c| select4::<C>(c, 0, FEW)),
        ("select4_1", |c| select4::<C>(c, 1, FEW)),
        ("select4_512", |c| select4::<C>(c, 512, MANY / 2)),
    ]
}

pub(crate) fn entries() -> Vec<Entry> {
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
    add("gchan", false, selects::<Gchan>());
    add("std", true, shapes::<Std>());
    #[cfg(feature = "peers")]
    {
        add("crossbeam-channel", true, shared::<Crossbeam>());
        add("crossbeam-channel", true, selects::<Crossbeam>());
        add("kanal", true, shared::<Kanal>());
        add("flume", true, shared::<Flume>());
    }
    let on_goroutines: [Shape; 3] = [
        ("go_spsc_0", go_spsc),
        ("go_ping_pong_0", go_ping_pong),
        ("go_select4_0", go_select4),
    ];
    for (workload, run) in on_goroutines {
        for (subject, peer, program) in [
            ("gchan", false, Program::Here(run)),
            ("go", true, Program::Go),
        ] {
            let name = ("chan", workload, subject);
            all.push(Entry::new(name, peer, Procs::Each, "ns", program));
        }
    }
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

/// One thread sends to four channels in turn, one selects.
fn select4<C: Selected>(c: &Context, cap: usize, messages: u64) {
    c.time(messages, || {
        let ends: [_; 4] = std::array::from_fn(|_| C::bounded(cap));
        let (tx, rx): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        let Ok(rx) = <[_; 4]>::try_from(rx) else {
            unreachable!("four were made")
        };
        let sender = thread::spawn(move || {
            (0..messages).for_each(|x| tx[x as usize % 4].send(x));
            // Kept until the last was received: a closed channel would be chosen.
            tx
        });
        let sum: u64 = (0..messages).map(|_| C::select4(&rx)).sum();
        drop(sender.join().unwrap());
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

fn runtime(procs: usize) -> gort::Runtime {
    // SAFETY: neither workload keeps a thread-local's reference or a `!Send` guard across a call that
    // may park.
    unsafe { gort::Runtime::builder().procs(procs).build_stackful() }.expect("a runtime")
}

fn go_spsc(c: &Context) {
    let rt = runtime(c.procs);
    c.time(GO, || {
        rt.run(|| {
            let (tx, rx) = gchan::bounded::<u64>(0);
            let producer = gort::go(move || (0..GO).for_each(|x| tx.send(x).unwrap()));
            assert_eq!(rx.iter().sum::<u64>(), GO * (GO - 1) / 2);
            producer.join().unwrap();
        });
    });
}

fn go_ping_pong(c: &Context) {
    let rt = runtime(c.procs);
    c.time(GO, || {
        rt.run(|| {
            let (ping, pings) = gchan::bounded::<u64>(0);
            let (pong, pongs) = gchan::bounded::<u64>(0);
            let echo = gort::go(move || pings.iter().for_each(|x| pong.send(x).unwrap()));
            for i in 0..GO {
                ping.send(i).unwrap();
                assert_eq!(pongs.recv(), Ok(i));
            }
            drop(ping);
            echo.join().unwrap();
        });
    });
}

/// One goroutine per channel sends, one selects.
fn go_select4(c: &Context) {
    let rt = runtime(c.procs);
    c.time(GO, || {
        rt.run(|| {
            let ends: [_; 4] = std::array::from_fn(|_| gchan::bounded::<u64>(0));
            let (tx, rx): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
            let senders: Vec<_> = (0..4_u64)
                .zip(tx)
                .map(|(i, tx)| {
                    gort::go(move || {
                        (i..GO).step_by(4).for_each(|x| tx.send(x).unwrap());
                        tx
                    })
                })
                .collect();
            let mut sum = 0;
            for _ in 0..GO {
                sum += gchan::select! {
                    recv(rx[0]) -> x => x.unwrap(),
                    recv(rx[1]) -> x => x.unwrap(),
                    recv(rx[2]) -> x => x.unwrap(),
                    recv(rx[3]) -> x => x.unwrap(),
                };
            }
            for sender in senders {
                drop(sender.join().unwrap());
            }
            assert_eq!(sum, GO * (GO - 1) / 2);
        });
    });
}
