//! Requests that are no requests, or that HTTP/1.1 could read in another way: pseudo-header fields, names, values, lengths,
//! authorities and trailers (RFC 9113 §8), and what the origin gets of those that are.

use crate::common::h2_raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, WHOLE, block, frame, get, left_open, post,
};
use crate::row::Verdict::{Connection, Sees, Status, Stream};
use crate::row::{Row, Verdict, row};

const MALFORMED: Verdict = Stream(1, PROTOCOL_ERROR);
/// Names and values that are none fail in HPACK's decoder, and with it the connection.
const UNSPEAKABLE: Verdict = Connection(PROTOCOL_ERROR);
const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");
const AUTHORITY: (&str, &str) = (":authority", "a");

type Rule = (&'static str, &'static str);

/// A whole request of these fields and no others.
fn says(rule: Rule, name: &'static str, fields: &[(&str, &str)], verdict: Verdict) -> Row {
    row(rule, name, &[frame(HEADERS, WHOLE, 1, &block(fields))], verdict)
}

/// A whole GET with further fields.
fn with(rule: Rule, name: &'static str, more: &[(&str, &str)], verdict: Verdict) -> Row {
    row(rule, name, &[frame(HEADERS, WHOLE, 1, &get(more))], verdict)
}

/// A whole GET with one more field, which need not be text.
fn field(name: &'static str, field: (&[u8], &[u8])) -> Row {
    let head = [get(&[]), block(&[field])].concat();
    row(("§8.2.1", ""), name, &[frame(HEADERS, WHOLE, 1, &head)], UNSPEAKABLE)
}

/// A POST with further fields, this body, and trailers where there are any.
fn sends(more: &[(&str, &str)], body: &[&[u8]], trailers: &[(&str, &str)]) -> Vec<u8> {
    [frame(HEADERS, END_HEADERS, 1, &post(more)), goes_on(body, trailers)].concat()
}

/// The same, where the head is good and what follows is not: the origin may get the one, and no whole request.
fn breaks_off(more: &[(&str, &str)], body: &[&[u8]], trailers: &[(&str, &str)]) -> Vec<u8> {
    [left_open(1, more), goes_on(body, trailers)].concat()
}

/// What follows a head.
fn goes_on(body: &[&[u8]], trailers: &[(&str, &str)]) -> Vec<u8> {
    let mut frames = Vec::new();
    for (at, piece) in body.iter().enumerate() {
        let is_last = trailers.is_empty() && at + 1 == body.len();
        frames.extend(frame(DATA, if is_last { END_STREAM } else { 0 }, 1, piece));
    }
    if !trailers.is_empty() {
        frames.extend(frame(HEADERS, WHOLE, 1, &block(trailers)));
    }
    frames
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = pseudo();
    rows.extend(targets());
    rows.extend(authorities());
    rows.extend(connect());
    rows.extend(names_and_values());
    rows.extend(hop());
    rows.extend(lengths());
    rows.extend(trailers());
    rows.extend(sizes());
    rows
}

fn pseudo() -> Vec<Row> {
    vec![
        with(("§8.3", "http2/8.1.2.1/2"), "the pseudo-header field of answers", &[(":status", "200")], MALFORMED),
        says(
            ("§8.3", "http2/8.1.2.1/1"),
            "a pseudo-header field that nobody knows",
            &[METHOD, SCHEME, PATH, AUTHORITY, (":test", "ok")],
            UNSPEAKABLE,
        ),
        says(
            ("§8.3", "http2/8.1.2.1/4"),
            "a pseudo-header field after a field",
            &[METHOD, SCHEME, AUTHORITY, ("x-test", "ok"), PATH],
            MALFORMED,
        ),
        says(("§8.3.1", "http2/8.1.2.3/2"), "no method", &[SCHEME, PATH, AUTHORITY], MALFORMED),
        says(("§8.3.1", "http2/8.1.2.3/3"), "no scheme", &[METHOD, PATH, AUTHORITY], MALFORMED),
        says(("§8.3.1", "http2/8.1.2.3/4"), "no path", &[METHOD, SCHEME, AUTHORITY], MALFORMED),
        with(("§8.3", "http2/8.1.2.3/5"), "two methods", &[METHOD], MALFORMED),
        with(("§8.3", "http2/8.1.2.3/6"), "two schemes", &[SCHEME], MALFORMED),
        with(("§8.3", "http2/8.1.2.3/7"), "two paths", &[PATH], MALFORMED),
        with(("§8.3", ""), "two authorities", &[AUTHORITY], MALFORMED),
        says(("§8.3.1", ""), "an empty method", &[(":method", ""), SCHEME, PATH, AUTHORITY], UNSPEAKABLE),
        says(
            ("RFC 9110 §9.1", ""),
            "a method of two words",
            &[(":method", "GET /x"), SCHEME, PATH, AUTHORITY],
            UNSPEAKABLE,
        ),
        says(
            ("RFC 9110 §9.1", ""),
            "a method that nobody knows",
            &[(":method", "get"), SCHEME, PATH, AUTHORITY],
            Sees("get /", &[("host", "a")], ""),
        ),
        says(
            ("RFC 3986 §3.1", ""),
            "a scheme of two words",
            &[METHOD, (":scheme", "ht tp"), PATH, AUTHORITY],
            MALFORMED,
        ),
        says(("RFC 3986 §3.1", ""), "an empty scheme", &[METHOD, (":scheme", ""), PATH, AUTHORITY], Status(400)),
        says(
            ("§8.3.1", ""),
            "a scheme that the connection has not",
            &[METHOD, (":scheme", "https"), PATH, AUTHORITY],
            Sees("GET /", &[("host", "a")], ""),
        ),
    ]
}

