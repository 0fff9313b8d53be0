//! `cargo xtask`: the workspace's chores, the same for a person and for CI.

mod asan;
mod bench;
mod ci;
mod crossbeam_suite;
mod hashbrown_suite;
mod preload;
mod run;

use lexopt::prelude::*;

const HELP: &str = "\
cargo xtask COMMAND

  bench-all        every subsystem beside its peers: a table, report.{json,md,html}; `bench-all --help`
  ci               everything CI runs: fmt, clippy, narrow, docs, tests, suites, preload, loom, fuzz, stress, tour, asan
  fmt              cargo fmt --check
  clippy           clippy over the workspace, warnings denied
  narrow           a check for a 32-bit target of the crates that build there
  doc              rustdoc over the workspace, warnings denied
  test             the README's test command, and what optional features add
  loom             the loom models of every crate
  crossbeam-suite  crossbeam-channel's own tests, against gchan
  hashbrown-suite  the suites that hashbrown and griddle publish, against ghmap
  preload          python3, sort, git and sqlite3 under LD_PRELOAD with galloc
  stress           a million goroutines of random lives, in release
  tour             the main job, in release
  asan [CRATE..]   the tests under AddressSanitizer, a million goroutines among them
  fuzz [SECONDS]   the seeded fuzz loops, SECONDS each (default 10)
";

fn main() -> std::process::ExitCode {
    match dispatch() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = lexopt::Parser::from_env();
    let command = match args.next()? {
        Some(Value(command)) => command.string()?,
        None | Some(Short('h') | Long("help")) => {
            print!("{HELP}");
            return Ok(());
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "bench-all" => return bench::run(args),
        "asan" => return asan::run(&crates(args)?),
        _ => {}
    }
    let seconds = match args.next()? {
        Some(Value(seconds)) if command == "fuzz" => seconds.parse()?,
        None => 10,
        Some(other) => return Err(other.unexpected().into()),
    };
    if let Some(extra) = args.next()? {
        return Err(extra.unexpected().into());
    }
    match command.as_str() {
        "ci" => ci::all(),
        "fmt" => ci::fmt(),
        "clippy" => ci::clippy(),
        "narrow" => ci::narrow(),
        "doc" => ci::doc(),
        "test" => ci::test(),
        "loom" => ci::loom(),
        "crossbeam-suite" => crossbeam_suite::run(),
        "preload" => preload::preload(),
        "hashbrown-suite" => hashbrown_suite::run(),
        "stress" => ci::stress(),
        "tour" => ci::tour(),
        "fuzz" => ci::fuzz(seconds),
        other => Err(format!("no command {other:?}; allowed are those below\n\n{HELP}").into()),
    }
}

/// What is left of the command line: names of crates.
fn crates(mut args: lexopt::Parser) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let mut crates = Vec::new();
    while let Some(arg) = args.next()? {
        match arg {
            Value(name) => crates.push(name.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(crates)
}
