//! What every group shares: the catalogue's entry, and how samples are taken and printed.

use hdrhistogram::Histogram;

use std::time::Instant;

/// With how many processors a workload is run.
#[derive(Clone, Copy, Debug)]
pub enum Procs {
    /// Once for each number the caller asked for.
    Each,
    /// With one: single-threaded, or meaningful on one processor alone.
    One,
    /// With the machine's: the operating system's threads do the scheduling.
    Machine,
}

/// Who measures.
#[derive(Clone, Copy, Debug)]
pub enum Program {
    /// `bench-runner` itself.
    Here(fn(&Context)),
    /// The Go program, built by the latest Go.
    Go,
    /// The same, built by Go 1.19.
    Go119,
    /// `bench-alloc-SUBJECT`.
    Allocator,
}

/// One workload by one subject.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The subsystem.
    pub group: &'static str,
    /// The figure's name.
    pub workload: &'static str,
    /// The workload to run for it: another's where one run gives several figures.
    pub from: &'static str,
    /// The crate, `go` or `go1.19`.
    pub subject: &'static str,
    /// Not one of ours.
    pub peer: bool,
    /// With how many processors.
    pub procs: Procs,
    /// Of the figure.
    pub unit: &'static str,
    /// Who measures.
    pub program: Program,
}

impl Entry {
    /// An entry whose figure comes from its own run.
    #[must_use]
    pub const fn new(
        (group, workload, subject): (&'static str, &'static str, &'static str),
        peer: bool,
        procs: Procs,
        unit: &'static str,
        program: Program,
    ) -> Self {
        Self {
            group,
            workload,
            from: workload,
            subject,
            peer,
            procs,
            unit,
            program,
        }
    }

    /// The entry as a JSON line, without the code.
    #[must_use]
    pub fn describe(&self) -> serde_json::Value {
        serde_json::json!({
            "group": self.group, "workload": self.workload, "from": self.from, "subject": self.subject,
            "peer": self.peer, "unit": self.unit,
            "better": if self.unit == "ticks" { "higher" } else { "lower" },
            "procs": match self.procs { Procs::Each => "each", Procs::One => "one", Procs::Machine => "machine" },
            "program": match self.program {
                Program::Here(_) => "bench-runner".to_owned(),
                Program::Go => "bench-go".to_owned(),
                Program::Go119 => "bench-go1.19".to_owned(),
                Program::Allocator => format!("bench-alloc-{}", self.subject),
            },
        })
    }
}

/// A workload's name, its unit, its processors, and the workload whose run gives its figure.
pub type Figure = (&'static str, &'static str, Procs, &'static str);

/// What a run was asked for.
#[derive(Debug)]
pub struct Context {
    /// Processors for the runtime.
    pub procs: usize,
    /// Measured runs in this process.
    pub samples: usize,
}

impl Context {
    /// Runs `workload` once unmeasured, then once for every sample; it returns the figure.
    pub fn repeat(&self, mut workload: impl FnMut() -> f64) {
        workload();
        for _ in 0..self.samples {
            self.once(workload());
        }
    }

    /// Without the unmeasured run: for workloads of seconds, that start from nothing and verify as they go.
    pub fn without_warming(&self, mut workload: impl FnMut() -> f64) {
        for _ in 0..self.samples {
            self.once(workload());
        }
    }

    /// [`Context::repeat`] of nanoseconds per operation.
    pub fn time(&self, operations: u64, mut workload: impl FnMut()) {
        self.repeat(|| {
            let start = Instant::now();
            workload();
            each(start, operations)
        });
    }

    /// One sample.
    pub fn once(&self, value: f64) {
        println!("{}", serde_json::json!({ "value": value }));
    }

    /// How the events behind a figure are spread: the report draws its curve. `unit` is how many nanoseconds
    /// make one of the figure's.
    pub fn curve(&self, workload: &str, took: &Histogram<u64>, unit: f64) {
        const FRACTIONS: [f64; 16] = [
            0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9995, 0.9999,
            0.99995, 0.99999, 0.999999,
        ];
        // Beyond one event in the number of them there is only the largest.
        let last = 1.0 - 1.0 / took.len().max(1) as f64;
        let points: Vec<[f64; 2]> = FRACTIONS
            .into_iter()
            .filter(|f| *f < last)
            .chain([last])
            .map(|f| [f, within(took, f) / unit])
            .collect();
        println!(
            "{}",
            serde_json::json!({ "workload": workload, "curve": points })
        );
    }

    /// One sample of the figure named.
    pub fn figure(&self, workload: &str, value: f64) {
        println!(
            "{}",
            serde_json::json!({ "workload": workload, "value": value })
        );
    }
}

/// Nanoseconds since `start` for each of `operations`.
#[must_use]
pub fn each(start: Instant, operations: u64) -> f64 {
    start.elapsed().as_nanos() as f64 / operations as f64
}

/// Nanoseconds of events that take from one to any number of them, to three digits.
///
/// # Panics
///
/// Never: three digits are allowed.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

/// The nanoseconds that such a fraction of all events stays within.
#[must_use]
pub fn within(took: &Histogram<u64>, fraction: f64) -> f64 {
    took.value_at_quantile(fraction) as f64
}

/// Resident bytes of this process.
///
/// # Panics
///
/// Where there is no `/proc`.
#[must_use]
pub fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
    let pages = statm.split(' ').nth(1).expect("statm's second field");
    pages.parse::<f64>().expect("a number of pages") * 4096.0
}

/// The most bytes that were ever resident.
///
/// # Panics
///
/// Where there is no `/proc`.
#[must_use]
pub fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB"));
    let kib: f64 = kib.expect("a line of it").parse().expect("a number");
    kib * 1024.0
}

/// A small generator, so that every subject sees the same numbers.
#[derive(Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number in `0..n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next_u64() % n
    }
}
