//! `cargo xtask bench-all`: every subsystem beside its peers, and a report.
//!
//! The workloads are in `benches/` (`bench-runner` and `benches/go/main.go`). Each subject runs in a process
//! of its own, and a workload's subjects take turns (A B A B), so that a machine that slows down slows all.

mod compare;
mod html;
mod measure;
mod report;

use crate::run::Result;

use lexopt::prelude::*;

use std::path::PathBuf;

const HELP: &str = "\
cargo xtask bench-all [OPTIONS]

  --only GROUP[,GROUP]   sched, map, chan, pool, alloc, timer, itab (default: all)
  --workload NAME        only workloads whose name contains NAME
  --quick                1 to 3 samples a figure instead of 3 to 7: minutes instead of most of an hour
  --procs 1,2            processors for the workloads that take a number (default 1,2)
  --peers none|rust|all  which peers: none, the Rust crates, or Go as well (default all)
  --out DIR              where report.{json,md,html} go (default target/bench-all)
  --record               also a CSV under benches/record/<arch>/
  --splice               also the summary into README.md, between its bench-all markers
  --compare A B          measure nothing: what changed from A/report.json to B/report.json beyond noise

It fails if a workload fails on one of our crates; a peer that fails is said to be \"not run\".
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
}

impl Options {
    fn wants(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|g| g == group)
    }
}

pub(crate) fn run(mut args: lexopt::Parser) -> Result {
    let root = measure::root();
    let mut o = Options {
        only: Vec::new(),
        workload: None,
        quick: false,
        procs: vec![1, 2],
        peers: Peers::All,
        out: root.join("target/bench-all"),
        record: false,
        splice: false,
    };
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
            Long("compare") => {
                let (a, b) = (args.value()?, args.value()?);
                return compare::run(a.as_ref(), b.as_ref());
            }
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(());
            }
            other => return Err(format!("{}\n\n{HELP}", other.unexpected()).into()),
        }
    }
    let rows = measure::all(&root, &o)?;
    let machine = measure::machine(&root);
    report::tables(&rows);
    std::fs::create_dir_all(&o.out)?;
    report::json(&rows, &o.out.join("report.json"))?;
    let markdown = report::markdown(&rows);
    std::fs::write(
        o.out.join("report.md"),
        format!("# bench-all\n\n{machine}\n\n{markdown}"),
    )?;
    std::fs::write(o.out.join("report.html"), html::page(&rows, &machine))?;
    eprintln!("wrote {}", o.out.join("report.{json,md,html}").display());
    if o.record {
        report::record(&rows, &root, &machine)?;
    }
    if o.splice {
        report::splice(&root.join("README.md"), &markdown)?;
    }
    let failed = rows.iter().filter(|r| !r.peer && r.samples.is_empty());
    match failed.map(|r| r.workload.as_str()).collect::<Vec<_>>() {
        none if none.is_empty() => Ok(()),
        failed => Err(format!("ours failed: {}", failed.join(", ")).into()),
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}
