//! How a name that a guest chose becomes a family and labels that Prometheus can read.
//!
//! It bounds lengths and reads labels; it does not know how many names there are.

/// The longest name without labels, the longest label name and the longest label value, in bytes.
const MAX_PART: usize = 128;
/// The most labels.
const MAX_LABELS: usize = 10;
/// What those bounds leave room for when every byte of every value is escaped; more is not even read.
const MAX_BYTES: usize = 4096;

/// A family without prefix, and its labels in the order of their names.
///
/// Two spellings that show as one series are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::telemetry::metrics) struct SeriesName {
    /// ASCII letters, digits and underscores.
    pub(in crate::telemetry::metrics) family: String,
    /// Names that Prometheus takes and the proxy does not use; values are any text without control characters but LF.
    pub(in crate::telemetry::metrics) labels: Vec<(String, String)>,
}

impl SeriesName {
    /// Reads `name`, `name{key="value",…}` or `name;key=value;…`; the first `{` or `;` tells which.
    ///
    /// What no family may have in its name becomes an underscore. `None`: no name, a bound passed, labels that cannot be
    /// read, a label given twice, and a label name that Prometheus does not take or the proxy uses itself.
    pub(in crate::telemetry::metrics) fn parse(name: &[u8]) -> Option<SeriesName> {
        if name.len() > MAX_BYTES {
            return None;
        }
        let text = String::from_utf8_lossy(name);
        let (family, rest) = text.split_at(text.find(['{', ';']).unwrap_or(text.len()));
        let labels = match rest.strip_prefix(';') {
            Some(bare) => bare_labels(bare)?,
            None if rest.is_empty() => Vec::new(),
            None => quoted_labels(rest)?,
        };
        Some(SeriesName { family: clean(family)?, labels: settle(labels)? })
    }
}

/// Reads `key=value;…`. A value goes on to the next semicolon, whatever else is in it.
fn bare_labels(text: &str) -> Option<Vec<(&str, String)>> {
    text.split(';').map(bare_label).collect()
}

fn bare_label(part: &str) -> Option<(&str, String)> {
    let (key, value) = part.split_once('=')?;
    Some((key, value.to_owned()))
}

/// Reads `{key="value",…}`; spaces around the parts and a comma after the last pair are fine.
fn quoted_labels(text: &str) -> Option<Vec<(&str, String)>> {
    let mut rest = text.strip_prefix('{')?.strip_suffix('}')?.trim_start();
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.push((key.trim_end(), value));
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(labels)
}

/// The text up to the closing quote, unescaped, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            // Prometheus text format 0.0.4: `\\`, `\"` and `\n` are all there is.
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                _ => return None,
            },
            plain => value.push(plain),
        }
    }
    None
}

fn clean(family: &str) -> Option<String> {
    let keep = |char: char| if char.is_ascii_alphanumeric() { char } else { '_' };
    let bounded = (1..=MAX_PART).contains(&family.len());
    bounded.then(|| family.chars().map(keep).collect())
}

/// The labels in the order of their names, so that one set is one series however it is written.
fn settle(labels: Vec<(&str, String)>) -> Option<Vec<(String, String)>> {
    let good = |(key, value): &(&str, String)| may_name(key) && value.len() <= MAX_PART;
    if labels.len() > MAX_LABELS || !labels.iter().all(good) {
        return None;
    }
    let mut labels: Vec<_> = labels.into_iter().map(|(key, value)| (key.to_owned(), visible(&value))).collect();
    labels.sort_unstable();
    if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return None;
    }
    // To Prometheus an empty label is an absent one, so both spellings must be one series.
    labels.retain(|(_, value)| !value.is_empty());
    Some(labels)
}

/// True for what Prometheus takes as the name of a label, apart from its own (`__…`) and ours.
fn may_name(key: &str) -> bool {
    let word = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let begins = !key.starts_with(|first: char| first.is_ascii_digit()) && !key.starts_with("__");
    (1..=MAX_PART).contains(&key.len()) && word && begins && !matches!(key, "filter" | "le")
}

