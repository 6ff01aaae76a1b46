//! What became dearer or cheaper since another measurement.
//!
//! Filters are paired by name, those of one name in their order. Counts that come of dividing are compared within a
//! hundredth, sizes of memory as they are, and times as `moved` has it. Where other exchanges were measured, because they end
//! in another way, times say nothing of each other.

use serde::Serialize;

use crate::toll::moved::{Answer, Bounds, Timed, percent_more};
use crate::toll::report::{CallbackToll, FilterToll, Report};

/// Differences of counts below this, in hundredths, are none: they are means of exchanges, of which there were more or fewer.
const COUNTED: f64 = 1.0;
/// Of a median of thousands.
const MANY: Bounds = Bounds { gap: 1.0 };
/// Of what was done a few times, or takes no longer than reading a clock does, or is the slowest of many.
const FEW: Bounds = Bounds { gap: 1.25 };

/// What came of comparing two measurements.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What was not alike when they were made.
    pub differences: Vec<Difference>,
    /// What changed of the filters.
    pub changes: Vec<Change>,
    /// Of what nothing can be said.
    pub untold: Vec<Untold>,
}

/// Something that was not alike. Times are not compared where the machine or the build was another one, or where exchanges
/// ended in another way; memory after all exchanges is not where their number was.
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
    /// What becomes of exchanges through this filter.
    Outcome(String),
    /// This filter is in the other measurement, and not in this one.
    Gone(String),
    /// This filter is in this measurement, and not in the other one.
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

/// A figure of a filter that was not compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Untold {
    /// The filter.
    pub filter: String,
    /// The figure.
    pub figure: Figure,
    /// What stands in the way.
    pub why: Why,
}

/// Why a figure was not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// One of the measurements has too few turns of it.
    Few,
    /// One of the measurements has none of it.
    Alone,
}

/// What is compared. All but `Hostcalls`, `Copied` and the two of memory are nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// The median of all exchanges.
    Exchange,
    /// What one of a hundred exchanges exceeds.
    Slowest,
    /// The median of this callback.
    Callback(String),
    /// Hostcalls of an exchange.
    Hostcalls,
    /// Bytes that an exchange has copied.
    Copied,
    /// Memory after the first, in bytes.
    MemoryFirst,
    /// Memory after all of them, in bytes.
    Memory,
    /// A start.
    Start,
    /// The part of it that makes an instance.
    Instantiate,
    /// A VM from an image.
    Image,
    /// A compilation.
    Compile,
    /// Loading of code that was kept.
    Load,
}

/// What changed, filter by filter.
pub fn compare(before: &Report, after: &Report) -> Comparison {
    let differences = of_reports(before, after);
    let is_timed = !differences.iter().any(|found| matches!(found, Difference::Machine | Difference::Build));
    let mut comparison = Comparison { differences, changes: Vec::new(), untold: Vec::new() };
    for pair in pairs(before, after) {
        match pair {
            (Some(before), Some(after)) => comparison.of_pair(before, after, is_timed),
            (Some(before), None) => comparison.differences.push(Difference::Gone(before.name.clone())),
            (None, Some(after)) => comparison.differences.push(Difference::New(after.name.clone())),
            (None, None) => {}
        }
    }
    comparison
}

impl Comparison {
    fn of_pair(&mut self, before: &FilterToll, after: &FilterToll, is_timed: bool) {
        let differences: Vec<Difference> = of_filters(before, after).collect();
        let ends_alike = !differences.iter().any(|found| matches!(found, Difference::Outcome(_)));
        self.differences.extend(differences);
        self.changes.extend(counts(before, after));
        if is_timed && ends_alike {
            self.times(before, after);
        }
    }

    fn times(&mut self, before: &FilterToll, after: &FilterToll) {
        let filter = &after.name;
        for (figure, bounds, was, is) in timed(before, after) {
            let (was, is) = match (was, is) {
                (Some(was), Some(is)) => (was, is),
                (None, None) => continue,
                _ => {
                    self.untold.push(Untold { filter: filter.clone(), figure, why: Why::Alone });
                    continue;
                }
            };
            match was.to(&is, bounds) {
                Answer::Same => {}
                Answer::Few => self.untold.push(Untold { filter: filter.clone(), figure, why: Why::Few }),
                Answer::Moved(percent) => self.changes.push(Change {
                    filter: filter.clone(),
                    figure,
                    before: was.median,
                    after: is.median,
                    percent,
                }),
            }
        }
    }
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
        (!before.ends_as(after), Difference::Outcome(after.name.clone())),
    ];
    found.into_iter().filter_map(|(differs, what)| differs.then_some(what))
}

