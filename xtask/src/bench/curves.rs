//! Latency curves: how much of all events stays within which figure, in SVG.
//!
//! Across: the fraction of events, by its nines (a half, 90 %, 99 %, ...), so that the tail has room. Up: the
//! figure, by its powers of ten. The lower line is better.

use super::html::escape;
use super::row::{Row, figure};

use std::fmt::Write as _;

const LEFT: f64 = 44.0;
const TOP: f64 = 8.0;
const WIDE: f64 = 276.0;
const HIGH: f64 = 150.0;
/// Lines of peers, told apart by colour and by dashes.
const PEERS: usize = 6;

/// The scales of one plot.
#[derive(Debug)]
struct Scale {
    /// Nines at the right edge.
    nines: f64,
    /// Powers of ten at the lower and the upper edge.
    low: f64,
    high: f64,
}

impl Scale {
    fn of(rows: &[&Row]) -> Option<Self> {
        let points = || rows.iter().flat_map(|r| &r.curve);
        let nines = points().map(|p| nines(p.0)).fold(1.0, f64::max);
        let values = || points().map(|p| p.1).filter(|v| *v > 0.0);
        let low = values().reduce(f64::min)?.log10().floor();
        let high = values().reduce(f64::max)?.log10().ceil().max(low + 1.0);
        Some(Self { nines, low, high })
    }

    fn across(&self, fraction: f64) -> f64 {
        LEFT + WIDE * (nines(fraction) / self.nines).min(1.0)
    }

    fn up(&self, value: f64) -> f64 {
        let power = value.log10().clamp(self.low, self.high);
        TOP + HIGH * (1.0 - (power - self.low) / (self.high - self.low))
    }
}

/// 0.9 has one nine, 0.99 two; the largest event of all counts as the one before it.
fn nines(fraction: f64) -> f64 {
    -(1.0 - fraction.clamp(0.0, 0.999_999)).log10()
}

/// Writes the plot of a figure's rows, if any has a curve.
pub(super) fn plot(out: &mut String, these: &[Row]) {
    let rows: Vec<&Row> = these.iter().filter(|r| !r.curve.is_empty()).collect();
    let Some(scale) = Scale::of(&rows) else {
        return;
    };
    let name = these[0].workload.trim_end_matches("_p50");
    let title = escape(&format!(
        "{name} P{}, {}: by percentile",
        these[0].procs, these[0].unit
    ));
    let legend = (TOP + HIGH + 34.0) as usize;
    let height = legend + rows.len().div_ceil(2) * 16;
    let _ = write!(
        out,
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 340 {height}\" role=\"img\" aria-label=\"{title}\">"
    );
    grid(out, &scale);
    let mut peers = 0;
    for (i, row) in rows.iter().enumerate() {
        let class = if row.peer {
            peers += 1;
            format!("line peer{}", (peers - 1) % PEERS)
        } else {
            "line own".into()
        };
        line(out, &scale, row, &class);
        let (x, y) = (8 + i % 2 * 168, legend + i / 2 * 16);
        let _ = write!(
            out,
            "<path class=\"{class}\" d=\"M{x} {y}h22\"/><text x=\"{}\" y=\"{}\">{}</text>",
            x + 28,
            y + 4,
            escape(&row.subject)
        );
    }
    out.push_str("</svg></figure>");
}

fn grid(out: &mut String, scale: &Scale) {
    let bottom = TOP + HIGH;
    for fraction in [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999] {
        if nines(fraction) > scale.nines + 1e-9 {
            break;
        }
        let x = scale.across(fraction);
        let percent = format!("{:.3}", fraction * 100.0);
        let percent = percent.trim_end_matches('0').trim_end_matches('.');
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>\
             <text class=\"dim tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{percent}</text>",
            bottom + 14.0
        );
    }
    let mut power = scale.low;
    while power <= scale.high {
        let y = scale.up(10_f64.powf(power));
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}h{WIDE}\"/>\
             <text class=\"dim tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 4.0,
            y + 4.0,
            tick(10_f64.powf(power))
        );
        power += 1.0;
    }
}

/// A power of ten, short.
fn tick(x: f64) -> String {
    match x {
        x if x >= 1e9 => format!("{:.0}G", x / 1e9),
        x if x >= 1e6 => format!("{:.0}M", x / 1e6),
        x if x >= 1e3 => format!("{:.0}k", x / 1e3),
        x if x >= 1.0 => format!("{x:.0}"),
        x => figure(x),
    }
}

fn line(out: &mut String, scale: &Scale, row: &Row, class: &str) {
    let _ = write!(out, "<path class=\"{class}\" d=\"");
    for (i, (fraction, value)) in row.curve.iter().enumerate() {
        let step = if i == 0 { 'M' } else { 'L' };
        let _ = write!(
            out,
            "{step}{:.1} {:.1}",
            scale.across(*fraction),
            scale.up(*value)
        );
    }
    out.push_str("\"/>");
}

#[cfg(test)]
mod tests {
    use super::super::row::Better;
    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn a_curve_keeps_inside_its_frame_and_a_lower_figure_is_drawn_lower() {
        let mut ours = row("send_latency_p50", "gort", Better::Lower, 30.0);
        ours.curve = vec![(0.0, 0.0), (0.5, 30.0), (0.99, 350.0), (1.0, 2000.0)];
        let mut peer = row("send_latency_p50", "tokio", Better::Lower, 60.0);
        peer.curve = vec![(0.5, 60.0), (0.99, 90_000.0)];
        let scale = Scale::of(&[&ours, &peer]).unwrap();
        for (fraction, value) in ours.curve.iter().chain(&peer.curve) {
            let (x, y) = (scale.across(*fraction), scale.up(*value));
            assert!((LEFT..=LEFT + WIDE).contains(&x) && (TOP..=TOP + HIGH).contains(&y));
        }
        assert!(scale.up(30.0) > scale.up(60.0), "y grows downwards");
        assert!(scale.across(0.9) < scale.across(0.99));
        let mut out = String::new();
        plot(&mut out, &[ours, peer]);
        assert!(
            out.contains("send_latency P2, ns: by percentile") && !out.contains("NaN"),
            "{out}"
        );
        assert_eq!(
            out.matches("class=\"line own\"").count(),
            2,
            "a line and its legend"
        );
    }

    #[test]
    fn no_curve_no_plot() {
        let mut out = String::new();
        plot(&mut out, &[row("yield", "gort", Better::Lower, 30.0)]);
        assert!(out.is_empty());
    }
}
