//! What callgrind counted of the host set, and how it compares with what was counted before. It counts nothing itself:
//! `benches/host_count.rs` does, through gungraun, whose files are read here.

mod crates;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use super::{HostError, Work};

/// How often each piece is done for one count: enough that what is done once for all of them does not matter.
pub const TIMES: u32 = 1_000;

/// How far a count may be from the baseline, as a part of it.
pub const TOLERANCE: f64 = 0.02;

/// Parts of names of functions that are picked by what the processor can do. The counts of a machine that has them are not
/// those of one that has not.
const PICKED: [&str; 5] = ["avx", "_evex", "_erms", "ssse3", "sse4"];

/// Instructions of each piece of work, done once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// What they were made with: versions of compiler, C library and counter.
    pub tools: String,
    of: BTreeMap<String, f64>,
}

/// Counts that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] HostError),
    /// A file of the counter's is not what it should be.
    #[error("{work}: {problem}; the counts are not used")]
    Counter {
        /// What was counted.
        work: String,
        /// What is wrong.
        problem: String,
    },
    /// A line of a baseline is not a name and a number.
    #[error("line {line} of the baseline is {text:?}, not a name and a number above 0")]
    Baseline {
        /// Which, from 1.
        line: usize,
        /// As it stands there.
        text: String,
    },
}

impl Counts {
    /// What gungraun left in its folder for the whole set.
    pub fn read(folder: &Path, tools: &str) -> Result<Counts, CountError> {
        let mut of = BTreeMap::new();
        for (place, work) in Work::all().enumerate() {
            let path = folder.join(format!("host.work_{place}/callgrind.host.work_{place}.out"));
            let hint = "; nothing was counted";
            let text = fs::read_to_string(&path).map_err(|source| HostError::File { path, source, hint })?;
            let counter = |problem: String| CountError::Counter { work: work.name.to_owned(), problem };
            let total = total(&text).map_err(counter)?;
            of.insert(work.name.to_owned(), total / f64::from(TIMES));
        }
        Ok(Counts { tools: tools.to_owned(), of })
    }

    /// A baseline: names and numbers, and lines that begin with `#`, of which the second names the tools.
    pub fn parse(text: &str) -> Result<Counts, CountError> {
        let mut of = BTreeMap::new();
        let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty());
        for (index, line) in lines {
            let bad = || CountError::Baseline { line: index + 1, text: line.to_owned() };
            let (name, number) = line.split_once(' ').ok_or_else(bad)?;
            let number: f64 = number.trim().parse().map_err(|_| bad())?;
            if !number.is_normal() || number < 0.0 || of.insert(name.to_owned(), number).is_some() {
                return Err(bad());
            }
        }
        let tools = text.lines().filter_map(|line| line.strip_prefix("# Made with ")).next().unwrap_or_default();
        Ok(Counts { tools: tools.trim_end_matches('.').to_owned(), of })
    }

    /// What is not as it was, by more than `tolerance`. Nothing, where all is well.
    pub fn changes(&self, baseline: &Counts, tolerance: f64) -> Vec<Change> {
        let names: Vec<&String> =
            self.of.keys().chain(baseline.of.keys().filter(|name| !self.of.contains_key(*name))).collect();
        let change = |name: &String| match (baseline.of.get(name), self.of.get(name)) {
            (Some(old), Some(new)) => Change::between(name, *old, *new, tolerance),
            (None, _) => Some(Change::Unknown(name.clone())),
            (_, None) => Some(Change::Gone(name.clone())),
        };
        names.into_iter().filter_map(change).collect()
    }
}

/// One that is not as it was.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// More instructions: before, and by how many hundredths more.
    Worse(String, f64, f64, f64),
    /// Fewer: the same.
    Better(String, f64, f64, f64),
    /// The baseline does not know it.
    Unknown(String),
    /// The baseline knows it, and it was not counted.
    Gone(String),
}

impl Change {
    fn between(name: &str, old: f64, new: f64, tolerance: f64) -> Option<Change> {
        let (name, percent) = (name.to_owned(), (new - old).abs() / old * 100.0);
        if new > old * (1.0 + tolerance) {
            return Some(Change::Worse(name, old, new, percent));
        }
        (new < old * (1.0 - tolerance)).then_some(Change::Better(name, old, new, percent))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Worse(name, old, new, percent) => {
                write!(f, "{name} takes {new:.1} instructions, {percent:.1} % more than the {old:.1} of the baseline")
            }
            Change::Better(name, old, new, percent) => {
                write!(f, "{name} takes {new:.1} instructions, {percent:.1} % fewer than the {old:.1} of the baseline")
            }
            Change::Unknown(name) => write!(f, "{name} is not in the baseline"),
            Change::Gone(name) => write!(f, "{name} is in the baseline, and was not counted"),
        }
    }
}

/// As a baseline is written: in the order of the set, what it does not know last.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Instructions of each piece of the host set, done once; `make count UPDATE=1` writes this file."
        )?;
        writeln!(f, "# Made with {}.", self.tools)?;
        let known: Vec<&str> = Work::all().map(|work| work.name).collect();
        let rest = self.of.keys().map(String::as_str).filter(|name| !known.contains(name));
        for name in known.iter().copied().chain(rest) {
            if let Some(count) = self.of.get(name) {
                writeln!(f, "{name} {count:.1}")?;
            }
        }
        Ok(())
    }
}

