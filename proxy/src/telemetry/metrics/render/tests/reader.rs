//! A strict reader of Prometheus text format 0.0.4, which shares nothing with the crate that writes it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Labels by name; an empty one is an absent one.
type Labels = BTreeMap<String, String>;

/// Samples by `name{labels}` as written, after checking the whole page.
pub(super) fn read(page: &str) -> BTreeMap<String, f64> {
    assert!(page.ends_with('\n'));
    let (mut samples, mut known, mut named) = (BTreeMap::new(), HashSet::new(), BTreeSet::new());
    let mut family = Family::default();
    for line in page.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family.check();
            family = Family { name: rest.split(' ').next().unwrap().to_owned(), ..Family::default() };
            assert!(named.insert(family.name.clone()), "{} twice", family.name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(name == family.name && family.samples.is_empty() && family.kind.is_empty(), "{line}");
            family.kind = kind.to_owned();
        } else {
            let (series, name, labels, value) = sample(line);
            assert!(known.insert((name.clone(), labels.clone())), "{line} is there twice");
            samples.insert(series, value);
            family.samples.push((name, labels, value));
        }
    }
    family.check();
    samples
}

/// Reads `name{key="value",…} number`.
fn sample(line: &str) -> (String, String, Labels, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    assert!(is_name(name), "{line}");
    (series.to_owned(), name.to_owned(), labels_of(labels), value.parse().unwrap())
}

/// Reads what follows the opening brace.
fn labels_of(text: &str) -> Labels {
    let (mut labels, mut rest) = (Labels::new(), text);
    while rest != "}" {
        let (key, after) = rest.split_once("=\"").unwrap();
        assert!(is_name(key) && !key.contains(':'), "{text}");
        let (value, after) = unescape(after);
        assert!(labels.insert(key.to_owned(), value).is_none(), "{text}");
        rest = after.strip_prefix(',').unwrap_or(after);
        assert!(rest == "}" || rest.len() < after.len(), "{text}");
    }
    labels.retain(|_, value| !value.is_empty());
    labels
}

fn unescape(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next().expect("a closing quote") {
            '"' => return (value, chars.as_str()),
            '\\' => value.push(match chars.next() {
                Some('n') => '\n',
                Some(plain @ ('"' | '\\')) => plain,
                other => panic!("{other:?} is escaped in {text}"),
            }),
            plain => {
                assert!(!plain.is_control(), "{text:?}");
                value.push(plain);
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
    text.bytes().all(word) && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// One family as it stands on the page.
#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    samples: Vec<(String, Labels, f64)>,
}

impl Family {
    fn check(&self) {
        match self.kind.as_str() {
            "histogram" => self.check_histogram(),
            "counter" | "gauge" => {
                assert!(self.samples.iter().all(|(name, ..)| *name == self.name), "{}", self.name);
                let falls = self.kind == "counter" && self.samples.iter().any(|(.., value)| *value < 0.0);
                assert!(!falls, "{}", self.name);
            }
            // Only what stands before the first family has no kind.
            kind => assert!(kind.is_empty() && self.name.is_empty() && self.samples.is_empty(), "{}", self.name),
        }
        assert!(self.name.is_empty() || !self.samples.is_empty(), "{} has no sample", self.name);
    }

    fn check_histogram(&self) {
        let mut spreads: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        let mut totals: BTreeMap<(String, Labels), f64> = BTreeMap::new();
        for (name, labels, value) in &self.samples {
            let mut labels = labels.clone();
            match labels.remove("le") {
                Some(bound) => {
                    assert_eq!(*name, format!("{}_bucket", self.name));
                    spreads.entry(labels).or_default().push((bound.parse().unwrap(), *value));
                }
                None => drop(totals.insert((name.clone(), labels), *value)),
            }
        }
        assert_eq!(totals.len(), spreads.len() * 2, "{}", self.name);
        for (labels, buckets) in spreads {
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{} {buckets:?}", self.name);
            let (bound, count) = buckets.last().unwrap();
            assert_eq!(*bound, f64::INFINITY, "{}", self.name);
            assert_eq!(totals[&(format!("{}_count", self.name), labels.clone())], *count);
            assert!(totals.contains_key(&(format!("{}_sum", self.name), labels)));
        }
    }
}

#[test]
#[should_panic(expected = "is there twice")]
fn one_series_in_two_spellings_is_seen() {
    read("# HELP a b\n# TYPE a counter\na{k=\"1\",l=\"2\"} 1\na{l=\"2\",m=\"\",k=\"1\"} 1\n");
}

#[test]
#[should_panic(expected = "a counter")]
fn a_sample_before_its_type_is_seen() {
    read("# HELP a b\na 1\n# TYPE a counter\n");
}
