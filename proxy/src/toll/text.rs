//! The figures in words and tables.

use std::fmt::{self, Write};

use crate::toll::compare::{Change, Comparison, Difference, Figure, Untold, Why};
use crate::toll::report::{FilterToll, Native, Noise, Outcome, Repeated, Report, Times, Turns};
use crate::toll::series::HUNDRED;

/// Noise above which differences mean little.
const NOISY: f64 = 10.0;
/// Rounds below which nothing is said of noise.
const ROUNDS: usize = 5;

/// All filters that were measured, and where.
pub fn words(report: &Report) -> String {
    let mut text = String::new();
    for filter in &report.filters {
        // A string takes whatever is written.
        let _ = filter_words(&mut text, filter, report);
    }
    let machine = &report.machine;
    let processor = if machine.processor.is_empty() { "a processor without a name" } else { &machine.processor };
    let (architecture, cores) = (&machine.architecture, machine.cores);
    let cores = if cores == 1 { "one core".to_owned() } else { format!("{cores} cores") };
    let _ = writeln!(
        text,
        "Measured on {architecture}, {cores} of {processor}, in memory: what the proxy does around filters is not included."
    );
    if !report.optimised {
        text.push_str(
            "This program was built without optimisation, so these times are not those of a proxy in service.\n",
        );
    }
    text
}

fn filter_words(text: &mut String, filter: &FilterToll, report: &Report) -> fmt::Result {
    let short = filter.sha256.get(..12).unwrap_or_default();
    writeln!(text, "{}: {}, proxy-wasm {}, sha256 {short}…\n", filter.name, size(filter.bytes as f64), filter.abi)?;
    writeln!(text, "{}", passed(filter, report))?;
    if filter.isolated {
        writeln!(
            text,
            "Each has a VM of its own; what it takes to make that is part of it, as of the filter that does nothing."
        )?;
    }
    if let Some(broken) = &filter.failure {
        writeln!(
            text,
            "It failed in exchange {}: {}. The figures are of those before.",
            broken.exchange, broken.flaw.message
        )?;
    }
    sum(text, filter)?;
    callbacks(text, filter)?;
    hostcalls(text, filter)?;
    footnote(text, filter)?;
    let (first, last) = (size(filter.memory_first as f64), size(filter.memory_last as f64));
    writeln!(text, "\nmemory    {first} after the first exchange, {last} after {}", grouped(filter.requests))?;
    let image = filter.image.as_ref();
    let image =
        image.map_or("it has no image".to_owned(), |image| format!("{} from the image of another", turns(image)));
    writeln!(text, "start     {}, its instance {}; {image}", turns(&filter.start), turns(&filter.instantiate))?;
    let cached = filter.compile_cached.as_ref();
    let cached =
        cached.map_or("no code can be kept here".to_owned(), |cached| format!("{} from kept code", turns(cached)));
    writeln!(text, "compile   {}; {cached}\n", turns(&filter.compile_cold))?;
    noise(text, filter)
}

/// The toll, what it is made of, and what it is beside others.
fn sum(text: &mut String, filter: &FilterToll) -> fmt::Result {
    let FilterToll { request, parts, noop, .. } = filter;
    writeln!(text, "One exchange through it takes {} (median; {}).", time(request.median), p99(request))?;
    writeln!(
        text,
        "Of that, {} ({:.0} %) is the way in and out, {} ({:.0} %) the filter's own code, {} ({:.0} %) the host's: {}, {} copied.",
        time(parts.crossing),
        share(parts.crossing, request.median),
        time(parts.guest),
        share(parts.guest, request.median),
        time(parts.host),
        share(parts.host, request.median),
        counted(filter.hostcalls_of_one(), "hostcall"),
        size(filter.copied),
    )?;
    writeln!(text, "A filter with the same callbacks that does nothing takes {} ({}).", time(noop.median), p99(noop))?;
    writeln!(text, "{}\n", native(&filter.native))
}

