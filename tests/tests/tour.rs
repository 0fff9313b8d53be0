//! The main job as a person starts it who makes mistakes. That its answers are right it checks itself, in CI.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn tour() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tour"))
}

/// An empty folder of this name.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// What it says on stderr, having failed before it printed anything.
fn refuses(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    assert_eq!(String::from_utf8(stdout).unwrap(), "", "{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[test]
fn a_path_that_does_not_exist_is_named() {
    let path = folder("tour-none").join("nowhere");
    let said = refuses(tour().arg(&path));
    assert!(
        said.starts_with(&format!("tour: {}: No such file", path.display())),
        "{said}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    // It opens, and its first byte is nobody's.
    let said = refuses(tour().arg("/proc/self/mem"));
    assert!(said.starts_with("tour: /proc/self/mem: "), "{said}");
}

/// The path that cannot be read, not the one that was given.
#[test]
fn a_folder_that_cannot_be_read_is_named() {
    let root = folder("tour-deep");
    // Two trees, one hung below the other: together they are deeper than a path may be long.
    let tree = |name: &str| (0..12).fold(root.join(name), |path, _| path.join("d".repeat(200)));
    let (upper, lower) = (tree("upper"), tree("lower"));
    fs::create_dir_all(&upper).unwrap();
    fs::create_dir_all(&lower).unwrap();
    fs::rename(root.join("lower"), upper.join("lower")).unwrap();
    let said = refuses(tour().arg(&root));
    let inside = format!("tour: {}/", upper.join("lower").display());
    assert!(
        said.starts_with(&inside) && said.contains("too long"),
        "{said}"
    );
    fs::remove_dir_all(root).unwrap();
}

/// A pipe, say, can be read only once, and never ends while somebody writes.
#[test]
fn what_is_neither_a_file_nor_a_folder_is_not_read() {
    let said = refuses(tour().arg("/dev/zero"));
    assert_eq!(said, "tour: /dev/zero: neither a file nor a folder\n");
}

#[test]
fn a_folder_without_files_is_named() {
    let root = folder("tour-empty");
    std::os::unix::fs::symlink(".", root.join("itself")).unwrap();
    fs::create_dir(root.join("target")).unwrap();
    fs::write(root.join("target/skipped"), "words").unwrap();
    let said = refuses(tour().arg(&root));
    assert_eq!(
        said,
        format!("tour: {}: no files to read\n", root.display())
    );
}

#[test]
fn arguments_it_does_not_know_are_refused() {
    let here = env!("CARGO_MANIFEST_DIR");
    for (args, says) in [
        (&["--bogus"][..], "invalid option '--bogus'"),
        (&[here, "another"], "unexpected argument \"another\""),
        (&["--procs"], "missing argument for option '--procs'"),
        (&["--procs", "x"], "cannot parse argument \"x\""),
        (
            &[here, "--procs", "0"],
            "0 Ps were asked for; allowed are 1 to 1024",
        ),
        (
            &[here, "--procs", "10000"],
            "10000 Ps were asked for; allowed are 1 to 1024",
        ),
    ] {
        let said = refuses(tour().args(args));
        assert!(said.starts_with(&format!("tour: {says}")), "{said}");
    }
}

/// A quarter of a GiB, read by what keeps a few MiB; words lie across the ends of blocks, one is longer than a block.
#[test]
fn a_file_of_any_size_is_counted_in_blocks() {
    let root = folder("tour-large");
    let text: String = (0..100_000).map(|i| format!("word{i} ")).collect();
    let path = root.join("large");
    fs::write(&path, text + &"x".repeat(1_000_000)).unwrap();
    let file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.set_len(256 << 20).unwrap();
    let mut child = tour().arg(&root).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let row = lines.map(Result::unwrap).nth(2).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(row.contains("100001 words, 100001 distinct"), "{row}");
    assert!(row.contains(" yes "), "{row}");
    let peak: f64 = row.rsplit(' ').next().unwrap().parse().unwrap();
    // The sanitizer keeps what is freed.
    assert!(peak < 128.0 || cfg!(gort_asan), "{row}");
    fs::remove_dir_all(root).unwrap();
}

/// As in `tour | head -1`: an error, no panic.
#[test]
fn a_reader_that_is_gone_ends_it() {
    let mut child = tour()
        .arg(env!("CARGO_MANIFEST_DIR"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert_eq!(
        said,
        "tour: cannot print the table: Broken pipe (os error 32)\n"
    );
}
