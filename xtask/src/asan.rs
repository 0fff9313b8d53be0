//! The tests under AddressSanitizer, on the stable compiler.
//!
//! In release, because a million goroutines are many, and in a target folder of its own: the sanitizer
//! rebuilds the world. `--cfg gort_asan` has the scheduler tell the sanitizer when it changes stacks,
//! and galloc take its arenas from where the sanitizer sees them.

use crate::run::{Result, cargo};

/// What is tested unless crates are named: all that does not open plugins.
const CRATES: &[&str] = &[
    "galloc",
    "gchan",
    "ghmap",
    "gitab",
    "gmp-sched",
    "gpool",
    "gtimer",
    "gort",
    "gort-tests",
];

/// Leaks are not looked for: records and stacks are kept for ever, and a goroutine's stack is no root for
/// the search. Faults stay what they are without the sanitizer, for the tests of fatal ends. Where memory
/// runs out on purpose, that is an error to the allocator's caller as elsewhere.
const OPTIONS: &[&str] = &[
    "detect_leaks=0",
    "handle_segv=0",
    "allocator_may_return_null=1",
    "detect_stack_use_after_return=1",
];

pub(crate) fn run(crates: &[String]) -> Result {
    let target = "x86_64-unknown-linux-gnu";
    let dir = "target/asan";
    let mut args = vec!["test", "--release", "--target", target, "--target-dir", dir];
    args.extend(["--lib", "--bins", "--tests"]);
    if crates.is_empty() {
        args.extend(CRATES.iter().flat_map(|c| ["-p", c]));
    } else {
        args.extend(crates.iter().flat_map(|c| ["-p", c.as_str()]));
    }
    // Only executables hold the sanitizer's runtime, and they do not show it to plugins they open.
    args.extend(["--", "--skip", "r133_a_plugin"]);
    cargo(
        &args,
        &[
            ("RUSTC_BOOTSTRAP", "1"),
            ("RUSTFLAGS", "-Zsanitizer=address --cfg gort_asan"),
            ("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only"),
            ("ASAN_OPTIONS", &OPTIONS.join(":")),
        ],
    )
}