fn targets() -> Vec<Row> {
    let path = |name: &'static str, path: &str, verdict: Verdict| {
        says(("§8.3.1", ""), name, &[METHOD, SCHEME, (":path", path), AUTHORITY], verdict)
    };
    vec![
        says(("§8.3.1", "http2/8.1.2.3/1"), "an empty path", &[METHOD, SCHEME, (":path", ""), AUTHORITY], MALFORMED),
        path("a path without a slash", "x", MALFORMED),
        path("a whole URI as a path", "http://b/x", MALFORMED),
        path("the whole server as a path of GET", "*", Status(400)),
        says(
            ("§8.3.1", ""),
            "the whole server as a path of OPTIONS",
            &[(":method", "OPTIONS"), SCHEME, (":path", "*"), AUTHORITY],
            Sees("OPTIONS *", &[("host", "a")], ""),
        ),
        path("a path with a space and a version", "/ HTTP/1.1", MALFORMED),
        path("a path with a line end", "/\r\nx: y", MALFORMED),
        path("a path with a zero byte", "/\0", MALFORMED),
        path("a path with a query", "/x?y=z", Sees("GET /x?y=z", &[("host", "a")], "")),
    ]
}

fn authorities() -> Vec<Row> {
    let authority = |name: &'static str, authority: &str, verdict: Verdict| {
        says(("§8.3.1", ""), name, &[METHOD, SCHEME, PATH, (":authority", authority)], verdict)
    };
    let bare = |name: &'static str, more: &[(&str, &str)], verdict: Verdict| {
        says(("§8.3.1", ""), name, &[&[METHOD, SCHEME, PATH], more].concat(), verdict)
    };
    vec![
        authority("an authority with a user", "user@a", Status(400)),
        authority("an authority of two words", "a b", MALFORMED),
        authority("an authority with a path", "a/b", MALFORMED),
        authority("an authority with a line end", "a\r\nx: y", MALFORMED),
        authority("an empty authority", "", MALFORMED),
        authority("an authority with a port", "a:80", Sees("GET /", &[("host", "a:80")], "")),
        bare("neither authority nor host", &[], Status(400)),
        bare("a host in place of the authority", &[("host", "b")], Sees("GET /", &[("host", "b")], "")),
        bare("two hosts", &[("host", "b"), ("host", "b")], Status(400)),
        bare("a host with a user", &[("host", "user@b")], Status(400)),
        with(("§8.3.1", ""), "a host unlike the authority", &[("host", "b")], Status(400)),
        with(("§8.3.1", ""), "a host like the authority", &[("host", "a")], Sees("GET /", &[("host", "a")], "")),
        with(("§8.3.1", ""), "an empty host beside the authority", &[("host", "")], Status(400)),
    ]
}

