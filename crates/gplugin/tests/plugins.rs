//! Plugins built by `cargo build --examples` and loaded into this process.

mod common;
#[path = "common/waits.rs"]
mod waits;

use std::any::Any;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use common::{open_with, plugin};
use gplugin::{Host, InitFailure, LookupError, OpenError, Plugin};
use waits::{Waiting, assert_previous};

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&path).expect("the target folder can be written");
    path
}

fn open(path: impl AsRef<Path>) -> Result<&'static Plugin, OpenError> {
    open_with(&Host::new(), path)
}

/// R133: symbols are found by name and type, and are the plugin's own.
#[test]
fn r133_symbols_are_typed() {
    let sample = open(plugin("sample_plugin")).unwrap();
    assert_eq!((sample.name(), sample.version()), ("sample", "1.0.0"));

    let calls = sample.lookup::<&'static AtomicU32>("CALLS").unwrap();
    let before = calls.load(Relaxed);
    let greet = sample.lookup::<fn(&str) -> String>("greet").unwrap();
    assert_eq!(greet("you"), "hello, you");
    assert_eq!(calls.load(Relaxed), before + 1);
    let longer = sample.lookup::<for<'a> fn(&'a str, &'a str) -> &'a str>("longer");
    assert_eq!(longer.unwrap()("ab", "abc"), "abc");
    assert_eq!(sample.lookup::<u32>("answer"), Ok(&42));

    // Whatever its type, as Go's Lookup.
    let answer: &dyn Any = sample.symbol("answer").unwrap().value();
    assert_eq!(answer.downcast_ref(), Some(&42_u32));
    assert_eq!(answer.downcast_ref::<u64>(), None);

    let names: Vec<_> = sample.symbols().iter().map(|s| s.name()).collect();
    assert_eq!(
        names,
        ["greet", "longer", "INITS", "CALLS", "answer", "fails"]
    );
}

