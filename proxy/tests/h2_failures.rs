//! Endpoints of HTTP/2 that refuse, break off or leave, and clients that do: what the other side gets for it, and what is
//! repeated.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use common::PATIENCE;
use common::frames::{self, CANCEL, DATA, END_STREAM, HEADERS, REFUSED_STREAM, RST_STREAM};
use common::h2_origin::{H2Origin, cluster, failures, whole};
use common::origin::{Origin, refusing};
use common::proxy::TestProxy;
use common::wire::Message;
use http::{Request, Response};

fn retries(proxy: &TestProxy) -> f64 {
    proxy.metric("tollgate_upstream_retries_total", &["cluster=\"app\""])
}

#[test]
fn a_refused_connection_is_503_and_another_endpoint_is_tried() {
    let alone = cluster("", &[refusing()]);
    let origin = H2Origin::saying("here");
    let paired = cluster("", &[refusing(), origin.address()]);

    let refused = alone.post("/", "", "body");
    let answers: Vec<Message> = (0..2).map(|_| paired.post("/", "", "body")).collect();

    assert_eq!(refused.status(), 503);
    assert_eq!(failures(&alone, "connect"), 1.0);
    assert!(answers.iter().all(|answer| answer.text() == "here"));
}

#[test]
fn an_endpoint_that_speaks_no_http_2_is_502() {
    let origin = Origin::scripted(|peer| {
        peer.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")?;
        peer.wait_for_end()
    });
    let proxy = cluster("", &[origin.address()]);

    assert_eq!(proxy.get("/").status(), 502);
    assert_eq!(failures(&proxy, "protocol"), 1.0);
}

#[test]
fn an_endpoint_that_closes_without_an_answer_is_502() {
    let origin = Origin::scripted(|peer| {
        frames::greet(peer)?;
        frames::request(peer).map(drop)
    });
    let proxy = cluster("", &[origin.address()]);

    assert_eq!(proxy.get("/").status(), 502);
    assert_eq!(failures(&proxy, "reset"), 1.0);
}

#[test]
fn a_head_over_its_limit_is_502() {
    let origin = H2Origin::serving(100, |request: Request<_>| async move {
        let mut response = Response::new(whole(&[], &[]));
        let fields = if request.uri().path() == "/at" { 9 } else { 10 };
        for number in 0..fields {
            let name = http::HeaderName::from_bytes(format!("x-{number}").as_bytes()).unwrap();
            response.headers_mut().insert(name, "1".parse().unwrap());
        }
        // hyper adds `date`.
        response
    });
    let proxy = cluster("headers: 10", &[origin.address()]);

    assert_eq!((proxy.get("/at").status(), proxy.get("/past").status()), (200, 502));
    assert_eq!(failures(&proxy, "protocol"), 1.0);
}

#[test]
fn an_answer_that_does_not_begin_is_504_and_its_stream_is_reset() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = Origin::scripted(move |peer| {
        frames::greet(peer)?;
        frames::request(peer)?;
        let frame = frames::next(peer)?;
        tell.lock().unwrap().send((frame.kind, frame.code())).unwrap();
        peer.wait_for_end()
    });
    let proxy = cluster("", &[origin.address()]);

    assert_eq!(proxy.get("/").status(), 504);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (RST_STREAM, CANCEL));
}

/// An origin that answers streams on its second connection and does `script` on its first.
fn second_chance(script: impl Fn(&mut common::origin::Peer) -> std::io::Result<()> + Send + Sync + 'static) -> Origin {
    Origin::scripted(move |peer| {
        frames::greet(peer)?;
        frames::widen(peer)?;
        if peer.number == 0 {
            script(peer)?;
        }
        loop {
            let stream = frames::request(peer)?;
            frames::answer(peer, stream, "again")?;
        }
    })
}

