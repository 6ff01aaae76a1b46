//! The figures in words and tables.

use std::fmt::Write;

use crate::toll::compare::{Change, Figure};
use crate::toll::report::{FilterToll, Half, Outcome, Report};

/// Noise above which differences mean little, in hundredths.
const NOISY: f64 = 10.0;

/// A whole report.
pub fn words(report: &Report) -> String {
    let mut text = String::new();
    for filter in &report.filters {
        // A string takes whatever is written.
        let _ = filter_words(&mut text, filter, report);
    }
    let machine = &report.machine;
    let processor = if machine.processor.is_empty() { "a processor without a name" } else { &machine.processor };
    let _ = writeln!(
        text,
        "measured on {}, {} cores of {processor}, in memory: what a proxy adds around filters is not in it",
        machine.architecture, machine.cores
    );
    if cfg!(debug_assertions) {
        text.push_str(
            "this program was built without optimisation: none of these times is that of a proxy in service\n",
        );
    }
    if report.noise_percent > NOISY {
        let noise = report.noise_percent;
        let _ = writeln!(
            text,
            "this machine is noisy: tenths of this run differ by {noise:.0} %, and times that differ by less say nothing"
        );
    }
    text
}

fn filter_words(text: &mut String, filter: &FilterToll, report: &Report) -> std::fmt::Result {
    let FilterToll { request, native, .. } = filter;
    let short = filter.sha256.get(..12).unwrap_or_default();
    writeln!(text, "{}: {}, proxy-wasm {}, sha256 {short}…\n", filter.name, size(filter.bytes), filter.abi)?;
    writeln!(text, "{}", passed(filter, report))?;
    writeln!(
        text,
        "The toll of one is {}, and {} of one in a hundred: {:.0} % in the filter, {:.0} % in {}; {} are copied.",
        time(request.median),
        time(request.p99),
        share(filter.guest, request.median),
        share(filter.host, request.median),
        counted(filter.hostcalls_of_one(), "hostcall"),
        size(filter.copied),
    )?;
    writeln!(
        text,
        "A filter that does nothing takes {}. The same reads and changes in Rust take {}, without what the filter thinks.\n",
        time(report.noop.median),
        time(native.median),
    )?;
    writeln!(text, "{:<36} {:>12} {:>10} {:>10}", "callback", "per exchange", "median", "p99")?;
    for callback in &filter.callbacks {
        let (median, p99) = (time(callback.time.median), time(callback.time.p99));
        writeln!(text, "{:<36} {:>12} {median:>10} {p99:>10}", callback.name, number(callback.calls))?;
    }
    if !filter.hostcalls.is_empty() {
        writeln!(text, "\n{:<36} {:>12} {:>10}", "hostcall", "per exchange", "mean")?;
    }
    for hostcall in &filter.hostcalls {
        writeln!(text, "{:<36} {:>12} {:>10}", hostcall.name, number(hostcall.calls), time(hostcall.time))?;
    }
    let (first, last) = (size(filter.memory_first), size(filter.memory_last));
    writeln!(text, "\nmemory   {first} after the first exchange, {last} after all")?;
    let image =
        filter.image.map_or("it has no image".to_owned(), |image| format!("{} from the image of another", time(image)));
    writeln!(text, "start    {}; {image}", time(filter.start))?;
    writeln!(text, "compile  {}; {} from code that was kept\n", time(filter.compile_cold), time(filter.compile_cached))
}

fn passed(filter: &FilterToll, report: &Report) -> String {
    let exchange = report.exchange;
    let body = |bytes| if bytes == 0 { "no body".to_owned() } else { size(bytes) };
    let (asked, answered) = (body(exchange.request_bytes), body(exchange.answer_bytes));
    let became = match filter.outcome {
        Outcome::Passes => "The filter lets them pass.".to_owned(),
        Outcome::Answers(status) => {
            format!("The filter answers them itself, with {status}; the answer's half is not measured.")
        }
        Outcome::Closes => "The filter closes them; what would follow is not measured.".to_owned(),
        Outcome::Waits(Half::Request) => {
            "The filter holds the request for good; what would follow is not measured.".to_owned()
        }
        Outcome::Waits(Half::Answer) => "The filter holds the answer for good.".to_owned(),
    };
    format!(
        "{} exchanges: a request of {} fields and {asked}, an answer of {} fields and {answered}. {became}",
        filter.requests, exchange.request_fields, exchange.answer_fields,
    )
}

