//! Building the programs: the runner with whatever peers build here, the allocators, Go's.

use super::{Options, Peers};
use crate::run::{Result, cargo};

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Where the programs are, by the catalogue's names; a name that is not in it was not built.
pub(super) type Programs = HashMap<String, PathBuf>;

/// Allocators in C or C++: the feature, and the subject.
const C_PEERS: [(&str, &str); 3] = [
    ("mimalloc", "mimalloc"),
    ("jemalloc", "tikv-jemallocator"),
    ("snmalloc", "snmalloc-rs"),
];

/// Cargo's, absolute: the Go program is built from another folder.
fn target(root: &Path) -> PathBuf {
    let set = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let folder = set.unwrap_or_else(|| root.join("target"));
    std::path::absolute(&folder).unwrap_or(folder)
}

/// What a command printed, if it succeeded.
pub(super) fn output(command: &mut Command) -> Option<String> {
    let out = command.output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

pub(super) fn programs(root: &Path, o: &Options) -> Fallible<Programs> {
    let folder = target(root).join("release");
    let mut programs = Programs::new();
    let mut built = |name: &str| {
        programs.insert(name.to_owned(), folder.join(name));
    };
    let peers = match o.peers {
        Peers::None => Vec::new(),
        Peers::Rust | Peers::All => runner_with_peers(root)?,
    };
    if peers.is_empty() {
        release(&["--bins"], &[])?;
    }
    for name in ["bench-runner", "bench-alloc-galloc", "bench-alloc-glibc"] {
        built(name);
    }
    if peers.iter().any(|p| p == "rusty_alloc") {
        built("bench-alloc-rusty_alloc");
    }
    if o.peers != Peers::None && o.wants("alloc") {
        for (feature, subject) in C_PEERS {
            let program = format!("bench-alloc-{subject}");
            match release(&["--bin", &program], &[feature]) {
                Ok(()) => built(&program),
                Err(e) => eprintln!("{subject} does not build here, its rows say \"not run\": {e}"),
            }
        }
    }
    if o.peers == Peers::All {
        let go = std::env::var_os("GORT_GO").unwrap_or_else(|| "go".into());
        if build_go(root, &go, "GORT_GO", &folder.join("bench-go")) {
            built("bench-go");
        }
        match std::env::var_os("GORT_GO119") {
            Some(go) => {
                if build_go(root, &go, "GORT_GO119", &folder.join("bench-go1.19")) {
                    built("bench-go1.19");
                }
            }
            None => eprintln!("GORT_GO119 is not set: Go 1.19's rows say \"not run\""),
        }
    }
    set_aside(&mut programs, &aside(root))?;
    Ok(programs)
}

/// Copies the programs, so that who builds while they are measured does not change them.
fn set_aside(programs: &mut Programs, folder: &Path) -> Result {
    std::fs::create_dir_all(folder)?;
    for (name, path) in programs {
        let copy = folder.join(name);
        std::fs::copy(&path, &copy).map_err(|e| format!("{}: {e}", path.display()))?;
        *path = copy;
    }
    Ok(())
}

/// Where the copies are: of this process alone.
fn aside(root: &Path) -> PathBuf {
    target(root).join(format!("bench-programs-{}", std::process::id()))
}

/// Deletes the copies.
pub(super) fn clear(root: &Path) -> Result {
    Ok(std::fs::remove_dir_all(aside(root))?)
}

fn release(what: &[&str], features: &[&str]) -> Result {
    let mut args = vec!["build", "--release", "-p", "gort-benches"];
    args.extend(what);
    let features = features.join(",");
    if !features.is_empty() {
        args.extend(["--features", &features]);
    }
    cargo(&args, &[])
}

/// Builds the runner with every peer; or, if that fails, with those that build each alone. Returns which.
fn runner_with_peers(root: &Path) -> Fallible<Vec<String>> {
    let manifest = std::fs::read_to_string(root.join("benches/Cargo.toml"))?;
    let mut names = peer_features(&manifest);
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let Err(e) = release(&["--bins"], &all) else {
        return Ok(names);
    };
    eprintln!("not every peer builds here ({e}); trying each");
    names.retain(|name| {
        let builds = release(&["--bin", "bench-runner"], &[name]).is_ok();
        if !builds {
            eprintln!("{name} does not build here, its rows say \"not run\"");
        }
        builds
    });
    let some: Vec<&str> = names.iter().map(String::as_str).collect();
    if release(&["--bins"], &some).is_err() {
        eprintln!("the peers do not build together here: all their rows say \"not run\"");
        names.clear();
    }
    Ok(names)
}

/// What the feature `peers` consists of.
fn peer_features(manifest: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|l| !l.starts_with("peers = ["))
        .skip(1)
        .take_while(|l| !l.starts_with(']'))
        .filter_map(|l| Some(l.split('"').nth(1)?.to_owned()))
        .collect()
}

/// Builds the Go program, or says on stderr why there is none.
fn build_go(root: &Path, go: &OsStr, variable: &str, program: &Path) -> bool {
    if output(Command::new(go).arg("version")).is_none() {
        eprintln!(
            "no Go toolchain ({} does not run; set {variable}): its rows say \"not run\"",
            go.display()
        );
        return false;
    }
    let mut build = Command::new(go);
    build.arg("build").arg("-o").arg(program).arg(".");
    let built = crate::run::command(
        build.current_dir(root.join("benches/go")),
        &[("GO111MODULE", "off")],
    );
    if let Err(e) = &built {
        eprintln!("{e}: its rows say \"not run\"");
    }
    built.is_ok()
}

/// Versions of the packages in Cargo.lock; of two of one name, the later.
pub(super) fn versions(root: &Path) -> Fallible<HashMap<String, String>> {
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

/// What the figures were measured on, in one line.
pub(super) fn machine(root: &Path) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split(": ").nth(1))
        .unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--exclude=*"])
        .current_dir(root);
    let rustc = output(Command::new("rustc").arg("--version"));
    format!(
        "{model}, {cores} cores, Linux {}, commit {}, {}",
        kernel.trim(),
        output(&mut git).unwrap_or_else(|| "unknown".into()),
        rustc.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_are_read_from_the_manifest() {
        let manifest = "[features]\npeers = [\n    \"flume\",\n    \"tokio\",\n]\nmimalloc = []\n";
        assert_eq!(peer_features(manifest), ["flume", "tokio"]);
        let root = super::super::root();
        let real = std::fs::read_to_string(root.join("benches/Cargo.toml")).unwrap();
        assert!(peer_features(&real).iter().any(|p| p == "tokio"));
    }
}