#[test]
fn a_request_that_goaway_leaves_behind_is_sent_again_on_a_fresh_connection() {
    let origin = second_chance(|peer| {
        frames::request(peer)?;
        frames::go_away(peer, 0)?;
        peer.wait_for_end()
    });
    let proxy = cluster("", &[origin.address()]);

    let answer = proxy.get("/");

    assert_eq!((answer.status(), answer.text()), (200, "again"));
    assert_eq!((origin.connections(), retries(&proxy)), (2, 1.0));
}

#[test]
fn a_refused_stream_is_sent_again_with_its_body() {
    let bodies = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let known = Arc::clone(&bodies);
    let origin = Origin::scripted(move |peer| {
        frames::greet(peer)?;
        let mut body = Vec::new();
        let stream = loop {
            let frame = frames::next(peer)?;
            if frame.kind == DATA {
                body.extend_from_slice(&frame.payload);
            }
            if frame.ends_stream() {
                break frame.stream;
            }
        };
        known.lock().unwrap().push(body);
        if peer.number == 0 {
            frames::reset(peer, stream, REFUSED_STREAM)?;
        } else {
            frames::answer(peer, stream, "again")?;
        }
        peer.wait_for_end()
    });
    let proxy = cluster("", &[origin.address()]);

    let answer = proxy.post("/", "", "precious");

    assert_eq!((answer.status(), answer.text()), (200, "again"));
    assert_eq!(*bodies.lock().unwrap(), [b"precious", b"precious"]);
    assert_eq!((origin.connections(), retries(&proxy)), (2, 1.0));
}

#[test]
fn a_request_is_refused_twice_and_no_more() {
    let asked = Arc::<AtomicUsize>::default();
    let known = Arc::clone(&asked);
    let origin = Origin::scripted(move |peer| {
        frames::greet(peer)?;
        loop {
            let stream = frames::request(peer)?;
            known.fetch_add(1, SeqCst);
            frames::reset(peer, stream, REFUSED_STREAM)?;
        }
    });
    let proxy = cluster("", &[origin.address()]);

    assert_eq!(proxy.get("/").status(), 502);
    assert_eq!((asked.load(SeqCst), retries(&proxy)), (2, 1.0));
}

#[test]
fn a_request_that_was_looked_at_is_not_sent_again() {
    const INTERNAL_ERROR: u32 = 2;
    let origin = second_chance(|peer| {
        let stream = frames::request(peer)?;
        frames::reset(peer, stream, INTERNAL_ERROR)?;
        peer.wait_for_end()
    });
    let proxy = cluster("", &[origin.address()]);

    assert_eq!(proxy.get("/").status(), 502);
    assert_eq!((origin.connections(), retries(&proxy)), (1, 0.0));
    assert_eq!(failures(&proxy, "reset"), 1.0);
}

/// Breaks its first connection in the second exchange on it.
fn breaking() -> (Origin, TestProxy) {
    let origin = second_chance(|peer| {
        let stream = frames::request(peer)?;
        frames::answer(peer, stream, "first")?;
        frames::request(peer)?;
        Err(std::io::ErrorKind::ConnectionAborted.into())
    });
    let proxy = cluster("upstream_connections: 1", &[origin.address()]);
    assert_eq!(proxy.get("/").text(), "first");
    (origin, proxy)
}

#[test]
fn a_used_connection_that_breaks_costs_an_idempotent_request_a_retry() {
    let (origin, proxy) = breaking();

    assert_eq!(proxy.get("/").text(), "again");

    assert_eq!((origin.connections(), retries(&proxy)), (2, 1.0));
}

#[test]
fn a_used_connection_that_breaks_fails_a_request_that_may_have_been_carried_out() {
    let (_origin, proxy) = breaking();

    assert_eq!(proxy.post("/", "", "").status(), 502);

    assert_eq!(retries(&proxy), 0.0);
}

/// The status of an upload of that many bytes, which the endpoint refuses once it has them all.
fn refused_after(length: usize) -> u16 {
    let origin = second_chance(move |peer| {
        let mut got = 0;
        let stream = loop {
            let frame = frames::next(peer)?;
            got += if frame.kind == DATA { frame.payload.len() } else { 0 };
            if got == length {
                break frame.stream;
            }
        };
        frames::reset(peer, stream, REFUSED_STREAM)?;
        peer.wait_for_end()
    });
    let proxy = cluster("", &[origin.address()]);
    proxy.post("/", "", &"x".repeat(length)).status()
}

