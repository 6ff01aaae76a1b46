//! Malformed, forbidden and merely odd HTTP/2: for each of it the exact verdict, what the client is told, and what the
//! origin saw.
//!
//! Every row names the section that it is about, of RFC 9113 unless another is named; several may be about one, and no two
//! send the same. The rows that h2spec 2.6 has too carry its number, and all of its 146 are here: it cannot be had on the
//! machines that build this, so this table stands in for it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;
#[path = "h2_strictness/connection.rs"]
mod connection;
#[path = "h2_strictness/flow.rs"]
mod flow;
#[path = "h2_strictness/framing.rs"]
mod framing;
#[path = "h2_strictness/hpack.rs"]
mod hpack;
#[path = "h2_strictness/messages.rs"]
mod messages;
#[path = "h2_strictness/row.rs"]
mod row;
#[path = "h2_strictness/streams.rs"]
mod streams;
#[path = "h2_strictness/tunnels.rs"]
mod tunnels;

use std::collections::BTreeSet;

use common::proxy::TestProxy;
use row::{Row, Witness, play};

fn groups() -> [(&'static str, Vec<Row>); 7] {
    [
        ("connection", connection::rows()),
        ("framing", framing::rows()),
        ("streams", streams::rows()),
        ("flow", flow::rows()),
        ("hpack", hpack::rows()),
        ("messages", messages::rows()),
        ("tunnels", tunnels::rows()),
    ]
}

/// Plays every row of a group; reports all that come to another verdict.
fn holds(group: &str) {
    holds_where(group, "");
}

/// The same with more of the route.
fn holds_where(group: &str, route: &str) {
    let witness = Witness::start();
    let proxy = TestProxy::with(&format!("routes: [{{ to: {:?}{route} }}]", witness.url()));
    let (_, rows) = groups().into_iter().find(|(name, _)| *name == group).unwrap();

    let wrong: Vec<String> = rows.iter().filter_map(|row| play(&proxy, &witness, row).err()).collect();

    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn connections_begin_and_end_by_the_rules() {
    holds("connection");
}

#[test]
fn frames_have_the_form_that_is_prescribed() {
    holds("framing");
}

#[test]
fn streams_take_what_their_state_allows() {
    holds("streams");
}

#[test]
fn windows_are_kept_to_and_never_overflow() {
    holds("flow");
}

#[test]
fn heads_are_decoded_by_the_rules_of_hpack() {
    holds("hpack");
}

#[test]
fn a_request_that_http1_could_misread_never_reaches_the_origin() {
    holds("messages");
}

#[test]
fn a_connect_is_a_host_and_a_port_where_it_is_allowed() {
    holds_where("tunnels", ", upgrade: [connect]");
}

#[test]
fn no_two_rows_send_the_same_and_every_case_of_h2spec_is_among_them() {
    let rows: Vec<Row> = groups().into_iter().flat_map(|(_, rows)| rows).collect();
    let names: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
    let acts: BTreeSet<_> = rows.iter().map(|row| (&row.parts, row.greets)).collect();
    let known: Vec<&str> = rows.iter().flat_map(|row| row.h2spec.split_whitespace()).collect();
    let distinct: BTreeSet<_> = known.iter().collect();

    assert_eq!((names.len(), acts.len()), (rows.len(), rows.len()));
    assert_eq!((known.len(), distinct.len()), (146, 146), "{:?}", missing(&known));
    assert!(rows.len() >= 146, "{}", rows.len());
}

/// The cases of h2spec by section, and how many each has.
const H2SPEC: &str = "generic/1:1 generic/2:5 generic/3.1:3 generic/3.2:3 generic/3.3:5 generic/3.4:1 generic/3.5:1 \
    generic/3.7:1 generic/3.8:1 generic/3.9:2 generic/3.10:2 generic/4:4 generic/5:15 http2/3.5:2 http2/4.1:3 http2/4.2:3 \
    http2/4.3:3 http2/5.1:13 http2/5.1.1:2 http2/5.1.2:1 http2/5.3.1:2 http2/5.4.1:2 http2/5.5:2 http2/6.1:3 http2/6.2:4 \
    http2/6.3:2 http2/6.4:3 http2/6.5:3 http2/6.5.2:5 http2/6.5.3:2 http2/6.7:4 http2/6.8:1 http2/6.9:3 http2/6.9.1:3 \
    http2/6.9.2:3 http2/6.10:6 http2/7:2 http2/8.1:1 http2/8.1.2:1 http2/8.1.2.1:4 http2/8.1.2.2:2 http2/8.1.2.3:7 \
    http2/8.1.2.6:2 http2/8.2:1 hpack/2.3.3:2 hpack/4.2:1 hpack/5.2:3 hpack/6.1:1 hpack/6.3:1";

fn missing(known: &[&str]) -> Vec<String> {
    let sections = H2SPEC.split_whitespace().map(|section| section.split_once(':').unwrap());
    let all = sections.flat_map(|(section, count)| {
        (1..=count.parse::<usize>().unwrap()).map(move |number| format!("{section}/{number}"))
    });
    all.filter(|id| !known.contains(&id.as_str())).collect()
}
