//! What one scenario found: figures, which are reported, and promises, which are counts that must be zero.

use std::fmt;
use std::time::Duration;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Section {
    title: String,
    rows: Vec<(String, String)>,
    broken: usize,
}

impl Section {
    /// Nothing found yet.
    pub(crate) fn new(title: &str) -> Section {
        Section { title: title.to_owned(), ..Section::default() }
    }

    /// Something that is reported and judged by nobody.
    pub(crate) fn figure(&mut self, what: impl ToString, found: impl ToString) {
        self.rows.push((what.to_string(), found.to_string()));
    }

    /// Something of which there must be none.
    pub(crate) fn none_of(&mut self, what: impl ToString, count: u64) {
        self.must(what, count == 0, count);
    }

    /// Something that must hold, with what was found.
    pub(crate) fn must(&mut self, what: impl ToString, holds: bool, found: impl ToString) {
        let mark = if holds { "kept" } else { "**BROKEN**" };
        self.broken += usize::from(!holds);
        self.rows.push((what.to_string(), format!("{} ({mark})", found.to_string())));
    }

    /// Promises that were not kept.
    pub(crate) fn broken(&self) -> usize {
        self.broken
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n## {}\n\n| what | found |\n|---|---|", self.title)?;
        self.rows.iter().try_for_each(|(what, found)| writeln!(f, "| {what} | {} |", found.replace('\n', " ")))
    }
}

/// Times in their order, to ask for parts of them.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Of these.
    pub(crate) fn of(times: impl IntoIterator<Item = Duration>) -> Times {
        let mut sorted: Vec<_> = times.into_iter().collect();
        sorted.sort_unstable();
        Times(sorted)
    }

    /// The time that this many of a thousand are not above; zero when there are none.
    pub(crate) fn per_mille(&self, part: usize) -> Duration {
        let place = (self.0.len() * part).div_ceil(1000).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, nearly, all] = [500, 990, 999, 1000].map(|part| millis(self.per_mille(part)));
        write!(f, "p50 {half}, p99 {most}, p99.9 {nearly}, max {all} ms of {}", self.0.len())
    }
}

/// Milliseconds as people read them.
pub(crate) fn millis(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

/// Mebibytes as people read them.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_times_are_counted_from_the_least() {
        let times = Times::of((1..=1000).rev().map(Duration::from_millis));

        assert_eq!([500, 990, 1000].map(|part| times.per_mille(part).as_millis()), [500, 990, 1000]);
        assert_eq!(Times::default().per_mille(990), Duration::ZERO);
    }

    #[test]
    fn a_promise_that_is_not_kept_is_counted() {
        let mut section = Section::new("x");

        section.none_of("losses", 0);
        section.none_of("losses", 2);

        assert_eq!(section.broken(), 1);
    }
}
