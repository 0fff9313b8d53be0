//! Between goroutines, beside Go's.

use super::Shape;
use gort_benches::harness::{Context, Entry, Procs, Program};

const MESSAGES: u64 = 300_000;

pub(super) fn entries() -> Vec<Entry> {
    let shapes: [Shape; 3] = [
        ("go_spsc_0", go_spsc),
        ("go_ping_pong_0", go_ping_pong),
        ("go_select4_0", go_select4),
    ];
    let mut all = Vec::new();
    for (workload, run) in shapes {
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

fn runtime(procs: usize) -> gort::Runtime {
    // SAFETY: no workload here keeps a thread-local's reference or a `!Send` guard across a call that
    // may park.
    unsafe { gort::Runtime::builder().procs(procs).build_stackful() }.expect("a runtime")
}

fn go_spsc(c: &Context) {
    let rt = runtime(c.procs);
    c.time(MESSAGES, || {
        rt.run(|| {
            let (tx, rx) = gchan::bounded::<u64>(0);
            let producer = gort::go(move || (0..MESSAGES).for_each(|x| tx.send(x).unwrap()));
            assert_eq!(rx.iter().sum::<u64>(), MESSAGES * (MESSAGES - 1) / 2);
            producer.join().unwrap();
        });
    });
}

fn go_ping_pong(c: &Context) {
    let rt = runtime(c.procs);
    c.time(MESSAGES, || {
        rt.run(|| {
            let (ping, pings) = gchan::bounded::<u64>(0);
            let (pong, pongs) = gchan::bounded::<u64>(0);
            let echo = gort::go(move || pings.iter().for_each(|x| pong.send(x).unwrap()));
            for i in 0..MESSAGES {
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
    c.time(MESSAGES, || {
        rt.run(|| {
            let ends: [_; 4] = std::array::from_fn(|_| gchan::bounded::<u64>(0));
            let (tx, rx): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
            let senders: Vec<_> = (0..4_u64)
                .zip(tx)
                .map(|(i, tx)| {
                    gort::go(move || {
                        (i..MESSAGES).step_by(4).for_each(|x| tx.send(x).unwrap());
                        tx
                    })
                })
                .collect();
            let mut sum = 0;
            for _ in 0..MESSAGES {
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
            assert_eq!(sum, MESSAGES * (MESSAGES - 1) / 2);
        });
    });
}
