//! Word count over every file below a path: walk, read, count in N workers, merge.

use crate::report::Report;
use gort::chan;
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

type Counts = HashMap<Vec<u8>, u64>;

const WORKERS: usize = 8;

/// What a count comes to.
#[derive(PartialEq)]
struct Total {
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

pub(crate) fn count(report: &mut Report<'_>, path: &Path) -> Result<(), String> {
    // The list is taken once: files that other programs write meanwhile would spoil the check.
    let mut files = Vec::new();
    walk(path, &mut files).map_err(|e| format!("{}: {e}", path.display()))?;
    if files.is_empty() {
        return Err(format!("{}: no files to read", path.display()));
    }
    let contents = sequential(&files)?;
    let for_pipeline = files.clone();
    report.row(
        &format!("words of {} files", files.len()),
        WORKERS + 3,
        move || pipeline(for_pipeline),
        || contents,
    );
    Ok(())
}

/// Paths in sorted order; `target` and `.git` are skipped, symbolic links are not followed.
fn walk(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        let name = entry.file_name();
        if kind.is_dir() && name != "target" && name != ".git" {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| !b.is_ascii_alphanumeric() && *b != b'_' && b.is_ascii())
        .filter(|w| !w.is_empty())
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

fn sequential(files: &[PathBuf]) -> Result<Total, String> {
    let mut counts = Counts::new();
    for f in files {
        let text = fs::read(f).map_err(|e| format!("{}: {e}", f.display()))?;
        tally(&text, &mut counts);
    }
    Ok(total(files.len(), &counts))
}

fn pipeline(files: Vec<PathBuf>) -> Total {
    let (to_read, paths) = chan::bounded::<PathBuf>(64);
    let (to_count, texts) = chan::bounded::<Vec<u8>>(64);
    let (to_merge, partial) = chan::bounded::<(usize, Counts)>(0);
    drop(gort::go(move || {
        files
            .into_iter()
            .for_each(|f| to_read.send(f).expect("a reader"))
    }));
    for _ in 0..2 {
        let (paths, to_count) = (paths.clone(), to_count.clone());
        drop(gort::go(move || {
            for path in paths {
                // Reading may block the thread: others go on meanwhile.
                let text = gort::blocking(|| fs::read(&path)).expect("it was readable before");
                to_count.send(text).expect("a counter");
            }
        }));
    }
    drop(to_count);
    for _ in 0..WORKERS {
        let (texts, to_merge) = (texts.clone(), to_merge.clone());
        drop(gort::go(move || {
            let (mut n, mut counts) = (0, Counts::new());
            for text in texts {
                n += 1;
                tally(&text, &mut counts);
            }
            to_merge.send((n, counts)).expect("the merger");
        }));
    }
    drop(to_merge);
    let (mut files, mut all) = (0, Counts::new());
    for (n, counts) in partial {
        files += n;
        for (word, n) in counts {
            *all.entry(word).or_default() += n;
        }
    }
    total(files, &all)
}
