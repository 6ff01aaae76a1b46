//! The table: a page for each part of a request.
//!
//! A row says `refused(section, rule, bytes, status)`, `passed(section, rule, bytes, what the origin gets)`, or one of the
//! others of `row.rs`. `G` and `P` begin a GET and a POST whose head is whole but for its end.

#[path = "table/chunks.rs"]
mod chunks;
#[path = "table/connect.rs"]
mod connect;
#[path = "table/connection.rs"]
mod connection;
#[path = "table/fields.rs"]
mod fields;
#[path = "table/framing.rs"]
mod framing;
#[path = "table/host.rs"]
mod host;
#[path = "table/limits.rs"]
mod limits;
#[path = "table/path.rs"]
mod path;
#[path = "table/pipelining.rs"]
mod pipelining;
#[path = "table/request_line.rs"]
mod request_line;
#[path = "table/target.rs"]
mod target;

use crate::row::Row;

/// The beginning of a GET.
const G: &str = "GET / HTTP/1.1\r\nhost: a\r\n";
/// The beginning of a POST.
const P: &str = "POST / HTTP/1.1\r\nhost: a\r\n";

/// A GET with these field lines, each with its end.
fn get(lines: &str) -> String {
    format!("{G}{lines}\r\n")
}

/// A POST with these field lines and this body.
fn post(lines: &str, body: &str) -> String {
    format!("{P}{lines}\r\n{body}")
}

/// A POST whose body is chunked like this.
fn chunked(body: &str) -> String {
    post("transfer-encoding: chunked\r\n", body)
}

/// A GET of this target.
fn target(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n")
}

/// All rows.
pub(crate) fn rows() -> Vec<Row> {
    let pages = [
        request_line::rows(),
        target::rows(),
        host::rows(),
        path::rows(),
        fields::rows(),
        framing::rows(),
        chunks::rows(),
        connection::rows(),
        limits::rows(),
        pipelining::rows(),
        connect::rows(),
    ];
    pages.into_iter().flatten().collect()
}
