//! Unmodified programs under `LD_PRELOAD` with galloc's C face: the output must be the same, byte
//! for byte. A program that is not installed is named and skipped.

use crate::run::{Result, cargo};
use std::process::Command;

/// Program, and what a shell runs with it.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "python3",
        "python3 -c \"import json; d = {str(i): [i] * 9 for i in range(30000)}; \
         s = json.dumps(d); print(s, json.loads(s) == d)\"",
    ),
    ("sort", "seq 100000 | rev | sort --parallel=2 | sort -n"),
    ("git", "git log --stat -n 50"),
    (
        "sqlite3",
        "sqlite3 :memory: 'create table t(a, b text); with recursive c(x) as (select 1 union all \
         select x + 1 from c where x < 50000) insert into t select x * 7919 % 50021, hex(x) from c; \
         create index i on t(b); select * from t order by b;'",
    ),
];

/// Builds the library and compares each program's output with and without it.
pub(crate) fn preload() -> Result {
    cargo(&["build", "--release", "-p", "galloc-preload"], &[])?;
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    let library =
        std::path::absolute(format!("{target}/release/libgalloc_preload.so"))?.canonicalize()?;
    for (program, line) in PROGRAMS {
        if shell(&format!("command -v {program}"), None).is_err() {
            println!("preload: {program} is not installed, skipped");
            continue;
        }
        let loaded = format!("grep -c galloc_preload /proc/self/maps > /dev/null && {line}");
        let (plain, galloc) = (shell(line, None)?, shell(&loaded, Some(&library))?);
        if plain != galloc {
            return Err(format!("preload: {program} differs under galloc").into());
        }
        println!("preload: {program}: {} bytes, the same", plain.len());
    }
    Ok(())
}

/// What a shell line prints; an error unless it succeeds without a word on standard error.
fn shell(
    line: &str,
    library: Option<&std::path::Path>,
) -> std::result::Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    if let Some(library) = library {
        command.env("LD_PRELOAD", library);
    }
    let out = command.output()?;
    if out.status.success() && out.stderr.is_empty() {
        return Ok(out.stdout);
    }
    Err(format!(
        "{line}: {} {}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    )
    .into())
}
