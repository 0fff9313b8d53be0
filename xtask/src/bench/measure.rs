//! Building the runners, and taking turns.

use super::{Options, Peers};

use serde_json::Value;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

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

fn build_runner(root: &Path, peers: Peers) -> Fallible<PathBuf> {
    let mut args = vec!["build", "--release", "-p", "gort-benches"];
    if peers != Peers::None {
        args.extend(["--features", "peers"]);
    }
    crate::run::cargo(&args, &[])?;
    Ok(target(root).join("release/bench-runner"))
}

/// Builds the Go program, or says on stderr why there is none.
fn build_go(root: &Path, peers: Peers) -> Fallible<Option<PathBuf>> {
    if peers != Peers::All {
        return Ok(None);
    }
    let go = std::env::var_os("GORT_GO").unwrap_or_else(|| "go".into());
    if output(Command::new(&go).arg("version")).is_none() {
        eprintln!(
            "no Go toolchain ({} does not run; set GORT_GO): Go's rows say \"not run\"",
            go.display()
        );
        return Ok(None);
    }
    let program = target(root).join("release/bench-go");
    let mut build = Command::new(&go);
    build.arg("build").arg("-o").arg(&program).arg("main.go");
    crate::run::command(
        build.current_dir(root.join("benches/go")),
        &[("GO111MODULE", "off")],
    )?;
    Ok(Some(program))
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

/// A row to be filled, and the program that fills it.
struct Turn {
    row: Row,
    program: Option<PathBuf>,
}

/// Measures everything asked for.
pub(super) fn all(root: &Path, o: &Options) -> Fallible<Vec<Row>> {
    let runner = build_runner(root, o.peers)?;
    let go = build_go(root, o.peers)?;
    let versions = versions(root)?;
    let catalogue = output(Command::new(&runner).arg("list")).ok_or("bench-runner list failed")?;
    let mut turns: Vec<Turn> = Vec::new();
    for line in catalogue.lines() {
        let entry: Value = serde_json::from_str(line)?;
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let flag = |key: &str| entry[key].as_bool().unwrap_or_default();
        let (group, workload, peer, external) = (
            text("group"),
            text("workload"),
            flag("peer"),
            flag("external"),
        );
        let wanted = (o.only.is_empty() || o.only.contains(&group))
            && o.workload
                .as_ref()
                .is_none_or(|w| workload.contains(w.as_str()))
            && (!peer || o.peers != Peers::None)
            && (!external || o.peers == Peers::All);
        if !wanted {
            continue;
        }
        let procs = match text("procs").as_str() {
            "each" => o.procs.clone(),
            "one" => vec![1],
            _ => vec![std::thread::available_parallelism().map_or(1, usize::from)],
        };
        for procs in procs {
            turns.push(Turn {
                program: if external {
                    go.clone()
                } else {
                    Some(runner.clone())
                },
                row: Row {
                    group: group.clone(),
                    workload: workload.clone(),
                    subject: text("subject"),
                    version: versions.get(&text("subject")).cloned().unwrap_or_default(),
                    peer,
                    procs,
                    unit: text("unit"),
                    better: text("better"),
                    samples: Vec::new(),
                },
            });
        }
    }
    if turns.is_empty() {
        return Err("nothing to measure: --only takes sched, map, chan, pool".into());
    }
    // Subjects of one figure stand together; ours comes first, as the catalogue has it.
    let mut ordered: Vec<Turn> = Vec::new();
    while !turns.is_empty() {
        let first = turns[0].row.clone();
        let (these, rest) = turns.into_iter().partition(|t| t.row.beside(&first));
        ordered.extend::<Vec<Turn>>(these);
        turns = rest;
    }
    take_turns(&mut ordered, if o.quick { 3 } else { 7 });
    Ok(ordered.into_iter().map(|t| t.row).collect())
}

fn take_turns(turns: &mut [Turn], rounds: usize) {
    let start = Instant::now();
    let figures = turns.len();
    let mut done = 0;
    for these in turns.chunk_by_mut(|a, b| a.row.beside(&b.row)) {
        let first = &these[0].row;
        let seconds = start.elapsed().as_secs();
        eprintln!(
            "[{done}/{figures}, {seconds} s] {} {} P{}",
            first.group, first.workload, first.procs
        );
        for _ in 0..rounds {
            these.iter_mut().for_each(sample);
        }
        for turn in these {
            turn.row.samples.sort_by(f64::total_cmp);
            done += 1;
        }
    }
    eprintln!("[{done}/{figures}, {} s] done", start.elapsed().as_secs());
}

/// One process, one sample. A subject that fails says so, loses what it had, and is not run again.
fn sample(turn: &mut Turn) {
    let Some(program) = &turn.program else { return };
    let row = &mut turn.row;
    let procs = row.procs.to_string();
    let args = [
        &row.group,
        &row.workload,
        &row.subject,
        "--procs",
        procs.as_str(),
        "--samples",
        "1",
    ];
    let Some(out) = output(Command::new(program).args(args)) else {
        eprintln!(
            "    {} FAILED: {} {}",
            row.subject,
            program.display(),
            args.join(" ")
        );
        row.samples.clear();
        turn.program = None;
        return;
    };
    for line in out.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        row.samples.extend(line["value"].as_f64());
        if let Some(version) = line["version"].as_str() {
            row.version = version.trim_start_matches("go").to_owned();
        }
    }
}
