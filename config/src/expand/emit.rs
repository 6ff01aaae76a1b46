//! A value as YAML text in block style, so that a person can read and edit it.
//! Text is quoted wherever it could be taken for something else.

use std::fmt::Write as _;

use serde_json::Value;

use crate::file::is_text;

/// The value as a YAML document.
pub(crate) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => entries(&mut out, value, 0),
        Value::Array(items) if !items.is_empty() => entries(&mut out, value, 0),
        scalar => {
            word(&mut out, scalar);
            out.push('\n');
        }
    }
    out
}

/// The entries of a list or a mapping, one a line.
fn entries(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) => {
            for (index, (key, value)) in map.iter().enumerate() {
                indent(out, index, depth);
                text(out, key);
                out.push(':');
                after_key(out, value, depth);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                indent(out, index, depth);
                out.push_str("- ");
                nested(out, item, depth + 1);
            }
        }
        _ => {}
    }
}

/// The first entry of a nested block stands after the dash that opens it.
fn indent(out: &mut String, index: usize, depth: usize) {
    if index > 0 || out.ends_with('\n') || out.is_empty() {
        out.extend(std::iter::repeat_n("  ", depth));
    }
}

fn after_key(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            entries(out, value, depth + 1);
        }
        // The items of a list stand as deep as its key.
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            entries(out, value, depth);
        }
        scalar => {
            out.push(' ');
            word(out, scalar);
            out.push('\n');
        }
    }
}

fn nested(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => entries(out, value, depth),
        Value::Array(items) if !items.is_empty() => entries(out, value, depth),
        scalar => {
            word(out, scalar);
            out.push('\n');
        }
    }
}

/// A scalar or an empty collection.
fn word(out: &mut String, value: &Value) {
    match value {
        Value::String(value) => text(out, value),
        // JSON writes the other scalars, `{}` and `[]` as YAML does.
        other => out.push_str(&other.to_string()),
    }
}

fn text(out: &mut String, value: &str) {
    if is_plain(value) {
        out.push_str(value);
        return;
    }
    for letter in Value::from(value).to_string().chars() {
        match letter {
            // YAML takes these for line breaks or refuses them.
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
}

/// Whether a text stands for itself without quotes, in any context and for any reader.
fn is_plain(text: &str) -> bool {
    let first = |letter: char| letter.is_ascii_alphanumeric() || "/._".contains(letter);
    let other = |letter: char| letter.is_ascii_alphanumeric() || "/._-:+@$%".contains(letter);
    text.starts_with(first) && text.chars().all(other) && !text.ends_with(':') && is_text(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_and_mappings_are_written_in_blocks() {
        let value = json!({ "a": [{ "b": 1, "c": [] }, "x"], "d": { "e": {} }, "f": [[1, 2]] });

        let text = yaml(&value);

        assert_eq!(text, "a:\n- b: 1\n  c: []\n- x\nd:\n  e: {}\nf:\n- - 1\n  - 2\n");
    }

    #[test]
    fn text_that_could_be_something_else_is_quoted() {
        let value = json!(["1", "true", "", "a b", "a: b", "#a", "1e3", "~", "a:", "- a", "\u{85}", "\u{7f}"]);

        let text = yaml(&value);

        for line in text.lines() {
            assert!(line.starts_with("- \"") && line.ends_with('"'), "{line}");
        }
        assert!(text.contains("\\u0085") && text.contains("\\u007f"), "{text}");
    }

    #[test]
    fn addresses_paths_and_words_are_not_quoted() {
        assert_eq!(
            yaml(&json!(["off", "127.0.0.1:80", "http://a:80", "/v1", "5%"])),
            "- off\n- 127.0.0.1:80\n- http://a:80\n- /v1\n- 5%\n"
        );
    }
}
