//! report.html: one file, no script, no network; bars in SVG, for a phone and for the dark.

use super::curves;
use super::row::{
    Better, Row, figure, figures, groups, heading, is_best, mean, ours, subjects, times,
};

use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#fff;--fg:#1a1a1a;--dim:#666;--rule:#ddd;--ours:#0a7d5a;--peer:#9aa5b1;\
--p0:#b5521b;--p1:#2f5fb3;--p2:#8a3ba8;--p3:#7a6a00;--p4:#b3264e;--p5:#4a5560}\
@media(prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e8e8e8;--dim:#9a9a9a;--rule:#30363c;--ours:#35c796;\
--peer:#5b6672;--p0:#f0935c;--p1:#7ea8f5;--p2:#cf8fe6;--p3:#d6c244;--p4:#f27a9c;--p5:#aab4be}}\
body{background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:60rem}\
.grids{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr));gap:1rem}\
figure{margin:0}figcaption{font-weight:600;overflow-wrap:anywhere}svg{width:100%;height:auto;display:block}\
text{fill:var(--fg);font:12px system-ui,sans-serif}.tick{font-size:10px}.best,b{font-weight:700}.dim{fill:var(--dim);color:var(--dim)}\
.ours{fill:var(--ours)}.peer{fill:var(--peer)}.range{stroke:var(--fg);stroke-width:1}\
.cut{stroke:var(--bg);stroke-width:4}.grid{stroke:var(--rule);fill:none}.line{fill:none;stroke-width:1.5}.own{stroke:var(--ours);stroke-width:3}\
.peer0{stroke:var(--p0)}.peer1{stroke:var(--p1);stroke-dasharray:6 2}.peer2{stroke:var(--p2);stroke-dasharray:2 2}\
.peer3{stroke:var(--p3);stroke-dasharray:8 2 2 2}.peer4{stroke:var(--p4);stroke-dasharray:4 4}\
.peer5{stroke:var(--p5);stroke-dasharray:1 3}";

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

/// Where a bar begins, behind the longest subject's name, and how long a full one is.
const BAR: (f64, f64) = (132.0, 122.0);

pub(super) fn page(rows: &[Row], machine: &str) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>gort bench-all</title><style>{STYLE}</style>\
         <h1>gort bench-all</h1><p class=\"dim\">{}</p><p>Medians, the best in bold; shorter bars are better, \
         except where the title says that more is; the thin line is the range of all samples; a bar with a notch is longer than it is drawn. Every answer \
         was verified. Geometric means weigh every workload alike, which no program does; losses count as wins \
         do. benches/BIAS.md says what favours whom.</p>",
        escape(machine)
    );
    for group in groups(rows) {
        let _ = write!(out, "<h2>{}</h2>", escape(&group[0].group));
        means(&mut out, group);
        out.push_str("<div class=\"grids\">");
        figures(group).for_each(|these| bars(&mut out, these));
        figures(group).for_each(|these| curves::plot(&mut out, these));
        out.push_str("</div>");
    }
    out.push_str("</html>\n");
    out
}

/// How many times better ours is than each peer of a group.
fn means(out: &mut String, group: &[Row]) {
    let means = subjects(group)
        .into_iter()
        .filter_map(|name| {
            let (m, n) = mean(group, name)?;
            Some(format!("{} <b>{}</b> of {n}", escape(name), times(m)))
        })
        .collect::<Vec<_>>();
    if !means.is_empty() {
        let _ = write!(
            out,
            "<p>Times ours is better, geometric means over so many figures: {}.</p>",
            means.join(", ")
        );
    }
}

/// What a full bar stands for: the longest, but no more than twelve times ours, lest ours vanishes; where
/// more is better, the longest.
fn full(these: &[Row]) -> f64 {
    let longest = these.iter().filter_map(Row::median).fold(0.0, f64::max);
    let scale = match (these[0].better, ours(these)) {
        (Better::Lower, Some(ours)) if ours > 0.0 => longest.min(ours * 12.0),
        _ => longest,
    };
    scale.max(f64::MIN_POSITIVE)
}

/// One figure: a bar a subject. A bar of a peer far off is cut, which a notch shows, and its number says how long it is.
fn bars(out: &mut String, these: &[Row]) {
    let scale = full(these);
    let width = |x: f64| (x / scale).min(1.0) * BAR.1;
    let height = these.len() * 22 + 4;
    let title = escape(&heading(these));
    let _ = write!(
        out,
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 340 {height}\" role=\"img\" \
         aria-label=\"{title}\">"
    );
    for (i, row) in these.iter().enumerate() {
        let y = i * 22 + 2;
        let baseline = y + 14;
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\">{}</text>",
            BAR.0 - 6.0,
            escape(&row.subject)
        );
        let Some(s) = row.stats else {
            let _ = write!(
                out,
                "<text class=\"dim\" x=\"{}\" y=\"{baseline}\">{}</text>",
                BAR.0,
                row.absence()
            );
            continue;
        };
        let class = if row.peer { "peer" } else { "ours" };
        let best = if is_best(row, these) {
            " class=\"best\""
        } else {
            ""
        };
        let middle = y + 9;
        let end = BAR.0 + 4.0 + width(s.median).max(width(s.max));
        let cut = if s.median > scale {
            format!(
                "<path class=\"cut\" d=\"M{} {}l6 -22\"/>",
                BAR.0 + 0.9 * BAR.1,
                y + 20
            )
        } else {
            String::new()
        };
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{}\" y=\"{y}\" width=\"{:.1}\" height=\"18\" rx=\"2\"/>{cut}\
             <line class=\"range\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
             <text{best} x=\"{end:.1}\" y=\"{baseline}\">{}</text>",
            BAR.0,
            width(s.median).max(1.0),
            BAR.0 + width(s.min),
            BAR.0 + width(s.max),
            figure(s.median)
        );
    }
    out.push_str("</svg></figure>");
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::{row, twice_as_good};
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_outside_and_serves_the_dark_and_a_phone() {
        let mut rows = twice_as_good();
        rows[0].curve = vec![(0.5, 10.0), (0.99, 12.0)];
        rows[3].stats = None;
        let page = page(&rows, "a <machine>");
        for outside in ["http", "<script", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        for inside in [
            "prefers-color-scheme:dark",
            "width=device-width",
            "a &lt;machine>",
            ">not run<",
            "hogs P2, ticks (more is better)",
            "class=\"line own\"",
            "tokio <b>2.00x</b> of 1.",
        ] {
            assert!(page.contains(inside), "{inside}");
        }
        for tag in ["figure", "svg", "div", "p", "h2"] {
            let open = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(open, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn a_far_peer_is_cut_only_where_less_is_better() {
        let rows = [
            row("yield", "gort", Better::Lower, 1.0),
            row("yield", "tokio", Better::Lower, 100.0),
        ];
        assert_eq!(full(&rows), 12.0);
        let mut out = String::new();
        bars(&mut out, &rows);
        assert_eq!(out.matches("class=\"cut\"").count(), 1, "{out}");
        let rows = [
            row("hogs", "gort", Better::Higher, 100.0),
            row("hogs", "tokio", Better::Higher, 1.0),
        ];
        assert_eq!(full(&rows), 100.0);
    }
}