fn connect() -> Vec<Row> {
    let method = (":method", "CONNECT");
    vec![
        says(("§8.5", ""), "CONNECT, which nobody allowed", &[method, (":authority", "a:443")], Status(400)),
        says(("§8.5", ""), "CONNECT with a path", &[method, SCHEME, PATH, (":authority", "a:443")], MALFORMED),
        says(("§8.5", ""), "CONNECT without an authority", &[method], Status(400)),
        says(
            ("RFC 8441 §4", ""),
            "extended CONNECT, which was not offered",
            &[method, SCHEME, PATH, AUTHORITY, (":protocol", "websocket")],
            MALFORMED,
        ),
        says(
            ("RFC 8441 §4", ""),
            "a protocol without CONNECT",
            &[METHOD, SCHEME, PATH, AUTHORITY, (":protocol", "websocket")],
            MALFORMED,
        ),
    ]
}

fn names_and_values() -> Vec<Row> {
    vec![
        row(
            ("§8.2.1", "http2/8.1.2/1"),
            "a name in capitals",
            &[frame(HEADERS, WHOLE, 1, &get(&[("X-TEST", "ok")]))],
            UNSPEAKABLE,
        ),
        field("a name with one capital", (b"x-Test", b"ok")),
        field("an empty name", (b"", b"ok")),
        field("a name with a line end", (b"x\r\ny", b"ok")),
        field("a name with a zero byte", (b"x\0", b"ok")),
        field("a name with a space", (b"x y", b"ok")),
        field("a name with a colon", (b"x:y", b"ok")),
        field("a name that is no ASCII", (b"x\xe9", b"ok")),
        field("a name with a bracket", (b"x(y", b"ok")),
        field("a value with CR", (b"x", b"a\rb")),
        field("a value with LF", (b"x", b"a\nb")),
        field("a value with a line end and a field", (b"x", b"a\r\ntransfer-encoding: chunked")),
        field("a value with a zero byte", (b"x", b"a\0b")),
        with(("§8.2.1", ""), "a value that begins with a space", &[("x", " a")], Status(400)),
        with(("§8.2.1", ""), "a value that ends with a tab", &[("x", "a\t")], Status(400)),
        field("a value with DEL", (b"x", b"a\x7fb")),
        with(("RFC 9110 §5.5", ""), "an empty value", &[("x-empty", "")], Sees("GET /", &[("x-empty", "")], "")),
        with(
            ("§8.2.3", ""),
            "a cookie in two pieces",
            &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")],
            Sees("GET /", &[("cookie", "a=1; b=2")], ""),
        ),
    ]
}

fn hop() -> Vec<Row> {
    let refused = |name: &'static str, field: (&str, &str)| with(("§8.2.2", ""), name, &[field], MALFORMED);
    vec![
        with(("§8.2.2", "http2/8.1.2.2/1"), "connection", &[("connection", "keep-alive")], MALFORMED),
        with(
            ("§8.2.2", "http2/8.1.2.2/2"),
            "te other than trailers",
            &[("trailers", "test"), ("te", "trailers, deflate;q=0.5")],
            MALFORMED,
        ),
        refused("keep-alive", ("keep-alive", "timeout=5")),
        refused("proxy-connection", ("proxy-connection", "keep-alive")),
        refused("transfer-encoding", ("transfer-encoding", "chunked")),
        refused("upgrade", ("upgrade", "h2c")),
        refused("an empty te", ("te", "")),
        with(("§8.2.2", ""), "te: trailers", &[("te", "trailers")], Sees("GET /", &[("host", "a")], "")),
        with(
            ("RFC 9110 §7.6.1", ""),
            "what is for this proxy stays here",
            &[("proxy-authorization", "x"), ("http2-settings", "x"), ("x", "kept")],
            Sees("GET /", &[("x", "kept")], ""),
        ),
        with(
            ("RFC 9110 §10.1.1", ""),
            "an expectation of a request without a body",
            &[("expect", "100-continue")],
            Sees("GET /", &[("host", "a")], ""),
        ),
    ]
}

