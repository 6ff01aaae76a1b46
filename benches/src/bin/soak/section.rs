//! What one scenario found: figures, which are reported, and promises, which are counts that must be zero.

use std::fmt;

pub(crate) use tollgate_benches::times::{Times, millis};

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

/// Mebibytes as people read them.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_that_is_not_kept_is_counted() {
        let mut section = Section::new("x");

        section.none_of("losses", 0);
        section.none_of("losses", 2);

        assert_eq!(section.broken(), 1);
    }
}
