//! Sets of statuses: single ones by number, whole classes as in `2xx`.

use serde_json::Value;

use schemars::{Schema, json_schema};

use crate::scalar::{Bare, Scalar, Unfit, Word};

/// Some of the statuses from 100 to 599.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statuses {
    single: Vec<u16>,
    /// The first digits of whole classes.
    classes: Vec<u16>,
}

impl Statuses {
    /// True for a status of the set.
    pub fn contains(&self, status: u16) -> bool {
        self.single.contains(&status) || self.classes.contains(&(status / 100))
    }

    /// True for the set of none.
    pub fn is_empty(&self) -> bool {
        self.single.is_empty() && self.classes.is_empty()
    }

    pub(crate) fn add(&mut self, status: Status) {
        self.single.push(status.0);
    }

    pub(crate) fn add_class(&mut self, class: Class) {
        self.classes.push(class as u16);
    }
}

/// One status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u16);

impl Scalar for Status {
    const EXPECTED: &'static str = "a status such as 503";
    const BARE: Bare = Bare::Taken;

    fn parse(text: &str) -> Result<Status, Unfit> {
        let fits = |status: &u16| (100..=599).contains(status);
        let unfit = || Unfit::value("is not a status from 100 to 599");
        text.parse().ok().filter(fits).map(Status).ok_or_else(unfit)
    }

    fn spell(&self) -> Value {
        self.0.into()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 100, "maximum": 599 })
    }
}

/// A hundred statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Class {
    Success = 2,
    Redirection = 3,
    ClientError = 4,
    ServerError = 5,
}

impl Word for Class {
    const WORDS: &'static [(&'static str, Class)] = &[
        ("2xx", Class::Success),
        ("3xx", Class::Redirection),
        ("4xx", Class::ClientError),
        ("5xx", Class::ServerError),
    ];
    const EXPECTED: &'static str = "a status such as 204, or \"2xx\", \"3xx\", \"4xx\", \"5xx\"";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_its_single_statuses_and_whole_classes() {
        let mut set = Statuses::default();
        set.add(Status(404));
        set.add_class(Class::Success);

        assert!([404, 200, 299].iter().all(|status| set.contains(*status)));
        assert!([403, 405, 300, 199].iter().all(|status| !set.contains(*status)));
    }
}
