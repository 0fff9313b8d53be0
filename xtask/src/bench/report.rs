//! report.json, report.md, the tables on the terminal, the CSV that is kept.

use super::measure::Row;
use crate::run::Result;

use comfy_table::{Attribute, Cell, CellAlignment, Table, presets};
use serde_json::{Value, json};

use std::fmt::Write as _;
use std::path::Path;

const CAUTION: &str = "The geometric mean of the ratios (peer's median / ours; above 1: ours is faster) weighs \
every workload alike, which no program does; losses count as wins do.";

pub(super) fn json(rows: &[Row], path: &Path) -> Result {
    let list: Vec<Value> = rows
        .iter()
        .map(|r| {
            json!({
                "group": r.group, "workload": r.workload, "subject": r.subject, "version": r.version,
                "peer": r.peer, "procs": r.procs, "unit": r.unit, "better": r.better,
                "n": r.samples.len(), "min": r.samples.first(), "median": r.median(), "max": r.samples.last(),
            })
        })
        .collect();
    std::fs::write(path, serde_json::to_string_pretty(&list)? + "\n")?;
    Ok(())
}

/// Three significant digits, and thousands apart.
pub(super) fn figure(x: f64) -> String {
    if x < 10.0 {
        return format!("{x:.2}");
    }
    if x < 100.0 {
        return format!("{x:.1}");
    }
    let digits = format!("{x:.0}");
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// The subjects of a group, ours first.
pub(super) fn subjects(rows: &[Row]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.subject.as_str()) {
            names.push(&row.subject);
        }
    }
    names
}

/// Rows by group, each group's rows by figure.
pub(super) fn groups(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| a.group == b.group)
}

pub(super) fn figures(group: &[Row]) -> impl Iterator<Item = &[Row]> {
    group.chunk_by(Row::beside)
}

pub(super) fn ours(these: &[Row]) -> Option<f64> {
    these.iter().find(|r| !r.peer)?.median()
}

fn best(these: &[Row]) -> f64 {
    these
        .iter()
        .filter_map(Row::median)
        .fold(f64::INFINITY, f64::min)
}

/// The geometric mean of `subject`'s ratios to ours, and over how many figures.
pub(super) fn mean(group: &[Row], subject: &str) -> Option<(f64, usize)> {
    let ratios: Vec<f64> = figures(group)
        .filter_map(|these| {
            let theirs = these.iter().find(|r| r.subject == subject)?.median()?;
            Some((theirs / ours(these)?).ln())
        })
        .filter(|x| x.is_finite())
        .collect();
    (!ratios.is_empty()).then(|| {
        (
            (ratios.iter().sum::<f64>() / ratios.len() as f64).exp(),
            ratios.len(),
        )
    })
}

/// What a cell says: the median, its spread, the ratio to ours.
fn cell(row: Option<&Row>, ours: Option<f64>) -> String {
    let Some(row) = row else { return "-".into() };
    let Some(median) = row.median() else {
        return "not run".into();
    };
    let (low, high) = (row.samples[0], row.samples[row.samples.len() - 1]);
    let spread = format!("{} [{}..{}]", figure(median), figure(low), figure(high));
    match ours {
        Some(ours) if row.peer && ours > 0.0 => format!("{spread} {:.2}x", median / ours),
        _ => spread,
    }
}

fn heading(these: &[Row]) -> String {
    format!(
        "{} P{}, {}",
        these[0].workload, these[0].procs, these[0].unit
    )
}

fn titled(group: &[Row], subject: &str) -> String {
    let version = group
        .iter()
        .find(|r| r.subject == subject)
        .map_or("", |r| &r.version);
    format!("{subject} {version}").trim().to_owned()
}

