//! Two runs beside each other. Machines and days differ, so what is compared is what each target costs over another of its
//! own run: over nginx where that took part, else over the first.

use std::fmt::Write;

use super::curves::slopes;
use super::verdict::change;
use crate::results::{CaseResult, Curve, Results};

/// Over whom, where it took part in both.
const REFERENCE: &str = "nginx";

/// A table of everything that both have, with what changed marked.
pub fn compare(old: &Results, new: &Results) -> String {
    let mut text = format!("# {} against {}\n\n", new.facts.date, old.facts.date);
    // A string takes every write.
    let _ = write!(
        text,
        "Old: {}; {}\nNew: {}; {}\n\n| case | target | CPU over | old | new | change |\n|---|---|---|---:|---:|---:|\n",
        old.facts.versions.join(", "),
        old.facts.machine,
        new.facts.versions.join(", "),
        new.facts.machine
    );
    for case in &new.cases {
        if let Some(before) = old.case(&case.name) {
            rows(&mut text, before, case);
        }
    }
    let _ = write!(text, "\n| curve | line | slope in | old | new | change |\n|---|---|---|---:|---:|---:|\n");
    for curve in &new.curves {
        if let Some(before) = old.curves.iter().find(|before| before.name == curve.name) {
            lines(&mut text, before, curve);
        }
    }
    text
}

fn rows(text: &mut String, old: &CaseResult, new: &CaseResult) {
    let both = |name: &str| Some((old.row(name)?, new.row(name)?));
    let first = new.rows.first().map(|row| row.target.as_str()).unwrap_or_default();
    let reference = if both(REFERENCE).is_some() { REFERENCE } else { first };
    let Some(over) = both(reference) else { return };
    for row in new.rows.iter().filter(|row| row.target != reference) {
        if let Some((before, after)) = both(&row.target) {
            let (before, after) = (before.cpu_over(over.0), after.cpu_over(over.1));
            let percent = format!("{:+.0} %", (after.median / before.median - 1.0) * 100.0);
            let change = loud(percent, change(before, after, before.median));
            let (case, target, before, after) = (&new.name, &row.target, before.median, after.median);
            let _ = writeln!(text, "| {case} | {target} | {reference} | {before:.2} | {after:.2} | {change} |");
        }
    }
}

fn lines(text: &mut String, old: &Curve, new: &Curve) {
    for series in &new.series {
        let Some(before) = old.series.iter().find(|before| before.name == series.name) else { continue };
        let (before, after) = (slopes(old, before), slopes(new, series));
        // A slope may be next to nothing, or below it: what counts is how much of what is wanted the difference is.
        let measure = new.most.unwrap_or_else(|| before.median.abs().max(after.median.abs()));
        let difference = format!("{:+.3}", after.median - before.median);
        let change = loud(difference, change(before, after, measure));
        let (curve, line, unit, before, after) = (&new.name, &series.name, &new.unit, before.median, after.median);
        let _ = writeln!(text, "| {curve} | {line} | {unit} | {before:.3} | {after:.3} | {change} |");
    }
}

fn loud(told: String, change: Option<&str>) -> String {
    change.map_or(told.clone(), |change| format!("**{told}, {change}**"))
}
