//! How a name that a guest chose becomes a family and labels that Prometheus can read.
//!
//! It bounds lengths and replaces characters; it does not know how many names there are.

/// The longest name taken, labels included.
const MAX_BYTES: usize = 512;
/// The most labels taken.
const MAX_LABELS: usize = 8;

/// A family without prefix, and its labels in the order written.
///
/// Two spellings that show as one series are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::telemetry::metrics) struct SeriesName {
    /// ASCII letters, digits and underscores.
    pub(in crate::telemetry::metrics) family: String,
    /// Label names are as clean as the family; values are any text.
    pub(in crate::telemetry::metrics) labels: Vec<(String, String)>,
}

impl SeriesName {
    /// Reads `name`, `name{key="value",…}` or `name;key=value;…`. `None`: empty, too long, or too many labels.
    pub(in crate::telemetry::metrics) fn parse(name: &[u8]) -> Option<SeriesName> {
        if name.is_empty() || name.len() > MAX_BYTES {
            return None;
        }
        let text = String::from_utf8_lossy(name);
        let (family, labels) = split(&text);
        let labels = labels.into_iter().map(|(key, value)| (label(key), value)).collect();
        let labels = distinct(labels)?;
        Some(SeriesName { family: clean(family), labels })
    }
}

/// Separates the labels from the name; a name whose labels cannot be read is all name.
fn split(text: &str) -> (&str, Vec<(&str, String)>) {
    let braced = text.strip_suffix('}').and_then(|text| text.split_once('{'));
    if let Some((family, labels)) = braced
        && let Some(labels) = quoted_labels(labels)
    {
        return (family, labels);
    }
    let mut parts = text.split(';');
    let family = parts.next().unwrap_or_default();
    match parts.map(bare_label).collect::<Option<Vec<_>>>() {
        Some(labels) => (family, labels),
        None => (text, Vec::new()),
    }
}

fn bare_label(part: &str) -> Option<(&str, String)> {
    let (key, value) = part.split_once('=')?;
    Some((key, value.to_owned()))
}

/// Reads `key="value"` pairs, separated by commas, with `\\`, `\"` and `\n` escaped.
fn quoted_labels(mut rest: &str) -> Option<Vec<(&str, String)>> {
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.push((key.trim(), value));
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
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            plain => value.push(plain),
        }
    }
    None
}

fn clean(text: &str) -> String {
    let keep = |char: char| if char.is_ascii_alphanumeric() { char } else { '_' };
    text.chars().map(keep).collect()
}

/// A label's name, moved out of the way of the labels that the proxy adds itself.
fn label(key: &str) -> String {
    let mut key = clean(key);
    let taken = matches!(key.as_str(), "filter" | "le");
    if taken || !key.starts_with(|first: char| first.is_ascii_alphabetic()) {
        key.insert_str(0, "guest_");
    }
    key
}

/// The labels, unless there are too many or two share a name.
fn distinct(labels: Vec<(String, String)>) -> Option<Vec<(String, String)>> {
    let twice = |at: usize| labels[..at].iter().any(|(key, _)| *key == labels[at].0);
    let good = labels.len() <= MAX_LABELS && !(0..labels.len()).any(twice);
    good.then_some(labels)
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

    #[test]
    fn characters_that_no_name_may_have_become_underscores() {
        assert_eq!(parsed("my-filter.hits é"), ("my_filter_hits__".to_owned(), vec![]));
    }

    #[test]
    fn labels_are_read_in_both_spellings() {
        let expected = ("hits".to_owned(), vec![pair("tenant", "acme"), pair("zone", "a b")]);

        assert_eq!(parsed("hits;tenant=acme;zone=a b"), expected);
        assert_eq!(parsed(r#"hits{tenant="acme", zone="a b"}"#), expected);
    }

    #[test]
    fn escapes_in_quoted_values_are_undone() {
        assert_eq!(parsed(r#"h{k="a\"b\\c\n,d"}"#).1, [pair("k", "a\"b\\c\n,d")]);
    }

    #[test]
    fn unreadable_labels_leave_one_flat_name() {
        assert_eq!(parsed("hits;nonsense").0, "hits_nonsense");
        assert_eq!(parsed(r#"hits{k="open}"#).0, "hits_k__open_");
    }

    #[test]
    fn labels_of_the_proxy_cannot_be_taken() {
        assert_eq!(
            parsed("h;filter=x;le=1;9=y").1,
            [pair("guest_filter", "x"), pair("guest_le", "1"), pair("guest_9", "y")]
        );
    }

    #[test]
    fn the_longest_name_is_taken_and_one_byte_more_is_not() {
        assert!(SeriesName::parse(&[b'a'; MAX_BYTES]).is_some());
        assert!(SeriesName::parse(&[b'a'; MAX_BYTES + 1]).is_none());
        assert!(SeriesName::parse(b"").is_none());
    }

    #[test]
    fn a_label_given_twice_and_a_ninth_label_are_refused() {
        assert!(SeriesName::parse(b"h;a=1;a=2").is_none());
        assert!(SeriesName::parse(b"h;a=1;b=2;c=3;d=4;e=5;f=6;g=7;h=8").is_some());
        assert!(SeriesName::parse(b"h;a=1;b=2;c=3;d=4;e=5;f=6;g=7;h=8;i=9").is_none());
    }
}
