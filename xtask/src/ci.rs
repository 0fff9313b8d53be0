//! The steps of CI, each of which a person can run alone.

use std::process::Command;

use crate::run::{Result, cargo, command};
use crate::{asan, crossbeam_suite, hashbrown_suite, preload};

/// Crates that hold loom models: unit tests named `loom_*` under `#[cfg(all(test, loom))]`.
const LOOM: &[&str] = &["gmp-sched", "galloc", "gchan", "gitab", "gpool", "gtimer"];

/// Crates and their seeded fuzz loops: integration tests that run for `GORT_FUZZ_SECONDS` from the seed
/// `GORT_FUZZ_SEED`.
const FUZZ: &[(&str, &str)] = &[
    ("galloc", "fuzz"),
    ("gchan", "fuzz"),
    ("ghmap", "fuzz"),
    ("gitab", "fuzz"),
    ("gmp-sched", "fuzz"),
    ("gmp-sched", "random_lives"),
    ("gpool", "fuzz"),
    ("gtimer", "fuzz"),
];

/// What else must build: every crate's optional features, and each without its defaults.
const FEATURES: &[(&str, &[&str])] = &[
    ("galloc", &["--all-features"]),
    ("galloc-preload", &["--all-features"]),
    ("ghmap", &["--all-features"]),
    ("ghmap", &["--no-default-features"]),
    ("gitab", &["--all-features"]),
    ("gitab", &["--no-default-features"]),
    ("gtimer", &["--no-default-features"]),
    ("gort", &["--no-default-features"]),
    ("gort", &["--no-default-features", "--features", "chan"]),
    ("gort", &["--no-default-features", "--features", "timer"]),
    ("gort", &["--no-default-features", "--features", "map"]),
    ("gort", &["--no-default-features", "--features", "pool"]),
    ("gort", &["--no-default-features", "--features", "itab"]),
    ("gort", &["--no-default-features", "--features", "alloc"]),
    ("gort", &["--no-default-features", "--features", "plugin"]),
];

/// Crates that build where pointers have 32 bits. The others say at build that they do not.
const NARROW: &[&str] = &["gchan", "ghmap", "gitab", "gplugin", "gpool", "gtimer"];

/// What stands for such a machine.
const NARROW_TARGET: &str = "i686-unknown-linux-gnu";

pub(crate) fn all() -> Result {
    fmt()?;
    clippy()?;
    narrow()?;
    doc()?;
    test()?;
    suites()?;
    preload::preload()?;
    loom()?;
    fuzz(5)?;
    stress()?;
    tour()?;
    asan::run(&[])
}

pub(crate) fn fmt() -> Result {
    cargo(&["fmt", "--all", "--check"], &[])
}

pub(crate) fn clippy() -> Result {
    cargo(
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
        &[],
    )?;
    for (krate, features) in FEATURES {
        let mut args = vec!["clippy", "-p", krate];
        args.extend_from_slice(features);
        // With its tests, which must compile without the features that they are about.
        args.extend_from_slice(&["--all-targets", "--", "-D", "warnings"]);
        cargo(&args, &[])?;
    }
    Ok(())
}

/// That these crates compile for a 32-bit machine: checked, not linked, so that nothing but the target's `core` and
/// `std` has to be there. rustup brings those; where it cannot (no network, no rustup) the step says so and is left out.
pub(crate) fn narrow() -> Result {
    let add = command(
        Command::new("rustup").args(["target", "add", NARROW_TARGET]),
        &[],
    );
    if let Err(e) = add {
        eprintln!("  SKIPPED: {NARROW_TARGET} is not checked: {e}");
        return Ok(());
    }
    let mut args = vec!["check", "--target", NARROW_TARGET];
    args.extend(NARROW.iter().flat_map(|krate| ["-p", krate]));
    cargo(&args, &[])
}

pub(crate) fn doc() -> Result {
    cargo(
        &["doc", "--workspace", "--no-deps"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )
}

pub(crate) fn test() -> Result {
    cargo(&["test", "--workspace"], &[])?;
    cargo(
        &[
            "test",
            "-p",
            "galloc",
            "-p",
            "ghmap",
            "-p",
            "gitab",
            "--all-features",
        ],
        &[],
    )
}

/// The suites that the crates whose drop-in replacements are here publish in their packages.
pub(crate) fn suites() -> Result {
    crossbeam_suite::run()?;
    hashbrown_suite::run()
}

/// Loom models run in release and in a target folder of their own: `--cfg loom` rebuilds the world.
pub(crate) fn loom() -> Result {
    for krate in LOOM {
        cargo(
            &[
                "test",
                "--release",
                "-p",
                krate,
                "--lib",
                "--target-dir",
                "target/loom",
                "loom_",
            ],
            &[("RUSTFLAGS", "--cfg loom"), ("LOOM_MAX_PREEMPTIONS", "3")],
        )?;
    }
    Ok(())
}

pub(crate) fn fuzz(seconds: u64) -> Result {
    let seconds = seconds.to_string();
    for (krate, test) in FUZZ {
        cargo(
            &[
                "test",
                "--release",
                "-p",
                krate,
                "--test",
                test,
                "--",
                "--nocapture",
            ],
            &[("GORT_FUZZ_SECONDS", &seconds)],
        )?;
    }
    Ok(())
}

/// The main job, which checks its own answers.
pub(crate) fn tour() -> Result {
    cargo(
        &["run", "--release", "-p", "gort", "--example", "tour"],
        &[],
    )
}

/// What debug builds do less of.
pub(crate) fn stress() -> Result {
    cargo(
        &["test", "--release", "-p", "gort-tests", "--test", "million"],
        &[],
    )
}