/// The same in Rust, and what it is not.
fn native(native: &Native) -> String {
    let done = match &native.done {
        Repeated::Took(times) => format!(
            "The same reads and changes in Rust take {} ({}), without what the filter computes",
            time(times.median),
            p99(times)
        ),
        Repeated::Nothing => "It reads and changes nothing that Rust would do in its place".to_owned(),
        Repeated::TooMuch => {
            "One exchange makes more reads and changes than are done again in Rust, to compare".to_owned()
        }
    };
    let end = if native.without.is_empty() { "." } else { ". Not repeated there: " };
    let names = native.without.join(", ");
    format!("{done}{end}{names}{}", if names.is_empty() { "" } else { "." })
}

fn callbacks(text: &mut String, filter: &FilterToll) -> fmt::Result {
    let (calls, entering) = ("calls", "in and out");
    writeln!(
        text,
        "{:<24} {calls:>7} {:>9} {:>9} {entering:>10} {:>9} {:>9} {:>9} {:>9}",
        "callback", "median", "p99", "filter", "host", "hostcalls", "copied"
    )?;
    for callback in &filter.callbacks {
        let parts = &callback.parts;
        writeln!(
            text,
            "{:<24} {:>7} {:>9} {:>9} {:>10} {:>9} {:>9} {:>9} {:>9}",
            row(&callback.name),
            number(callback.calls),
            time(callback.time.median),
            marked(&callback.time),
            time(parts.crossing),
            time(parts.guest),
            time(parts.host),
            number(callback.hostcalls),
            number(callback.copied),
        )?;
    }
    Ok(())
}

fn hostcalls(text: &mut String, filter: &FilterToll) -> fmt::Result {
    if filter.hostcalls.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{:<36} {:>7} {:>9} {:>9} {:>9}", "hostcall", "calls", "median", "p99", "copied")?;
    for hostcall in &filter.hostcalls {
        let (calls, copied) = (number(hostcall.calls), number(hostcall.copied));
        let (median, most) = (time(hostcall.time.median), marked(&hostcall.time));
        writeln!(text, "{:<36} {calls:>7} {median:>9} {most:>9} {copied:>9}", hostcall.name)?;
    }
    Ok(())
}

/// What the mark of a table means, where it stands in one.
fn footnote(text: &mut String, filter: &FilterToll) -> fmt::Result {
    let mut all = filter.callbacks.iter().map(|one| &one.time).chain(filter.hostcalls.iter().map(|one| &one.time));
    if all.any(|times| times.samples < HUNDRED) {
        writeln!(text, "* the longest of fewer than {HUNDRED}")?;
    }
    Ok(())
}

/// A word of warning where rounds that should be alike are not, or too few to tell.
fn noise(text: &mut String, filter: &FilterToll) -> fmt::Result {
    let (Noise(own), Noise(noop), rounds) = (filter.noise, filter.noop_noise, filter.ratios.len());
    if rounds < ROUNDS {
        return writeln!(text, "{}\n", too_few(rounds));
    }
    match (own > NOISY, noop > NOISY) {
        (false, false) => Ok(()),
        (true, false) => writeln!(
            text,
            "Its own time drifts, and the machine's does not: rounds of this filter differ by {own:.0} %, of the one that does \
             nothing by {noop:.0} %. Differences below {own:.0} % mean nothing.\n"
        ),
        (_, true) => writeln!(
            text,
            "This machine is too noisy to tell: rounds of this filter differ by {own:.0} %, of the one that does nothing by \
             {noop:.0} %. Differences below {:.0} % mean nothing.\n",
            own.max(noop)
        ),
    }
}

fn too_few(rounds: usize) -> String {
    let rounds = counted(rounds as f64, "round");
    format!("Too few to tell how noisy this machine is: {rounds} of exchanges, where {ROUNDS} would do.")
}

