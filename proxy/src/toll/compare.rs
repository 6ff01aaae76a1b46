//! What became dearer or cheaper since another measurement of the same filters.

use serde::Serialize;

use crate::toll::report::{FilterToll, Report};

/// A difference below this, in hundredths, is none.
const LEAST: f64 = 10.0;

/// A figure of a filter that changed by more than both measurements wander.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The filter.
    pub filter: String,
    /// The figure.
    pub figure: Figure,
    /// As it was.
    pub before: f64,
    /// As it is.
    pub after: f64,
}

/// What is compared. All but `Memory`, `Hostcalls` and `Copied` are nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// The middle of all exchanges.
    Exchange,
    /// Hostcalls of an exchange.
    Hostcalls,
    /// Bytes that an exchange has copied.
    Copied,
    /// Memory after all of them, in bytes.
    Memory,
    /// A start.
    Start,
    /// A compilation.
    Compile,
}

/// Why two measurements cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incomparable {
    /// Their figures mean different things.
    #[error("it was written by another version of this program, whose figures mean something else")]
    Format,
    /// What passed was not the same.
    #[error("it was measured with another request")]
    Exchange,
    /// No filter is in both.
    #[error("it has none of these filters")]
    Filters,
}

impl Change {
    /// How much more it is, in hundredths; less is below zero. From nothing it is all of it.
    pub fn percent(&self) -> f64 {
        if self.before == 0.0 { 100.0 } else { (self.after / self.before - 1.0) * 100.0 }
    }
}

/// What changed, filter by filter.
///
/// # Errors
/// See [`Incomparable`].
pub fn compare(before: &Report, after: &Report) -> Result<Vec<Change>, Incomparable> {
    if before.format != after.format {
        return Err(Incomparable::Format);
    }
    if before.exchange != after.exchange {
        return Err(Incomparable::Exchange);
    }
    let known = |name: &str| before.filters.iter().find(|filter| filter.name == name);
    let pairs: Vec<_> = after.filters.iter().filter_map(|filter| Some((known(&filter.name)?, filter))).collect();
    if pairs.is_empty() {
        return Err(Incomparable::Filters);
    }
    let wander = wander(before, after);
    Ok(pairs.into_iter().flat_map(|(before, after)| changes(before, after, wander)).collect())
}

/// By how much times may differ although nothing changed: what rounds of one run differ by, and what a filter that does
/// nothing differs by between the two.
fn wander(before: &Report, after: &Report) -> f64 {
    let drift = (after.noop.median / before.noop.median.max(1.0) - 1.0).abs() * 100.0;
    LEAST.max(before.noise_percent).max(after.noise_percent).max(drift)
}

fn changes(before: &FilterToll, after: &FilterToll, wander: f64) -> Vec<Change> {
    let figures = [
        (Figure::Exchange, wander, before.request.median, after.request.median),
        (Figure::Hostcalls, 0.0, before.hostcalls_of_one(), after.hostcalls_of_one()),
        (Figure::Copied, 0.0, before.copied as f64, after.copied as f64),
        (Figure::Memory, LEAST, before.memory_last as f64, after.memory_last as f64),
        (Figure::Start, wander, before.start, after.start),
        (Figure::Compile, wander, before.compile_cold, after.compile_cold),
    ];
    let changes = figures.into_iter().map(|(figure, wander, before, now)| {
        (wander, Change { filter: after.name.clone(), figure, before, after: now })
    });
    changes
        .filter(|(wander, change)| change.before != change.after && change.percent().abs() > *wander)
        .map(|(_, change)| change)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toll::report::tests::report;

    fn slower(by: f64) -> Report {
        let mut report = report();
        report.filters[0].request.median *= by;
        report
    }

    #[test]
    fn what_became_slower_is_named() {
        let changes = compare(&report(), &slower(1.5)).unwrap();

        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].figure, changes[0].percent().round()), (Figure::Exchange, 50.0));
    }

    #[test]
    fn what_the_machine_does_is_no_change() {
        let mut after = slower(1.5);
        after.noise_percent = 60.0;
        assert_eq!(compare(&report(), &after), Ok(Vec::new()));
        after.noise_percent = 0.0;
        after.noop.median *= 1.6;
        assert_eq!(compare(&report(), &after), Ok(Vec::new()));
    }

    #[test]
    fn counts_do_not_wander() {
        let mut after = report();
        after.filters[0].copied += 1;
        after.noise_percent = 60.0;

        assert_eq!(compare(&report(), &after).unwrap()[0].figure, Figure::Copied);
    }

    #[test]
    fn what_is_not_alike_is_not_compared() {
        let (mut format, mut exchange, mut filters) = (report(), report(), report());
        format.format += 1;
        exchange.exchange.request_bytes += 1;
        filters.filters.clear();

        assert_eq!(compare(&format, &report()), Err(Incomparable::Format));
        assert_eq!(compare(&exchange, &report()), Err(Incomparable::Exchange));
        assert_eq!(compare(&filters, &report()), Err(Incomparable::Filters));
    }
}
