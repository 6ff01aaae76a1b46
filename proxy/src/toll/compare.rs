//! What became dearer or cheaper since another measurement.
//!
//! Filters are paired by name, those of one name in their order. Counts are compared as they are. Times are compared by what
//! they were over those of a filter that does nothing, round by round, and by themselves: a machine that was slower for both
//! is no change, neither is what happened to the other filter alone, nor what some rounds of either measurement show too.

use serde::Serialize;

use crate::toll::report::{FilterToll, Report, Turns};

/// Rounds below which nothing is said of times.
const ROUNDS: usize = 5;
/// Differences below this, in hundredths, are none: where a program is put in memory makes nearly as much of one.
const LEAST: f64 = 10.0;
/// How much of it the times themselves must show, in hundredths.
const LEAST_ITSELF: f64 = 5.0;
/// How far apart all turns of starts and compilations have to lie, of which there are few: one over the other.
const FEW: f64 = 1.25;

/// What came of comparing two measurements.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What was not alike when they were made.
    pub differences: Vec<Difference>,
    /// What changed of the filters.
    pub changes: Vec<Change>,
}

/// Something that was not alike. Times are not compared where the machine or the build was another one, and memory is not
/// where the number of exchanges was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// The version of this program; the one before.
    Version(String),
    /// The machine.
    Machine,
    /// One program was built with optimisation, the other without.
    Build,
    /// The request.
    Request,
    /// The configuration of this filter.
    Config(String),
    /// The number of exchanges of this filter.
    Requests(String),
    /// This filter was measured before alone.
    Gone(String),
    /// This filter is measured now alone.
    New(String),
}

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
    /// How much more it is, in hundredths; less is below zero. For times it is what they are over those of a filter that does
    /// nothing.
    pub percent: f64,
}

/// What is compared. All but `Memory`, `Hostcalls` and `Copied` are nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// The median of all exchanges.
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
    /// Loading of code that was kept.
    Load,
}

/// Why two measurements cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incomparable {
    /// Their figures mean different things.
    #[error("it was written by another version of this program, whose figures mean something else")]
    Format,
    /// No filter is in both.
    #[error("it has none of these filters")]
    Filters,
}

/// What changed, filter by filter.
///
/// # Errors
/// See [`Incomparable`].
pub fn compare(before: &Report, after: &Report) -> Result<Comparison, Incomparable> {
    if before.format != after.format {
        return Err(Incomparable::Format);
    }
    let pairs = pairs(before, after);
    if !pairs.iter().any(|pair| matches!(pair, (Some(_), Some(_)))) {
        return Err(Incomparable::Filters);
    }
    let mut differences = of_reports(before, after);
    let is_timed = !differences.iter().any(|found| matches!(found, Difference::Machine | Difference::Build));
    let mut changes = Vec::new();
    for pair in pairs {
        match pair {
            (Some(before), Some(after)) => {
                differences.extend(of_filters(before, after));
                changes.extend(counts(before, after));
                changes.extend(is_timed.then(|| times(before, after)).into_iter().flatten());
            }
            (Some(before), None) => differences.push(Difference::Gone(before.name.clone())),
            (None, Some(after)) => differences.push(Difference::New(after.name.clone())),
            (None, None) => {}
        }
    }
    Ok(Comparison { differences, changes })
}

type Pair<'a> = (Option<&'a FilterToll>, Option<&'a FilterToll>);

/// Those of `after` in their order, then those that are gone.
fn pairs<'a>(before: &'a Report, after: &'a Report) -> Vec<Pair<'a>> {
    let mut left: Vec<&FilterToll> = before.filters.iter().collect();
    let mut pairs: Vec<Pair<'a>> = Vec::new();
    for filter in &after.filters {
        let place = left.iter().position(|known| known.name == filter.name);
        pairs.push((place.map(|place| left.remove(place)), Some(filter)));
    }
    pairs.extend(left.into_iter().map(|gone| (Some(gone), None)));
    pairs
}

fn of_reports(before: &Report, after: &Report) -> Vec<Difference> {
    let found = [
        (before.tollgate != after.tollgate, Difference::Version(before.tollgate.clone())),
        (before.machine != after.machine, Difference::Machine),
        (before.optimised != after.optimised, Difference::Build),
        (before.exchange != after.exchange, Difference::Request),
    ];
    found.into_iter().filter_map(|(differs, what)| differs.then_some(what)).collect()
}

fn of_filters(before: &FilterToll, after: &FilterToll) -> impl Iterator<Item = Difference> {
    let found = [
        (before.config_sha256 != after.config_sha256, Difference::Config(after.name.clone())),
        (before.requests != after.requests, Difference::Requests(after.name.clone())),
    ];
    found.into_iter().filter_map(|(differs, what)| differs.then_some(what))
}