fn passed(filter: &FilterToll, report: &Report) -> String {
    let exchange = &report.exchange;
    let body =
        |bytes: usize| if bytes == 0 { "no body".to_owned() } else { format!("a body of {}", size(bytes as f64)) };
    let (asked, answered) = (body(exchange.request_bytes), body(exchange.answer_bytes));
    let exchanges =
        if filter.requests == 1 { "1 exchange".to_owned() } else { format!("{} exchanges", grouped(filter.requests)) };
    format!(
        "{exchanges}: a request of {} and {asked}, an answer of {} and {answered}. {}",
        counted(exchange.request_fields as f64, "field"),
        counted(exchange.answer_fields as f64, "field"),
        ends(filter),
    )
}

/// What becomes of exchanges, which need not be the same for all.
fn ends(filter: &FilterToll) -> String {
    if filter.others.is_empty() {
        return became(filter.outcome);
    }
    let others = filter.others.iter().map(|others| (others.outcome, others.exchanges));
    let less = filter.others.iter().fold(0, |sum: u32, others| sum.saturating_add(others.exchanges));
    let all = std::iter::once((filter.outcome, filter.requests.saturating_sub(less))).chain(others);
    let sentences: String =
        all.map(|(outcome, exchanges)| format!("{} of them: {} ", grouped(exchanges), became(outcome))).collect();
    format!("Not all end alike. {sentences}The figures are of all together.")
}

fn became(outcome: Outcome) -> String {
    let rest = match outcome {
        Outcome::Passes => "lets them pass",
        Outcome::Answers(status) => {
            return format!("The filter answers them itself, with {status}; nothing reaches the upstream.");
        }
        Outcome::Replaces(status) => {
            return format!("The filter replaces the upstream's answer by one of its own, with {status}.");
        }
        Outcome::Refused => "gives an answer that cannot be sent; what would follow is not measured",
        Outcome::Closes => "closes them; what would follow is not measured",
        Outcome::HoldsRequest => "holds the request for good; what would follow is not measured",
        Outcome::HoldsAnswer => "holds the answer for good; what would follow is not measured",
    };
    format!("The filter {rest}.")
}

/// What changed since another report, a line each.
pub fn changes(comparison: &Comparison) -> String {
    let mut text: String = comparison.differences.iter().map(difference).collect();
    if comparison.changes.is_empty() {
        let all = comparison.differences.is_empty() && comparison.untold.is_empty();
        let nothing = if all { "Nothing" } else { "Nothing that was compared" };
        text.push_str(nothing);
        text.push_str(" changed by more than the measurements wander.\n");
    }
    text.extend(comparison.changes.iter().map(change));
    text.push_str(&untold(&comparison.untold));
    text
}

/// Figures that were not compared, those of one filter in one line for each reason.
fn untold(all: &[Untold]) -> String {
    let is_alike = |one: &&Untold, other: &Untold| (&one.filter, one.why) == (&other.filter, other.why);
    let mut text = String::new();
    for (place, one) in all.iter().enumerate() {
        if all.iter().take(place).any(|before| is_alike(&one, before)) {
            continue;
        }
        let why = match one.why {
            Why::Few => "there were too few turns to compare",
            Why::Alone => "one of the two measurements alone has",
        };
        let names: Vec<String> =
            all.iter().filter(|other| is_alike(&one, other)).map(|other| named(&other.figure)).collect();
        text.push_str(&format!("{}: {why} {}\n", one.filter, names.join(", ")));
    }
    text
}

fn named(figure: &Figure) -> String {
    let name = match figure {
        Figure::Exchange => "one exchange",
        Figure::Slowest => "the slowest hundredth of exchanges",
        Figure::Callback(name) => return format!("the callback {}", row(name)),
        Figure::Hostcalls => "hostcalls of one exchange",
        Figure::Copied => "bytes copied in one exchange",
        Figure::MemoryFirst => "bytes of memory after the first exchange",
        Figure::Memory => "bytes of memory",
        Figure::Start => "a start",
        Figure::Instantiate => "an instance",
        Figure::Image => "a VM from an image",
        Figure::Compile => "a compilation",
        Figure::Load => "loading of kept code",
    };
    name.to_owned()
}