/// What callgrind counted in all, in a file of its.
fn total(text: &str) -> Result<f64, String> {
    let picked = |line: &&str| line.starts_with("fn=") && PICKED.iter().any(|part| line.contains(part));
    if let Some(line) = text.lines().find(picked) {
        return Err(format!("{line:?} ran, which not every machine has"));
    }
    if let Some(stranger) = text.lines().filter_map(|line| line.strip_prefix("fn=")).find_map(crates::stranger) {
        return Err(format!(
            "{stranger} ran, which is not compiled as it is shipped; have the root's Cargo.toml compile it like wasmtime, and \
             name it in benches/src/host/counts/crates.rs"
        ));
    }
    let mut totals = text.lines().filter_map(|line| line.strip_prefix("totals: "));
    let total = totals.next().ok_or("the counter has not come to an end")?;
    if !text.lines().any(|line| line == "events: Ir") {
        return Err("the counter has not counted instructions alone".to_owned());
    }
    match total.trim().parse::<f64>() {
        Ok(count) if count >= f64::from(TIMES) => Ok(count),
        _ => Err(format!("{total:?} instructions are too few for what was done {TIMES} times")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(&str, f64)]) -> Counts {
        let of = of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Counts { tools: "rustc 1".to_owned(), of }
    }

    fn file(line: &str, total: &str) -> String {
        format!("# callgrind format\nevents: Ir\nfn=(1) host\n{line}\n+3 4\ntotals: {total}\n")
    }

    #[test]
    fn what_is_within_the_tolerance_is_no_change() {
        let baseline = counts(&[("entry", 200.0), ("log", 1_000.0)]);

        assert_eq!(counts(&[("entry", 204.0), ("log", 980.0)]).changes(&baseline, TOLERANCE), []);
    }

    #[test]
    fn what_is_past_the_tolerance_is_told_with_both_numbers() {
        let baseline = counts(&[("entry", 200.0), ("log", 1_000.0)]);

        let changes = counts(&[("entry", 204.2), ("log", 979.0)]).changes(&baseline, TOLERANCE);

        let told: Vec<_> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "entry takes 204.2 instructions, 2.1 % more than the 200.0 of the baseline",
                "log takes 979.0 instructions, 2.1 % fewer than the 1000.0 of the baseline",
            ]
        );
    }

    #[test]
    fn work_without_a_baseline_and_a_baseline_without_work_are_told() {
        let changes = counts(&[("new", 1.0)]).changes(&counts(&[("old", 1.0)]), TOLERANCE);

        assert_eq!(changes, [Change::Unknown("new".to_owned()), Change::Gone("old".to_owned())]);
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let written = counts(&[("entry", 212.5), ("header-get", 1_064.0), ("own", 3.0)]);

        assert_eq!(Counts::parse(&written.to_string()).unwrap(), written);
    }

    #[test]
    fn a_baseline_of_other_lines_is_refused_with_its_place() {
        for bad in ["entry", "entry many", "entry 0", "entry -3", "entry inf", "entry NaN", "entry 1\nentry 2"] {
            let refused = Counts::parse(&format!("# x\n{bad}\n")).unwrap_err().to_string();

            assert!(refused.starts_with("line ") && refused.contains("entry"), "{bad:?}: {refused}");
        }
    }

    #[test]
    fn a_count_of_nothing_is_none() {
        assert_eq!(total(&file("fn=(2) tollgate_abi::work", "212000")), Ok(212_000.0));
        for none in ["0", "999", "", "many", "-5"] {
            assert!(total(&file("fn=(2) work", none)).unwrap_err().contains("too few"), "{none:?}");
        }
        assert!(total("events: Ir\nfn=(1) host\n").unwrap_err().contains("not come to an end"));
        assert!(total("events: Ir Dr\ntotals: 212000 3\n").is_err());
    }

    #[test]
    fn a_function_that_was_picked_for_the_processor_spoils_the_count() {
        for picked in ["fn=(2) __memmove_avx_unaligned_erms", "fn=(7) memchr::arch::x86_64::avx2::memchr::One::find"] {
            assert!(total(&file(picked, "212000")).unwrap_err().contains("not every machine"), "{picked}");
        }
    }

    #[test]
    fn a_crate_that_is_compiled_otherwise_than_it_is_shipped_spoils_the_count() {
        let refused = total(&file("fn=(2) <regalloc2::Slot as core::fmt::Debug>::fmt", "212000")).unwrap_err();

        assert!(refused.starts_with("regalloc2 ran, ") && refused.contains("Cargo.toml"), "{refused}");
    }

    #[test]
    fn what_was_not_counted_is_told_by_its_file() {
        let empty = tempfile::tempdir().unwrap();

        let missing = Counts::read(empty.path(), "").unwrap_err().to_string();

        assert!(missing.contains("host.work_0") && missing.ends_with("nothing was counted"), "{missing}");
    }
}
