//! The plugins that the tests load.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use gplugin::{Host, OpenError, Plugin};

/// The folder that holds the plugins, built once per run of this program.
fn plugins() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let exe = std::env::current_exe().expect("this program has a path");
        // <target>/<profile>/deps/<this>
        let profile = exe.ancestors().nth(2).expect("cargo put it there");
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "-p", "gplugin", "--examples"])
            .arg("--target-dir")
            .arg(profile.parent().expect("cargo put it there"))
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("cargo runs").success());
        profile.join("examples")
    })
}

/// The path of an example.
pub(crate) fn plugin(name: &str) -> PathBuf {
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    plugins().join(format!("{prefix}{name}{suffix}"))
}

/// Opens an example.
pub(crate) fn open_with(host: &Host, path: impl AsRef<Path>) -> Result<&'static Plugin, OpenError> {
    // SAFETY: every path in these tests leads to an example of this package, or to no library.
    unsafe { host.open(path) }
}