fn counts(before: &FilterToll, after: &FilterToll) -> Vec<Change> {
    let memory = |toll: &FilterToll| if before.requests == after.requests { toll.memory_last as f64 } else { 0.0 };
    let first = |toll: &FilterToll| toll.memory_first as f64;
    let figures = [
        (Figure::Hostcalls, COUNTED, before.hostcalls_of_one(), after.hostcalls_of_one()),
        (Figure::Copied, COUNTED, before.copied, after.copied),
        (Figure::MemoryFirst, 0.0, first(before), first(after)),
        (Figure::Memory, 0.0, memory(before), memory(after)),
    ];
    let change = |(figure, bound, was, is): (Figure, f64, f64, f64)| {
        let percent = percent_more(was, is);
        (percent.abs() > bound).then(|| Change { filter: after.name.clone(), figure, before: was, after: is, percent })
    };
    figures.into_iter().filter_map(change).collect()
}

/// A figure with what it must exceed, as it was and as it is.
type Figures = (Figure, Bounds, Option<Timed>, Option<Timed>);

fn timed(before: &FilterToll, after: &FilterToll) -> Vec<Figures> {
    let of = |figure, bounds, timed: fn(&FilterToll) -> Option<Timed>| (figure, bounds, timed(before), timed(after));
    let mut figures = vec![
        of(Figure::Exchange, MANY, |toll| Some(Timed::new(toll.request.median, &toll.ratios))),
        of(Figure::Slowest, FEW, |toll| Some(Timed::new(toll.request.p99, &toll.slowest_ratios))),
        of(Figure::Start, FEW, |toll| Some(Timed::from(&toll.start))),
        of(Figure::Instantiate, FEW, |toll| Some(Timed::from(&toll.instantiate))),
        of(Figure::Image, FEW, |toll| toll.image.as_ref().map(Timed::from)),
        of(Figure::Compile, FEW, |toll| Some(Timed::from(&toll.compile_cold))),
        of(Figure::Load, FEW, |toll| toll.compile_cached.as_ref().map(Timed::from)),
    ];
    let gone = before.callbacks.iter().filter(|callback| after.callback(&callback.name).is_none());
    figures.extend(after.callbacks.iter().chain(gone).map(|callback| {
        let timed = |toll: &FilterToll| toll.callback(&callback.name).map(Timed::from);
        (Figure::Callback(callback.name.clone()), FEW, timed(before), timed(after))
    }));
    figures
}

