//! The steps of CI, each of which a person can run alone.

use crate::run::{Result, cargo};

/// Crates that hold loom models: unit tests named `loom_*` under `#[cfg(all(test, loom))]`.
const LOOM: &[&str] = &["galloc"];

/// Crates that hold seeded fuzz loops: an integration test `fuzz`, which runs for
/// `GORT_FUZZ_SECONDS` from the seed `GORT_FUZZ_SEED`.
const FUZZ: &[&str] = &["galloc"];

pub(crate) fn all() -> Result {
    fmt()?;
    clippy()?;
    doc()?;
    test()?;
    loom()?;
    fuzz(10)
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
    )
}

pub(crate) fn doc() -> Result {
    cargo(
        &["doc", "--workspace", "--no-deps"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )
}

pub(crate) fn test() -> Result {
    cargo(&["test", "--workspace"], &[])
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
    for krate in FUZZ {
        cargo(
            &[
                "test",
                "--release",
                "-p",
                krate,
                "--test",
                "fuzz",
                "--",
                "--nocapture",
            ],
            &[("GORT_FUZZ_SECONDS", &seconds)],
        )?;
    }
    Ok(())
}
