//! The plugins that the tests load.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};

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

/// That another call's failure was passed on.
pub(crate) fn assert_previous(error: OpenError, first: &OpenError) {
    match error {
        OpenError::Previous { failure, .. } => assert_eq!(*failure, *first),
        other => panic!("{other}"),
    }
}

/// How often a plugin had been initialised when it was open, or why it is not open.
pub(crate) type Opened = Result<u32, OpenError>;

/// `init_waits` while its initialisation waits to be told how to end, and eight more threads open it.
pub(crate) struct Waiting {
    first: JoinHandle<Opened>,
    others: Vec<JoinHandle<Opened>>,
    go_on: Sender<bool>,
}

impl Waiting {
    /// Once for each process: a plugin is opened once.
    pub(crate) fn begin() -> Self {
        type Talk = (Mutex<Sender<()>>, Mutex<Receiver<bool>>);
        let (begun, has_begun) = channel();
        let (go_on, told) = channel();
        let talk: Talk = (Mutex::new(begun), Mutex::new(told));
        let host = Arc::new(Host::new().provide(talk));
        let open = || {
            let host = host.clone();
            thread::spawn(move || {
                let plugin = open_with(&host, plugin("init_waits"))?;
                let inits = plugin.lookup::<&'static AtomicU32>("INITS").unwrap();
                Ok(inits.load(Relaxed))
            })
        };
        let first = open();
        has_begun.recv().unwrap();
        let others = (0..8).map(|_| open()).collect();
        Self {
            first,
            others,
            go_on,
        }
    }

    /// Lets the initialisation end by `end`. What the thread that runs it and the others were told.
    pub(crate) fn end(self, end: impl FnOnce(Sender<bool>)) -> (Opened, Vec<Opened>) {
        end(self.go_on);
        let others = self.others.into_iter().map(|t| t.join().unwrap());
        (self.first.join().unwrap(), others.collect())
    }
}
