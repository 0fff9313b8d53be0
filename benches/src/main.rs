//! `bench-runner GROUP WORKLOAD SUBJECT --procs N --samples K`: one workload by one subject, in a process of
//! its own; one JSON line per sample. `bench-runner list` says what there is; `bench-runner stall SUBJECT
//! --procs N --seconds S` draws what bad neighbours do.
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
        ["stall", subject, "--procs", procs, "--seconds", seconds] => {
            let time = std::time::Duration::from_secs(seconds.parse()?);
            Ok(sched::stall::demonstrate(subject, procs.parse()?, time)?)
        }
        _ => Err("bench-runner list | stall SUBJECT --procs N --seconds S | GROUP WORKLOAD SUBJECT --procs N --samples K".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::entries;

    use serde_json::Value;

    const CATALOGUE: &str = include_str!("../catalogue.jsonl");

    fn catalogue() -> Vec<Value> {
        let lines = CATALOGUE.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }

    /// What this build can run is in the catalogue as it stands there; what it cannot, for want of a peer, is
    /// a peer's. After a change: `bench-runner list > benches/catalogue.jsonl`, built with all peers.
    #[test]
    fn the_catalogue_is_what_the_runner_lists() {
        let catalogue = catalogue();
        let here: Vec<Value> = entries().iter().map(|e| e.describe()).collect();
        for entry in &here {
            assert!(catalogue.contains(entry), "not in the catalogue: {entry}");
        }
        let absent = |l: &&Value| !here.contains(l);
        for line in catalogue.iter().filter(absent) {
            let excused = line["peer"] == true && cfg!(not(feature = "peers"));
            assert!(excused, "no longer there: {line}");
        }
    }

    #[test]
    fn no_subject_stands_twice_in_a_figure() {
        let mut names: Vec<_> = entries()
            .iter()
            .map(|e| (e.group, e.workload, e.subject))
            .collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn subjects_of_a_figure_agree_on_its_unit_and_its_run() {
        let all = entries();
        for a in &all {
            let others = all
                .iter()
                .filter(|b| (b.group, b.workload) == (a.group, a.workload));
            for b in others {
                assert_eq!(
                    (a.unit, a.from),
                    (b.unit, b.from),
                    "{} {}",
                    a.workload,
                    b.subject
                );
            }
        }
    }
}
