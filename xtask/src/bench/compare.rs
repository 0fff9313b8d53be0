//! `--compare A B`: what changed from one report to another, beyond the noise of both.
//!
//! A figure changed when its two ranges [min..max] do not touch and its medians differ by over 3 %. By chance
//! alone, ranges of seven samples part once in 1,700 figures, those of three once in ten: with fewer than
//! [`ENOUGH`] samples the medians must also be further apart than the wider range is wide, and with fewer
//! than [`LEAST`] nothing is said.

use super::row::Better;
use crate::run::Result;

use serde_json::Value;

use std::path::Path;

const ENOUGH: u64 = 5;
const LEAST: u64 = 3;

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    /// Better or worse, and B over A.
    Better(f64),
    Worse(f64),
    /// Within the noise.
    Same,
    /// Not enough samples to tell.
    Few,
    /// One of both was not run.
    Missing,
}

fn load(path: &Path) -> std::result::Result<Vec<Value>, Box<dyn std::error::Error>> {
    let file = if path.is_dir() {
        path.join("report.json")
    } else {
        path.to_owned()
    };
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?)
}

fn change(a: &Value, b: &Value) -> Change {
    let of = |v: &Value, key: &str| v[key].as_f64();
    let range = |v: &Value| Some((of(v, "min")?, of(v, "median")?, of(v, "max")?));
    let (Some((a_min, a_median, a_max)), Some((b_min, b_median, b_max))) = (range(a), range(b))
    else {
        return Change::Missing;
    };
    let n = a["n"].as_u64().min(b["n"].as_u64()).unwrap_or_default();
    if n < LEAST {
        return Change::Few;
    }
    let apart = b_min > a_max || b_max < a_min;
    let by = (b_median - a_median).abs();
    let far = n >= ENOUGH || by > (a_max - a_min).max(b_max - b_min);
    if !apart || !far || by <= 0.03 * a_median.abs() {
        return Change::Same;
    }
    let less = b_median < a_median;
    let ratio = b_median / a_median;
    match Better::from_word(b["better"].as_str().unwrap_or_default()) {
        Better::Lower if less => Change::Better(ratio),
        Better::Higher if !less => Change::Better(ratio),
        _ => Change::Worse(ratio),
    }
}

pub(super) fn run(a: &Path, b: &Path) -> Result {
    let (a, b) = (load(a)?, load(b)?);
    let (mut compared, mut flagged, mut few) = (0, 0, 0);
    for new in &b {
        let same = |old: &&Value| {
            ["group", "workload", "subject", "procs"]
                .iter()
                .all(|k| old[k] == new[k])
        };
        let Some(old) = a.iter().find(same) else {
            continue;
        };
        let change = change(old, new);
        compared += usize::from(!matches!(change, Change::Missing | Change::Few));
        few += usize::from(change == Change::Few);
        let (word, ratio) = match change {
            Change::Better(ratio) => ("better", ratio),
            Change::Worse(ratio) => ("WORSE", ratio),
            _ => continue,
        };
        flagged += 1;
        println!(
            "{word} {} {} {} P{}: {} -> {} {} ({ratio:.2}x)",
            new["group"].as_str().unwrap_or_default(),
            new["workload"].as_str().unwrap_or_default(),
            new["subject"].as_str().unwrap_or_default(),
            new["procs"],
            old["median"],
            new["median"],
            new["unit"].as_str().unwrap_or_default(),
        );
    }
    println!("{flagged} of {compared} figures changed beyond the noise");
    if few > 0 {
        println!("{few} more have fewer than {LEAST} samples: nothing can be said of them");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Change, change};

    use serde_json::{Value, json};

    fn range(n: u64, min: f64, median: f64, max: f64) -> Value {
        json!({"n": n, "min": min, "median": median, "max": max, "better": "lower"})
    }

    #[test]
    fn only_ranges_that_do_not_touch_are_flagged() {
        let a = range(7, 9.0, 10.0, 11.0);
        assert_eq!(change(&a, &range(7, 10.5, 12.0, 14.0)), Change::Same);
        assert_eq!(change(&a, &range(7, 19.0, 20.0, 21.0)), Change::Worse(2.0));
        assert_eq!(change(&a, &range(7, 4.0, 5.0, 6.0)), Change::Better(0.5));
    }

    #[test]
    fn more_is_better_where_the_row_says_so() {
        let higher = |v: Value| {
            let mut v = v;
            v["better"] = json!("higher");
            v
        };
        let a = higher(range(7, 9.0, 10.0, 11.0));
        let more = higher(range(7, 19.0, 20.0, 21.0));
        assert_eq!(change(&a, &more), Change::Better(2.0));
        assert_eq!(change(&more, &a), Change::Worse(0.5));
    }

    #[test]
    fn few_samples_must_be_further_apart() {
        let a = range(3, 9.0, 10.0, 11.0);
        assert_eq!(change(&a, &range(3, 11.1, 11.5, 12.0)), Change::Same);
        assert_eq!(change(&a, &range(3, 14.0, 15.0, 16.0)), Change::Worse(1.5));
        assert_eq!(change(&a, &range(2, 19.0, 20.0, 21.0)), Change::Few);
        assert_eq!(change(&a, &range(1, 20.0, 20.0, 20.0)), Change::Few);
    }

    #[test]
    fn a_figure_that_was_not_run_is_not_flagged() {
        let a = range(7, 9.0, 10.0, 11.0);
        let none = json!({"n": 0, "min": null, "median": null, "max": null, "better": "lower"});
        assert_eq!(change(&a, &none), Change::Missing);
        assert_eq!(change(&none, &a), Change::Missing);
    }
}
