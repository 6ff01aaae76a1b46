//! The measurement that another is compared with: read, and found fit, before anything is measured.

use serde::Deserialize;

use crate::toll::filter::Filter;
use crate::toll::report::{FORMAT, Report};

/// Why a file is nothing to compare with. Each is said of "it", the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It holds something else.
    #[error("it is no measurement: {0}")]
    NoMeasurement(String),
    /// Its figures mean something else.
    #[error(
        "it was written by an older version of this program, whose figures mean something else (format {0}, where this \
         version writes {FORMAT}): measure again, with this version"
    )]
    Older(u32),
    /// Its figures mean something that this version does not know.
    #[error(
        "it was written by a newer version of this program (format {0}, where this version reads {FORMAT}): use that"
    )]
    Newer(u32),
    /// No filter is in both.
    #[error("it has none of these filters, only {0}")]
    Strange(String),
}

/// What tells one meaning of figures from another, whatever else there is.
#[derive(Deserialize)]
struct Meaning {
    format: u32,
}

/// Reads what `--json` wrote, which is about one of these filters at least.
///
/// # Errors
/// See [`Unfit`].
pub fn before(text: &[u8], filters: &[Filter]) -> Result<Report, Unfit> {
    let other = |why: serde_json::Error| Unfit::NoMeasurement(why.to_string());
    // The rest of another format has other fields.
    let Meaning { format } = serde_json::from_slice(text).map_err(other)?;
    match format {
        FORMAT => {}
        older if older < FORMAT => return Err(Unfit::Older(older)),
        newer => return Err(Unfit::Newer(newer)),
    }
    let report: Report = serde_json::from_slice(text).map_err(other)?;
    if report.filters.iter().any(|known| filters.iter().any(|filter| filter.name == known.name)) {
        return Ok(report);
    }
    let names: Vec<&str> = report.filters.iter().map(|known| known.name.as_str()).collect();
    Err(Unfit::Strange(if names.is_empty() { "failures".to_owned() } else { names.join(", ") }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::toll::report::tests::report;

    fn of(text: &str, name: &str) -> Result<Report, String> {
        let filter = Filter::new(name.to_owned(), Bytes::new(), Vec::new());
        before(text.as_bytes(), &[filter]).map_err(|why| why.to_string())
    }

    #[test]
    fn what_another_version_wrote_is_told_by_its_format_alone() {
        let (older, newer) = (FORMAT - 1, FORMAT + 1);

        assert_eq!(
            of(&format!("{{\"format\":{older},\"image\":7}}"), "a").unwrap_err(),
            format!(
                "it was written by an older version of this program, whose figures mean something else (format {older}, where \
                 this version writes {FORMAT}): measure again, with this version"
            )
        );
        assert_eq!(
            of(&format!("{{\"format\":{newer}}}"), "a").unwrap_err(),
            format!(
                "it was written by a newer version of this program (format {newer}, where this version reads {FORMAT}): use that"
            )
        );
        assert_eq!(of("{}", "a").unwrap_err(), "it is no measurement: missing field `format` at line 1 column 2");
        let torn = of(&format!("{{\"format\":{FORMAT}}}"), "a").unwrap_err();
        assert!(torn.starts_with("it is no measurement: missing field"), "{torn}");
    }

    #[test]
    fn one_filter_at_least_is_in_both() {
        let known = report();
        let none = Report { filters: Vec::new(), ..known.clone() };
        let text = |report: &Report| serde_json::to_string(report).unwrap();

        assert_eq!(of(&text(&known), "a"), Ok(known.clone()));
        assert_eq!(of(&text(&known), "b").unwrap_err(), "it has none of these filters, only a");
        assert_eq!(of(&text(&none), "a").unwrap_err(), "it has none of these filters, only failures");
    }
}
