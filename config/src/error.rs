//! Faults: everything that can be wrong with a configuration, each with a code and its place.
//! How a fault is found belongs to the files that read and check; this one only words it.

use std::fmt;
use std::path::PathBuf;

/// The kind of a [`Fault`], written `TGnnnn` in messages; a code never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// `TG0101`: the file cannot be read.
    Unreadable,
    /// `TG0102`: the text is not YAML 1.2, or uses a part of YAML this language leaves out.
    NotYaml,
    /// `TG0103`: a key that the language does not know at this place.
    UnknownKey,
    /// `TG0104`: a key or a value of the language that this version does not have.
    NotSupported,
    /// `TG0105`: a value of another type than the key takes.
    WrongType,
    /// `TG0106`: a bare number where a duration or a size belongs.
    MissingUnit,
    /// `TG0107`: more text, nodes, depth or aliases than a configuration may have.
    TooLarge,
    /// `TG0108`: a key written twice in one mapping.
    DuplicateKey,
    /// `TG0109`: a key that must be written is absent.
    MissingKey,
    /// `TG0110`: a name or an address that belongs to something else already.
    DuplicateName,
    /// `TG0111`: the name of a cluster or a filter that nothing defines.
    Undefined,
    /// `TG0112`: keys that exclude one another.
    Conflict,
    /// `TG0113`: a value of the right type that means nothing here.
    BadValue,
    /// `TG0114`: a `${env:NAME}` or `${file:path}` that cannot be replaced.
    BadReference,
    /// `TG0115`: an admin address that others than this machine could reach, without a token.
    ExposedAdmin,
}

impl Code {
    /// Every code, in the order of its number.
    pub const ALL: [Code; 15] = [
        Code::Unreadable,
        Code::NotYaml,
        Code::UnknownKey,
        Code::NotSupported,
        Code::WrongType,
        Code::MissingUnit,
        Code::TooLarge,
        Code::DuplicateKey,
        Code::MissingKey,
        Code::DuplicateName,
        Code::Undefined,
        Code::Conflict,
        Code::BadValue,
        Code::BadReference,
        Code::ExposedAdmin,
    ];

    /// The digits after `TG`.
    pub const fn number(self) -> u16 {
        match self {
            Code::Unreadable => 101,
            Code::NotYaml => 102,
            Code::UnknownKey => 103,
            Code::NotSupported => 104,
            Code::WrongType => 105,
            Code::MissingUnit => 106,
            Code::TooLarge => 107,
            Code::DuplicateKey => 108,
            Code::MissingKey => 109,
            Code::DuplicateName => 110,
            Code::Undefined => 111,
            Code::Conflict => 112,
            Code::BadValue => 113,
            Code::BadReference => 114,
            Code::ExposedAdmin => 115,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TG{:04}", self.number())
    }
}

/// A position in a file; lines and columns count from one, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file as it was named to [`load`](crate::load) or [`parse`](crate::parse).
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// The piece of a source line that a fault is about, fit to be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snippet {
    /// The line, shortened to a window around the mark, without control characters.
    pub(crate) text: String,
    /// Characters before the mark.
    pub(crate) indent: usize,
    /// Characters marked, at least one.
    pub(crate) width: usize,
}

/// One thing that is wrong, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// What kind of fault it is.
    pub code: Code,
    /// One sentence, lower case, that says what to change.
    pub message: String,
    /// Where it is; absent when the file could not be read at all.
    pub place: Option<Place>,
    pub(crate) snippet: Option<Snippet>,
}

impl Fault {
    /// A fault of a whole file, without a place in it.
    pub(crate) fn of_file(code: Code, message: String) -> Fault {
        Fault { code, message, place: None, snippet: None }
    }
}

impl fmt::Display for Fault {
    /// The message, then place, source line and caret; no newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)?;
        let Some(place) = &self.place else {
            return Ok(());
        };
        write!(f, "\n  --> {place}")?;
        let Some(snippet) = &self.snippet else {
            return Ok(());
        };
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(snippet.indent);
        let carets = "^".repeat(snippet.width);
        write!(f, "\n {margin} |\n {number} | {}\n {margin} | {indent}{carets}", snippet.text)
    }
}

impl std::error::Error for Fault {}

/// Everything found wrong with one configuration, in the order of the text; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    list: Vec<Fault>,
    unlisted: usize,
}

impl Faults {
    /// Faults kept with their text; those beyond are only counted.
    pub const LISTED: usize = 100;

    /// The faults kept, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.list.iter()
    }

    /// How many faults were found, including those beyond [`Faults::LISTED`].
    pub fn count(&self) -> usize {
        self.list.len() + self.unlisted
    }

    /// `Err` with what was collected, `Ok` when nothing was.
    pub(crate) fn none_of(mut found: Vec<Fault>, unlisted: usize) -> Result<(), Faults> {
        if found.is_empty() {
            return Ok(());
        }
        found.sort_by_key(|fault| fault.place.as_ref().map(|place| (place.line, place.column)));
        // An alias repeats the faults of what it stands for.
        found.dedup();
        Err(Faults { list: found, unlisted })
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Faults {
        Faults { list: vec![fault], unlisted: 0 }
    }
}

impl fmt::Display for Faults {
    /// Every fault, a blank line between two.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{fault}")?;
        }
        match self.unlisted {
            0 => Ok(()),
            more => write!(f, "\n\nand {more} more"),
        }
    }
}

impl std::error::Error for Faults {}