/// A page is also read in terminals, which must not be steered by it. A line feed is escaped there.
fn visible(value: &str) -> String {
    value.replace(|char: char| char.is_control() && char != '\n', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> (String, Vec<(String, String)>) {
        let name = SeriesName::parse(name.as_bytes()).unwrap();
        (name.family, name.labels)
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    fn is_taken(name: &str) -> bool {
        SeriesName::parse(name.as_bytes()).is_some()
    }

    #[test]
    fn characters_that_no_name_may_have_become_underscores() {
        assert_eq!(parsed("my-filter.hits:é"), ("my_filter_hits__".to_owned(), vec![]));
    }

    #[test]
    fn labels_are_read_in_both_spellings() {
        let expected = ("hits".to_owned(), vec![pair("tenant", "acme"), pair("zone", "a b=c")]);

        assert_eq!(parsed("hits;tenant=acme;zone=a b=c"), expected);
        assert_eq!(parsed(r#"hits{tenant="acme",zone="a b=c"}"#), expected);
        assert_eq!(parsed(r#"hits{ tenant = "acme" , zone="a b=c", }"#), expected);
        assert_eq!(parsed("hits{}"), ("hits".to_owned(), vec![]));
    }

    #[test]
    fn the_order_of_labels_makes_no_other_series_and_their_values_do() {
        assert_eq!(parsed("h;b=2;a=1"), parsed(r#"h{a="1",b="2"}"#));
        assert_ne!(parsed("h;a=1;b=2"), parsed("h;a=2;b=1"));
    }

    #[test]
    fn an_empty_label_is_an_absent_one() {
        assert_eq!(parsed("h;a=;b=1"), parsed("h;b=1"));
        assert_eq!(parsed(r#"h{a=""}"#), parsed("h"));
    }

    #[test]
    fn escapes_in_quoted_values_are_undone_and_others_are_none() {
        assert_eq!(parsed(r#"h{k="a\"b\\c\n,}d"}"#).1, [pair("k", "a\"b\\c\n,}d")]);
        assert!(!is_taken(r#"h{k="\t"}"#));
        assert!(!is_taken(r#"h{k="\"}"#));
    }

    #[test]
    fn the_first_mark_tells_the_spelling() {
        assert_eq!(parsed(r#"h{k="a;b=c"}"#).1, [pair("k", "a;b=c")]);
        assert_eq!(parsed(r#"h;k={"x"}"#).1, [pair("k", r#"{"x"}"#)]);
    }

    #[test]
    fn labels_that_cannot_be_read_are_refused() {
        let unreadable = [
            "hits;",
            "hits;nonsense",
            "hits;a=1;",
            "hits;a=1;;b=2",
            "hits{",
            "hits}{",
            "hits{a}",
            "hits{a=1}",
            "hits{,}",
            "hits{a=\"1\"",
            "hits{a=\"1}",
            "hits{a=\"1\"}x",
            "hits{a=\"1\" b=\"2\"}",
            "hits{a=\"1\",,b=\"2\"}",
            ";a=1",
            "{a=\"1\"}",
        ];
        for name in unreadable {
            assert!(!is_taken(name), "{name}");
        }
    }

    #[test]
    fn label_names_that_prometheus_or_the_proxy_keep_are_refused() {
        for key in ["", "filter", "le", "9a", "a-b", "a b", "é", "__name__"] {
            assert!(!is_taken(&format!("h;{key}=x")), "{key}");
            assert!(!is_taken(&format!("h{{{key}=\"x\"}}")), "{key}");
        }
        for key in ["_a", "A9", "Filter", "le_"] {
            assert!(is_taken(&format!("h;{key}=x")), "{key}");
        }
    }

    #[test]
    fn each_part_is_taken_at_its_longest_and_refused_one_byte_past_it() {
        let (longest, longer) = ("a".repeat(MAX_PART), "a".repeat(MAX_PART + 1));

        for name in [longest.clone(), format!("h;{longest}=x"), format!("h;k={longest}")] {
            assert!(is_taken(&name));
        }
        for name in [String::new(), longer.clone(), format!("h;{longer}=x"), format!("h;k={longer}")] {
            assert!(!is_taken(&name));
        }
    }

    #[test]
    fn every_part_at_its_longest_is_taken_together_and_more_is_not_read() {
        let value = "\\n".repeat(MAX_PART);
        let label = |at: usize| format!("{}{at}=\"{value}\"", "k".repeat(MAX_PART - 1));
        let labels: Vec<_> = (0..MAX_LABELS).map(label).collect();
        let name = format!("{}{{{}}}", "n".repeat(MAX_PART), labels.join(","));

        assert!(name.len() <= MAX_BYTES && is_taken(&name));
        assert!(!is_taken(&format!("h{{{}}}", " ".repeat(MAX_BYTES))));
    }

    #[test]
    fn a_label_given_twice_and_an_eleventh_label_are_refused() {
        let labels = |count: usize| (0..count).map(|at| format!(";l{at}=x")).collect::<String>();

        assert!(!is_taken("h;a=1;a=2"));
        assert!(!is_taken("h;a=1;a="));
        assert!(is_taken(&format!("h{}", labels(MAX_LABELS))));
        assert!(!is_taken(&format!("h{}", labels(MAX_LABELS + 1))));
    }

    #[test]
    fn bytes_that_steer_terminals_or_are_no_text_are_made_visible() {
        assert_eq!(SeriesName::parse(b"h;k=a\x1b[0m\xff").unwrap().labels, [pair("k", "a\u{fffd}[0m\u{fffd}")]);
    }
}
