//! Building the runners, and taking turns.

use super::{Options, Peers};

use serde_json::Value;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// One line of report.json.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) group: String,
    pub(super) workload: String,
    pub(super) subject: String,
    pub(super) version: String,
    pub(super) peer: bool,
    pub(super) procs: usize,
    pub(super) unit: String,
    pub(super) better: String,
    /// Sorted; empty: not run.
    pub(super) samples: Vec<f64>,
}

impl Row {
    /// `None`: not run.
    pub(super) fn median(&self) -> Option<f64> {
        self.samples.get(self.samples.len() / 2).copied()
    }

    /// Whether both are subjects of one and the same figure.
    pub(super) fn beside(&self, other: &Row) -> bool {
        (&self.group, &self.workload, self.procs) == (&other.group, &other.workload, other.procs)
    }
}

/// The workspace's folder.
pub(super) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask
        .parent()
        .expect("xtask is inside the workspace")
        .to_owned()
}

/// Cargo's, absolute: the Go program is built from another folder.
fn target(root: &Path) -> PathBuf {
    let set = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let folder = set.unwrap_or_else(|| root.join("target"));
    std::path::absolute(&folder).unwrap_or(folder)
}

/// What the figures were measured on, in one line.
pub(super) fn machine(root: &Path) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split(": ").nth(1))
        .unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let commit = output(
        Command::new("git")
            .args(["rev-parse", "--short", "HEAD"])
            .current_dir(root),
    );
    let rustc = output(Command::new("rustc").arg("--version"));
    format!(
        "{model}, {cores} cores, Linux {}, commit {}, {}",
        kernel.trim(),
        commit.unwrap_or_else(|| "unknown".into()),
        rustc.unwrap_or_default()
    )
}

fn output(command: &mut Command) -> Option<String> {
    let out = command.output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// Where the programs are, by the catalogue's names; a name that is not in it was not built.
type Programs = HashMap<String, PathBuf>;

/// Allocators in C or C++: the feature, and the subject.
const C_PEERS: [(&str, &str); 3] = [
    ("mimalloc", "mimalloc"),
    ("jemalloc", "tikv-jemallocator"),
    ("snmalloc", "snmalloc-rs"),
];

fn build(root: &Path, o: &Options) -> Fallible<Programs> {
    let folder = target(root).join("release");
    let mut programs = Programs::new();
    let mut built = |name: &str| {
        programs.insert(name.to_owned(), folder.join(name));
    };
    let mut args = vec!["build", "--release", "-p", "gort-benches", "--bins"];
    if o.peers != Peers::None {
        args.extend(["--features", "peers"]);
    }
    crate::run::cargo(&args, &[])?;
    for name in ["bench-runner", "bench-alloc-galloc", "bench-alloc-glibc"] {
        built(name);
    }
    if o.peers != Peers::None {
        built("bench-alloc-rusty_alloc");
    }
    if o.peers != Peers::None && o.wants("alloc") {
        for (feature, subject) in C_PEERS {
            let program = format!("bench-alloc-{subject}");
            let args = [
                "build",
                "--release",
                "-p",
                "gort-benches",
                "--bin",
                &program,
            ];
            match crate::run::cargo(&[&args[..], &["--features", feature]].concat(), &[]) {
                Ok(()) => built(&program),
                Err(e) => eprintln!("{subject} does not build here, its rows say \"not run\": {e}"),
            }
        }
    }
    if o.peers == Peers::All {
        let go = std::env::var_os("GORT_GO").unwrap_or_else(|| "go".into());
        if build_go(root, &go, "GORT_GO", &folder.join("bench-go"))? {
            built("bench-go");
        }
        match std::env::var_os("GORT_GO119") {
            Some(go) => {
                if build_go(root, &go, "GORT_GO119", &folder.join("bench-go1.19"))? {
                    built("bench-go1.19");
                }
            }
            None => eprintln!("GORT_GO119 is not set: Go 1.19's rows say \"not run\""),
        }
    }
    Ok(programs)
}

/// Builds the Go program, or says on stderr why there is none.
fn build_go(root: &Path, go: &OsStr, variable: &str, program: &Path) -> Fallible<bool> {
    if output(Command::new(go).arg("version")).is_none() {
        eprintln!(
            "no Go toolchain ({} does not run; set {variable}): its rows say \"not run\"",
            go.display()
        );
        return Ok(false);
    }
    let mut build = Command::new(go);
    build.arg("build").arg("-o").arg(program).arg(".");
    crate::run::command(
        build.current_dir(root.join("benches/go")),
        &[("GO111MODULE", "off")],
    )?;
    Ok(true)
}

/// Versions of the packages in Cargo.lock; of two of one name, the later.
fn versions(root: &Path) -> Fallible<HashMap<String, String>> {
    let lock = std::fs::read_to_string(root.join("Cargo.lock"))?;
    let mut found = HashMap::new();
    let mut name = "";
    for line in lock.lines() {
        if let Some(n) = line.strip_prefix("name = ") {
            name = n.trim_matches('"');
        } else if let Some(v) = line.strip_prefix("version = ") {
            found.insert(name.to_owned(), v.trim_matches('"').to_owned());
        }
    }
    if let Some(rustc) = output(Command::new("rustc").arg("--version")) {
        let number = rustc.split(' ').nth(1).unwrap_or_default();
        found.insert("std".into(), number.to_owned());
    }
    Ok(found)
}

/// One program's run of one workload, and the rows that it fills: several where a run gives several figures.
struct Turn {
    /// `None`: not run.
    program: Option<PathBuf>,
    /// The workload that is run.
    from: String,
    rows: Vec<Row>,
    /// What its runs have taken so far.
    spent: Duration,
}

impl Turn {
    /// Whether both run the same workload, and so take turns.
    fn beside(&self, other: &Turn) -> bool {
        let (a, b) = (&self.rows[0], &other.rows[0]);
        (&a.group, &self.from, a.procs) == (&b.group, &other.from, b.procs)
    }
}

/// How many runs each subject of a figure gets.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// At most so many.
    rounds: usize,
    /// At least so many, whatever they take.
    least: usize,
    /// No further one after this time.
    budget: Duration,
}

