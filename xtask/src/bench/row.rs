//! One line of the report, and what may be said of several: which is best, how they compare, their mean.
//!
//! "Times ours" is always read the same way: above 1, ours is ahead. Where lower is better it is the peer's
//! figure over ours; where higher is better, ours over the peer's.

use serde_json::{Value, json};

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Better {
    Lower,
    Higher,
}

impl Better {
    /// As report.json has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Lower => "lower",
            Self::Higher => "higher",
        }
    }

    /// Anything but "higher" is lower: times and bytes are the rule.
    pub(super) fn from_word(word: &str) -> Self {
        match word {
            "higher" => Self::Higher,
            _ => Self::Lower,
        }
    }

    /// How many times better `ours` is than `theirs`; `None` where one is nothing at all.
    pub(super) fn ratio(self, ours: f64, theirs: f64) -> Option<f64> {
        let ratio = match self {
            Self::Lower => theirs / ours,
            Self::Higher => ours / theirs,
        };
        (ratio.is_finite() && ratio > 0.0).then_some(ratio)
    }

    /// The better of two figures.
    fn pick(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Lower => a.min(b),
            Self::Higher => a.max(b),
        }
    }
}

/// What is kept of a figure's samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stats {
    pub(super) n: u64,
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
}

impl Stats {
    /// `None` of none.
    pub(super) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        // Of an even number, the mean of the two in the middle.
        let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
        Some(Self {
            n: sorted.len() as u64,
            min,
            median: (sorted[low] + sorted[high]) / 2.0,
            max,
        })
    }
}

/// One line of report.json.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) group: String,
    pub(super) workload: String,
    pub(super) subject: String,
    pub(super) version: String,
    pub(super) peer: bool,
    pub(super) procs: usize,
    pub(super) unit: String,
    pub(super) better: Better,
    /// `None`: not run, or failed.
    pub(super) stats: Option<Stats>,
    /// It was run, and gave no right answer in time.
    pub(super) failed: bool,
    /// Of the last sample's run: pairs of a fraction of all events and the figure that so many stay within.
    pub(super) curve: Vec<(f64, f64)>,
}

impl Row {
    /// `None`: not run.
    pub(super) fn median(&self) -> Option<f64> {
        self.stats.map(|s| s.median)
    }

    /// Whether both are subjects of one and the same figure.
    pub(super) fn beside(&self, other: &Row) -> bool {
        (&self.group, &self.workload, self.procs) == (&other.group, &other.workload, other.procs)
    }

    /// What stands where there is no figure.
    pub(super) fn absence(&self) -> &'static str {
        if self.failed { "failed" } else { "not run" }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "group": self.group, "workload": self.workload, "subject": self.subject,
            "version": self.version, "peer": self.peer, "procs": self.procs, "unit": self.unit,
            "better": self.better.word(), "n": self.stats.map_or(0, |s| s.n),
            "min": self.stats.map(|s| s.min), "median": self.median(),
            "max": self.stats.map(|s| s.max),
        })
    }

    /// A row that has not been run, from a line of report.json or of the catalogue; a run one has
    /// [`Row::stats`] besides.
    pub(super) fn from_json(line: &Value) -> Self {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| line[key].as_f64();
        let stats = || {
            Some(Stats {
                n: line["n"].as_u64()?,
                min: number("min")?,
                median: number("median")?,
                max: number("max")?,
            })
        };
        Self {
            group: text("group"),
            workload: text("workload"),
            subject: text("subject"),
            version: text("version"),
            peer: line["peer"].as_bool().unwrap_or_default(),
            procs: line["procs"].as_u64().unwrap_or_default() as usize,
            unit: text("unit"),
            better: Better::from_word(&text("better")),
            stats: stats(),
            failed: false,
            curve: Vec::new(),
        }
    }
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

/// A ratio.
pub(super) fn times(ratio: f64) -> String {
    format!("{}x", figure(ratio))
}

/// A figure's name with its processors and its unit, and which way is better where that is not "less".
pub(super) fn heading(these: &[Row]) -> String {
    let row = &these[0];
    let way = match row.better {
        Better::Lower => "",
        Better::Higher => " (more is better)",
    };
    format!("{} P{}, {}{way}", row.workload, row.procs, row.unit)
}

/// The subjects of a group, ours first, in the order of their first rows.
pub(super) fn subjects(rows: &[Row]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    let (ours, peers): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|r| !r.peer);
    for row in ours.into_iter().chain(peers) {
        if !names.contains(&row.subject.as_str()) {
            names.push(&row.subject);
        }
    }
    names
}

/// A subject with its version.
pub(super) fn titled(group: &[Row], subject: &str) -> String {
    let version = group
        .iter()
        .find(|r| r.subject == subject)
        .map_or("", |r| &r.version);
    format!("{subject} {version}").trim().to_owned()
}

/// Rows by group, each group's rows by figure.
pub(super) fn groups(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| a.group == b.group)
}

pub(super) fn figures(group: &[Row]) -> impl Iterator<Item = &[Row]> {
    group.chunk_by(Row::beside)
}

/// The figure of ours that peers are compared to: the first, where we have a second way.
pub(super) fn ours(these: &[Row]) -> Option<f64> {
    these.iter().find(|r| !r.peer)?.median()
}

/// How many times better ours is than this row; `None` for ours, and where one of the two has no figure.
pub(super) fn times_ours(row: &Row, these: &[Row]) -> Option<f64> {
    let theirs = row.median().filter(|_| row.peer)?;
    row.better.ratio(ours(these)?, theirs)
}

