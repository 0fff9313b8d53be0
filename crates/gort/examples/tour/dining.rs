//! Dining philosophers: forks are channels of one value. In the right order all eat; in the wrong
//! order all starve, and the runtime says so.

use crate::report::{Report, Run};
use gort::chan::{self, Receiver, Sender};
use std::process::{Command, Stdio};
use std::time::Instant;

const SEATS: usize = 5;
const MEALS: usize = 1000;

type Fork = (Sender<()>, Receiver<()>);

fn table() -> Vec<Fork> {
    (0..SEATS)
        .map(|_| {
            let (tx, rx) = chan::bounded(1);
            tx.send(()).expect("the fork lies on the table");
            (tx, rx)
        })
        .collect()
}

/// Takes the first fork, lets the others take theirs, takes the second, eats, lays both down.
fn eat(first: &Fork, second: &Fork) {
    first.1.recv().expect("forks are not lost");
    gort::yield_now();
    second.1.recv().expect("forks are not lost");
    second.0.send(()).expect("forks are not lost");
    first.0.send(()).expect("forks are not lost");
}

fn dine(in_order: bool) -> usize {
    let forks = table();
    let philosophers: Vec<_> = (0..SEATS)
        .map(|seat| {
            let (left, right) = (seat, (seat + 1) % SEATS);
            // The right order: the lower fork first, so that no circle of waiters can close.
            let (a, b) = if in_order {
                (left.min(right), left.max(right))
            } else {
                (left, right)
            };
            let (first, second) = (forks[a].clone(), forks[b].clone());
            gort::go(move || {
                for _ in 0..MEALS {
                    eat(&first, &second);
                }
                MEALS
            })
        })
        .collect();
    philosophers
        .into_iter()
        .map(|p| p.join().expect("no panics"))
        .sum()
}

pub(crate) fn right_order(report: &mut Report<'_>) -> Result<(), String> {
    report.row(
        "dining philosophers, meals",
        || dine(true),
        || SEATS * MEALS,
    )
}

/// In the child: every philosopher holds the left fork and waits for the right one.
pub(crate) fn wrong_order() {
    dine(false);
}

pub(crate) fn wrong_order_in_a_child(report: &mut Report<'_>) -> Result<(), String> {
    let start = Instant::now();
    let me = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    let child = Command::new(me)
        .args(["--dine-in-the-wrong-order", "--procs", "1"])
        .stderr(Stdio::piped())
        .output()
        .map_err(|e| format!("cannot start a child process: {e}"))?;
    let text = String::from_utf8_lossy(&child.stderr);
    let first = text.lines().next().unwrap_or_default().to_owned();
    let ok = !child.status.success()
        && first == "fatal error: all goroutines are asleep - deadlock!"
        && text.matches("[chan receive]").count() == SEATS;
    let run = Run {
        ms: start.elapsed().as_secs_f64() * 1e3,
        // The main goroutine and the philosophers.
        goroutines: SEATS as u64 + 1,
    };
    let answer = if ok { "deadlock reported" } else { "no report" };
    report.print("the same in the wrong order", answer, ok, &run)
}