/// What changed since another report, a line each.
pub fn changes(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "nothing changed by more than the measurements wander\n".to_owned();
    }
    changes.iter().map(change).collect()
}

fn change(change: &Change) -> String {
    let (what, show): (_, fn(f64) -> String) = match change.figure {
        Figure::Exchange => ("an exchange", time),
        Figure::Hostcalls => ("hostcalls of an exchange", number),
        Figure::Copied => ("bytes that an exchange copies", number),
        Figure::Memory => ("bytes of memory", number),
        Figure::Start => ("a start", time),
        Figure::Compile => ("a compilation", time),
    };
    let more = change.percent();
    let word = match (change.figure, more > 0.0) {
        (Figure::Exchange | Figure::Start | Figure::Compile, true) => "slower",
        (Figure::Exchange | Figure::Start | Figure::Compile, false) => "faster",
        (_, true) => "more",
        (_, false) => "less",
    };
    let (before, after) = (show(change.before), show(change.after));
    format!("{}: {what} {before} → {after}, {:.0} % {word}\n", change.filter, more.abs())
}

fn share(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole * 100.0 }
}

fn counted(count: f64, what: &str) -> String {
    let end = if (count - 1.0).abs() < f64::EPSILON { "" } else { "s" };
    format!("{} {what}{end}", number(count))
}

/// Without the fraction where there is none.
fn number(number: f64) -> String {
    if number.fract() == 0.0 { format!("{number:.0}") } else { format!("{number:.2}") }
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        short if short < 1e3 => format!("{short:.0} ns"),
        short if short < 1e6 => format!("{:.2} µs", short / 1e3),
        long if long < 1e9 => format!("{:.1} ms", long / 1e6),
        long => format!("{:.2} s", long / 1e9),
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        few if few < 10_240 => counted(few as f64, "byte"),
        some if some < 1 << 20 => format!("{} KiB", some >> 10),
        many => format!("{:.1} MiB", many as f64 / f64::from(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toll::report::tests::report;

    #[test]
    fn a_report_reads_as_sentences() {
        let text = words(&report());

        for line in [
            "a: 100 KiB, proxy-wasm 0.2.1, sha256 0123456789ab…",
            "100000 exchanges: a request of 6 fields and no body, an answer of 3 fields and 13 bytes. The filter lets them pass.",
            "The toll of one is 600 ns, and 1.20 µs of one in a hundred: 75 % in the filter, 25 % in 1 hostcall; 20 bytes are copied.",
            "A filter that does nothing takes 200 ns. The same reads and changes in Rust take 100 ns, without what the filter thinks.",
            "memory   1.1 MiB after the first exchange, 1.1 MiB after all",
            "start    2.0 ms; it has no image",
            "compile  1.50 s; 3.0 ms from code that was kept",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        assert!(!text.contains("noisy"));
    }

    #[test]
    fn a_noisy_machine_is_named() {
        let mut noisy = report();
        noisy.noise_percent = 23.4;

        assert!(words(&noisy).contains("tenths of this run differ by 23 %"));
    }

    #[test]
    fn changes_say_how_much() {
        let change = |figure, before, after| Change { filter: "a".to_owned(), figure, before, after };

        assert_eq!(changes(&[]), "nothing changed by more than the measurements wander\n");
        assert_eq!(changes(&[change(Figure::Exchange, 600.0, 900.0)]), "a: an exchange 600 ns → 900 ns, 50 % slower\n");
        assert_eq!(changes(&[change(Figure::Hostcalls, 4.0, 3.0)]), "a: hostcalls of an exchange 4 → 3, 25 % less\n");
    }
}
