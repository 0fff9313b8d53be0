//! Taking turns: one process a sample, the subjects of a workload one after the other, round by round.

use super::Options;
use super::build::{self, output};
use super::plan::{Catalogue, Turn};
use super::row::{Row, Stats};

use serde_json::Value;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// How many runs each subject of a figure gets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// At most so many.
    rounds: usize,
    /// At least so many, whatever they take.
    least: usize,
    /// No further one after this time.
    budget: Duration,
    /// A run that takes longer is ended, and has failed.
    limit: Duration,
    /// After this time since the command was given, the build included, only a first run is still begun.
    whole: Duration,
}

/// Eight minutes are promised.
const QUICK: Effort = Effort {
    rounds: 3,
    least: 1,
    budget: Duration::from_millis(700),
    limit: Duration::from_secs(45),
    whole: Duration::from_secs(7 * 60),
};
/// Forty minutes are promised.
const WHOLE: Effort = Effort {
    rounds: 7,
    least: 3,
    budget: Duration::from_millis(3500),
    limit: Duration::from_secs(60),
    whole: Duration::from_secs(35 * 60),
};

impl Effort {
    /// Whether a subject that has had so many runs, which took so long, gets another.
    fn wants(&self, runs: usize, spent: Duration) -> bool {
        runs < self.rounds && (runs < self.least || spent < self.budget)
    }

    /// What a subject's further runs will take if each takes `one`.
    fn ahead(&self, mut runs: usize, mut spent: Duration, one: Duration) -> Duration {
        let before = spent;
        while self.wants(runs, spent) {
            runs += 1;
            spent += one;
        }
        spent - before
    }
}

/// The rows, and whether they are all that was to be measured.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) rows: Vec<Row>,
    pub(super) interrupted: bool,
}

/// Measures everything asked for; `keep` is called after every workload with all rows so far.
pub(super) fn all(root: &Path, o: &Options, keep: &mut dyn FnMut(&[Row])) -> Fallible<Measured> {
    let begun = Instant::now();
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
        // What stands in brackets behind a crate's name says how it is used.
        let name = row.subject.split(' ').next().unwrap_or_default();
        row.version = versions.get(name).cloned().unwrap_or_default();
    }
    let rows = |turns: &[Turn]| {
        let mut rows: Vec<Row> = turns.iter().flat_map(|t| t.rows.clone()).collect();
        catalogue.arrange(&mut rows);
        rows
    };
    let run = Run {
        effort: if o.quick { QUICK } else { WHOLE },
        begun,
        stop: interrupts()?,
    };
    run.take_turns(&mut turns, &mut |turns| keep(&rows(turns)));
    build::clear(root)?;
    Ok(Measured {
        rows: rows(&turns),
        interrupted: run.stopped(),
    })
}

/// A flag that Ctrl-C or SIGTERM sets; a second one ends this process.
fn interrupts() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// What holds for all turns of a command.
#[derive(Debug)]
struct Run {
    effort: Effort,
    begun: Instant,
    stop: Arc<AtomicBool>,
}

