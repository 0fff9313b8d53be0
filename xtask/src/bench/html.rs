//! report.html: one file, no script, no network; bars in SVG, for a phone and for the dark.

use super::measure::Row;
use super::report::{figure, figures, groups, mean, ours, subjects};

use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#fff;--fg:#1a1a1a;--dim:#666;--ours:#0a7d5a;--peer:#9aa5b1}\
@media(prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e8e8e8;--dim:#9a9a9a;--ours:#35c796;--peer:#5b6672}}\
body{background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:60rem}\
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr));gap:1rem}\
figure{margin:0}figcaption{font-weight:600;overflow-wrap:anywhere}svg{width:100%;height:auto;display:block}\
text{fill:var(--fg);font:12px system-ui,sans-serif}.dim{fill:var(--dim);color:var(--dim)}\
.ours{fill:var(--ours)}.peer{fill:var(--peer)}.range{stroke:var(--fg);stroke-width:1}";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

pub(super) fn page(rows: &[Row], machine: &str) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>gort bench-all</title><style>{STYLE}</style>\
         <h1>gort bench-all</h1><p class=\"dim\">{}</p><p>Medians; shorter bars are better; the thin line is \
         the range of all samples. Every answer was verified. benches/BIAS.md says what favours whom.</p>",
        escape(machine)
    );
    for group in groups(rows) {
        let _ = write!(out, "<h2>{}</h2><p>", escape(&group[0].group));
        for name in subjects(group).into_iter().skip(1) {
            if let Some((m, n)) = mean(group, name) {
                let _ = write!(
                    out,
                    "{}: {m:.2} times ours over {n} figures (geometric mean). ",
                    escape(name)
                );
            }
        }
        out.push_str("</p><div class=\"grid\">");
        figures(group).for_each(|these| bars(&mut out, these));
        out.push_str("</div>");
    }
    out.push_str("</html>\n");
    out
}

/// One figure: a bar a subject. A bar of a peer far off is cut, and its number says how long it is.
fn bars(out: &mut String, these: &[Row]) {
    let longest = these.iter().filter_map(Row::median).fold(0.0, f64::max);
    let scale = ours(these)
        .map_or(longest, |o| longest.min(o * 12.0))
        .max(f64::MIN_POSITIVE);
    let width = |x: f64| (x / scale).min(1.0) * 140.0;
    let height = these.len() * 22 + 4;
    let title = format!(
        "{} P{}, {}",
        these[0].workload, these[0].procs, these[0].unit
    );
    let _ = write!(
        out,
        "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 340 {height}\" role=\"img\" aria-label=\"{}\">",
        escape(&title),
        escape(&title)
    );
    for (i, row) in these.iter().enumerate() {
        let y = i * 22 + 2;
        let baseline = y + 14;
        let _ = write!(
            out,
            "<text x=\"108\" y=\"{baseline}\" text-anchor=\"end\">{}</text>",
            escape(&row.subject)
        );
        let Some(median) = row.median() else {
            let _ = write!(
                out,
                "<text class=\"dim\" x=\"114\" y=\"{baseline}\">not run</text>"
            );
            continue;
        };
        let (low, high) = (row.samples[0], row.samples[row.samples.len() - 1]);
        let class = if row.peer { "peer" } else { "ours" };
        let middle = y + 9;
        let end = 118.0 + width(median).max(width(high));
        let cut = if median > scale { " (cut)" } else { "" };
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"114\" y=\"{y}\" width=\"{:.1}\" height=\"18\" rx=\"2\"/>\
             <line class=\"range\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
             <text x=\"{end:.1}\" y=\"{baseline}\">{}{cut}</text>",
            width(median).max(1.0),
            114.0 + width(low),
            114.0 + width(high),
            figure(median)
        );
    }
    out.push_str("</svg></figure>");
}