/// Whether no subject of the figure has a better median.
pub(super) fn is_best(row: &Row, these: &[Row]) -> bool {
    let medians = these.iter().filter_map(Row::median);
    let best = medians.reduce(|a, b| row.better.pick(a, b));
    row.median().is_some() && row.median() == best
}

/// The best peer of a figure.
pub(super) fn best_peer(these: &[Row]) -> Option<&Row> {
    let peers = these.iter().filter(|r| r.peer && r.median().is_some());
    peers.reduce(|a, b| match (a.median(), b.median()) {
        (Some(x), Some(y)) if x != y && a.better.pick(x, y) == y => b,
        _ => a,
    })
}

/// The geometric mean of ratios.
pub(super) fn geometric(ratios: &[f64]) -> Option<f64> {
    let sum: f64 = ratios.iter().map(|r| r.ln()).sum();
    (!ratios.is_empty()).then(|| (sum / ratios.len() as f64).exp())
}

/// The geometric mean of how many times better ours is than `subject`, and over how many figures.
pub(super) fn mean(group: &[Row], subject: &str) -> Option<(f64, usize)> {
    let ratios: Vec<f64> = figures(group)
        .filter_map(|these| times_ours(these.iter().find(|r| r.subject == subject)?, these))
        .collect();
    Some((geometric(&ratios)?, ratios.len()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A row of three samples around `median`.
    pub(in super::super) fn row(workload: &str, subject: &str, better: Better, median: f64) -> Row {
        Row {
            group: "sched".into(),
            workload: workload.into(),
            subject: subject.into(),
            version: "1.0".into(),
            peer: subject != "gort",
            procs: 2,
            unit: if better == Better::Higher {
                "ticks"
            } else {
                "ns"
            }
            .into(),
            better,
            stats: Stats::of(&[median * 1.1, median * 0.9, median]),
            failed: false,
            curve: Vec::new(),
        }
    }

    /// Ours takes half of the peer's time, and has twice the peer's ticks.
    pub(in super::super) fn twice_as_good() -> Vec<Row> {
        vec![
            row("yield", "gort", Better::Lower, 10.0),
            row("yield", "tokio", Better::Lower, 20.0),
            row("hogs", "gort", Better::Higher, 200.0),
            row("hogs", "tokio", Better::Higher, 100.0),
        ]
    }

    #[test]
    fn more_ticks_count_as_less_time_does() {
        assert_eq!(Better::Lower.ratio(10.0, 20.0), Some(2.0));
        assert_eq!(Better::Higher.ratio(200.0, 100.0), Some(2.0));
        let (m, n) = mean(&twice_as_good(), "tokio").unwrap();
        assert!((m - 2.0).abs() < 1e-9 && n == 2, "{m} of {n}");
    }

    #[test]
    fn the_best_is_the_most_where_more_is_better() {
        let rows = twice_as_good();
        let best: Vec<bool> = figures(&rows)
            .flat_map(|these| these.iter().map(move |r| is_best(r, these)))
            .collect();
        assert_eq!(best, [true, false, true, false]);
        let mut more = row("hogs", "go", Better::Higher, 150.0);
        let hogs = [rows[2].clone(), rows[3].clone(), more.clone()];
        assert_eq!(best_peer(&hogs).unwrap().subject, "go");
        more.stats = None;
        let hogs = [rows[2].clone(), rows[3].clone(), more];
        assert_eq!(best_peer(&hogs).unwrap().subject, "tokio");
    }

    #[test]
    fn a_peer_with_no_tick_at_all_has_no_ratio_and_bends_no_mean() {
        let mut rows = twice_as_good();
        rows[3].stats = Stats::of(&[0.0; 3]);
        assert_eq!(times_ours(&rows[3], &rows[2..]), None);
        assert_eq!(mean(&rows, "tokio").unwrap().1, 1);
        assert!(is_best(&rows[2], &rows[2..]) && !is_best(&rows[3], &rows[2..]));
    }

    #[test]
    fn the_heading_says_so_where_more_is_better() {
        let rows = twice_as_good();
        assert_eq!(heading(&rows[..1]), "yield P2, ns");
        assert_eq!(heading(&rows[2..]), "hogs P2, ticks (more is better)");
    }

    #[test]
    fn a_row_read_back_is_the_row_that_was_written() {
        let mut rows = twice_as_good();
        rows[1].stats = None;
        let back: Vec<Row> = rows.iter().map(|r| Row::from_json(&r.json())).collect();
        assert_eq!(back, rows);
    }

    #[test]
    fn a_median_of_an_even_number_lies_between() {
        let median = |samples: &[f64]| Stats::of(samples).map(|s| s.median);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn a_second_way_of_ours_is_no_peer_and_stands_beside_the_first() {
        let mut second = row("ring", "gort (futures)", Better::Lower, 5.0);
        second.peer = false;
        let rows = [
            row("ring", "gort", Better::Lower, 10.0),
            second,
            row("ring", "tokio", Better::Lower, 20.0),
        ];
        assert_eq!(subjects(&rows), ["gort", "gort (futures)", "tokio"]);
        assert_eq!(times_ours(&rows[1], &rows), None);
        assert_eq!(times_ours(&rows[2], &rows), Some(2.0));
        assert_eq!(best_peer(&rows).unwrap().subject, "tokio");
        assert!(is_best(&rows[1], &rows) && !is_best(&rows[0], &rows));
    }

    #[test]
    fn figures_keep_three_digits() {
        let shown = [0.314, 31.4, 314.15, 31_415.9].map(figure);
        assert_eq!(shown, ["0.31", "31.4", "314", "31,416"]);
    }
}
