//! One row for each program: what, answer, checked or not, time, goroutines, threads, memory.

use gort::Runtime;
use std::fmt::{Arguments, Display};
use std::io::Write;
use std::time::{Duration, Instant};

/// What a program took.
pub(crate) struct Run {
    pub(crate) ms: f64,
    pub(crate) goroutines: u64,
}

pub(crate) struct Report<'a> {
    runtime: &'a Runtime,
    failed: usize,
}

impl<'a> Report<'a> {
    pub(crate) fn new(runtime: &'a Runtime) -> Result<Self, String> {
        line(format_args!(
            "{} Ps\n{:<30} {:>26} {:>8} {:>10} {:>11} {:>8} {:>9}",
            runtime.handle().procs(),
            "what",
            "answer",
            "checked",
            "ms",
            "goroutines",
            "threads",
            "peak MiB"
        ))?;
        Ok(Self { runtime, failed: 0 })
    }

    pub(crate) fn procs(&self) -> usize {
        self.runtime.handle().procs()
    }

    /// Runs a program on the runtime, and compares its answer with the sequential one.
    pub(crate) fn row<T: PartialEq + Display + Send>(
        &mut self,
        what: &str,
        program: impl FnOnce() -> T + Send,
        expected: impl FnOnce() -> T,
    ) -> Result<(), String> {
        let (answer, run) = self.run(program);
        let ok = answer == expected();
        self.print(what, &answer.to_string(), ok, &run)
    }

    /// Runs a program on the runtime, until the last of its goroutines has ended, and times its answer.
    pub(crate) fn run<T: Send>(&self, program: impl FnOnce() -> T + Send) -> (T, Run) {
        // The peak begins anew; where the kernel refuses that, it is the largest so far.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let handle = self.runtime.handle();
        let before = handle.stats().goroutines_started;
        let start = Instant::now();
        let answer = self.runtime.run(program);
        let ms = start.elapsed().as_secs_f64() * 1e3;
        while handle.num_goroutine() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let goroutines = handle.stats().goroutines_started - before;
        (answer, Run { ms, goroutines })
    }

    pub(crate) fn print(
        &mut self,
        what: &str,
        answer: &str,
        ok: bool,
        run: &Run,
    ) -> Result<(), String> {
        let checked = if ok { "yes" } else { "WRONG" };
        self.failed += usize::from(!ok);
        line(format_args!(
            "{what:<30} {answer:>26} {checked:>8} {:>10.1} {:>11} {:>8} {:>9.1}",
            run.ms,
            run.goroutines,
            self.runtime.handle().num_threads(),
            peak_mib()
        ))
    }

    pub(crate) fn finish(self) -> bool {
        if self.failed > 0 {
            eprintln!("{} of the answers are wrong", self.failed);
        }
        self.failed == 0
    }
}

/// Prints a line; who reads it may be gone.
fn line(text: Arguments<'_>) -> Result<(), String> {
    writeln!(std::io::stdout(), "{text}").map_err(|e| format!("cannot print the table: {e}"))
}

/// The largest resident size.
fn peak_mib() -> f64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|s| {
            let line = s.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()
        })
        .map_or(f64::NAN, |kib| kib / 1024.0)
}
