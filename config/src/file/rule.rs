//! Rules between the keys of one mapping: which exclude one another, and of which one is needed.
//! They concern what is written; what a key holds is read all the same.

use crate::file::read::{Fields, Reader};

/// A listener has routes, or passes connections on to `tcp`, whose filters are its own.
pub(super) fn of_listener(fields: &Fields<'_>, reader: &mut Reader<'_, '_>) {
    fields.need_one_of(&["routes", "tcp"], reader);
    fields.exclude("tcp", "routes", "a listener has one of them", reader);
    fields.exclude("tcp", "filters", "write the filters inside \"tcp\"", reader);
    for key in ["http", "headers"] {
        fields.exclude(key, "tcp", "it is for listeners with routes", reader);
    }
    // A header could lead anywhere that a target `original` reaches.
    fields.exclude("proxy_protocol", "intercept", "the kernel tells what a connection was meant for", reader);
}

/// A route does one thing with an exchange, and rewrites only what goes to a target.
pub(super) fn of_route(fields: &Fields<'_>, reader: &mut Reader<'_, '_>) {
    fields.need_one_of(&["to", "respond", "redirect"], reader);
    for (key, other) in [("to", "respond"), ("to", "redirect"), ("respond", "redirect")] {
        fields.exclude(key, other, "a route has one of them", reader);
    }
    for own in ["respond", "redirect"] {
        for key in ["rewrite", "upgrade"] {
            fields.exclude(key, own, "it is for routes with \"to\"", reader);
        }
    }
}

/// A condition is one, and plain text is the one for equal values.
pub(super) fn of_condition(fields: &Fields<'_>, reader: &mut Reader<'_, '_>) {
    fields.need_one_of(&["regex", "present"], reader);
    fields.exclude("regex", "present", "what has a value that is found is present", reader);
}

/// A redirect leads somewhere else.
pub(super) fn of_redirect(fields: &Fields<'_>, reader: &mut Reader<'_, '_>) {
    fields.need_one_of(&["scheme", "host", "port", "path", "prefix"], reader);
    fields.exclude("path", "prefix", "\"path\" is the whole path already", reader);
}

/// A rewrite changes something, and the path in one way.
pub(super) fn of_rewrite(fields: &Fields<'_>, reader: &mut Reader<'_, '_>) {
    fields.need_one_of(&["path", "regex", "host"], reader);
    fields.exclude("path", "regex", "a path is rewritten in one way", reader);
}

/// Proxies in front are known by their addresses or by their number.
pub(super) fn of_forwarded(fields: &Fields<'_>, reader: &mut Reader<'_, '_>) {
    fields.exclude("trusted", "hops", "name the proxies in front, or say how many there are", reader);
}

/// What is asked of clients' certificates means nothing without their CAs.
pub(super) fn of_listener_tls(fields: &Fields<'_>, reader: &mut Reader<'_, '_>) {
    for key in ["client_auth", "client_names", "crl"] {
        fields.need_beside(key, "client_ca", reader);
    }
}

/// A certificate has a key, and a key its certificate.
pub(super) fn of_cluster_tls(fields: &Fields<'_>, reader: &mut Reader<'_, '_>) {
    fields.need_beside("cert", "key", reader);
    fields.need_beside("key", "cert", reader);
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
