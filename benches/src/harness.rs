//! What every group shares: the catalogue's entry, and how samples are taken and printed.

use std::time::Instant;

/// With how many processors a workload is run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Procs {
    /// Once for each number the caller asked for.
    Each,
    /// With one: single-threaded, or meaningful on one processor alone.
    One,
    /// With the machine's: the operating system's threads do the scheduling.
    Machine,
}

/// One workload by one subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) group: &'static str,
    pub(crate) workload: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) peer: bool,
    pub(crate) procs: Procs,
    /// Of the figure; always "lower is better" so far.
    pub(crate) unit: &'static str,
    /// `None`: a Go program measures it.
    pub(crate) run: Option<fn(&Context)>,
}

impl Entry {
    /// The entry as a JSON line, without the code.
    pub(crate) fn describe(&self) -> serde_json::Value {
        serde_json::json!({
            "group": self.group, "workload": self.workload, "subject": self.subject,
            "peer": self.peer, "unit": self.unit, "better": "lower",
            "procs": match self.procs { Procs::Each => "each", Procs::One => "one", Procs::Machine => "machine" },
            "external": self.run.is_none(),
        })
    }
}

/// What a run was asked for.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) procs: usize,
    pub(crate) samples: usize,
}

impl Context {
    /// Runs `workload` once unmeasured, then once for every sample; it returns the figure.
    pub(crate) fn repeat(&self, mut workload: impl FnMut() -> f64) {
        workload();
        for _ in 0..self.samples {
            self.once(workload());
        }
    }

    /// [`Context::repeat`] of nanoseconds per operation.
    pub(crate) fn time(&self, operations: u64, mut workload: impl FnMut()) {
        self.repeat(|| {
            let start = Instant::now();
            workload();
            each(start, operations)
        });
    }

    /// One sample.
    pub(crate) fn once(&self, value: f64) {
        println!("{}", serde_json::json!({ "value": value }));
    }
}

/// Nanoseconds since `start` for each of `operations`.
pub(crate) fn each(start: Instant, operations: u64) -> f64 {
    start.elapsed().as_nanos() as f64 / operations as f64
}

/// Resident bytes of this process.
pub(crate) fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
    let pages = statm.split(' ').nth(1).expect("statm's second field");
    pages.parse::<f64>().expect("a number of pages") * 4096.0
}
