//! The report: where faults are collected while a configuration is read, expanded and checked.
//! It knows the text only to show the line a fault is about.

use std::path::Path;

use crate::error::{Code, Fault, Faults, Place, Snippet};

/// Characters of a source line shown at most.
const WINDOW: usize = 120;

/// A piece of one source line; line and column count from one, in characters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) width: usize,
}

impl Default for Spot {
    /// The beginning of the text.
    fn default() -> Spot {
        Spot { line: 1, column: 1, width: 1 }
    }
}

/// The faults found so far in one text.
#[derive(Debug)]
pub(crate) struct Report<'t> {
    name: &'t Path,
    text: &'t str,
    found: Vec<Fault>,
    unlisted: usize,
}

impl<'t> Report<'t> {
    /// An empty report on `text`, which came from the file `name`.
    pub(crate) fn new(name: &'t Path, text: &'t str) -> Report<'t> {
        Report { name, text, found: Vec::new(), unlisted: 0 }
    }

    /// The text reported on.
    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// The public form of a spot.
    pub(crate) fn place(&self, spot: Spot) -> Place {
        Place { file: self.name.to_owned(), line: spot.line, column: spot.column }
    }

    /// Adds a fault; past [`Faults::LISTED`] they are only counted.
    pub(crate) fn fault(&mut self, code: Code, spot: Spot, message: impl Into<String>) {
        if self.found.len() >= Faults::LISTED {
            self.unlisted += 1;
            return;
        }
        let place = Some(self.place(spot));
        let snippet = snippet(self.text, spot);
        self.found.push(Fault { code, message: message.into(), place, snippet });
    }

    /// The same without the line, which may hold a secret.
    pub(crate) fn fault_unshown(&mut self, code: Code, spot: Spot, message: impl Into<String>) {
        let listed = self.found.len();
        self.fault(code, spot, message);
        self.found.iter_mut().skip(listed).for_each(|fault| fault.snippet = None);
    }

    /// Whether anything was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// `Ok` when nothing was found.
    pub(crate) fn verdict(self) -> Result<(), Faults> {
        Faults::none_of(self.found, self.unlisted)
    }
}

/// The line of a spot, a long one cut to a window that holds the spot's beginning.
fn snippet(text: &str, spot: Spot) -> Option<Snippet> {
    let line = text.lines().nth(spot.line.checked_sub(1)?)?;
    let before = spot.column.saturating_sub(1);
    let fits = line.chars().take(WINDOW + 1).count() <= WINDOW;
    let skipped = if fits { 0 } else { before.saturating_sub(WINDOW / 2) };
    let text: String = line.chars().skip(skipped).take(WINDOW).map(printable).collect();
    let indent = before - skipped;
    let room = text.chars().count().saturating_sub(indent);
    Some(Snippet { text, indent, width: spot.width.min(room).max(1) })
}

/// One cell on a terminal, whatever the file holds.
fn printable(letter: char) -> char {
    match letter {
        '\t' => ' ',
        letter if letter.is_control() => '\u{fffd}',
        letter => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, line: usize, column: usize, width: usize) -> String {
        let mut report = Report::new(Path::new("proxy.yaml"), text);
        report.fault(Code::UnknownKey, Spot { line, column, width }, "unknown key");
        report.verdict().unwrap_err().to_string()
    }

    #[test]
    fn a_fault_shows_its_line_with_a_caret_under_the_word() {
        let text = shown("a: 1\nlisen: b\n", 2, 1, 5);

        let expected = "error[TG0103]: unknown key\n  --> proxy.yaml:2:1\n   |\n 2 | lisen: b\n   | ^^^^^";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let line = format!("{}lisen{}", "x".repeat(10_000), "y".repeat(10_000));

        let text = shown(&line, 1, 10_001, 5);

        assert!(text.len() < 500, "{text}");
        assert!(text.contains("lisen"), "{text}");
    }

    #[test]
    fn a_source_line_cannot_move_the_cursor_of_a_terminal() {
        let text = shown("a: \u{1b}[2J", 1, 1, 1);

        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn faults_past_the_bound_are_counted_only() {
        let mut report = Report::new(Path::new("proxy.yaml"), "a");
        for number in 0..Faults::LISTED + 2 {
            let spot = Spot { line: 1, column: 1, width: 1 };
            report.fault(Code::BadValue, spot, number.to_string());
        }

        let faults = report.verdict().unwrap_err();

        assert_eq!(faults.iter().count(), Faults::LISTED);
        assert_eq!(faults.count(), Faults::LISTED + 2);
        assert!(faults.to_string().ends_with("and 2 more"));
    }
}
