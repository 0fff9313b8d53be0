//! What is written: report.json, curves.json, machine.txt, and the CSV that is kept; and reading them back.

use super::measure::Measured;
use super::row::Row;
use crate::run::Result;

use serde_json::{Value, json};

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Called after every figure, so that a run that is cut short has told what it had.
pub(super) fn write(rows: &[Row], machine: &str, folder: &Path) -> Result {
    std::fs::create_dir_all(folder)?;
    let list: Vec<Value> = rows.iter().map(Row::json).collect();
    replace(&folder.join("report.json"), &pretty(&list)?)?;
    let curves: Vec<Value> = rows
        .iter()
        .filter(|r| !r.curve.is_empty())
        .map(|r| {
            json!({
                "group": r.group, "workload": r.workload, "subject": r.subject, "procs": r.procs,
                "curve": r.curve,
            })
        })
        .collect();
    replace(&folder.join("curves.json"), &pretty(&curves)?)?;
    replace(&folder.join("machine.txt"), &format!("{machine}\n"))
}

fn pretty(list: &[Value]) -> serde_json::Result<String> {
    // A row a line: a report is compared and read by people as well.
    let lines: Vec<String> = list
        .iter()
        .map(serde_json::to_string)
        .collect::<serde_json::Result<_>>()?;
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}

/// All of it or nothing: whoever reads meanwhile sees the old one.
fn replace(path: &Path, text: &str) -> Result {
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    Ok(std::fs::rename(&new, path)?)
}

/// The rows of the reports in `folders`, of which the later win, and on what they were measured.
pub(super) fn read(folders: &[PathBuf]) -> Fallible<(Measured, String)> {
    let mut rows: Vec<Row> = Vec::new();
    let mut machines: Vec<String> = Vec::new();
    for folder in folders {
        let mut new: Vec<Row> = list(&folder.join("report.json"))?
            .iter()
            .map(Row::from_json)
            .collect();
        for line in list(&folder.join("curves.json")).unwrap_or_default() {
            let of = Row::from_json(&line);
            let row = new
                .iter_mut()
                .find(|r| r.beside(&of) && r.subject == of.subject);
            if let Some(row) = row {
                row.curve = serde_json::from_value(line["curve"].clone())?;
            }
        }
        rows.retain(|old| !new.iter().any(|n| n.beside(old)));
        rows.extend(new);
        if let Ok(text) = std::fs::read_to_string(folder.join("machine.txt")) {
            machines.retain(|m| m != text.trim());
            machines.push(text.trim().to_owned());
        }
    }
    let measured = Measured {
        rows,
        interrupted: false,
    };
    Ok((measured, machines.join("; then ")))
}

fn list(path: &Path) -> Fallible<Vec<Value>> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?)
}

/// Keeps the figures as `benches/record/<arch>/<date>.csv`.
pub(super) fn record(rows: &[Row], root: &Path, machine: &str) -> Result {
    let date = std::process::Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H%M%SZ"])
        .output()?;
    let folder = root.join("benches/record").join(std::env::consts::ARCH);
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}.csv", String::from_utf8(date.stdout)?.trim()));
    std::fs::write(&path, csv(rows, machine))?;
    eprintln!("recorded {}", path.display());
    Ok(())
}

fn csv(rows: &[Row], machine: &str) -> String {
    let mut out = format!(
        "# {machine}\ngroup,workload,subject,version,peer,procs,unit,better,n,min,median,max\n"
    );
    for r in rows {
        let of = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
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
            r.better.word(),
            r.stats.map_or(0, |s| s.n),
            of(r.stats.map(|s| s.min)),
            of(r.median()),
            of(r.stats.map(|s| s.max)),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::row::Better;
    use super::super::row::tests::{row, twice_as_good};
    use super::*;

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("gort-xtask-{name}-{}", std::process::id()))
    }

    #[test]
    fn reports_written_are_read_back_and_the_later_wins() {
        let (a, b) = (folder("a"), folder("b"));
        let mut rows = twice_as_good();
        rows[0].curve = vec![(0.5, 10.0), (0.99, 12.5)];
        write(&rows, "a machine", &a).unwrap();
        let later = vec![row("hogs", "gort", Better::Higher, 300.0)];
        write(&later, "another", &b).unwrap();
        let (back, machine) = read(&[a.clone(), b.clone()]).unwrap();
        assert_eq!(
            back.rows,
            [rows[0].clone(), rows[1].clone(), later[0].clone()]
        );
        assert_eq!(machine, "a machine; then another");
        std::fs::remove_dir_all(a).unwrap();
        std::fs::remove_dir_all(b).unwrap();
    }

    #[test]
    fn the_record_has_a_line_a_row_and_empty_cells_for_what_was_not_run() {
        let mut rows = twice_as_good();
        rows[3].stats = None;
        let text = csv(&rows, "a machine");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 + rows.len());
        assert_eq!(lines[0], "# a machine");
        assert_eq!(lines[2], "sched,yield,gort,1.0,false,2,ns,lower,3,9,10,11");
        assert_eq!(lines[5], "sched,hogs,tokio,1.0,true,2,ticks,higher,0,,,");
    }
}