impl Run {
    /// Round by round through all workloads, so that every figure soon has a sample, what is to come is known
    /// from what was, and a machine that slows down for a minute slows one sample of a figure and not all.
    fn take_turns(&self, turns: &mut [Turn], done: &mut dyn FnMut(&[Turn])) {
        let mut progress = Progress::new(self);
        for round in 0..self.effort.rounds {
            let mut from = 0;
            while from < turns.len() {
                let same = turns[from..].iter().take_while(|t| t.beside(&turns[from]));
                let these = from..from + same.count();
                from = these.end;
                if self.stopped() || (round > 0 && self.begun.elapsed() > self.effort.whole) {
                    return progress.end(turns);
                }
                if !turns[these.clone()].iter().any(|t| self.is_due(t, round)) {
                    continue;
                }
                progress.show(turns, these.start, round);
                for turn in &mut turns[these] {
                    if self.is_due(turn, round) {
                        self.sample(turn);
                    }
                }
                done(turns);
            }
        }
        progress.end(turns);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Runs are counted by rounds: a subject that is due in one was run in all before.
    fn is_due(&self, turn: &Turn, round: usize) -> bool {
        turn.program.is_some() && !self.stopped() && self.effort.wants(round, turn.spent)
    }

    /// What is still to come: of a subject that has not run yet, as much as the average of those that have.
    fn ahead(&self, turns: &[Turn]) -> Duration {
        let able = || turns.iter().filter(|t| t.program.is_some());
        let (mut known, mut total, mut ahead) = (0, Duration::ZERO, Duration::ZERO);
        for turn in able().filter(|t| t.runs > 0) {
            let one = turn.spent / turn.runs as u32;
            let more = self.effort.ahead(turn.runs, turn.spent, one);
            known += 1;
            total += turn.spent + more;
            ahead += more;
        }
        if known > 0 {
            ahead += total / known * able().filter(|t| t.runs == 0).count() as u32;
        }
        ahead.min(self.effort.whole.saturating_sub(self.begun.elapsed()))
    }

    /// One process, one sample of each of its figures. A subject that fails says so, loses what it had, and
    /// is not run again.
    fn sample(&self, turn: &mut Turn) {
        let Some(program) = &turn.program else { return };
        let begun = Instant::now();
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
        let out = self.within(Command::new(program).args(args));
        let filled = out.and_then(|out| fill(turn, &out));
        turn.runs += 1;
        turn.spent += begun.elapsed();
        match filled {
            // Ctrl-C ends the program that is running as well.
            Err(_) if self.stopped() => {}
            Err(e) => {
                eprintln!("\n    {} FAILED: {shown}: {e}", turn.rows[0].subject);
                turn.program = None;
                turn.samples.iter_mut().for_each(Vec::clear);
                for row in &mut turn.rows {
                    (row.stats, row.failed) = (None, true);
                }
            }
            Ok(()) => {}
        }
    }

    /// What the command printed; an error if it fails, takes longer than the limit, or is interrupted.
    fn within(&self, command: &mut Command) -> Result<String, String> {
        let start = Instant::now();
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())?;
        while child.try_wait().map_err(|e| e.to_string())?.is_none() {
            if start.elapsed() > self.effort.limit || self.stopped() {
                let ended = child.kill().and_then(|()| child.wait());
                ended.map_err(|e| e.to_string())?;
                return Err(format!("ended after {} s", start.elapsed().as_secs()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let out = child.wait_with_output().map_err(|e| e.to_string())?;
        if !out.status.success() {
            return Err(out.status.to_string());
        }
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }
}

/// One line that is written over on a terminal; a line for each group and round elsewhere.
#[derive(Debug)]
struct Progress<'a> {
    run: &'a Run,
    terminal: bool,
    /// The group and the round that were last shown.
    shown: Option<(String, usize)>,
}

impl<'a> Progress<'a> {
    fn new(run: &'a Run) -> Self {
        Self {
            run,
            terminal: std::io::stderr().is_terminal(),
            shown: None,
        }
    }

    fn show(&mut self, turns: &[Turn], next: usize, round: usize) {
        let row = &turns[next].rows[0];
        let key = Some((row.group.clone(), round));
        if !self.terminal && self.shown == key {
            return;
        }
        self.shown = key;
        let what = format!("{} {} P{}", row.group, turns[next].from, row.procs);
        let rounds = self.run.effort.rounds;
        let line = format!("[round {} of {rounds}] {what}", round + 1);
        let ahead = match self.run.ahead(turns) {
            Duration::ZERO => String::new(),
            left => format!(", about {} left", clock(left)),
        };
        let gone = clock(self.run.begun.elapsed());
        self.line(&format!("{line}: {gone} gone{ahead}"));
    }

    fn line(&self, text: &str) {
        if self.terminal {
            eprint!("\r\x1b[K{text}");
        } else {
            eprintln!("{text}");
        }
    }

    fn end(&self, turns: &[Turn]) {
        let figures = || turns.iter().flat_map(|t| &t.rows);
        let have = figures().filter(|r| r.stats.is_some()).count();
        let gone = clock(self.run.begun.elapsed());
        let word = if self.run.stopped() {
            "interrupted"
        } else {
            "done"
        };
        self.line(&format!(
            "{word} after {gone}: {have} of {} figures\n",
            figures().count()
        ));
    }
}

/// Minutes and seconds.
fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
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

#[cfg(test)]
mod tests {
    use super::super::row::Better;
    use super::super::row::tests::row;
    use super::*;

    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn run() -> Run {
        Run {
            effort: Effort {
                rounds: 3,
                least: 3,
                budget: Duration::from_secs(60),
                limit: Duration::from_secs(1),
                whole: Duration::from_secs(600),
            },
            begun: Instant::now(),
            stop: Arc::default(),
        }
    }

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
            runs: 0,
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
        run().take_turns(&mut turns, &mut |turns| {
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
        assert_eq!(
            kept,
            [1, 2, 2, 2, 2, 2],
            "told after every workload of a round"
        );
        for path in [good, bad, hung, mute] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn who_takes_turns_does_so_in_every_round() {
        let log = std::env::temp_dir().join(format!("gort-measure-log-{}", std::process::id()));
        let line = |name| format!("echo {name} >> {}; echo '{{\"value\":1}}'", log.display());
        let (a, b) = (script("a", &line("A")), script("b", &line("B")));
        let mut turns = vec![
            turn("yield", "gort", Some(a.clone())),
            turn("yield", "tokio", Some(b.clone())),
            turn("ring", "gort", Some(a.clone())),
        ];
        run().take_turns(&mut turns, &mut |_| ());
        let order = std::fs::read_to_string(&log).unwrap().replace('\n', "");
        assert_eq!(order, "ABAABAABA");
        for path in [a, b, log] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn when_the_time_is_up_each_figure_still_has_a_sample() {
        let good = script("late", r#"echo '{"value":4.5}'"#);
        let mut turns = vec![
            turn("yield", "gort", Some(good.clone())),
            turn("ring", "gort", Some(good.clone())),
        ];
        let mut late = run();
        late.effort.whole = Duration::ZERO;
        late.take_turns(&mut turns, &mut |_| ());
        let n = |t: &Turn| t.rows[0].stats.map(|s| s.n);
        assert_eq!(turns.iter().map(n).collect::<Vec<_>>(), [Some(1), Some(1)]);
        std::fs::remove_file(good).unwrap();
    }

    #[test]
    fn an_interrupt_ends_what_runs_and_takes_nothing_from_what_was_measured() {
        let good = script("before", r#"echo '{"value":4.5}'"#);
        let hung = script("cut", r#"sleep 20; echo '{"value":1}'"#);
        let mut turns = vec![
            turn("yield", "gort", Some(good.clone())),
            turn("ring", "gort", Some(hung.clone())),
        ];
        let mut run = run();
        run.effort.limit = Duration::from_secs(100);
        let stop = Arc::clone(&run.stop);
        run.take_turns(&mut turns, &mut |turns| {
            // After the first workload: the second is running when the flag is seen.
            if turns[1].runs == 0 {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(50));
                    stop.store(true, Ordering::Relaxed);
                });
            }
        });
        assert!(run.stopped());
        assert_eq!(turns[0].rows[0].median(), Some(4.5));
        assert!(turns[1].rows[0].stats.is_none() && !turns[1].rows[0].failed);
        for path in [good, hung] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_is_ahead_is_known_from_what_was() {
        let mut run = run();
        run.effort = WHOLE;
        let second = Duration::from_secs(1);
        // Three and a half seconds are spent after the fourth.
        assert_eq!(run.effort.ahead(1, second, second), 3 * second);
        let slow = 20 * second;
        assert_eq!(run.effort.ahead(1, slow, slow), 2 * slow, "three at least");
        let mut turns = vec![
            turn("yield", "gort", Some("a".into())),
            turn("yield", "tokio", Some("b".into())),
            turn("yield", "go", None),
        ];
        (turns[0].runs, turns[0].spent) = (1, second);
        assert_eq!(run.ahead(&turns), 3 * second + 4 * second);
        run.effort.whole = Duration::ZERO;
        assert_eq!(run.ahead(&turns), Duration::ZERO, "no more than there is");
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