fn lengths() -> Vec<Row> {
    let length = |name: &'static str, rule: Rule, lengths: &[&str], body: &[&[u8]], verdict: Verdict| {
        let fields: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
        row(rule, name, &[sends(&fields, body, &[])], verdict)
    };
    let unlike = |name: &'static str, h2spec: &'static str, length: &str, body: &[&[u8]]| {
        row(("§8.1.1", h2spec), name, &[breaks_off(&[("content-length", length)], body, &[])], MALFORMED)
    };
    let rule = ("RFC 9110 §8.6", "");
    vec![
        unlike("a length over that of the body", "http2/8.1.2.6/1", "1000", &[b"test"]),
        unlike("a length over that of two pieces", "http2/8.1.2.6/2", "1000", &[b"te", b"st"]),
        unlike("a length below that of the body", "", "3", &[b"test"]),
        length(
            "the right length",
            ("§8.1.1", ""),
            &["4"],
            &[b"test"],
            Sees("POST /", &[("content-length", "4")], "test"),
        ),
        length(
            "the right length in two pieces",
            ("§8.1.1", ""),
            &["4"],
            &[b"te", b"st"],
            Sees("POST /", &[("content-length", "4")], "test"),
        ),
        with(("§8.1.1", ""), "a length of a request that ends with its head", &[("content-length", "4")], MALFORMED),
        length("two lengths", rule, &["4", "5"], &[b"test"], MALFORMED),
        length("one length twice", rule, &["4", "4"], &[b"test"], Status(400)),
        length("a length with a sign", rule, &["+4"], &[b"test"], MALFORMED),
        length("a list of lengths", rule, &["4, 4"], &[b"test"], MALFORMED),
        length("no number as a length", rule, &["four"], &[b"test"], MALFORMED),
        length("an empty length", rule, &[""], &[b"test"], MALFORMED),
        length("a length of twenty digits", rule, &["18446744073709551620"], &[b"test"], MALFORMED),
        row(
            ("§8.1", ""),
            "a body without a length is sent in chunks",
            &[sends(&[], &[b"chu", b"nks"], &[])],
            Sees("POST /", &[("transfer-encoding", "chunked")], "chunks"),
        ),
        row(
            ("RFC 9110 §9.3.1", ""),
            "a body of GET",
            &[[frame(HEADERS, END_HEADERS, 1, &get(&[])), frame(DATA, END_STREAM, 1, b"test")].concat()],
            Sees("GET /", &[], "test"),
        ),
    ]
}

fn trailers() -> Vec<Row> {
    let ends = |name: &'static str, rule: Rule, trailers: &[(&str, &str)], verdict: Verdict| {
        row(rule, name, &[breaks_off(&[], &[b"test"], trailers)], verdict)
    };
    // RFC 9113 demands an error; h2 drops the field, and nobody sees it.
    let dropped = |name: &'static str, rule: Rule, trailers: &[(&str, &str)]| {
        row(rule, name, &[sends(&[], &[b"test"], trailers)], Sees("POST /", &[], "test"))
    };
    vec![
        dropped(
            "a pseudo-header field as a trailer",
            ("§8.1", "http2/8.1.2.1/3"),
            &[(":method", "200"), ("x-test", "ok")],
        ),
        dropped("a path as a trailer", ("§8.1", ""), &[PATH]),
        ends("a connection's field as a trailer", ("§8.2.2", ""), &[("connection", "close")], MALFORMED),
        ends("a framing as a trailer", ("§8.2.2", ""), &[("transfer-encoding", "chunked")], MALFORMED),
        ends("a trailer in capitals", ("§8.2.1", ""), &[("X-Trailer", "1")], UNSPEAKABLE),
        ends("a trailer with a line end", ("§8.2.1", ""), &[("x-trailer", "a\r\nb: c")], UNSPEAKABLE),
        row(
            ("§8.1.1", ""),
            "a length that trailers end too early",
            &[breaks_off(&[("content-length", "5")], &[b"test"], &[("x-trailer", "1")])],
            MALFORMED,
        ),
    ]
}

fn sizes() -> Vec<Row> {
    let fields =
        |count: usize| -> Vec<(String, String)> { (4..count).map(|at| (format!("x-{at}"), String::new())).collect() };
    let many = |count: usize| [frame(HEADERS, WHOLE, 1, &[get(&[]), block(&fields(count))].concat())];
    let large = [get(&[]), block(&[("x", "x".repeat(62 * 1024))])].concat();
    let (first, rest) = large.split_at(16_000);
    let mut pieces = frame(HEADERS, END_STREAM, 1, first);
    let last = rest.chunks(16_000).count() - 1;
    for (at, piece) in rest.chunks(16_000).enumerate() {
        pieces.extend(frame(CONTINUATION, if at == last { END_HEADERS } else { 0 }, 1, piece));
    }
    vec![
        row(("§10.5.1", ""), "as many fields as a head may have", &many(104), Sees("GET /", &[("x-103", "")], "")),
        row(("§10.5.1", ""), "one field more than a head may have", &many(105), Status(431)),
        row(("§10.5.1", ""), "a head of more bytes than it may have", &[pieces], Status(431)),
    ]
}
