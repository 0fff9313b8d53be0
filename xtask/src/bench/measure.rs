//! Taking turns: one process a sample, the subjects of a workload one after the other, round by round.

use super::Options;
use super::build::{self, output};
use super::plan::{Catalogue, Turn};
use super::row::{Row, Stats};

use serde_json::Value;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// How many runs each subject of a figure gets.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// At most so many.
    rounds: usize,
    /// At least so many, whatever they take.
    least: usize,
    /// No further one after this time.
    budget: Duration,
    /// A run that takes longer is ended, and has failed.
    limit: Duration,
}

const QUICK: Effort = Effort {
    rounds: 3,
    least: 1,
    budget: Duration::from_millis(700),
    limit: Duration::from_secs(45),
};
const WHOLE: Effort = Effort {
    rounds: 7,
    least: 3,
    budget: Duration::from_millis(3500),
    limit: Duration::from_secs(60),
};

/// Measures everything asked for; `keep` is called after every workload with all rows so far.
pub(super) fn all(root: &Path, o: &Options, keep: &mut dyn FnMut(&[Row])) -> Fallible<Vec<Row>> {
    let programs = build::programs(root, o)?;
    let versions = build::versions(root)?;
    let runner = &programs["bench-runner"];
    let list = output(Command::new(runner).arg("list")).ok_or("bench-runner list failed")?;
    let file = std::fs::read_to_string(root.join("benches/catalogue.jsonl"))?;
    let catalogue = Catalogue::new(&file, &list)?;
    let machine = std::thread::available_parallelism().map_or(1, usize::from);
    let mut turns = catalogue.plan(o, &programs, machine);
    if turns.is_empty() {
        return Err("no workload has such a name".into());
    }
    for row in turns.iter_mut().flat_map(|t| &mut t.rows) {
        row.version = versions.get(&row.subject).cloned().unwrap_or_default();
    }
    let rows = |turns: &[Turn]| {
        let mut rows: Vec<Row> = turns.iter().flat_map(|t| t.rows.clone()).collect();
        catalogue.arrange(&mut rows);
        rows
    };
    let effort = if o.quick { QUICK } else { WHOLE };
    take_turns(&mut turns, effort, &mut |turns| keep(&rows(turns)));
    Ok(rows(&turns))
}

fn take_turns(turns: &mut [Turn], effort: Effort, done: &mut dyn FnMut(&[Turn])) {
    let start = Instant::now();
    let figures: usize = turns.iter().map(|t| t.rows.len()).sum();
    let (mut from, mut filled) = (0, 0);
    while from < turns.len() {
        let same = turns[from..].iter().take_while(|t| t.beside(&turns[from]));
        let these = from..from + same.count();
        progress(&turns[from], filled, figures, start);
        for round in 0..effort.rounds {
            for turn in &mut turns[these.clone()] {
                if turn.program.is_some() && (round < effort.least || turn.spent < effort.budget) {
                    let begun = Instant::now();
                    sample(turn, effort.limit);
                    turn.spent += begun.elapsed();
                }
            }
        }
        filled += turns[these.clone()]
            .iter()
            .map(|t| t.rows.len())
            .sum::<usize>();
        from = these.end;
        done(turns);
    }
    eprintln!(
        "[{filled} of {figures}, {} s] done",
        start.elapsed().as_secs()
    );
}

fn progress(turn: &Turn, filled: usize, figures: usize, start: Instant) {
    let row = &turn.rows[0];
    eprintln!(
        "[{filled} of {figures}, {} s] {} {} P{}",
        start.elapsed().as_secs(),
        row.group,
        turn.from,
        row.procs
    );
}

/// One process, one sample of each of its figures. A subject that fails says so, loses what it had, and is
/// not run again.
fn sample(turn: &mut Turn, limit: Duration) {
    let Some(program) = &turn.program else { return };
    let row = &turn.rows[0];
    let procs = row.procs.to_string();
    let args = [
        &row.group,
        &turn.from,
        &row.subject,
        "--procs",
        procs.as_str(),
        "--samples",
        "1",
    ];
    let shown = format!("{} {}", program.display(), args.join(" "));
    let out = within(Command::new(program).args(args), limit);
    let filled = out.and_then(|out| fill(turn, &out));
    if let Err(e) = filled {
        eprintln!("    {} FAILED: {shown}: {e}", turn.rows[0].subject);
        turn.program = None;
        turn.samples.iter_mut().for_each(Vec::clear);
        for row in &mut turn.rows {
            (row.stats, row.failed) = (None, true);
        }
    }
}