fn counts(before: &FilterToll, after: &FilterToll) -> Vec<Change> {
    let memory = |toll: &FilterToll| if before.requests == after.requests { toll.memory_last as f64 } else { 0.0 };
    let figures = [
        (Figure::Hostcalls, before.hostcalls_of_one(), after.hostcalls_of_one()),
        (Figure::Copied, before.copied, after.copied),
        (Figure::Memory, memory(before), memory(after)),
    ];
    let changed = figures.into_iter().filter(|(_, before, after)| before != after);
    let change = |(figure, before, now)| {
        let percent = percent_more(before, now);
        Change { filter: after.name.clone(), figure, before, after: now, percent }
    };
    changed.map(change).collect()
}

fn times(before: &FilterToll, after: &FilterToll) -> Vec<Change> {
    let exchange = |toll: &FilterToll| Timed { median: toll.request.median, ratios: toll.ratios.clone() };
    let load = |toll: &FilterToll| toll.compile_cached.as_ref().map(Timed::from).unwrap_or_default();
    let figures = [
        (Figure::Exchange, 1.0, exchange(before), exchange(after)),
        (Figure::Start, FEW, Timed::from(&before.start), Timed::from(&after.start)),
        (Figure::Compile, FEW, Timed::from(&before.compile_cold), Timed::from(&after.compile_cold)),
        (Figure::Load, FEW, load(before), load(after)),
    ];
    let change = |(figure, gap, before, now): (Figure, f64, Timed, Timed)| {
        let percent = moved(&before.ratios, &now.ratios, gap).filter(|percent| percent.abs() >= LEAST)?;
        let itself = percent_more(before.median, now.median) * percent.signum();
        (itself >= LEAST_ITSELF).then(|| Change {
            filter: after.name.clone(),
            figure,
            before: before.median,
            after: now.median,
            percent,
        })
    };
    figures.into_iter().filter_map(change).collect()
}

/// From nothing it is all of it.
fn percent_more(before: f64, after: f64) -> f64 {
    if before == 0.0 { 100.0 } else { (after / before - 1.0) * 100.0 }
}

/// Something that took time, in nanoseconds and over what it took with a filter that does nothing.
#[derive(Default)]
struct Timed {
    median: f64,
    ratios: Vec<f64>,
}

impl From<&Turns> for Timed {
    fn from(turns: &Turns) -> Self {
        Self { median: turns.median, ratios: turns.ratios.clone() }
    }
}

/// By how much the middle of some ratios moved, in hundredths, where the least of the larger is at least `gap` times the most of
/// the smaller: but for one in ten at either end, which something else may have disturbed.
fn moved(before: &[f64], after: &[f64], gap: f64) -> Option<f64> {
    if before.len().min(after.len()) < ROUNDS {
        return None;
    }
    let (before, after) = (sorted(before), sorted(after));
    let is_apart = |less: &[f64], more: &[f64]| Some(more.first()? > &(less.last()? * gap));
    let (was, is) = (before.get(before.len() / 2)?, after.get(after.len() / 2)?);
    let moved = is_apart(&before, &after)? || is_apart(&after, &before)?;
    (moved && *was > 0.0).then(|| percent_more(*was, *is))
}