#[test]
fn a_body_of_more_than_64_kib_is_not_sent_again() {
    assert_eq!(refused_after(64 << 10), 200);
    assert_eq!(refused_after((64 << 10) + 1), 502);
}

#[test]
fn an_exchange_in_flight_survives_goaway_while_new_ones_go_elsewhere() {
    let (next, turn) = mpsc::channel::<()>();
    let turn = Mutex::new(turn);
    let origin = second_chance(move |peer| {
        let stream = frames::request(peer)?;
        frames::begin(peer, stream)?;
        frames::go_away(peer, stream)?;
        turn.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        frames::send(peer, DATA, END_STREAM, stream, b"the rest")?;
        peer.wait_for_end()
    });
    let proxy = cluster("", &[origin.address()]);
    let mut first = proxy.client();
    first.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    let mut head = first.head();

    let second = proxy.get("/");
    next.send(()).unwrap();
    first.body(&mut head).unwrap();

    assert_eq!((second.text(), head.text()), ("again", "the rest"));
    assert_eq!((origin.connections(), retries(&proxy)), (2, 0.0));
}

/// What an origin sees when its client leaves: `begun` before or after the head of the answer.
fn left(begun: bool) -> (u8, u32) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = Origin::scripted(move |peer| {
        frames::greet(peer)?;
        let frame = frames::next(peer)?;
        assert_eq!(frame.kind, HEADERS);
        if begun {
            frames::begin(peer, frame.stream)?;
            frames::send(peer, DATA, 0, frame.stream, b"some")?;
        }
        tell.lock().unwrap().send((0, 0)).unwrap();
        let frame = frames::next(peer)?;
        tell.lock().unwrap().send((frame.kind, frame.code())).unwrap();
        peer.wait_for_end()
    });
    let proxy = cluster("", &[origin.address()]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    told.recv_timeout(PATIENCE).unwrap();
    if begun {
        client.head();
    }

    drop(client);

    told.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn a_client_that_leaves_resets_its_stream() {
    assert_eq!(left(false), (RST_STREAM, CANCEL));
    assert_eq!(left(true), (RST_STREAM, CANCEL));
}

#[test]
fn an_answer_that_breaks_off_is_cut_and_its_neighbour_lives() {
    let origin = Origin::scripted(|peer| {
        frames::greet(peer)?;
        let broken = frames::request(peer)?;
        frames::begin(peer, broken)?;
        frames::send(peer, DATA, 0, broken, b"half")?;
        let whole = frames::request(peer)?;
        frames::reset(peer, broken, CANCEL)?;
        frames::answer(peer, whole, "whole")?;
        peer.wait_for_end()
    });
    let proxy = cluster("", &[origin.address()]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    let mut head = client.head();

    let neighbour = proxy.get("/");

    assert_eq!(neighbour.text(), "whole");
    assert!(client.body(&mut head).is_err());
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_upload_that_nobody_reads_does_not_keep_its_connection_for_ever() {
    let origin = Origin::scripted(|peer| {
        frames::greet(peer)?;
        let frame = frames::next(peer)?;
        frames::answer(peer, frame.stream, "enough")?;
        // No window is ever given, and the stream is not reset.
        while frames::next(peer).is_ok() {}
        Ok(())
    });
    let proxy = cluster("upstream_idle_timeout: 300ms, idle_timeout: 300ms", &[origin.address()]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\n");
    let body = vec![b'x'; 1_000_000];

    let mut uplink = client.stream().try_clone().unwrap();
    // The proxy may hang up in between.
    let sender = thread::spawn(move || drop(std::io::Write::write_all(&mut uplink, &body)));
    assert_eq!(client.answer().text(), "enough");

    proxy.counts("tollgate_upstream_connections_active", &["cluster=\"app\""], 0.0);
    sender.join().unwrap();
}
