//! `--compare A B`: what changed from one report to another, beyond the noise of both.
//!
//! A figure changed when the two ranges [min..max] do not touch and the medians differ by over 3 %: with
//! three samples or more each, chance alone seldom parts the ranges.

use crate::run::Result;

use serde_json::Value;

use std::path::Path;

fn load(path: &Path) -> std::result::Result<Vec<Value>, Box<dyn std::error::Error>> {
    let file = if path.is_dir() {
        path.join("report.json")
    } else {
        path.to_owned()
    };
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?)
}

/// Whether the figure changed: its ratio, `b` over `a`.
fn changed(a: &Value, b: &Value) -> Option<f64> {
    let of = |v: &Value, key: &str| v[key].as_f64();
    let ratio = of(b, "median")? / of(a, "median")?;
    let apart = of(b, "min")? > of(a, "max")? || of(b, "max")? < of(a, "min")?;
    (apart && (ratio - 1.0).abs() > 0.03).then_some(ratio)
}

pub(super) fn run(a: &Path, b: &Path) -> Result {
    let (a, b) = (load(a)?, load(b)?);
    let (mut compared, mut flagged) = (0, 0);
    for new in &b {
        let same = |old: &&Value| {
            ["group", "workload", "subject", "procs"]
                .iter()
                .all(|k| old[k] == new[k])
        };
        let Some(old) = a.iter().find(same) else {
            continue;
        };
        compared += 1;
        if let Some(ratio) = changed(old, new) {
            flagged += 1;
            println!(
                "{} {} {} {} P{}: {} -> {} {} ({ratio:.2}x)",
                if ratio > 1.0 { "SLOWER" } else { "faster" },
                new["group"].as_str().unwrap_or_default(),
                new["workload"].as_str().unwrap_or_default(),
                new["subject"].as_str().unwrap_or_default(),
                new["procs"],
                old["median"],
                new["median"],
                new["unit"].as_str().unwrap_or_default(),
            );
        }
    }
    println!("{flagged} of {compared} figures changed beyond the noise");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::changed;

    use serde_json::json;

    #[test]
    fn only_ranges_that_do_not_touch_are_flagged() {
        let a = json!({"min": 9.0, "median": 10.0, "max": 11.0});
        assert_eq!(
            changed(&a, &json!({"min": 10.5, "median": 12.0, "max": 14.0})),
            None
        );
        assert_eq!(
            changed(&a, &json!({"min": 19.0, "median": 20.0, "max": 21.0})),
            Some(2.0)
        );
        assert_eq!(
            changed(&a, &json!({"min": 4.0, "median": 5.0, "max": 6.0})),
            Some(0.5)
        );
    }

    #[test]
    fn a_figure_that_was_not_run_is_not_flagged() {
        let a = json!({"min": 9.0, "median": 10.0, "max": 11.0});
        assert_eq!(
            changed(&a, &json!({"min": null, "median": null, "max": null})),
            None
        );
    }
}
