//! `bench-runner GROUP WORKLOAD SUBJECT --procs N --samples K`: one workload by one subject, in a process of
//! its own; one JSON line per sample. `bench-runner list` says what there is.
//!
//! `cargo xtask bench-all` is what people run: it interleaves these processes and writes the report.
//!
//! A workload first runs once unmeasured, with its answer verified, which also warms the process; the
//! measured runs verify theirs as well, outside the measured time where that would cost any.

mod chan;
mod itab;
mod map;
mod pool;
mod sched;
mod timer;

use gort_benches::harness::{Context, Entry, Program};

fn entries() -> Vec<Entry> {
    [
        sched::entries(),
        map::entries(),
        chan::entries(),
        pool::entries(),
        gort_benches::alloc::entries(),
        timer::entries(),
        itab::entries(),
    ]
    .concat()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => {
            for entry in entries() {
                println!("{}", entry.describe());
            }
            Ok(())
        }
        [
            group,
            workload,
            subject,
            "--procs",
            procs,
            "--samples",
            samples,
        ] => {
            let entry = entries()
                .into_iter()
                .find(|e| (e.group, e.workload, e.subject) == (group, workload, subject))
                .ok_or_else(|| {
                    format!("no {group} {workload} {subject}; see `bench-runner list`")
                })?;
            let Program::Here(run) = entry.program else {
                return Err(
                    "this subject is not part of this program: xtask builds it apart".into(),
                );
            };
            run(&Context {
                procs: procs.parse()?,
                samples: samples.parse()?,
            });
            Ok(())
        }
        _ => Err("bench-runner list | GROUP WORKLOAD SUBJECT --procs N --samples K".into()),
    }
}
