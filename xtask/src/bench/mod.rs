//! `cargo xtask bench-all`: every subsystem beside its peers, and a report.
//!
//! The workloads are in `benches/` (`bench-runner` and `benches/go/main.go`). Each subject runs in a process
//! of its own, and a workload's subjects take turns (A B A B), so that a machine that slows down slows all.

mod build;
mod compare;
mod curves;
mod files;
mod html;
mod measure;
mod plan;
mod row;
mod splice;
mod tables;

use crate::run::Result;

use lexopt::prelude::*;

use std::path::{Path, PathBuf};

const HELP: &str = "\
cargo xtask bench-all [OPTIONS]

  --only GROUP[,GROUP]   sched, map, chan, pool, alloc, timer, itab (default: all)
  --workload NAME        only workloads whose name contains NAME
  --quick                1 to 3 samples a figure instead of 3 to 7: minutes instead of most of an hour
  --procs 1,2            processors for the workloads that take a number (default 1,2)
  --peers none|rust|all  which peers: none, the Rust crates, or Go as well (default all)
  --out DIR              where report.{json,md,html} go (default target/bench-all)
  --record               also a CSV under benches/record/<arch>/
  --splice               also the tables into README.md and the crates', between their bench-all markers
  --from DIR             measure nothing: the reports of an earlier run's DIR; of several, the later wins
  --compare A B          measure nothing: what changed from A/report.json to B/report.json beyond noise

A figure that fails is said to have failed, and the rest goes on; if it is one of ours, the command fails in
the end. After 35 minutes (--quick: 7) no further round is begun. Ctrl-C ends it with a report of what it has.
Go is `go` on PATH, or GORT_GO; Go 1.19, whose map has buckets as ours, is GORT_GO119. mimalloc, jemalloc
and snmalloc need `cc`, `make` and `c++`. Rows of what is missing say \"not run\".
";

