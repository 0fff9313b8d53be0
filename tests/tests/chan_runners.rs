//! One body, three runners: the same program of senders and receivers runs on threads, on goroutines and as futures,
//! and in all mixtures, since each part is put on a runner of its own.

use gort::chan::{self, Receiver, RecvError, Select, Sender, select};
use gort::{Runtime, go, spawn};
use std::thread;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runner {
    Thread,
    Goroutine,
    Future,
}

const RUNNERS: [Runner; 3] = [Runner::Thread, Runner::Goroutine, Runner::Future];

/// A part of a program: does its work by whatever way of waiting it is given.
enum Part {
    /// Sends `from..to`.
    Send(Sender<u64>, u64, u64),
    /// Receives until the end; gives the sum.
    Recv(Receiver<u64>),
    /// As `Recv`, of two channels by select.
    Select(Receiver<u64>, Receiver<u64>),
    /// Squares what it receives and sends it on.
    Echo(Receiver<u64>, Sender<u64>),
}

fn blocking(part: Part) -> u64 {
    match part {
        Part::Send(s, from, to) => {
            (from..to).for_each(|n| s.send(n).unwrap());
            0
        }
        Part::Recv(r) => r.iter().sum(),
        Part::Select(a, b) => {
            let (mut sum, mut open) = (0, 2);
            let never = chan::never();
            let (mut a, mut b) = (&a, &b);
            while open > 0 {
                select! {
                    recv(a) -> got => match got {
                        Ok(n) => sum += n,
                        Err(RecvError) => { a = &never; open -= 1; }
                    },
                    recv(b) -> got => match got {
                        Ok(n) => sum += n,
                        Err(RecvError) => { b = &never; open -= 1; }
                    },
                }
            }
            sum
        }
        Part::Echo(r, s) => {
            r.iter().for_each(|n| s.send(n * n).unwrap());
            0
        }
    }
}

async fn future(part: Part) -> u64 {
    match part {
        Part::Send(s, from, to) => {
            for n in from..to {
                s.send_async(n).await.unwrap();
            }
            0
        }
        Part::Recv(r) => {
            let mut sum = 0;
            while let Ok(n) = r.recv_async().await {
                sum += n;
            }
            sum
        }
        Part::Select(a, b) => {
            let (mut sum, mut open) = (0, [true, true]);
            while open != [false, false] {
                let mut select = Select::new();
                let (mut first, mut second) = (usize::MAX, usize::MAX);
                if open[0] {
                    first = select.recv(&a);
                }
                if open[1] {
                    second = select.recv(&b);
                }
                let chosen = select.select_async().await;
                let i = chosen.index();
                match chosen.recv(if i == first { &a } else { &b }) {
                    Ok(n) => sum += n,
                    Err(RecvError) => open[usize::from(i == second)] = false,
                }
            }
            sum
        }
        Part::Echo(r, s) => {
            while let Ok(n) = r.recv_async().await {
                s.send_async(n * n).await.unwrap();
            }
            0
        }
    }
}

/// Runs the parts, each on its runner, all at once; the sum of what they give.
fn run(parts: Vec<(Runner, Part)>) -> u64 {
    type Join = Box<dyn FnOnce() -> u64 + Send>;
    let started: Vec<Join> = parts
        .into_iter()
        .map(|(runner, part)| -> Join {
            match runner {
                Runner::Thread => {
                    let t = thread::spawn(move || blocking(part));
                    Box::new(move || gort::blocking(|| t.join().unwrap()))
                }
                Runner::Goroutine => {
                    let g = go(move || blocking(part));
                    Box::new(move || g.join().unwrap())
                }
                Runner::Future => {
                    let f = spawn(future(part));
                    Box::new(move || f.join().unwrap())
                }
            }
        })
        .collect();
    started.into_iter().map(|join| join()).sum()
}

fn on_all_procs(body: impl Fn() + Sync) {
    for procs in [1, 2] {
        // SAFETY: the parts keep nothing bound to a thread across a park.
        let rt = unsafe { Runtime::builder().procs(procs).build_stackful() }.unwrap();
        rt.run(&body);
    }
}

fn channel(cap: Option<usize>) -> (Sender<u64>, Receiver<u64>) {
    cap.map_or_else(chan::unbounded, chan::bounded)
}

const N: u64 = 100;

#[test]
fn every_sender_meets_every_receiver() {
    on_all_procs(|| {
        for from in RUNNERS {
            for to in RUNNERS {
                for cap in [Some(0), Some(1), Some(64), None] {
                    let (s, r) = channel(cap);
                    let parts = vec![
                        (from, Part::Send(s.clone(), 0, N)),
                        (from, Part::Send(s, N, 2 * N)),
                        (to, Part::Recv(r.clone())),
                        (to, Part::Recv(r)),
                    ];
                    assert_eq!(run(parts), N * (2 * N - 1), "{from:?} to {to:?}, {cap:?}");
                }
            }
        }
    });
}

#[test]
fn all_runners_at_once_share_one_channel() {
    on_all_procs(|| {
        for cap in [0, 1, 16] {
            let (s, r) = chan::bounded(cap);
            let mut parts = Vec::new();
            for (i, runner) in (0..).zip(RUNNERS) {
                parts.push((runner, Part::Send(s.clone(), i * N, (i + 1) * N)));
                parts.push((runner, Part::Recv(r.clone())));
            }
            drop((s, r));
            assert_eq!(run(parts), 3 * N * (3 * N - 1) / 2);
        }
    });
}

#[test]
fn selects_of_every_runner_meet_senders_of_every_runner() {
    on_all_procs(|| {
        for selector in RUNNERS {
            for sender in RUNNERS {
                for cap in [0, 2] {
                    let (s1, r1) = chan::bounded(cap);
                    let (s2, r2) = chan::bounded(cap);
                    let parts = vec![
                        (sender, Part::Send(s1, 0, N)),
                        (sender, Part::Send(s2, N, 2 * N)),
                        (selector, Part::Select(r1.clone(), r2.clone())),
                        (selector, Part::Select(r2, r1)),
                    ];
                    assert_eq!(run(parts), N * (2 * N - 1), "{sender:?}, {selector:?}");
                }
            }
        }
    });
}

#[test]
fn a_chain_of_all_runners_keeps_the_order() {
    on_all_procs(|| {
        let (s, mut r) = chan::bounded(0);
        let mut parts = vec![(Runner::Goroutine, Part::Send(s, 0, N))];
        for (runner, cap) in RUNNERS.into_iter().zip([0, 1, 4]) {
            let (next, last) = chan::bounded(cap);
            parts.push((runner, Part::Echo(r, next)));
            r = last;
        }
        let collect = thread::spawn(move || r.iter().collect::<Vec<_>>());
        run(parts);
        let got = gort::blocking(|| collect.join().unwrap());
        assert_eq!(got, (0..N).map(|n| n.pow(8)).collect::<Vec<_>>());
    });
}
