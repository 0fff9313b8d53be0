//! One row for each program: what, answer, checked or not, time, goroutines, threads, memory.

use gort::Runtime;
use std::fmt::Display;
use std::time::{Duration, Instant};

pub(crate) struct Report<'a> {
    runtime: &'a Runtime,
    failed: usize,
}

impl<'a> Report<'a> {
    pub(crate) fn new(runtime: &'a Runtime) -> Self {
        println!(
            "{} Ps\n{:<30} {:>26} {:>8} {:>10} {:>11} {:>8} {:>9}",
            runtime.handle().procs(),
            "what",
            "answer",
            "checked",
            "ms",
            "goroutines",
            "threads",
            "peak MiB"
        );
        Self { runtime, failed: 0 }
    }

    /// Runs a program on the runtime, times it, and compares its answer with the sequential one.
    pub(crate) fn row<T: PartialEq + Display + Send>(
        &mut self,
        what: &str,
        goroutines: usize,
        program: impl FnOnce() -> T + Send,
        expected: impl FnOnce() -> T,
    ) {
        let start = Instant::now();
        let answer = self.runtime.run(program);
        let ms = start.elapsed().as_secs_f64() * 1e3;
        // What the program left running (the sieve's filters learn one by one that nobody listens)
        // would slow down the next.
        while self.runtime.handle().num_goroutine() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let ok = answer == expected();
        self.print(what, &answer.to_string(), ok, ms, goroutines);
    }

    pub(crate) fn print(&mut self, what: &str, answer: &str, ok: bool, ms: f64, goroutines: usize) {
        let checked = if ok { "yes" } else { "WRONG" };
        self.failed += usize::from(!ok);
        println!(
            "{what:<30} {answer:>26} {checked:>8} {ms:>10.1} {goroutines:>11} {:>8} {:>9.1}",
            self.runtime.handle().num_threads(),
            peak_mib()
        );
    }

    pub(crate) fn finish(self) -> bool {
        if self.failed > 0 {
            eprintln!("{} of the answers are wrong", self.failed);
        }
        self.failed == 0
    }
}

/// The largest resident size so far.
fn peak_mib() -> f64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|s| {
            let line = s.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()
        })
        .map_or(f64::NAN, |kib| kib / 1024.0)
}