const QUICK: Effort = Effort {
    rounds: 3,
    least: 1,
    budget: Duration::from_millis(700),
};
const WHOLE: Effort = Effort {
    rounds: 7,
    least: 3,
    budget: Duration::from_millis(3500),
};
/// A run that takes longer is ended, and has failed.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures everything asked for.
pub(super) fn all(root: &Path, o: &Options) -> Fallible<Vec<Row>> {
    let programs = build(root, o)?;
    let versions = versions(root)?;
    let runner = &programs["bench-runner"];
    let catalogue = output(Command::new(runner).arg("list")).ok_or("bench-runner list failed")?;
    let machine = std::thread::available_parallelism().map_or(1, usize::from);
    let mut turns = plan(&catalogue, o, &programs, machine)?;
    if turns.is_empty() {
        return Err(format!(
            "nothing to measure: --only takes {}",
            super::GROUPS.join(", ")
        )
        .into());
    }
    for row in turns.iter_mut().flat_map(|t| &mut t.rows) {
        row.version = versions.get(&row.subject).cloned().unwrap_or_default();
    }
    take_turns(&mut turns, if o.quick { QUICK } else { WHOLE });
    let rows = turns.into_iter().flat_map(|t| t.rows).collect();
    Ok(arranged(rows, &catalogue))
}

/// Who runs what, from the catalogue's lines, in the order in which they take turns.
fn plan(catalogue: &str, o: &Options, programs: &Programs, machine: usize) -> Fallible<Vec<Turn>> {
    let mut turns: Vec<Turn> = Vec::new();
    for line in catalogue.lines() {
        let entry: Value = serde_json::from_str(line)?;
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let peer = entry["peer"].as_bool().unwrap_or_default();
        let (group, workload, program) = (text("group"), text("workload"), text("program"));
        let named = o.workload.as_ref();
        let wanted = o.wants(&group)
            && named.is_none_or(|w| workload.contains(w.as_str()))
            && (!peer || o.peers != Peers::None)
            && (!program.starts_with("bench-go") || o.peers == Peers::All);
        if !wanted {
            continue;
        }
        let procs = match text("procs").as_str() {
            "each" => o.procs.clone(),
            "one" => vec![1],
            _ => vec![machine],
        };
        for procs in procs {
            let row = Row {
                group: group.clone(),
                workload: workload.clone(),
                subject: text("subject"),
                version: String::new(),
                peer,
                procs,
                unit: text("unit"),
                better: text("better"),
                samples: Vec::new(),
            };
            let turn = Turn {
                program: programs.get(&program).cloned(),
                from: text("from"),
                rows: vec![row],
                spent: Duration::ZERO,
            };
            let subject = &turn.rows[0].subject;
            match turns
                .iter_mut()
                .find(|t| t.beside(&turn) && t.rows[0].subject == *subject)
            {
                Some(same) => same.rows.extend(turn.rows),
                None => turns.push(turn),
            }
        }
    }
    let mut ordered: Vec<Turn> = Vec::new();
    while !turns.is_empty() {
        let first = turns.remove(0);
        let (these, rest) = turns.into_iter().partition(|t| t.beside(&first));
        ordered.push(first);
        ordered.extend::<Vec<Turn>>(these);
        turns = rest;
    }
    Ok(ordered)
}

