//! One thread selects over four channels, another sends to each in turn.

use super::{Channel, FEW, Gchan, MANY, Shape, Tx, rows};
use gort_benches::harness::{Context, Entry, Procs};

use std::thread;

/// A channel that a select can wait on. Four of them, because a list made at run time is another workload.
trait Selected: Channel {
    fn unbounded() -> (Self::Tx, Self::Rx);
    fn select4(rx: &[Self::Rx; 4]) -> u64;
}

macro_rules! selected {
    ($name:ident, $select:path, $unbounded:path) => {
        impl Selected for $name {
            fn unbounded() -> (Self::Tx, Self::Rx) {
                $unbounded()
            }
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

selected!(Gchan, gchan::select, gchan::unbounded);

#[cfg(feature = "crossbeam-channel")]
use super::Crossbeam;
#[cfg(feature = "crossbeam-channel")]
selected!(
    Crossbeam,
    crossbeam_channel::select,
    crossbeam_channel::unbounded
);

#[cfg(feature = "flume")]
impl Selected for super::Flume {
    fn unbounded() -> (Self::Tx, Self::Rx) {
        flume::unbounded()
    }
    fn select4(rx: &[Self::Rx; 4]) -> u64 {
        flume::Selector::new()
            .recv(&rx[0], Result::unwrap)
            .recv(&rx[1], Result::unwrap)
            .recv(&rx[2], Result::unwrap)
            .recv(&rx[3], Result::unwrap)
            .wait()
    }
}

fn shapes<C: Selected>() -> Vec<Shape> {
    vec![
        ("select4_0", |c| select4::<C>(c, || C::bounded(0), FEW)),
        ("select4_1", |c| select4::<C>(c, || C::bounded(1), FEW)),
        ("select4_512", |c| {
            select4::<C>(c, || C::bounded(512), MANY / 2)
        }),
        ("select4_unbounded", |c| {
            select4::<C>(c, C::unbounded, MANY / 2)
        }),
    ]
}

pub(super) fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    let mut add = |subject, peer, shapes| all.extend(rows(subject, peer, Procs::Machine, shapes));
    add("gchan", false, shapes::<Gchan>());
    #[cfg(feature = "crossbeam-channel")]
    add("crossbeam-channel", true, shapes::<Crossbeam>());
    #[cfg(feature = "flume")]
    add("flume", true, shapes::<super::Flume>());
    all
}

fn select4<C: Selected>(c: &Context, new: fn() -> (C::Tx, C::Rx), messages: u64) {
    c.time(messages, || {
        let ends: [_; 4] = std::array::from_fn(|_| new());
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