impl From<&CallbackToll> for Timed {
    fn from(callback: &CallbackToll) -> Self {
        Self::new(callback.time.median, &callback.ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toll::report::Turns;
    use crate::toll::report::tests::report;
    use crate::toll::report::{Others, Outcome};

    /// The report with everything that is timed of its filter that much slower; the filter that does nothing is as it was.
    fn slower(by: f64) -> Report {
        let mut report = report();
        let filter = &mut report.filters[0];
        filter.request.median *= by;
        filter.ratios.iter_mut().for_each(|ratio| *ratio *= by);
        report
    }

    fn changes(before: &Report, after: &Report) -> Vec<(Figure, f64)> {
        let found = compare(before, after).changes;
        found.into_iter().map(|change| (change.figure, change.percent.round())).collect()
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
    fn few_rounds_say_nothing_of_times_and_that_is_said() {
        let few = |count, by| {
            let mut report = slower(by);
            report.filters[0].ratios.truncate(count);
            report
        };
        let untold = |figure, why| Untold { filter: "a".to_owned(), figure, why };

        let found = compare(&few(4, 1.0), &few(10, 3.0));
        assert_eq!((found.changes, found.untold), (vec![], vec![untold(Figure::Exchange, Why::Few)]));
        let found = compare(&few(5, 1.0), &few(5, 3.0));
        assert_eq!((found.changes.len(), found.untold), (1, vec![]));
        let mut imaged = report();
        imaged.filters[0].image = Some(imaged.filters[0].start.clone());
        imaged.filters[0].callbacks[0].name = "log".to_owned();
        let callback = |name: &str| untold(Figure::Callback(name.to_owned()), Why::Alone);
        let expected = [untold(Figure::Image, Why::Alone), callback("log"), callback("request_headers")];
        assert_eq!(compare(&report(), &imaged).untold, expected);
    }

    #[test]
    fn the_slowest_exchanges_and_each_callback_are_compared() {
        let mut after = report();
        let filter = &mut after.filters[0];
        filter.request.p99 *= 1.5;
        filter.slowest_ratios.iter_mut().for_each(|ratio| *ratio *= 1.5);
        let callback = &mut filter.callbacks[0];
        callback.time.median *= 0.5;
        callback.ratios.iter_mut().for_each(|ratio| *ratio *= 0.5);

        let headers = Figure::Callback("request_headers".to_owned());
        assert_eq!(changes(&report(), &after), [(Figure::Slowest, 50.0), (headers, -50.0)]);
        // Of these it takes more to be none of the measurements' wandering.
        let mut near = report();
        near.filters[0].request.p99 *= 1.3;
        near.filters[0].slowest_ratios.iter_mut().for_each(|ratio| *ratio *= 1.3);
        assert_eq!(changes(&report(), &near), []);
    }

    #[test]
    fn other_ends_are_named_and_their_times_not_compared() {
        let mut after = slower(3.0);
        let others = |exchanges| vec![Others { outcome: Outcome::Answers(403), exchanges }];
        after.filters[0].others = others(5_001);

        let found = compare(&report(), &after);
        assert_eq!((found.differences, found.changes), (vec![Difference::Outcome("a".to_owned())], vec![]));
        after.filters[0].others = others(5_000);
        assert_eq!(changes(&report(), &after), [(Figure::Exchange, 200.0)]);
    }

    #[test]
    fn starts_and_compilations_are_compared_by_their_turns() {
        let mut after = report();
        let longer = |turns: &mut Turns, by: f64| {
            turns.median *= by;
            turns.ratios.iter_mut().for_each(|ratio| *ratio *= by);
        };
        longer(&mut after.filters[0].start, 1.5);
        longer(&mut after.filters[0].instantiate, 1.7);
        longer(&mut after.filters[0].compile_cold, 1.6);
        longer(after.filters[0].compile_cached.as_mut().unwrap(), 0.5);

        let expected = [(Figure::Instantiate, 70.0), (Figure::Compile, 60.0), (Figure::Load, -50.0)];
        assert_eq!(changes(&report(), &after), expected);
    }

    #[test]
    fn counts_wander_by_a_hundredth_and_memory_does_not() {
        let mut after = report();
        after.filters[0].copied += 1.0;
        after.filters[0].memory_first += 65_536;
        after.filters[0].memory_last += 65_536;

        let memory = [(Figure::MemoryFirst, 6.0), (Figure::Memory, 6.0)];
        assert_eq!(changes(&report(), &after)[1..], memory);
        assert_eq!(changes(&report(), &after)[0], (Figure::Copied, 5.0));
        after.filters[0].copied = report().filters[0].copied * 1.0099;
        assert_eq!(changes(&report(), &after), memory);
        after.filters[0].copied = report().filters[0].copied * 1.0101;
        assert_eq!(changes(&report(), &after)[0], (Figure::Copied, 1.0));
    }

    #[test]
    fn what_was_not_alike_is_said_and_what_depends_on_it_is_left_out() {
        let mut after = slower(2.0);
        after.machine.cores += 1;
        after.exchange.request_sha256.push('0');
        after.filters[0].config_sha256.push('0');
        after.filters[0].requests -= 1;
        after.filters[0].memory_last += 65_536;

        let found = compare(&report(), &after);

        let of_a = || "a".to_owned();
        let expected =
            [Difference::Machine, Difference::Request, Difference::Config(of_a()), Difference::Requests(of_a())];
        assert_eq!((&found.differences[..], &found.changes[..]), (&expected[..], &[][..]));
        let mut built = slower(2.0);
        built.optimised = false;
        built.tollgate = "0.0.9".to_owned();
        let found = compare(&built, &report());
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

        let found = compare(&before, &after);

        assert_eq!(found.differences, [Difference::New("c".to_owned()), Difference::Gone("b".to_owned())]);
        assert_eq!(found.changes.len(), 1);
        assert_eq!((found.changes[0].before, found.changes[0].after), (3.0, 4.0));
    }
}
