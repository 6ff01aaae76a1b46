//! What was counted on both processors, as Markdown. Nothing is judged: a ratio outside of what is expected is marked, and
//! why it is so is for `benches/README.md` to say.

use std::fmt;

/// What Arm takes over what x86-64 takes, where nothing is to be explained.
const EXPECTED: std::ops::RangeInclusive<f64> = 0.8..=1.3;
/// The mark of a ratio outside of it.
const MARK: &str = " (!)";

/// One thing on both processors, in the unit of its table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) arm: f64,
    pub(super) x86: f64,
}

/// Rows of one kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) title: &'static str,
    /// What the numbers are.
    pub(super) unit: &'static str,
    pub(super) rows: Vec<Row>,
    /// What could not be counted, and why.
    pub(super) absent: Vec<(String, String)>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Report {
    /// How it was counted, sentence by sentence.
    pub(super) method: Vec<String>,
    pub(super) tables: Vec<Table>,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.arm / self.x86
    }

    /// True for what is to be explained; also for what is no ratio at all.
    fn is_marked(&self) -> bool {
        !EXPECTED.contains(&self.ratio())
    }
}

impl Report {
    /// How many rows are to be explained.
    fn marked(&self) -> usize {
        self.tables.iter().flat_map(|table| &table.rows).filter(|row| row.is_marked()).count()
    }

    fn remark(&self) -> String {
        let (least, most) = (EXPECTED.start(), EXPECTED.end());
        match self.marked() {
            0 => format!("Every ratio is within {least} and {most}."),
            1 => format!("One ratio, marked{MARK}, is outside of {least} to {most}; `benches/README.md` says why."),
            count => {
                format!("{count} ratios, marked{MARK}, are outside of {least} to {most}; `benches/README.md` says why.")
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Arm beside x86-64\n")?;
        for sentence in &self.method {
            writeln!(f, "{sentence}")?;
        }
        writeln!(f, "{}", self.remark())?;
        let mut tables = self.tables.iter().filter(|table| !table.rows.is_empty() || !table.absent.is_empty());
        tables.try_for_each(|table| write!(f, "\n{table}"))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n\n| {} | | aarch64 | x86-64 | ratio |\n|---|---|---:|---:|---:|", self.title, self.unit)?;
        for row in &self.rows {
            let mark = if row.is_marked() { MARK } else { "" };
            let (arm, x86) = (grouped(row.arm), grouped(row.x86));
            writeln!(f, "| {} | {} | {arm} | {x86} | {:.2}{mark} |", row.name, row.about, row.ratio())?;
        }
        for (name, why) in &self.absent {
            writeln!(f, "| {name} | not counted: {} | | | |", why.replace('|', "/"))?;
        }
        Ok(())
    }
}

/// A whole number, its thousands apart.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        let left = digits.len() - place;
        if place > 0 && left.is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, arm: f64, x86: f64) -> Row {
        Row { name: name.to_owned(), about: "some work".to_owned(), arm, x86 }
    }

    fn report(rows: Vec<Row>) -> Report {
        let absent = vec![("swap".to_owned(), "it failed | twice".to_owned())];
        let table = Table { title: "Host", unit: "instructions", rows, absent };
        Report { method: vec!["Counted, not timed.".to_owned()], tables: vec![table] }
    }

    #[test]
    fn a_report_is_one_table_a_kind_with_ratios() {
        let report = report(vec![row("entry", 190.4, 200.0), row("filter", 1_234_567.0, 1_000_000.0)]);

        assert_eq!(
            report.to_string(),
            "# Arm beside x86-64\n\nCounted, not timed.\nEvery ratio is within 0.8 and 1.3.\n\n\
             ## Host\n\n| instructions | | aarch64 | x86-64 | ratio |\n|---|---|---:|---:|---:|\n\
             | entry | some work | 190 | 200 | 0.95 |\n\
             | filter | some work | 1,234,567 | 1,000,000 | 1.23 |\n\
             | swap | not counted: it failed / twice | | | |\n"
        );
    }

    #[test]
    fn a_table_of_nothing_has_no_place() {
        let mut report = report(vec![]);
        report.tables[0].absent.clear();

        assert_eq!(
            report.to_string(),
            "# Arm beside x86-64\n\nCounted, not timed.\nEvery ratio is within 0.8 and 1.3.\n"
        );
    }

    #[test]
    fn a_ratio_at_the_bound_is_not_marked_and_one_past_it_is() {
        let marked = |arm, x86| row("a", arm, x86).is_marked();

        assert!(!marked(80.0, 100.0) && !marked(130.0, 100.0));
        assert!(marked(79.0, 100.0) && marked(131.0, 100.0));
    }

    #[test]
    fn a_ratio_of_nothing_is_marked() {
        assert!(row("a", 1.0, 0.0).is_marked());
        assert!(row("a", 0.0, 0.0).is_marked());
    }

    #[test]
    fn the_remark_counts_what_is_to_be_explained() {
        let text = report(vec![row("a", 1.0, 2.0), row("b", 1.0, 1.0)]).to_string();
        assert!(text.contains("One ratio, marked (!), is outside of 0.8 to 1.3;"), "{text}");
        assert!(text.contains("| a | some work | 1 | 2 | 0.50 (!) |"), "{text}");

        let text = report(vec![row("a", 1.0, 2.0), row("b", 2.0, 1.0)]).to_string();
        assert!(text.contains("2 ratios, marked (!), are outside"), "{text}");
    }

    #[test]
    fn thousands_are_apart() {
        let all: Vec<_> = [0.0, 999.4, 1000.0, 12_345.6, 1_000_000.0].into_iter().map(grouped).collect();

        assert_eq!(all, ["0", "999", "1,000", "12,346", "1,000,000"]);
    }
}