/// Prints a table for every group: the best in bold.
pub(super) fn tables(rows: &[Row]) {
    for group in groups(rows) {
        let names = subjects(group);
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let titles = names.iter().map(|s| titled(group, s));
        table.set_header(std::iter::once(group[0].group.clone()).chain(titles));
        for these in figures(group) {
            let mut line = vec![Cell::new(heading(these))];
            for name in &names {
                let row = these.iter().find(|r| r.subject == *name);
                let mut text =
                    Cell::new(cell(row, ours(these))).set_alignment(CellAlignment::Right);
                if row.and_then(Row::median).is_some_and(|m| m <= best(these)) {
                    text = text.add_attribute(Attribute::Bold);
                }
                line.push(text);
            }
            table.add_row(line);
        }
        let means = names.iter().map(|s| mean_text(group, s));
        table.add_row(std::iter::once("geometric mean to ours".to_owned()).chain(means));
        println!("{table}\n");
    }
    println!("median [min..max], ratio to ours; lower is better. {CAUTION}");
}

fn mean_text(group: &[Row], subject: &str) -> String {
    mean(group, subject).map_or_else(|| "-".into(), |(m, n)| format!("{m:.2}x of {n}"))
}

/// The tables as Markdown.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut out = String::new();
    for group in groups(rows) {
        let names = subjects(group);
        let _ = writeln!(out, "## {}\n", group[0].group);
        let titles: Vec<String> = names.iter().map(|s| titled(group, s)).collect();
        let _ = writeln!(
            out,
            "| | {} |\n|---|{}",
            titles.join(" | "),
            "---:|".repeat(names.len())
        );
        for these in figures(group) {
            let _ = write!(out, "| {} |", heading(these));
            for name in &names {
                let row = these.iter().find(|r| r.subject == *name);
                let text = cell(row, ours(these));
                let bold = row.and_then(Row::median).is_some_and(|m| m <= best(these));
                let mark = if bold { "**" } else { "" };
                let _ = write!(out, " {mark}{text}{mark} |");
            }
            out.push('\n');
        }
        let means: Vec<String> = names.iter().map(|s| mean_text(group, s)).collect();
        let _ = writeln!(out, "| geometric mean to ours | {} |\n", means.join(" | "));
    }
    let _ = writeln!(
        out,
        "Median [min..max], ratio to ours; lower is better. {CAUTION}"
    );
    out
}

/// Keeps the figures as `benches/record/<arch>/<date>.csv`.
pub(super) fn record(rows: &[Row], root: &Path, machine: &str) -> Result {
    let date = std::process::Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H%M%SZ"])
        .output()?;
    let folder = root.join("benches/record").join(std::env::consts::ARCH);
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}.csv", String::from_utf8(date.stdout)?.trim()));
    let mut out = format!(
        "# {machine}\ngroup,workload,subject,version,peer,procs,unit,better,n,min,median,max\n"
    );
    for r in rows {
        let number = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
        let _ = writeln!(
            out,
            "{},{},{},{},{},{},{},{},{},{},{},{}",
            r.group,
            r.workload,
            r.subject,
            r.version,
            r.peer,
            r.procs,
            r.unit,
            r.better,
            r.samples.len(),
            number(r.samples.first().copied()),
            number(r.median()),
            number(r.samples.last().copied()),
        );
    }
    std::fs::write(&path, out)?;
    eprintln!("recorded {}", path.display());
    Ok(())
}

/// Puts `text` between the bench-all markers of the file.
pub(super) fn splice(path: &Path, text: &str) -> Result {
    const MARKS: (&str, &str) = ("<!-- bench-all -->", "<!-- /bench-all -->");
    let old = std::fs::read_to_string(path)?;
    let (Some(from), Some(to)) = (old.find(MARKS.0), old.find(MARKS.1)) else {
        return Err(format!(
            "{}: no lines {} and {} to splice between",
            path.display(),
            MARKS.0,
            MARKS.1
        )
        .into());
    };
    if to < from {
        return Err(format!("{}: {} stands before {}", path.display(), MARKS.1, MARKS.0).into());
    }
    let new = format!("{}\n{text}{}", &old[..from + MARKS.0.len()], &old[to..]);
    std::fs::write(path, new)?;
    eprintln!("spliced {}", path.display());
    Ok(())
}
