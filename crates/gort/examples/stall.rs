//! What one bad goroutine does to the others: a 1 ms ticker beside a hog, 300 hogs, and calls that block,
//! declared and not; the ticker's lateness as a histogram for each.
//!
//! `cargo run --release -p gort --example stall [-- --procs N] [--seconds S]`

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(1);

/// A bad neighbour: started `many` times, until told to stop.
struct Scene {
    name: &'static str,
    many: usize,
    body: fn(&AtomicBool),
}

const SCENES: &[Scene] = &[
    Scene {
        name: "nobody else",
        many: 0,
        body: |_| {},
    },
    Scene {
        name: "one hog",
        many: 1,
        body: hog,
    },
    Scene {
        name: "300 hogs",
        many: 300,
        body: hog,
    },
    Scene {
        name: "four that block, undeclared",
        many: 4,
        body: |stop| until(stop, || std::thread::sleep(Duration::from_millis(20))),
    },
    Scene {
        name: "four that block, declared",
        many: 4,
        body: |stop| {
            until(stop, || {
                gort::blocking(|| std::thread::sleep(Duration::from_millis(20)))
            });
        },
    },
];

/// Computes and never calls the runtime.
fn hog(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

fn until(stop: &AtomicBool, step: impl Fn()) {
    while !stop.load(Ordering::Relaxed) {
        step();
    }
}

fn main() -> ExitCode {
    match parse() {
        Ok((procs, time)) => {
            // SAFETY: the goroutines of this program keep nothing bound to a thread across a park.
            let built = unsafe { gort::Runtime::builder().procs(procs).build_stackful() };
            match built {
                Ok(runtime) => {
                    runtime.run(move || SCENES.iter().for_each(|s| play(s, time)));
                    ExitCode::SUCCESS
                }
                Err(e) => {
                    eprintln!("stall: {e}");
                    ExitCode::FAILURE
                }
            }
        }
        Err(e) => {
            eprintln!("stall: {e}\nallowed are --procs N (1 to 1024) and --seconds S");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<(usize, Duration), lexopt::Error> {
    use lexopt::prelude::*;
    let (mut procs, mut seconds) = (1, 1);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("procs") => procs = parser.value()?.parse()?,
            Long("seconds") => seconds = parser.value()?.parse()?,
            _ => return Err(arg.unexpected()),
        }
    }
    Ok((procs, Duration::from_secs(seconds)))
}

fn play(scene: &Scene, time: Duration) {
    let stop = Arc::new(AtomicBool::new(false));
    let ticker = {
        let stop = stop.clone();
        gort::go(move || tick(&stop))
    };
    // It is under way when the others come.
    gort::yield_now();
    let neighbours: Vec<_> = (0..scene.many)
        .map(|_| {
            let (stop, body) = (stop.clone(), scene.body);
            gort::go(move || body(&stop))
        })
        .collect();
    gort::sleep(time);
    stop.store(true, Ordering::Relaxed);
    let late = ticker.join().expect("the ticker does not panic");
    neighbours
        .into_iter()
        .for_each(|n| n.join().expect("no panics"));
    draw(scene.name, late);
}

/// Sleeps a tick again and again; returns how late each was.
fn tick(stop: &AtomicBool) -> Vec<Duration> {
    let mut late = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let due = Instant::now() + TICK;
        gort::sleep(TICK);
        late.push(due.elapsed());
    }
    late
}

/// Lateness by powers of two, as bars.
fn draw(name: &str, late: Vec<Duration>) {
    let worst = late.iter().max().copied().unwrap_or_default();
    println!(
        "\n{name}: {} ticks, worst {:.2} ms late",
        late.len(),
        worst.as_secs_f64() * 1e3
    );
    let mut buckets = [0_usize; 20];
    for d in &late {
        let us = u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        buckets[(u64::BITS - us.leading_zeros()).min(19) as usize] += 1;
    }
    let most = buckets.iter().max().copied().unwrap_or(1).max(1);
    for (i, n) in buckets.iter().enumerate().filter(|(_, n)| **n > 0) {
        let bar = "#".repeat((n * 50).div_ceil(most));
        println!("  < {:>9.3} ms {n:>6} {bar}", f64::from(1_u32 << i) / 1e3);
    }
}
