//! Word count over every file below a path: walk, read, count in N workers, merge.

use crate::report::Report;
use gort::chan;
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

type Counts = HashMap<Vec<u8>, u64>;

/// How much of a file is read at once.
const BLOCK: usize = 1 << 16;

/// What a count comes to.
#[derive(PartialEq)]
pub(crate) struct Total {
    files: usize,
    words: u64,
    distinct: usize,
    digest: u64,
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} words, {} distinct", self.words, self.distinct)
    }
}

pub(crate) fn count(report: &mut Report<'_>, path: &Path, expected: Total) -> Result<(), String> {
    let workers = report.procs();
    let (answer, run) = report.run(|| pipeline(path.to_owned(), workers));
    let answer = answer?;
    let ok = answer == expected;
    if !ok && sequential(path)? != expected {
        return Err(format!(
            "{}: files changed while they were counted",
            path.display()
        ));
    }
    let what = format!("words, {} files", answer.files);
    report.print(&what, &answer.to_string(), ok, &run)
}

/// Finds every file below a path, which may be a file or a link; `target`, `.git` and links below it are skipped. Goes on
/// as long as `found` says so.
fn walk(root: &Path, mut found: impl FnMut(PathBuf) -> Result<bool, String>) -> Result<(), String> {
    let kind = fs::metadata(root).map_err(about(root))?.file_type();
    if kind.is_file() {
        return found(root.to_owned()).map(drop);
    }
    if !kind.is_dir() {
        return Err(format!("{}: neither a file nor a folder", root.display()));
    }
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        let entries = gort::blocking(|| fs::read_dir(&dir)?.collect::<io::Result<Vec<_>>>());
        for entry in entries.map_err(about(&dir))? {
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type().map_err(about(&path))?;
            if kind.is_dir() && name != "target" && name != ".git" {
                dirs.push(path);
            } else if kind.is_file() && !found(path)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads a file in blocks of about `size` bytes, so that files larger than the memory can be counted; no block ends within
/// a word. Goes on as long as `found` says so. Reading may block the thread: other goroutines go on meanwhile.
fn blocks(file: &Path, size: usize, mut found: impl FnMut(Vec<u8>) -> bool) -> Result<(), String> {
    let mut source = gort::blocking(|| File::open(file)).map_err(about(file))?;
    let mut text = Vec::new();
    loop {
        // What the last block ended with: the start of a word.
        let begun = text.len();
        let block = source.by_ref().take(size as u64);
        let read = gort::blocking(|| { block }.read_to_end(&mut text)).map_err(about(file))?;
        let whole = if read == 0 {
            begun
        } else {
            let ended = text[begun..].iter().rposition(|b| !in_word(b));
            ended.map_or(0, |at| begun + at)
        };
        let rest = text.split_off(whole);
        if !text.is_empty() && !found(text) || read == 0 {
            return Ok(());
        }
        text = rest;
    }
}

fn about(path: &Path) -> impl Fn(io::Error) -> String {
    move |e| format!("{}: {e}", path.display())
}

fn in_word(b: &u8) -> bool {
    b.is_ascii_alphanumeric() || *b == b'_' || !b.is_ascii()
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| !in_word(b)).filter(|w| !w.is_empty())
}

fn tally(text: &[u8], counts: &mut Counts) {
    for word in words(text) {
        match counts.get_mut(word) {
            Some(n) => *n += 1,
            None => {
                counts.insert(word.to_vec(), 1);
            }
        }
    }
}

fn total(files: usize, counts: &Counts) -> Total {
    // A digest of the whole table that does not depend on its order.
    let digest = counts
        .iter()
        .map(|(w, n)| {
            w.iter().fold(*n, |h, b| {
                (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
            })
        })
        .fold(0_u64, u64::wrapping_add);
    Total {
        files,
        words: counts.values().sum(),
        distinct: counts.len(),
        digest,
    }
}

/// One file after the other, cut in other places.
pub(crate) fn sequential(path: &Path) -> Result<Total, String> {
    let (mut files, mut counts) = (0, Counts::new());
    walk(path, |file| {
        blocks(&file, BLOCK / 3, |text| {
            tally(&text, &mut counts);
            true
        })?;
        files += 1;
        Ok(true)
    })?;
    if files == 0 {
        return Err(format!("{}: no files to read", path.display()));
    }
    Ok(total(files, &counts))
}

/// One goroutine walks, two read, `workers` count, the caller merges. Who cannot go on ends, and so do those before and
/// behind it.
fn pipeline(path: PathBuf, workers: usize) -> Result<Total, String> {
    let (to_read, paths) = chan::bounded::<PathBuf>(64);
    let (to_count, texts) = chan::bounded::<Vec<u8>>(64);
    let (to_merge, partial) = chan::bounded::<Counts>(0);
    let walker = gort::go(move || walk(&path, |file| Ok(to_read.send(file).is_ok())));
    let mut readers = Vec::new();
    for _ in 0..2 {
        let (paths, to_count) = (paths.clone(), to_count.clone());
        readers.push(gort::go(move || {
            let mut files = 0;
            for path in paths {
                blocks(&path, BLOCK, |text| to_count.send(text).is_ok())?;
                files += 1;
            }
            Ok::<_, String>(files)
        }));
    }
    drop((paths, to_count));
    for _ in 0..workers {
        let (texts, to_merge) = (texts.clone(), to_merge.clone());
        gort::go(move || {
            let mut counts = Counts::new();
            for text in texts {
                tally(&text, &mut counts);
            }
            to_merge.send(counts).expect("the merger");
        });
    }
    drop((texts, to_merge));
    let mut all = Counts::new();
    for (word, n) in partial.into_iter().flatten() {
        *all.entry(word).or_default() += n;
    }
    walker.join().expect("no panics")?;
    let mut files = 0;
    for reader in readers {
        files += reader.join().expect("no panics")?;
    }
    Ok(total(files, &all))
}
