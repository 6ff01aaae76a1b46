//! Two runs beside each other. Machines and days differ, so what is compared is what each target costs over another of its
//! own run: over nginx where that took part, else over the first.

use std::fmt::Write;

use super::curves::fitted;
use crate::results::{CaseResult, Curve, Results, Row};

/// More than this of a change is said loudly; less is noise.
const NOISE: f64 = 0.05;
/// Over whom, where it took part in both.
const REFERENCE: &str = "nginx";

/// A table of everything that both have, with what changed by more than a twentieth marked.
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
            slopes(&mut text, before, curve);
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
            let ratio = |row: &Row, over: &Row| row.cpu_over(over).median;
            let (before, after) = (ratio(before, over.0), ratio(after, over.1));
            let change = change(before, after);
            let _ =
                writeln!(text, "| {} | {} | {reference} | {before:.2} | {after:.2} | {change} |", new.name, row.target);
        }
    }
}

fn slopes(text: &mut String, old: &Curve, new: &Curve) {
    for series in &new.series {
        let Some(before) = old.series.iter().find(|before| before.name == series.name) else { continue };
        let (before, after) = (fitted(old, before).slope * old.scale, fitted(new, series).slope * new.scale);
        let change = change(before, after);
        let _ =
            writeln!(text, "| {} | {} | {} | {before:.3} | {after:.3} | {change} |", new.name, series.name, new.unit);
    }
}

/// In hundredths; loud where it is more than noise.
fn change(old: f64, new: f64) -> String {
    let change = new / old - 1.0;
    match change {
        change if !change.is_finite() => String::new(),
        change if change > NOISE => format!("**{:+.0} %, dearer**", change * 100.0),
        change if change < -NOISE => format!("**{:+.0} %, cheaper**", change * 100.0),
        change => format!("{:+.0} %", change * 100.0),
    }
}