fn sorted(ratios: &[f64]) -> Vec<f64> {
    let mut sorted = ratios.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ends = sorted.len() / 10;
    sorted.get(ends..sorted.len() - ends).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toll::report::tests::report;

    /// The report with everything that is timed of its filter that much slower; the filter that does nothing is as it was.
    fn slower(by: f64) -> Report {
        let mut report = report();
        let filter = &mut report.filters[0];
        filter.request.median *= by;
        filter.ratios.iter_mut().for_each(|ratio| *ratio *= by);
        report
    }

    fn changes(before: &Report, after: &Report) -> Vec<(Figure, f64)> {
        let found = compare(before, after).unwrap().changes;
        found.iter().map(|change| (change.figure, change.percent.round())).collect()
    }

    #[test]
    fn what_became_slower_or_faster_is_named() {
        assert_eq!(changes(&report(), &slower(1.5)), [(Figure::Exchange, 50.0)]);
        assert_eq!(changes(&slower(1.5), &report()), [(Figure::Exchange, -33.0)]);
    }

    #[test]
    fn a_machine_that_is_slower_for_both_is_no_change() {
        let mut after = report();
        after.filters[0].request.median *= 3.0;
        after.filters[0].noop.median *= 3.0;

        assert_eq!(changes(&report(), &after), []);
    }

    #[test]
    fn a_filter_that_does_nothing_and_was_faster_alone_is_no_change() {
        let mut after = slower(1.5);
        after.filters[0].request.median = report().filters[0].request.median * 1.04;

        assert_eq!(changes(&report(), &after), []);
        after.filters[0].request.median = report().filters[0].request.median * 1.06;
        assert_eq!(changes(&report(), &after), [(Figure::Exchange, 50.0)]);
        after.filters[0].request.median = report().filters[0].request.median * 0.5;
        assert_eq!(changes(&report(), &after), []);
    }

    #[test]
    fn what_rounds_of_both_show_is_no_change() {
        let mut after = slower(1.5);
        // A tenth of the rounds may be anything; with a second one the two have something in common.
        after.filters[0].ratios[0] = 2.9;
        assert_eq!(changes(&report(), &after), [(Figure::Exchange, 50.0)]);
        after.filters[0].ratios[1] = 2.9;
        assert_eq!(changes(&report(), &after), []);
    }

    #[test]
    fn a_difference_at_the_bound_is_named_and_one_below_it_is_not() {
        let flat = |ratio: f64| {
            let mut report = slower(ratio);
            report.filters[0].ratios = vec![ratio; 10];
            report
        };

        assert_eq!(changes(&flat(1.0), &flat(1.1001)), [(Figure::Exchange, 10.0)]);
        assert_eq!(changes(&flat(1.0), &flat(1.0999)), []);
    }

    #[test]
    fn few_rounds_say_nothing_of_times() {
        let few = |count, by| {
            let mut report = slower(by);
            report.filters[0].ratios.truncate(count);
            report
        };

        assert_eq!(changes(&few(4, 1.0), &few(10, 3.0)), []);
        assert_eq!(changes(&few(5, 1.0), &few(5, 3.0)), [(Figure::Exchange, 200.0)]);
    }

    #[test]
    fn starts_and_compilations_are_compared_by_their_turns() {
        let mut after = report();
        let longer = |turns: &mut Turns, by: f64| {
            turns.median *= by;
            turns.ratios.iter_mut().for_each(|ratio| *ratio *= by);
        };
        longer(&mut after.filters[0].start, 1.5);
        longer(&mut after.filters[0].compile_cold, 1.6);
        longer(after.filters[0].compile_cached.as_mut().unwrap(), 0.5);

        assert_eq!(changes(&report(), &after), [(Figure::Compile, 60.0), (Figure::Load, -50.0)]);
    }

    #[test]
    fn counts_do_not_wander() {
        let mut after = report();
        after.filters[0].copied += 1.0;
        after.filters[0].memory_last += 65_536;

        assert_eq!(changes(&report(), &after), [(Figure::Copied, 5.0), (Figure::Memory, 6.0)]);
    }

    #[test]
    fn what_was_not_alike_is_said_and_what_depends_on_it_is_left_out() {
        let mut after = slower(2.0);
        after.machine.cores += 1;
        after.exchange.request_sha256.push('0');
        after.filters[0].config_sha256.push('0');
        after.filters[0].requests -= 1;
        after.filters[0].memory_last += 65_536;

        let found = compare(&report(), &after).unwrap();

        let of_a = || "a".to_owned();
        let expected =
            [Difference::Machine, Difference::Request, Difference::Config(of_a()), Difference::Requests(of_a())];
        assert_eq!((&found.differences[..], &found.changes[..]), (&expected[..], &[][..]));
        let mut built = slower(2.0);
        built.optimised = false;
        built.tollgate = "0.0.9".to_owned();
        let found = compare(&built, &report()).unwrap();
        assert_eq!(found.differences, [Difference::Version("0.0.9".to_owned()), Difference::Build]);
        assert_eq!(found.changes, []);
    }

    #[test]
    fn filters_of_one_name_are_paired_in_their_order_and_others_are_named() {
        let with = |filters: &[(&str, f64)]| {
            let mut all = report();
            let one = all.filters.remove(0);
            let filter =
                |(name, copied): &(&str, f64)| FilterToll { name: (*name).to_owned(), copied: *copied, ..one.clone() };
            all.filters = filters.iter().map(filter).collect();
            all
        };
        let (before, after) =
            (with(&[("a", 1.0), ("b", 2.0), ("a", 3.0)]), with(&[("a", 1.0), ("a", 4.0), ("c", 5.0)]));

        let found = compare(&before, &after).unwrap();

        assert_eq!(found.differences, [Difference::New("c".to_owned()), Difference::Gone("b".to_owned())]);
        assert_eq!(found.changes.len(), 1);
        assert_eq!((found.changes[0].before, found.changes[0].after), (3.0, 4.0));
    }

    #[test]
    fn what_has_nothing_in_common_is_not_compared() {
        let (mut format, mut filters) = (report(), report());
        format.format += 1;
        filters.filters.clear();

        assert_eq!(compare(&format, &report()), Err(Incomparable::Format));
        assert_eq!(compare(&filters, &report()), Err(Incomparable::Filters));
    }
}
