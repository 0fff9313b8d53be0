//! Writes down who compiles: a library built by another compiler is refused when it is opened.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let output = Command::new(rustc)
        .arg("-vV")
        .output()
        .expect("the compiler that runs this build script runs");
    let text = String::from_utf8(output.stdout).expect("versions are ASCII");
    let line = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)).unwrap_or("");
    let version = text.lines().next().unwrap_or("");
    println!(
        "cargo::rustc-env=GPLUGIN_COMPILER={version}, commit {}",
        line("commit-hash: ")
    );
    let target = env::var("TARGET").expect("cargo sets TARGET");
    println!("cargo::rustc-env=GPLUGIN_TARGET={target}");
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    println!("cargo::rustc-env=GPLUGIN_TARGET_FEATURES={features}");
}
