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

/// One way of hashing.
pub(super) fn of_balance(fields: &Fields<'_>, reader: &mut Reader<'_, '_>) {
    fields.need_one_of(&["ring_hash", "maglev"], reader);
    fields.exclude("maglev", "ring_hash", "a cluster has one of them", reader);
}

/// One thing that is hashed.
pub(super) fn of_hash(fields: &Fields<'_>, reader: &mut Reader<'_, '_>) {
    fields.need_one_of(&["header", "cookie", "source"], reader);
    for (key, other) in [("cookie", "header"), ("source", "header"), ("source", "cookie")] {
        fields.exclude(key, other, "one of them is hashed", reader);
    }
}

/// One question; statuses are those of HTTP.
pub(super) fn of_health(fields: &Fields<'_>, reader: &mut Reader<'_, '_>) {
    fields.need_one_of(&["http", "tcp", "grpc"], reader);
    for (key, other) in [("tcp", "http"), ("grpc", "http"), ("grpc", "tcp")] {
        fields.exclude(key, other, "an endpoint is asked one of them", reader);
    }
    for other in ["tcp", "grpc"] {
        fields.exclude("statuses", other, "they belong to \"http\"", reader);
    }
}
