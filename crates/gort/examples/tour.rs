//! The tour: six programs on real input, each checked against a plain sequential computation.
//!
//! `cargo run --release -p gort --example tour [-- PATH] [--procs N]`

use std::process::ExitCode;

#[path = "tour/dining.rs"]
mod dining;
#[path = "tour/report.rs"]
mod report;
#[path = "tour/shapes.rs"]
mod shapes;
#[path = "tour/words.rs"]
mod words;

use report::Report;
use std::io::Write;
use std::path::PathBuf;

const HELP: &str = "\
tour [PATH] [--procs N]

Runs six concurrent programs, checks every answer, prints a row for each.
  PATH        count the words of every file below it (default: this workspace)
  --procs N   goroutines that run at once, 1 to 1024 (default: the CPUs)
";

struct Args {
    path: PathBuf,
    procs: Option<usize>,
    deadlock: bool,
}

fn parse() -> Result<Option<Args>, lexopt::Error> {
    use lexopt::prelude::*;
    let (mut path, mut procs, mut deadlock) = (None, None, false);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(None),
            Long("procs") => procs = Some(parser.value()?.parse()?),
            // Not for people: the child process of the dining philosophers.
            Long("dine-in-the-wrong-order") => deadlock = true,
            Value(value) if path.is_none() => path = Some(value.into()),
            _ => return Err(arg.unexpected()),
        }
    }
    let workspace = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    Ok(Some(Args {
        path: path.unwrap_or_else(workspace),
        procs,
        deadlock,
    }))
}

fn main() -> ExitCode {
    let args = match parse() {
        Ok(Some(args)) => args,
        Ok(None) => {
            let printed = std::io::stdout().write_all(HELP.as_bytes());
            return ExitCode::from(u8::from(printed.is_err()));
        }
        Err(e) => {
            eprintln!("tour: {e}\n\n{HELP}");
            return ExitCode::FAILURE;
        }
    };
    match tour(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("tour: {e}");
            ExitCode::FAILURE
        }
    }
}

fn tour(args: &Args) -> Result<bool, String> {
    let mut builder = gort::Runtime::builder();
    if let Some(n) = args.procs {
        builder = builder.procs(n);
    }
    // SAFETY: the goroutines of this program use channels, atomics and files; none keeps a reference
    // into a thread-local or a `!Send` guard across a call that may park.
    let runtime = unsafe { builder.build_stackful() }.map_err(|e| e.to_string())?;
    if args.deadlock {
        runtime.run(dining::wrong_order);
        return Ok(true);
    }
    // Before the first line of the table: the path may be one that cannot be read.
    let words = words::sequential(&args.path)?;
    let mut report = Report::new(&runtime)?;
    words::count(&mut report, &args.path, words)?;
    shapes::sieve(&mut report)?;
    shapes::skynet(&mut report)?;
    shapes::ring(&mut report)?;
    shapes::futures(&mut report)?;
    dining::right_order(&mut report)?;
    dining::wrong_order_in_a_child(&mut report)?;
    Ok(report.finish())
}