/// What a callback is called: the three that end an exchange are one entry.
fn row(name: &str) -> &str {
    if name == "log" { "done, log, delete" } else { name }
}

fn difference(difference: &Difference) -> String {
    match difference {
        Difference::Version(before) => format!("The other measurement was made by version {before}.\n"),
        Difference::Machine => {
            "The other measurement was made on another machine, so times are not compared.\n".to_owned()
        }
        Difference::Build => {
            "One of the two programs was built without optimisation, so times are not compared.\n".to_owned()
        }
        Difference::Request => "The other measurement was made with another request.\n".to_owned(),
        Difference::Config(filter) => format!("{filter}: it had another configuration.\n"),
        Difference::Requests(filter) => {
            format!("{filter}: the number of exchanges differs, so memory after all of them is not compared.\n")
        }
        Difference::Outcome(filter) => {
            format!("{filter}: its exchanges end in another way than they did, so times are not compared.\n")
        }
        Difference::Gone(filter) => format!("{filter}: it was measured before, and is not now.\n"),
        Difference::New(filter) => format!("{filter}: it was not measured before.\n"),
    }
}

fn change(change: &Change) -> String {
    let is_count = matches!(change.figure, Figure::Hostcalls | Figure::Copied | Figure::MemoryFirst | Figure::Memory);
    let (what, show): (_, fn(f64) -> String) = (named(&change.figure), if is_count { number } else { time });
    let word = match (!is_count, change.percent > 0.0) {
        (true, true) => "slower beside a filter that does nothing",
        (true, false) => "faster beside a filter that does nothing",
        (false, true) => "more",
        (false, false) => "less",
    };
    let (before, after) = (show(change.before), show(change.after));
    format!("{}: {what} {before} → {after}, {:.0} % {word}\n", change.filter, change.percent.abs())
}

fn share(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole * 100.0 }
}

/// The same in a table.
fn marked(times: &Times) -> String {
    format!("{}{}", time(times.p99), if times.samples < HUNDRED { "*" } else { "" })
}

/// Of few samples the longest is the only one that can stand for it.
fn p99(times: &Times) -> String {
    let most = if times.samples < HUNDRED { format!(" of {} = max", times.samples) } else { String::new() };
    format!("p99{most} {}", time(times.p99))
}

fn turns(turns: &Turns) -> String {
    if turns.ratios.len() < 2 {
        return time(turns.median);
    }
    format!("{} ({} to {})", time(turns.median), time(turns.least), time(turns.most))
}

fn counted(count: f64, what: &str) -> String {
    let end = if (count - 1.0).abs() < f64::EPSILON { "" } else { "s" };
    format!("{} {what}{end}", number(count))
}

/// Without the fraction where there is none.
fn number(number: f64) -> String {
    if number.fract() == 0.0 { format!("{number:.0}") } else { format!("{number:.2}") }
}

/// With a comma behind each thousand.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        short if short < 1e3 => format!("{short:.0} ns"),
        short if short < 1e6 => format!("{:.2} µs", short / 1e3),
        long if long < 1e9 => format!("{:.1} ms", long / 1e6),
        long => format!("{:.2} s", long / 1e9),
    }
}

