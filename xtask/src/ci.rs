//! The steps of CI, each of which a person can run alone.

use crate::run::{Result, cargo};
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

pub(crate) fn all() -> Result {
    fmt()?;
    clippy()?;
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
