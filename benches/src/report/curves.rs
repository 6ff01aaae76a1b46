//! Curves: one table of slopes, and a picture and the points of each.

use std::fmt::Write;

use super::Page;
use super::fit::Line;
use super::svg::{Trace, plot};
use crate::results::{Curve, Series};
use crate::stats::Spread;

/// The line through the medians of a series; over the tenfolds where the curve says so.
pub(super) fn fitted(curve: &Curve, series: &Series) -> Line {
    let place = |x: f64| if curve.tenfold { x.log10() } else { x };
    let median = |found: &[f64]| Spread::of(found.iter().copied()).median;
    let points: Vec<_> = series.points.iter().map(|point| (place(point.x), median(&point.found))).collect();
    Line::through(&points)
}

/// Writes the section.
pub(super) fn section(text: &mut String, curves: &[Curve]) {
    if curves.is_empty() {
        return;
    }
    // A string takes every write.
    let _ = write!(
        text,
        "\n## Growth\n\nThe slope is that of the straight line that fits the medians best.\n\n\
         | what grows | line | points | slope | wanted | |\n|---|---|---:|---:|---|---|\n"
    );
    for curve in curves {
        for (place, series) in curve.series.iter().enumerate() {
            let slope = fitted(curve, series).slope * curve.scale;
            // What is wanted is wanted of the first line; the others stand beside it.
            let verdict = match curve.most {
                Some(most) if place == 0 => {
                    if slope <= most {
                        "reached"
                    } else {
                        "**not reached**"
                    }
                }
                Some(_) | None => "",
            };
            let wanted = if place == 0 { &curve.wanted } else { "" };
            let count = series.points.len();
            let _ = writeln!(
                text,
                "| {} | {} | {count} | {} {} | {wanted} | {verdict} |",
                curve.x,
                series.name,
                significant(slope),
                curve.unit
            );
        }
    }
    curves.iter().for_each(|curve| points(text, curve));
}

fn points(text: &mut String, curve: &Curve) {
    let _ = write!(text, "\n### {}\n\n![{}]({})\n\n| {} |", curve.name, curve.name, name(curve), curve.x);
    curve.series.iter().for_each(|series| {
        let _ = write!(text, " {}: {} |", series.name, curve.y);
    });
    let _ = writeln!(text, "\n|---:|{}", "---:|".repeat(curve.series.len()));
    let longest = curve.series.iter().map(|series| series.points.len()).max().unwrap_or_default();
    for place in 0..longest {
        let x = curve.series.iter().find_map(|series| series.points.get(place)).map(|point| point.x);
        let _ = write!(text, "| {} |", x.unwrap_or_default());
        for series in &curve.series {
            let found = series.points.get(place).map(|point| Spread::of(point.found.iter().copied()));
            let said = found.map(|Spread { min, median, max }| match min == max {
                true => format!("{median:.2}"),
                false => format!("{median:.2} [{min:.2} .. {max:.2}]"),
            });
            let _ = write!(text, " {} |", said.unwrap_or_default());
        }
        text.push('\n');
    }
}

/// Three digits that say something.
fn significant(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.5}"),
    }
}

/// Its picture.
pub(super) fn picture(curve: &Curve) -> Page {
    let trace = |series: &Series| Trace {
        label: series.name.clone(),
        line: fitted(curve, series),
        points: series.points.iter().map(|point| (point.x, Spread::of(point.found.iter().copied()))).collect(),
    };
    let traces: Vec<_> = curve.series.iter().map(trace).collect();
    Page { name: name(curve), text: plot(&curve.x, &curve.y, curve.tenfold, &traces) }
}

fn name(curve: &Curve) -> String {
    format!("curve-{}.svg", curve.name)
}