/// The subsystems, as `--only` names them.
const GROUPS: [&str; 7] = ["sched", "map", "chan", "pool", "alloc", "timer", "itab"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Peers {
    None,
    Rust,
    All,
}

#[derive(Debug)]
struct Options {
    only: Vec<String>,
    workload: Option<String>,
    quick: bool,
    procs: Vec<usize>,
    peers: Peers,
    out: PathBuf,
    record: bool,
    splice: bool,
    from: Vec<PathBuf>,
}

impl Options {
    fn new(root: &Path) -> Self {
        Self {
            only: Vec::new(),
            workload: None,
            quick: false,
            procs: vec![1, 2],
            peers: Peers::All,
            out: root.join("target/bench-all"),
            record: false,
            splice: false,
            from: Vec::new(),
        }
    }

    fn wants(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|g| g == group)
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask
        .parent()
        .expect("xtask is inside the workspace")
        .to_owned()
}

pub(crate) fn run(args: lexopt::Parser) -> Result {
    let root = root();
    match parse(args, &root)? {
        Asked::Help => {
            print!("{HELP}");
            Ok(())
        }
        Asked::Compare(a, b) => compare::run(&a, &b),
        Asked::Measure(o) => report(&root, &o),
    }
}

#[derive(Debug)]
enum Asked {
    Help,
    Compare(PathBuf, PathBuf),
    Measure(Options),
}

fn parse(
    mut args: lexopt::Parser,
    root: &Path,
) -> std::result::Result<Asked, Box<dyn std::error::Error>> {
    let mut o = Options::new(root);
    while let Some(arg) = args.next()? {
        match arg {
            Long("only") => {
                o.only = list(&args.value()?.string()?);
                if let Some(other) = o.only.iter().find(|g| !GROUPS.contains(&g.as_str())) {
                    return Err(format!("--only {other:?}: {}", GROUPS.join(", ")).into());
                }
            }
            Long("workload") => o.workload = Some(args.value()?.string()?),
            Long("quick") => o.quick = true,
            Long("procs") => {
                o.procs = list(&args.value()?.string()?)
                    .iter()
                    .map(|p| match p.parse::<usize>() {
                        Ok(n) if n > 0 => Ok(n),
                        _ => Err(format!(
                            "--procs {p:?}: whole numbers from 1, as in --procs 1,2"
                        )),
                    })
                    .collect::<std::result::Result<_, _>>()?;
            }
            Long("peers") => {
                o.peers = match args.value()?.string()?.as_str() {
                    "none" => Peers::None,
                    "rust" => Peers::Rust,
                    "all" => Peers::All,
                    other => return Err(format!("--peers {other:?}: none, rust or all").into()),
                }
            }
            Long("out") => o.out = args.value()?.into(),
            Long("record") => o.record = true,
            Long("splice") => o.splice = true,
            Long("from") => o.from.push(args.value()?.into()),
            Long("compare") => {
                return Ok(Asked::Compare(args.value()?.into(), args.value()?.into()));
            }
            Long("help") | Short('h') => return Ok(Asked::Help),
            other => return Err(format!("{}\n\n{HELP}", other.unexpected()).into()),
        }
    }
    // A part of a group's rows would take the place of all of them.
    if o.splice && o.workload.is_some() {
        return Err("--splice puts whole groups: not with --workload".into());
    }
    Ok(Asked::Measure(o))
}

/// Measures, or reads what was; then writes all that was asked for.
fn report(root: &Path, o: &Options) -> Result {
    // Now, rather than after half an hour.
    std::fs::create_dir_all(&o.out).map_err(|e| format!("--out {}: {e}", o.out.display()))?;
    let (measured, machine) = if o.from.is_empty() {
        let machine = build::machine(root);
        let mut keep = |rows: &[row::Row]| {
            if let Err(e) = files::write(rows, &machine, &o.out) {
                eprintln!("\n    {}: {e}", o.out.display());
            }
        };
        (measure::all(root, o, &mut keep)?, machine)
    } else {
        files::read(&o.from)?
    };
    let mut rows = measured.rows;
    rows.retain(|r| o.wants(&r.group));
    files::write(&rows, &machine, &o.out)?;
    let markdown = tables::report(&rows, &machine);
    std::fs::write(o.out.join("report.md"), markdown)?;
    std::fs::write(o.out.join("report.html"), html::page(&rows, &machine))?;
    tables::terminal(&rows);
    eprintln!("wrote {}", o.out.join("report.{json,md,html}").display());
    if measured.interrupted {
        return Err(
            "interrupted: the report has what was measured until then; nothing recorded or spliced"
                .into(),
        );
    }
    if o.record {
        files::record(&rows, root, &machine)?;
    }
    if o.splice {
        splice::all(&rows, root, &machine)?;
    }
    match tables::failed(&rows) {
        failed if failed.is_empty() => Ok(()),
        failed => Err(format!("ours failed: {}", failed.join("; ")).into()),
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(args: &[&str]) -> std::result::Result<Asked, String> {
        let parser = lexopt::Parser::from_args(args.iter().copied());
        parse(parser, &root()).map_err(|e| e.to_string())
    }

    #[test]
    fn wrong_arguments_are_refused_with_what_is_allowed() {
        for (args, says) in [
            (&["--only", "maps"][..], "sched, map, chan"),
            (&["--procs", "0"], "whole numbers from 1"),
            (&["--peers", "some"], "none, rust or all"),
            (&["--fast"], "--quick"),
            (&["--splice", "--workload", "hit"], "whole groups"),
        ] {
            let e = asked(args).unwrap_err();
            assert!(e.contains(says), "{args:?}: {e}");
        }
    }

    #[test]
    fn arguments_are_taken() {
        let Ok(Asked::Measure(o)) =
            asked(&["--only", "map,pool", "--procs", "1,4", "--peers", "rust"])
        else {
            panic!("measures");
        };
        assert!(o.wants("map") && o.wants("pool") && !o.wants("chan"));
        assert_eq!((o.procs, o.peers), (vec![1, 4], Peers::Rust));
        assert!(matches!(
            asked(&["--compare", "a", "b"]),
            Ok(Asked::Compare(..))
        ));
    }
}