/// Puts a run's output into its rows.
fn fill(turn: &mut Turn, out: &str) -> Result<(), String> {
    let before: Vec<usize> = turn.samples.iter().map(Vec::len).collect();
    for line in out.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let named = line["workload"].as_str();
        for (row, samples) in turn.rows.iter_mut().zip(&mut turn.samples) {
            if named.is_some_and(|w| w != row.workload) {
                continue;
            }
            samples.extend(line["value"].as_f64());
            if line["curve"].is_array() {
                row.curve =
                    serde_json::from_value(line["curve"].clone()).map_err(|e| e.to_string())?;
            }
            if let Some(version) = line["version"].as_str() {
                version
                    .trim_start_matches("go")
                    .clone_into(&mut row.version);
            }
        }
    }
    for (row, samples) in turn.rows.iter_mut().zip(&turn.samples) {
        row.stats = Stats::of(samples);
    }
    match turn
        .samples
        .iter()
        .zip(before)
        .position(|(s, n)| s.len() <= n)
    {
        None => Ok(()),
        Some(i) => Err(format!("no figure for {}", turn.rows[i].workload)),
    }
}

/// What the command printed; an error if it fails, or takes longer than `limit`.
fn within(command: &mut Command, limit: Duration) -> Result<String, String> {
    let start = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    while child.try_wait().map_err(|e| e.to_string())?.is_none() {
        if start.elapsed() > limit {
            let ended = child.kill().and_then(|()| child.wait());
            ended.map_err(|e| e.to_string())?;
            return Err(format!("ended after {} s", limit.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let out = child.wait_with_output().map_err(|e| e.to_string())?;
    if !out.status.success() {
        return Err(out.status.to_string());
    }
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::row::Better;
    use super::super::row::tests::row;
    use super::*;

    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    const EFFORT: Effort = Effort {
        rounds: 3,
        least: 3,
        budget: Duration::from_secs(60),
        limit: Duration::from_secs(1),
    };

    /// A program that is a line of shell.
    fn script(name: &str, line: &str) -> PathBuf {
        let file = format!("gort-measure-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::write(&path, format!("#!/bin/sh\n{line}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn turn(workload: &str, subject: &str, program: Option<PathBuf>) -> Turn {
        let mut row = row(workload, subject, Better::Lower, 1.0);
        row.stats = None;
        Turn {
            program,
            from: workload.into(),
            rows: vec![row],
            samples: vec![Vec::new()],
            spent: Duration::ZERO,
        }
    }

    #[test]
    fn a_subject_that_fails_or_hangs_or_says_nothing_loses_no_other_row() {
        let good = script("good", r#"echo '{"value":4.5,"version":"go9.9"}'"#);
        let bad = script("bad", "exit 3");
        let hung = script("hung", "exec sleep 100");
        let mute = script("mute", "true");
        let mut turns = vec![
            turn("yield", "gort", Some(good.clone())),
            turn("yield", "tokio", Some(bad.clone())),
            turn("yield", "may", Some(hung.clone())),
            turn("yield", "go", None),
            turn("ring", "gort", Some(mute.clone())),
            turn("ring", "go", Some(good.clone())),
            turn(
                "ring",
                "absent",
                Some(PathBuf::from("/nonexistent/program")),
            ),
        ];
        let mut kept = Vec::new();
        take_turns(&mut turns, EFFORT, &mut |turns| {
            kept.push(turns.iter().filter(|t| t.rows[0].stats.is_some()).count());
        });
        let said: Vec<_> = turns
            .iter()
            .map(|t| {
                (
                    t.rows[0].stats.map(|s| (s.n, s.median)),
                    t.rows[0].absence(),
                )
            })
            .collect();
        let three = Some((3, 4.5));
        assert_eq!(
            said,
            [
                (three, "not run"),
                (None, "failed"),
                (None, "failed"),
                (None, "not run"),
                (None, "failed"),
                (three, "not run"),
                (None, "failed"),
            ]
        );
        assert_eq!(turns[0].rows[0].version, "9.9");
        assert_eq!(kept, [1, 2], "told after every workload");
        for path in [good, bad, hung, mute] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_run_fills_each_of_its_figures_and_its_curve() {
        let mut both = turn("send_latency_p50", "gchan", None);
        both.rows
            .push(row("send_latency_p99", "gchan", Better::Lower, 1.0));
        both.samples.push(Vec::new());
        let out = "{\"workload\":\"send_latency_p50\",\"value\":30,\"curve\":[[0.5,30],[0.99,350]]}\n\
                   {\"workload\":\"send_latency_p99\",\"value\":350}";
        fill(&mut both, out).unwrap();
        assert_eq!(both.rows[0].median(), Some(30.0));
        assert_eq!(both.rows[1].median(), Some(350.0));
        assert_eq!(both.rows[0].curve, [(0.5, 30.0), (0.99, 350.0)]);
        let half = fill(
            &mut both,
            "{\"workload\":\"send_latency_p50\",\"value\":31}",
        );
        assert_eq!(half, Err("no figure for send_latency_p99".into()));
    }
}
