//! References in text: `${env:NAME}`, `${file:path}`, and `$${` for a literal `${`.
//! They stand in any text value, never in a key; what they bring in is not read for references.

use std::env::VarError;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::file::write::View;
use crate::regular;

/// What stands in place of a result in everything that people are shown.
pub(crate) const REDACTED: &str = "<redacted>";
/// Bytes a referenced file may have.
const FILE: u64 = 1 << 20;
/// Bytes that all references of a configuration may bring in.
const TOTAL: usize = 16 << 20;

/// Where references find what they name.
#[derive(Debug)]
pub(crate) struct Surroundings {
    folder: PathBuf,
    variable: fn(&str) -> Result<String, VarError>,
    brought: usize,
}

/// A text with its references replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) value: String,
    /// Present when the text has references.
    pub(crate) template: Option<Box<Template>>,
}

/// A text that has references, without their results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// As written.
    raw: String,
    /// With every result replaced by [`REDACTED`].
    shown: String,
}

impl Resolved {
    /// The text as people may see it.
    pub(crate) fn shown(&self) -> &str {
        self.template.as_ref().map_or(&self.value, |template| &template.shown)
    }
}

impl Template {
    /// A template that is written so, and shown so.
    pub(crate) fn new(raw: String, shown: String) -> Template {
        Template { raw, shown }
    }

    /// The form for a view that must not resolve, or `None` where the value itself is wanted.
    pub(crate) fn view(&self, view: View) -> Option<&str> {
        match view {
            View::Written => Some(&self.raw),
            View::Redacted => Some(&self.shown),
            View::Resolved => None,
        }
    }
}

/// The text that means `value`: its `${` written as `$${`.
pub(crate) fn escape(value: &str) -> String {
    value.replace("${", "$${")
}

impl Surroundings {
    /// The process environment, and files relative to `folder`.
    pub(crate) fn of_process(folder: &Path) -> Surroundings {
        Surroundings { folder: folder.to_owned(), variable: |name| std::env::var(name), brought: 0 }
    }

    /// Replaces every reference of a text; `Err` says what is wrong with one.
    pub(crate) fn resolve(&mut self, text: &str) -> Result<Resolved, String> {
        let (mut value, mut shown) = (String::new(), String::new());
        let mut referred = false;
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, tail) = rest.split_at(at);
            value.push_str(before);
            shown.push_str(before);
            if let Some(after) = tail.strip_prefix("${") {
                let Some((inside, after)) = after.split_once('}') else {
                    return Err("a reference has no end; write \"}\" after it, or \"$${\" for a literal \"${\"".into());
                };
                value.push_str(&self.bring(inside)?);
                shown.push_str(REDACTED);
                referred = true;
                rest = after;
            } else {
                let escaped = tail.starts_with("$${");
                let (literal, taken) = if escaped { ("${", 3) } else { ("$", 1) };
                value.push_str(literal);
                shown.push_str(literal);
                rest = &tail[taken..];
            }
        }
        value.push_str(rest);
        shown.push_str(rest);
        let template = referred.then(|| Box::new(Template { raw: text.to_owned(), shown }));
        Ok(Resolved { value, template })
    }

    /// What one reference stands for.
    fn bring(&mut self, inside: &str) -> Result<String, String> {
        let text = match inside.split_once(':') {
            Some(("env", name)) => self.variable(name),
            Some(("file", path)) => read(&self.folder.join(path)).map_err(|why| format!("the file {path:?}: {why}")),
            _ => Err(format!(
                "{:?} is no reference; write ${{env:NAME}}, ${{file:path}}, or \"$${{\" for a literal \"${{\"",
                format!("${{{inside}}}")
            )),
        }?;
        self.brought += text.len();
        if self.brought > TOTAL {
            return Err(format!(
                "the references of a configuration may bring in {} MiB, these bring more",
                TOTAL >> 20
            ));
        }
        Ok(text)
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        (self.variable)(name).map_err(|error| match error {
            VarError::NotPresent => format!("the environment variable {name:?} is not defined"),
            VarError::NotUnicode(_) => format!("the environment variable {name:?} is not UTF-8"),
        })
    }
}

/// A referenced file without the newline at its end.
fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = regular::open(path).map_err(|error| error.to_string())?;
    file.take(FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE {
        return Err(format!("a referenced file may have {} MiB, this one has more", FILE >> 20));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.truncate(text.len() - 1);
        text.truncate(text.strip_suffix('\r').unwrap_or(&text).len());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(folder: &Path) -> Surroundings {
        let variable = |name: &str| match name {
            "KEY" => Ok("s3cret".to_owned()),
            "NESTED" => Ok("${env:KEY}".to_owned()),
            _ => Err(VarError::NotPresent),
        };
        Surroundings { folder: folder.to_owned(), variable, brought: 0 }
    }

    fn resolve(text: &str) -> Result<Resolved, String> {
        surroundings(Path::new(".")).resolve(text)
    }

    #[test]
    fn a_variable_is_put_in_its_place_and_kept_from_view() {
        let resolved = resolve("Bearer ${env:KEY}!").unwrap();

        assert_eq!(resolved.value, "Bearer s3cret!");
        assert_eq!(resolved.shown(), "Bearer <redacted>!");
    }

    #[test]
    fn a_doubled_dollar_is_a_literal_one() {
        for (text, value) in [("$${env:KEY}", "${env:KEY}"), ("$", "$"), ("$$", "$$"), ("a$b", "a$b"), ("$$${", "$${")]
        {
            let resolved = resolve(text).unwrap();
            assert_eq!(resolved.value, value);
            assert_eq!(resolved.template, None, "{text}");
            assert_eq!(resolve(&escape(value)).unwrap().value, value, "{text}");
        }
    }

    #[test]
    fn what_a_reference_brings_in_is_not_read_again() {
        assert_eq!(resolve("${env:NESTED}").unwrap().value, "${env:KEY}");
    }

    #[test]
    fn a_reference_that_leads_nowhere_is_a_fault() {
        assert!(resolve("${env:NOPE}").unwrap_err().contains("\"NOPE\" is not defined"));
        assert!(resolve("${NOPE}").unwrap_err().contains("is no reference"));
        assert!(resolve("${env:KEY").unwrap_err().contains("has no end"));
        assert!(resolve("${file:no/such/file}").unwrap_err().contains("\"no/such/file\""));
    }

    #[test]
    fn a_file_loses_the_newline_at_its_end_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), " a\nb\r\n").unwrap();

        let resolved = surroundings(folder.path()).resolve("${file:key}").unwrap();

        assert_eq!(resolved.value, " a\nb");
    }

    #[test]
    fn a_file_may_have_its_bound_and_no_byte_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        std::fs::write(&path, vec![b'a'; 1 << 20]).unwrap();
        assert!(read(&path).is_ok());

        std::fs::write(&path, vec![b'a'; (1 << 20) + 1]).unwrap();

        assert!(read(&path).unwrap_err().contains("1 MiB"));
    }
}
