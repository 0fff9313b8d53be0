//! `--splice`: the tables between the markers of README.md and of the crates' READMEs.

use super::row::{Row, groups};
use super::tables;
use crate::run::Result;

use std::path::Path;

const MARKS: (&str, &str) = ("<!-- bench-all -->", "<!-- /bench-all -->");

/// Where each group's table stands.
pub(super) const READMES: [(&str, &str); 7] = [
    ("sched", "crates/gmp-sched/README.md"),
    ("map", "crates/ghmap/README.md"),
    ("chan", "crates/gchan/README.md"),
    ("pool", "crates/gpool/README.md"),
    ("alloc", "crates/galloc/README.md"),
    ("timer", "crates/gtimer/README.md"),
    ("itab", "crates/gitab/README.md"),
];

/// Where the summary of all groups stands.
pub(super) const SUMMARIES: [&str; 2] = ["README.md", "crates/gort/README.md"];

/// Splices every group that was measured; the summaries only if all were, lest they lose a group.
pub(super) fn all(rows: &[Row], root: &Path, machine: &str) -> Result {
    let mut spliced = 0;
    for group in groups(rows) {
        let place = READMES.iter().find(|(name, _)| *name == group[0].group);
        let Some((_, path)) = place else { continue };
        let text = format!(
            "{}\n\n{}\n{}\n",
            on(machine, group),
            tables::markdown(group),
            tables::CAUTION
        );
        file(&root.join(path), &text)?;
        spliced += 1;
    }
    if spliced < READMES.len() {
        eprintln!("not every group was measured: the summaries stay as they are");
        return Ok(());
    }
    for path in SUMMARIES {
        let text = format!("{}\n\n{}", on(machine, rows), tables::summary(rows));
        file(&root.join(path), &text)?;
    }
    Ok(())
}

fn on(machine: &str, rows: &[Row]) -> String {
    let n = || rows.iter().filter_map(|r| r.stats).map(|s| s.n);
    let (least, most) = (n().min().unwrap_or(0), n().max().unwrap_or(0));
    let n = match least == most {
        true => least.to_string(),
        false => format!("{least} to {most}"),
    };
    format!("`cargo xtask bench-all` on {machine}; medians of {n} samples:")
}

fn file(path: &Path, text: &str) -> Result {
    let old = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let new = between(&old, text).map_err(|e| format!("{}: {e}", path.display()))?;
    std::fs::write(path, new)?;
    eprintln!("spliced {}", path.display());
    Ok(())
}

/// `old` with `text` between its markers, and nothing else changed.
fn between(old: &str, text: &str) -> std::result::Result<String, String> {
    let (open, close) = MARKS;
    if [open, close].iter().any(|m| old.matches(m).count() != 1) {
        return Err(format!(
            "no single pair of lines {open} and {close} to splice between"
        ));
    }
    let (head, rest) = old.split_once(open).expect("counted");
    let Some((_, tail)) = rest.split_once(close) else {
        return Err(format!("{close} stands before {open}"));
    };
    // Blank lines, lest a reader of Markdown takes the marker for a row.
    Ok(format!("{head}{open}\n\n{}\n\n{close}{tail}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::super::root;
    use super::super::row::tests::twice_as_good;
    use super::*;

    #[test]
    fn every_readme_has_its_markers() {
        let crates = READMES.iter().map(|(_, path)| *path);
        for path in crates.chain(SUMMARIES) {
            let text = std::fs::read_to_string(root().join(path)).unwrap();
            assert!(between(&text, "x").is_ok(), "{path}");
        }
    }

    #[test]
    fn splicing_twice_is_splicing_once_and_the_rest_stays() {
        let old = "before\n\n<!-- bench-all -->\n<!-- /bench-all -->\n\nafter\n";
        let table = tables::markdown(&twice_as_good());
        let once = between(old, &table).unwrap();
        assert!(once.starts_with("before\n\n<!-- bench-all -->\n\n| | gort"));
        assert!(once.ends_with("|\n\n<!-- /bench-all -->\n\nafter\n"));
        assert_eq!(between(&once, &table).unwrap(), once);
        let other = between(&once, "other").unwrap();
        assert_eq!(between(&other, &table).unwrap(), once);
    }

    #[test]
    fn missing_doubled_or_swapped_markers_are_refused() {
        for bad in [
            "",
            "<!-- bench-all -->",
            "<!-- /bench-all --><!-- bench-all -->",
            "<!-- bench-all --><!-- bench-all --><!-- /bench-all -->",
        ] {
            assert!(between(bad, "x").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_partial_run_leaves_the_summaries_and_the_other_crates() {
        let folder = std::env::temp_dir().join(format!("gort-splice-{}", std::process::id()));
        let empty = "<!-- bench-all -->\n<!-- /bench-all -->\n";
        for (_, path) in READMES {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, empty).unwrap();
        }
        // No README.md: writing a summary would fail.
        all(&twice_as_good(), &folder, "a machine").unwrap();
        let read = |i: usize| std::fs::read_to_string(folder.join(READMES[i].1)).unwrap();
        assert!(
            read(0).contains("| yield P2, ns |")
                && read(0).contains("on a machine; medians of 3 samples:")
        );
        assert_eq!(read(1), empty);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
