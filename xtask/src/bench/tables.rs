//! The tables: on the terminal, and as Markdown.

use super::row::{
    Row, best_peer, figure, figures, geometric, groups, heading, is_best, mean, subjects, times,
    times_ours, titled,
};

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};

use std::fmt::Write as _;

pub(super) const CAUTION: &str = "Median [min..max], and how many times better ours is (above 1: ours is \
ahead; below 1: ours is behind); less is better, except where the row says otherwise. The geometric mean \
weighs every workload alike, which no program does; losses count as wins do.";

/// What a cell says: the median, its spread, the ratio to ours.
fn cell(row: Option<&Row>, these: &[Row]) -> String {
    let Some(row) = row else { return "-".into() };
    let Some(s) = row.stats else {
        return row.absence().into();
    };
    let spread = format!(
        "{} [{}..{}]",
        figure(s.median),
        figure(s.min),
        figure(s.max)
    );
    match times_ours(row, these) {
        Some(ratio) => format!("{spread} {}", times(ratio)),
        None => spread,
    }
}

fn mean_text(group: &[Row], subject: &str) -> String {
    mean(group, subject).map_or_else(|| "-".into(), |(m, n)| format!("{} of {n}", times(m)))
}

/// Prints a table for every group: the best in bold.
pub(super) fn terminal(rows: &[Row]) {
    for group in groups(rows) {
        println!("{}\n", table(group));
    }
    println!("{CAUTION}");
}

fn table(group: &[Row]) -> Table {
    let names = subjects(group);
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    // Cells break where the terminal is narrower; without a terminal they do not.
    table.set_content_arrangement(ContentArrangement::Dynamic);
    let titles = names.iter().map(|s| titled(group, s));
    table.set_header(std::iter::once(group[0].group.clone()).chain(titles));
    for these in figures(group) {
        let mut line = vec![Cell::new(heading(these))];
        for name in &names {
            let row = these.iter().find(|r| r.subject == *name);
            let mut text = Cell::new(cell(row, these)).set_alignment(CellAlignment::Right);
            if row.is_some_and(|r| is_best(r, these)) {
                text = text.add_attribute(Attribute::Bold);
            }
            line.push(text);
        }
        table.add_row(line);
    }
    let means = names.iter().map(|s| mean_text(group, s));
    table.add_row(std::iter::once("geometric mean to ours".to_owned()).chain(means));
    table
}

/// A group's table as Markdown.
pub(super) fn markdown(group: &[Row]) -> String {
    let names = subjects(group);
    let titles: Vec<String> = names.iter().map(|s| titled(group, s)).collect();
    let mut out = format!(
        "| | {} |\n|---|{}\n",
        titles.join(" | "),
        "---:|".repeat(names.len())
    );
    for these in figures(group) {
        let _ = write!(out, "| {} |", heading(these));
        for name in &names {
            let row = these.iter().find(|r| r.subject == *name);
            let bold = row.is_some_and(|r| is_best(r, these));
            let mark = if bold { "**" } else { "" };
            let _ = write!(out, " {mark}{}{mark} |", cell(row, these));
        }
        out.push('\n');
    }
    let means: Vec<String> = names.iter().map(|s| mean_text(group, s)).collect();
    let _ = writeln!(out, "| geometric mean to ours | {} |", means.join(" | "));
    out
}

/// report.md.
pub(super) fn report(rows: &[Row], machine: &str) -> String {
    let mut out = format!("# bench-all\n\n{machine}\n\n{}\n", summary(rows));
    for group in groups(rows) {
        let _ = writeln!(out, "## {}\n\n{}", group[0].group, markdown(group));
    }
    let _ = writeln!(out, "{CAUTION}");
    out
}

/// A line a group: ours beside the best peer of every figure, whoever that is, and the worst loss.
pub(super) fn summary(rows: &[Row]) -> String {
    let mut out = String::from(
        "| group | ours | figures with a peer | ahead of every peer | against the best peer of each | behind the most at |\n\
         |---|---|---:|---:|---:|---|\n",
    );
    for group in groups(rows) {
        let beside: Vec<(f64, &[Row])> = figures(group)
            .filter_map(|these| Some((times_ours(best_peer(these)?, these)?, these)))
            .collect();
        let ratios: Vec<f64> = beside.iter().map(|(ratio, _)| *ratio).collect();
        let ahead = ratios.iter().filter(|r| **r >= 1.0).count();
        let worst = beside.iter().min_by(|a, b| a.0.total_cmp(&b.0));
        let worst = worst
            .filter(|(r, _)| *r < 1.0)
            .map_or("-".into(), |(r, these)| {
                let peer = best_peer(these).map_or("", |p| &p.subject);
                format!("{}: {} {peer}", heading(these), times(*r))
            });
        let mean = geometric(&ratios).map_or("-".into(), times);
        let subject = group.iter().find(|r| !r.peer).map_or("-", |r| &r.subject);
        let _ = writeln!(
            out,
            "| {} | {subject} | {} | {ahead} | {mean} | {worst} |",
            group[0].group,
            ratios.len()
        );
    }
    out
}

/// Rows of ours that have no figure.
pub(super) fn failed(rows: &[Row]) -> Vec<String> {
    rows.iter()
        .filter(|r| !r.peer && r.stats.is_none())
        .map(|r| {
            format!(
                "{} {} by {}",
                r.group,
                heading(std::slice::from_ref(r)),
                r.subject
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::row::Better;
    use super::super::row::tests::{row, twice_as_good};
    use super::*;

    #[test]
    fn the_best_is_bold_and_ratios_read_one_way() {
        let text = markdown(&twice_as_good());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "| | gort 1.0 | tokio 1.0 |");
        assert_eq!(
            lines[2],
            "| yield P2, ns | **10.0 [9.00..11.0]** | 20.0 [18.0..22.0] 2.00x |"
        );
        assert_eq!(
            lines[3],
            "| hogs P2, ticks (more is better) | **200 [180..220]** | 100 [90.0..110] 2.00x |"
        );
        assert_eq!(lines[4], "| geometric mean to ours | - | 2.00x of 2 |");
    }

    #[test]
    fn the_terminal_says_what_the_markdown_says() {
        let text = table(&twice_as_good()).to_string();
        assert!(text.contains("100 [90.0..110] 2.00x"), "{text}");
        assert!(text.contains("hogs P2, ticks (more is better)"), "{text}");
    }

    #[test]
    fn what_has_no_figure_says_why() {
        let mut rows = twice_as_good();
        rows[1].stats = None;
        rows[3].stats = None;
        rows[3].failed = true;
        let text = markdown(&rows);
        assert!(
            text.contains("| not run |") && text.contains("| failed |"),
            "{text}"
        );
        assert!(failed(&rows).is_empty(), "a peer's failure is not ours");
        rows[2].stats = None;
        assert_eq!(
            failed(&rows),
            ["sched hogs P2, ticks (more is better) by gort"]
        );
    }

    #[test]
    fn the_summary_names_the_worst_loss() {
        let mut rows = twice_as_good();
        rows.push(row("ring", "gort", Better::Lower, 30.0));
        rows.push(row("ring", "tokio", Better::Lower, 60.0));
        rows.push(row("ring", "go", Better::Lower, 15.0));
        let text = summary(&rows);
        let line = text.lines().last().unwrap();
        assert_eq!(
            line,
            "| sched | gort | 3 | 2 | 1.26x | ring P2, ns: 0.50x go |"
        );
    }
}
