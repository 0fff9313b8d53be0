//! Runs the tests that crossbeam-channel publishes inside its package against gchan, without copying them into this
//! repository: cargo fetches the package, its `tests` folder is linked into a package under `target`, and there
//! `crossbeam-channel` is another name for gchan.

use crate::run::{Result, cargo};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release whose suite is run.
const VERSION: &str = "0.5.17";

/// How many tests it holds; fewer would mean that something was left out.
const TESTS: usize = 391;

/// A test of the file `golang` that reads a counter of all bytes its process holds. What the tests beside it allocate
/// and free falls into its figure (crossbeam-channel itself fails it in one run of twenty on a busy machine), so it
/// runs in a process of its own.
const ALONE: &str = "select2::main";

pub(crate) fn run() -> Result {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or("xtask has no parent folder")?;
    let at = root.join("target/crossbeam-suite");
    let suite = published_tests(&at.join("fetch"))?;
    let found = count_tests(&suite)?;
    if found != TESTS {
        return Err(format!("{} holds {found} tests instead of {TESTS}", suite.display()).into());
    }
    let tests = at.join("tests");
    if tests.symlink_metadata().is_ok() {
        fs::remove_file(&tests)?;
    }
    std::os::unix::fs::symlink(&suite, &tests)?;
    let gchan = root.join("crates/gchan");
    write_package(
        &at,
        "crossbeam-suite",
        &format!(
            "[dev-dependencies]\n\
             crossbeam-channel = {{ package = \"gchan\", path = {gchan:?} }}\n\
             crossbeam-utils = \"0.8\"\nnum_cpus = \"1.13\"\nrand = \"0.8\"\nsignal-hook = \"0.3\"\n\
             [profile.dev]\nopt-level = 1\ndebug = \"line-tables-only\"\n"
        ),
    )?;
    let manifest = at.join("Cargo.toml");
    let manifest = manifest.to_string_lossy();
    let test = |which: &[&str]| {
        let arguments = [&["test", "--manifest-path", &manifest], which].concat();
        cargo(&arguments, &[])
    };
    test(&["--tests", "--", "--skip", ALONE])?;
    test(&["--test", "golang", "--", "--exact", ALONE])
}

/// The `tests` folder of the package in cargo's registry folder, wherever that is on this machine.
fn published_tests(at: &Path) -> std::result::Result<PathBuf, Box<dyn std::error::Error>> {
    let dependency = format!("[dependencies]\ncrossbeam-channel = \"={VERSION}\"\n");
    write_package(at, "crossbeam-fetch", &dependency)?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(at.join("Cargo.toml"))
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("no packages")?;
    let manifest = packages
        .iter()
        .find(|package| package["name"] == "crossbeam-channel")
        .and_then(|package| package["manifest_path"].as_str())
        .ok_or("crossbeam-channel is not among the packages")?;
    Ok(Path::new(manifest).with_file_name("tests"))
}

fn count_tests(suite: &Path) -> std::result::Result<usize, Box<dyn std::error::Error>> {
    let mut count = 0;
    for entry in fs::read_dir(suite)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(path)?;
            count += text.lines().filter(|line| line.trim() == "#[test]").count();
        }
    }
    Ok(count)
}

/// A package with nothing in it but its dependencies, and a workspace of its own.
fn write_package(at: &Path, name: &str, dependencies: &str) -> Result {
    fs::create_dir_all(at.join("src"))?;
    fs::write(at.join("src/lib.rs"), "")?;
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2021\"\npublish = false\n\
         [workspace]\n{dependencies}"
    );
    Ok(fs::write(at.join("Cargo.toml"), manifest)?)
}
