//! Running commands and saying what ran.

use std::process::Command;
use std::time::Instant;

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Runs `cargo` with these arguments and environment; an error names the command that failed.
pub(crate) fn cargo(args: &[&str], env: &[(&str, &str)]) -> Result {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    command(Command::new(cargo).args(args), env)
}

/// Runs any command, printing its line before and its time after.
pub(crate) fn command(cmd: &mut Command, env: &[(&str, &str)]) -> Result {
    cmd.envs(env.iter().copied());
    let line = env
        .iter()
        .map(|(k, v)| format!("{k}={v:?}"))
        .chain(std::iter::once(
            cmd.get_program().to_string_lossy().into_owned(),
        ))
        .chain(cmd.get_args().map(|a| a.to_string_lossy().into_owned()))
        .collect::<Vec<_>>()
        .join(" ");
    eprintln!("+ {line}");
    let start = Instant::now();
    let status = cmd.status().map_err(|e| format!("{line}: {e}"))?;
    eprintln!("  {:.1} s", start.elapsed().as_secs_f64());
    if status.success() {
        Ok(())
    } else {
        Err(format!("{line}: {status}").into())
    }
}