fn size(bytes: f64) -> String {
    match bytes {
        few if few < 10_240.0 => counted(few, "byte"),
        some if some < 1_048_576.0 => format!("{:.0} KiB", (some / 1024.0).floor()),
        many => format!("{:.1} MiB", many / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toll::report::tests::report;
    use crate::toll::report::{Broken, Flaw, Others};

    #[test]
    fn a_report_reads_as_sentences() {
        let text = words(&report());

        for line in [
            "a: 100 KiB, proxy-wasm 0.2.1, sha256 0123456789ab…",
            "100,000 exchanges: a request of 6 fields and no body, an answer of 3 fields and a body of 13 bytes. The filter lets them pass.",
            "One exchange through it takes 600 ns (median; p99 1.20 µs).",
            "Of that, 200 ns (33 %) is the way in and out, 250 ns (42 %) the filter's own code, 150 ns (25 %) the host's: 1 hostcall, 20 bytes copied.",
            "A filter with the same callbacks that does nothing takes 200 ns (p99 300 ns).",
            "The same reads and changes in Rust take 100 ns (p99 150 ns), without what the filter computes.",
            "callback                   calls    median       p99 in and out    filter      host hostcalls    copied",
            "request_headers                1    300 ns    500 ns      50 ns    100 ns    150 ns         1        20",
            "hostcall                               calls    median       p99    copied",
            "proxy_log                                  1    150 ns    180 ns        20",
            "memory    1.1 MiB after the first exchange, 1.1 MiB after 100,000",
            "start     2.0 ms (1.8 ms to 2.2 ms), its instance 400.00 µs (360.00 µs to 440.00 µs); it has no image",
            "compile   1.50 s (1.35 s to 1.65 s); 3.0 ms (2.7 ms to 3.3 ms) from kept code",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        assert!(!text.contains("noisy") && !text.contains("optimisation"), "{text}");
    }

    #[test]
    fn noise_is_the_machines_or_the_filters_own_and_few_rounds_say_nothing_of_it() {
        let said = |own, noop, rounds| {
            let mut noisy = report();
            let filter = &mut noisy.filters[0];
            (filter.noise, filter.noop_noise) = (Noise(own), Noise(noop));
            filter.ratios.truncate(rounds);
            words(&noisy)
        };
        let warns = ["too noisy", "drifts", "Too few"];

        for (own, noop, rounds, warned) in [
            (10.0, 10.0, 10, None),
            (10.0, 10.0, 5, None),
            (
                11.0,
                2.0,
                10,
                Some(
                    "Its own time drifts, and the machine's does not: rounds of this filter differ by 11 %, of the one that does nothing by 2 %. Differences below 11 % mean nothing.",
                ),
            ),
            (
                2.0,
                23.0,
                10,
                Some(
                    "This machine is too noisy to tell: rounds of this filter differ by 2 %, of the one that does nothing by 23 %. Differences below 23 % mean nothing.",
                ),
            ),
            (
                30.0,
                23.0,
                10,
                Some(
                    "This machine is too noisy to tell: rounds of this filter differ by 30 %, of the one that does nothing by 23 %. Differences below 30 % mean nothing.",
                ),
            ),
            (
                30.0,
                23.0,
                4,
                Some("Too few to tell how noisy this machine is: 4 rounds of exchanges, where 5 would do."),
            ),
            (0.0, 0.0, 1, Some("Too few to tell how noisy this machine is: 1 round of exchanges, where 5 would do.")),
        ] {
            let text = said(own, noop, rounds);

            assert_eq!(
                warns.iter().filter(|word| text.contains(**word)).count(),
                usize::from(warned.is_some()),
                "{text}"
            );
            assert!(warned.is_none_or(|warned| text.lines().any(|line| line == warned)), "{text}");
        }
    }

    #[test]
    fn a_percentile_of_few_is_marked_in_tables() {
        let mut few = report();
        few.filters[0].callbacks[0].time.samples = 99;

        let text = words(&few);

        assert!(text.contains("300 ns   500 ns*") && text.contains("\n* the longest of fewer than 100\n"), "{text}");
        assert!(!words(&report()).contains("* the longest"));
    }

    #[test]
    fn what_is_not_done_again_in_rust_is_said() {
        let said = |done, without: &[&str]| {
            native(&Native { done, without: without.iter().map(|name| (*name).to_owned()).collect() })
        };

        assert_eq!(said(Repeated::Nothing, &[]), "It reads and changes nothing that Rust would do in its place.");
        assert_eq!(
            said(Repeated::TooMuch, &["proxy_http_call", "random_get"]),
            "One exchange makes more reads and changes than are done again in Rust, to compare. Not repeated there: \
             proxy_http_call, random_get."
        );
    }

    #[test]
    fn a_percentile_of_few_is_said_to_be_the_longest() {
        let of = |samples| p99(&Times { median: 1.0, p99: 2.0, samples });

        assert_eq!(
            (of(15), of(99), of(100)),
            ("p99 of 15 = max 2 ns".into(), "p99 of 99 = max 2 ns".into(), "p99 2 ns".into())
        );
    }

    #[test]
    fn a_failure_is_told_with_its_exchange_and_a_build_that_is_slow_is_named() {
        let mut failed = report();
        failed.optimised = false;
        failed.filters[0].failure =
            Some(Broken { exchange: 5, flaw: Flaw { message: "trap in log".to_owned(), ..Flaw::default() } });

        let text = words(&failed);

        assert!(text.contains("It failed in exchange 5: trap in log. The figures are of those before.\n"), "{text}");
        assert!(text.contains("built without optimisation"), "{text}");
    }

    #[test]
    fn changes_say_how_much_and_what_was_not_alike() {
        let change = |figure, before, after, percent| Change { filter: "a".to_owned(), figure, before, after, percent };
        let said = |differences: &[Difference], all: &[Change]| {
            changes(&Comparison { differences: differences.to_vec(), changes: all.to_vec(), untold: Vec::new() })
        };

        assert_eq!(said(&[], &[]), "Nothing changed by more than the measurements wander.\n");
        assert_eq!(
            said(&[], &[change(Figure::Exchange, 600.0, 900.0, 50.0)]),
            "a: one exchange 600 ns → 900 ns, 50 % slower beside a filter that does nothing\n"
        );
        assert_eq!(
            said(&[Difference::Gone("b".to_owned())], &[change(Figure::Hostcalls, 4.0, 3.0, -25.0)]),
            "b: it was measured before, and is not now.\na: hostcalls of one exchange 4 → 3, 25 % less\n"
        );
    }

    #[test]
    fn ends_that_are_not_alike_are_told_with_how_many_there_are() {
        let mut mixed = report();
        mixed.filters[0].others = vec![Others { outcome: Outcome::Answers(403), exchanges: 1_000 }];
        mixed.filters[0].isolated = true;

        let text = words(&mixed);

        let said = "Not all end alike. 99,000 of them: The filter lets them pass. 1,000 of them: The filter answers them itself, \
                    with 403; nothing reaches the upstream. The figures are of all together.\n\
                    Each has a VM of its own; what it takes to make that is part of it, as of the filter that does nothing.\n";
        assert!(text.contains(said), "{text}");
    }

    #[test]
    fn what_was_not_compared_is_told_in_a_line_for_each_reason() {
        let untold = |filter: &str, figure, why| Untold { filter: filter.to_owned(), figure, why };
        let all = [
            untold("a", Figure::Slowest, Why::Few),
            untold("a", Figure::Image, Why::Alone),
            untold("a", Figure::Callback("log".to_owned()), Why::Few),
            untold("b", Figure::Slowest, Why::Few),
        ];

        let text = changes(&Comparison { differences: Vec::new(), changes: Vec::new(), untold: all.to_vec() });

        assert_eq!(
            text,
            "Nothing that was compared changed by more than the measurements wander.\n\
             a: there were too few turns to compare the slowest hundredth of exchanges, the callback done, log, delete\n\
             a: one of the two measurements alone has a VM from an image\n\
             b: there were too few turns to compare the slowest hundredth of exchanges\n"
        );
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!([1, 999, 1_000, 1_234_567].map(grouped), ["1", "999", "1,000", "1,234,567"]);
        assert_eq!([1.0, 10_239.0, 10_240.0, 1_048_576.0].map(size), ["1 byte", "10239 bytes", "10 KiB", "1.0 MiB"]);
    }
}
