//! Rules between the keys of one mapping: which exclude one another, and of which one is needed.
//! They concern what is written; what a key holds is read all the same.

use crate::file::read::{Fields, Reader};

/// A listener has routes, or passes connections on to `tcp`, whose filters are its own.
pub(super) fn of_listener(fields: &Fields<'_>, reader: &mut Reader<'_, '_>) {
    fields.need_one_of(&["routes", "tcp"], reader);
    fields.exclude("tcp", "routes", "a listener has one of them", reader);
    fields.exclude("tcp", "filters", "write the filters inside \"tcp\"", reader);
}

/// A self-test expects something.
pub(super) fn of_expectation(fields: &Fields<'_>, reader: &mut Reader<'_, '_>) {
    fields.need_one_of(&["status", "headers", "upstream_headers"], reader);
}