/// R133: a missing symbol, and a symbol of another type, are told apart and named.
#[test]
fn r133_wrong_lookups_say_what_there_is() {
    let sample = open(plugin("sample_plugin")).unwrap();
    let missing = sample.lookup::<u32>("question").unwrap_err();
    assert_eq!(sample.symbol("question").unwrap_err(), missing);
    assert_eq!(
        missing.to_string(),
        "plugin: symbol question not found in plugin sample"
    );
    let wrong = sample.lookup::<u64>("answer").unwrap_err();
    assert_eq!(
        wrong,
        LookupError::Type {
            plugin: "sample",
            symbol: "answer".into(),
            wanted: "u64",
            found: "u32",
        }
    );
    assert_eq!(
        wrong.to_string(),
        "plugin: symbol answer of plugin sample has another type: wanted u64, found u32"
    );
    // Lifetimes are part of a type: this one promises less.
    let wrong = sample.lookup::<fn(&'static str) -> String>("greet");
    assert!(matches!(wrong, Err(LookupError::Type { .. })));
}

/// R133: one plugin per real path, whatever leads there.
#[test]
fn r133_a_path_is_opened_once() {
    let path = plugin("sample_plugin");
    let first = open(&path).unwrap();
    let dir = folder("links");
    let link = dir.join("link.so");
    let _ = fs::remove_file(&link);
    symlink(&path, &link).unwrap();
    let crooked = path
        .parent()
        .unwrap()
        .join("..")
        .join("examples")
        .join(path.file_name().unwrap());
    for other in [path.as_path(), &link, &crooked] {
        assert!(std::ptr::eq(open(other).unwrap(), first));
    }
    let inits = first.lookup::<&'static AtomicU32>("INITS").unwrap();
    assert_eq!(inits.load(Relaxed), 1);
    fs::remove_dir_all(dir).unwrap();
}

/// R133: another file with a plugin of the same name is refused, be it a copy or a hard link (which the
/// dynamic loader takes for the same library).
#[test]
fn r133_a_name_is_loaded_once() {
    let path = plugin("sample_plugin");
    let first = open(&path).unwrap();
    let dir = folder("copies");
    let (copy, hard) = (dir.join("copy.so"), dir.join("hard.so"));
    fs::copy(&path, &copy).unwrap();
    let _ = fs::remove_file(&hard);
    fs::hard_link(&path, &hard).unwrap();
    for other in [&copy, &hard] {
        match open(other) {
            Err(OpenError::AlreadyLoaded { name, loaded, .. }) => {
                assert_eq!((&*name, &*loaded), ("sample", first.path()));
            }
            other => panic!("{other:?}"),
        }
    }
    let inits = first.lookup::<&'static AtomicU32>("INITS").unwrap();
    assert_eq!(inits.load(Relaxed), 1, "no second initialisation");
    fs::remove_dir_all(dir).unwrap();
}

/// R133: what fails before anything was loaded is not remembered.
#[test]
fn r133_missing_files_and_non_libraries() {
    let dir = folder("files");
    let path = dir.join("plugin.so");
    for _ in 0..2 {
        assert!(matches!(open(&path), Err(OpenError::Path { .. })));
    }
    fs::write(&path, "not a library").unwrap();
    for _ in 0..2 {
        match open(&path) {
            Err(OpenError::Load { message, .. }) => assert!(!message.is_empty()),
            other => panic!("{other:?}"),
        }
    }
    fs::remove_dir_all(dir).unwrap();
}

/// The failure of the first call, which the second one reports as previous.
fn fails(host: &Host, path: &Path) -> OpenError {
    let first = open_with(host, path).unwrap_err();
    let second = open_with(host, path).unwrap_err();
    assert_eq!(second.to_string(), format!("{first} (previous failure)"));
    assert_previous(second, &first);
    first
}

/// R133: each kind of failure after loading, and that it is remembered.
#[test]
fn r133_failures_are_remembered() {
    let error = fails(&Host::new(), &plugin("not_a_plugin"));
    assert!(matches!(error, OpenError::NotAPlugin { .. }));

    match fails(&Host::new(), &plugin("init_panics")) {
        OpenError::Init { failure, .. } => {
            assert_eq!(failure, InitFailure::Panic("no luck today".into()));
        }
        other => panic!("{other:?}"),
    }

    let host = Host::new().provide(AtomicU32::new(0));
    match fails(&host, &plugin("init_fails")) {
        OpenError::Init { failure, .. } => {
            assert_eq!(failure, InitFailure::Error(std::fmt::Error.to_string()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(host.get::<AtomicU32>().unwrap().load(Relaxed), 1);
}

#[test]
fn r133_another_compiler_is_refused() {
    match fails(&Host::new(), &plugin("other_build")) {
        OpenError::Build {
            what,
            wanted,
            found,
            ..
        } => {
            assert_eq!(what, "compiler");
            assert_eq!(wanted, gplugin::Build::current().compiler());
            assert_eq!(found, "rustc 1.0.0 (a59de37e9 2015-05-13)");
        }
        other => panic!("{other:?}"),
    }
}

/// R133: what one compiler built is compared further: the declaration's size, and the very build of gplugin.
#[test]
fn r133_another_build_of_gplugin_is_refused() {
    let said = |name| {
        let error = fails(&Host::new(), &plugin(name)).to_string();
        let (_, said) = error.split_once(".so: ").expect("the path comes first");
        said.to_string()
    };
    let size = size_of::<gplugin::__private::Declaration>();
    assert_eq!(
        said("other_size"),
        format!("built with a different declaration: wanted {size} bytes, found 8 bytes")
    );
    assert_eq!(
        said("other_source"),
        "built with a different build of crate gplugin: wanted this program's, found one of other \
         features, profile or source (build both in one workspace)"
    );
}

#[test]
fn r133_another_version_of_a_shared_crate_is_refused() {
    let host = Host::new().crate_version("shapes", "1.2.0");
    let error = fails(&host, &plugin("other_crate"));
    assert!(
        error
            .to_string()
            .ends_with("built with a different version of crate shapes: wanted 1.2.0, found 1.3.0"),
        "{error}"
    );
    assert!(open_with(&host, plugin("sample_plugin")).is_ok());
}

#[test]
fn r133_another_allocator_is_refused() {
    match fails(&Host::new(), &plugin("other_allocator")) {
        OpenError::Allocator { wanted, found, .. } => {
            assert_eq!(wanted, "std::alloc::System");
            assert!(found.starts_with("other_allocator::Mine at 0x"), "{found}");
        }
        other => panic!("{other:?}"),
    }
}

/// R133: a plugin that holds memory of the system's when it is to change to its host's is refused.
#[test]
fn r133_memory_from_before_the_hosts_allocator_is_refused() {
    match fails(&Host::new(), &plugin("early_blocks")) {
        OpenError::Allocator { wanted, found, .. } => {
            assert_eq!(wanted, "the host's from the start");
            assert_eq!(found, "1 blocks allocated before the plugin was opened");
        }
        other => panic!("{other:?}"),
    }
}

/// A plugin that allocates from its host lives with any: its strings are freed here.
#[test]
fn the_hosts_allocator_serves_a_plugin() {
    let plugin = open(plugin("host_allocator")).unwrap();
    let concat = plugin.lookup::<fn(&[&str]) -> String>("concat").unwrap();
    for n in 0..1000 {
        let mut s = concat(&["a", "b"]);
        s.push_str(&"c".repeat(n));
        assert_eq!(s.len(), n + 2);
    }
}

/// R133: who opens a plugin that is being initialised waits until that has ended, well or badly, and
/// nobody is left hanging.
#[test]
fn r133_concurrent_opens_wait_for_initialisation() {
    let waiting = Waiting::begin();
    // Another plugin is not held up.
    assert!(open(plugin("sample_plugin")).is_ok());
    let (first, others) = waiting.end(|go_on| go_on.send(true).unwrap());
    assert!(first.is_ok());
    for other in others {
        assert_eq!(other, Ok(1), "initialised once, and before they went on");
    }
}

/// R133: a plugin whose initialisation opens itself gets an error, where Go waits for ever.
#[test]
fn r133_opening_oneself_is_an_error() {
    let path = plugin("init_opens");
    let host = Host::new().provide(path.clone());
    match open_with(&host, &path) {
        Err(OpenError::Init { failure, .. }) => match failure {
            InitFailure::Error(e) => assert!(e.ends_with("waits for itself"), "{e}"),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}