/// Rows as the catalogue has the workloads, each figure's subjects together, ours first.
fn arranged(mut rows: Vec<Row>, catalogue: &str) -> Vec<Row> {
    let mut order: HashMap<(String, String), usize> = HashMap::new();
    let mut groups: Vec<String> = Vec::new();
    for line in catalogue.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_default();
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let next = order.len();
        order
            .entry((text("group"), text("workload")))
            .or_insert(next);
        if !groups.contains(&text("group")) {
            groups.push(text("group"));
        }
    }
    // Stable: the subjects stay as they are.
    rows.sort_by_key(|r| {
        let group = groups.iter().position(|g| *g == r.group);
        let figure = order.get(&(r.group.clone(), r.workload.clone())).copied();
        (group, figure, r.procs)
    });
    rows
}

fn take_turns(turns: &mut [Turn], effort: Effort) {
    let start = Instant::now();
    let figures: usize = turns.iter().map(|t| t.rows.len()).sum();
    let mut done = 0;
    for these in turns.chunk_by_mut(Turn::beside) {
        let first = &these[0].rows[0];
        eprintln!(
            "[{done}/{figures}, {} s] {} {} P{}",
            start.elapsed().as_secs(),
            first.group,
            these[0].from,
            first.procs
        );
        for round in 0..effort.rounds {
            for turn in these.iter_mut() {
                if round < effort.least || turn.spent < effort.budget {
                    let begun = Instant::now();
                    sample(turn);
                    turn.spent += begun.elapsed();
                }
            }
        }
        for row in these.iter_mut().flat_map(|t| &mut t.rows) {
            row.samples.sort_by(f64::total_cmp);
            done += 1;
        }
    }
    eprintln!("[{done}/{figures}, {} s] done", start.elapsed().as_secs());
}

/// One process, one sample of each of its figures. A subject that fails says so, loses what it had, and is
/// not run again.
fn sample(turn: &mut Turn) {
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
    let out = within(Command::new(program).args(args), LIMIT);
    let filled = out.as_deref().is_some_and(|out| fill(&mut turn.rows, out));
    if !filled {
        let row = &turn.rows[0];
        eprintln!(
            "    {} FAILED: {} {} {} {} --procs {procs} --samples 1",
            row.subject,
            program.display(),
            row.group,
            turn.from,
            row.subject,
        );
        turn.rows.iter_mut().for_each(|r| r.samples.clear());
        turn.program = None;
    }
}

/// Puts a run's output into its rows; whether each got something.
fn fill(rows: &mut [Row], out: &str) -> bool {
    let before: Vec<usize> = rows.iter().map(|r| r.samples.len()).collect();
    for line in out.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        for row in rows.iter_mut() {
            if line["workload"].as_str().is_none_or(|w| w == row.workload) {
                row.samples.extend(line["value"].as_f64());
            }
            if let Some(version) = line["version"].as_str() {
                row.version = version.trim_start_matches("go").to_owned();
            }
        }
    }
    rows.iter().zip(before).all(|(r, n)| r.samples.len() > n)
}

/// What the command printed; `None` if it fails, or takes longer than `limit`.
fn within(command: &mut Command, limit: Duration) -> Option<String> {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().ok()?;
    while child.try_wait().ok()?.is_none() {
        if start.elapsed() > limit {
            child.kill().ok()?;
            child.wait().ok()?;
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let out = child.wait_with_output().ok()?;
    let text = || String::from_utf8_lossy(&out.stdout).trim().to_owned();
    out.status.success().then(text)
}
