//! Clients that are slow: what they send, what they take, and how each of it ends. What was configured tells which end it
//! is, never a clock.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::PATIENCE;
use common::access::AccessLog;
use common::client::Client;
use common::h2_raw::{
    ACK, BASE, CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NO_ERROR, PING, PREFACE, RST_STREAM, RawH2,
    WHOLE, asks, block, frame, get, goaway_code, ping, post, settings, status, window,
};
use common::origin::{Origin, ok};
use common::proxy::TestProxy;
use common::until;

/// A proxy to one origin, and why exchanges ended that it did not leave alone.
struct House {
    proxy: TestProxy,
    log: AccessLog,
}

impl House {
    fn of(origin: &Origin, limits: &str) -> House {
        House::routed(limits, &format!("{{ to: {:?} }}", origin.url()))
    }

    /// What is below `/stream` is a stream, what is beside it is none.
    fn beside_a_stream(origin: &Origin, limits: &str) -> House {
        let url = origin.url();
        House::routed(
            limits,
            &format!("{{ match: {{ path: /stream }}, to: {url:?}, stream: true }}, {{ to: {url:?} }}"),
        )
    }

    fn routed(limits: &str, routes: &str) -> House {
        let log = AccessLog::new();
        let proxy = TestProxy::with(&format!("limits: {{ {limits} }}\n{}routes: [{routes}]", log.yaml()));
        House { proxy, log }
    }

    /// Why the only exchange ended.
    fn reason(&self) -> String {
        self.log.lines(1)[0]["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// Reads heads and bodies, and answers none.
fn listening() -> Origin {
    Origin::scripted(|peer| {
        peer.head()?;
        peer.wait_for_end()
    })
}

/// Answers with more than any buffer between here and there takes.
fn large() -> Origin {
    Origin::scripted(|peer| {
        while peer.request()?.is_some() {
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 64 << 20))?;
            for _ in 0..64 {
                peer.send(vec![b'x'; 1 << 20])?;
            }
        }
        Ok(())
    })
}

/// Begins a body over HTTP/1.1 and waits.
fn begin_http1(house: &House) -> Client {
    let mut client = house.proxy.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nx");
    client
}

/// The fields of a request for `/stream`.
fn of_a_stream(method: &'static str) -> Vec<u8> {
    block(&BASE.map(|(name, value)| match name {
        ":method" => (name, method),
        ":path" => (name, "/stream"),
        _ => (name, value),
    }))
}

/// Begins a body over HTTP/2 and waits.
fn begin_http2(house: &House, content_type: &str) -> RawH2 {
    let mut client = RawH2::greet(house.proxy.address());
    let head = frame(HEADERS, END_HEADERS, 1, &post(&[("content-type", content_type)]));
    client.send(&[head, frame(DATA, 0, 1, b"x")].concat()).unwrap();
    client
}

/// The status of stream 1.
fn status_of(client: &mut RawH2) -> u16 {
    loop {
        let frame = client.next().expect("an answer");
        if frame.kind == HEADERS && frame.stream == 1 {
            return status(&frame.payload);
        }
    }
}

const SLOW: &str = "body_grace: 200ms, stream_idle_timeout: 10m, request_timeout: 10m";

#[test]
fn a_body_that_comes_too_slowly_is_408_in_both_protocols() {
    let origin = listening();
    let (first, second) = (House::of(&origin, SLOW), House::of(&origin, SLOW));

    let mut client = begin_http1(&first);
    let answer = client.answer();

    assert_eq!((answer.status(), answer.field("connection")), (408, Some("close")));
    assert!(client.is_closed());
    assert_eq!(status_of(&mut begin_http2(&second, "text/plain")), 408);
    assert_eq!([first.reason(), second.reason()], ["slow_body", "slow_body"]);
    first.proxy.counts("tollgate_upstream_connections_active", &[], 0.0);
    second.proxy.counts("tollgate_upstream_connections_active", &[], 0.0);
}

#[test]
fn without_a_rate_a_slow_body_has_the_time_of_a_request() {
    let origin = listening();
    let house = House::of(&origin, "body_grace: 50ms, body_rate: off, request_timeout: 1s");

    assert_eq!(begin_http1(&house).answer().status(), 408);
    assert_eq!(house.reason(), "request_timeout");
}

#[test]
fn a_body_that_keeps_to_the_rate_has_the_time_of_a_request() {
    let origin = listening();
    let house = House::of(&origin, "body_grace: 100ms, body_rate: 1B, request_timeout: 1s");
    let mut client = begin_http1(&house);
    let mut uplink = client.stream().try_clone().unwrap();
    let (stop, stopped) = mpsc::channel::<()>();

    let sending = std::thread::spawn(move || {
        // Far more than a byte a second, and never the whole body.
        let mut left = 900;
        while left > 0 && stopped.recv_timeout(Duration::from_millis(5)).is_err() {
            left -= 1;
            if std::io::Write::write_all(&mut uplink, b"x").is_err() {
                break;
            }
        }
    });

    assert_eq!(client.answer().status(), 408);
    stop.send(()).unwrap_or_default();
    sending.join().unwrap();
    assert_eq!(house.reason(), "request_timeout");
}

#[test]
fn a_body_that_the_upstream_does_not_take_is_not_the_clients_fault() {
    let (leave, left) = mpsc::channel::<()>();
    let left = Mutex::new(left);
    let origin = Origin::scripted(move |peer| {
        peer.head()?;
        left.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        Ok(())
    });
    let house = House::of(&origin, "body_grace: 300ms, request_timeout: 2s, stream_idle_timeout: 10m");
    let mut client = house.proxy.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 67108864\r\n\r\n");
    let mut uplink = client.stream().try_clone().unwrap();
    let sending = std::thread::spawn(move || drop(std::io::Write::write_all(&mut uplink, &vec![b'x'; 64 << 20])));

    // The answer may be lost with the body that is not read.
    assert!(client.try_answer().map_or(true, |answer| answer.status() == 408));
    sending.join().unwrap();
    house.proxy.counts("tollgate_upstream_connections_active", &[], 0.0);
    leave.send(()).unwrap();
    assert_eq!(house.reason(), "request_timeout");
}

#[test]
fn a_slow_stream_of_grpc_ends_when_it_is_idle() {
    let origin = listening();
    let house =
        House::of(&origin, "body_grace: 50ms, write_timeout: 50ms, stream_idle_timeout: 1s, request_timeout: 10m");

    assert_eq!(status_of(&mut begin_http2(&house, "application/grpc")), 504);
    assert_eq!(house.reason(), "stream_idle");
}

#[test]
fn a_slow_body_of_a_route_for_streams_goes_on_and_one_beside_it_is_ended() {
    let origin = Origin::saying("late");
    let house = House::beside_a_stream(&origin, "body_grace: 50ms, stream_idle_timeout: 10m, request_timeout: 10m");
    let (mut plain, mut framed) = (house.proxy.client(), RawH2::greet(house.proxy.address()));
    plain.send("POST /stream HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nx");
    let begun = [frame(HEADERS, END_HEADERS, 1, &of_a_stream("POST")), frame(DATA, 0, 1, b"x")];
    framed.send(&begun.concat()).unwrap();
    house.proxy.counts("tollgate_http_active_requests", &[], 2.0);

    // They come last and are ended, so the time of those before them is over as well.
    assert_eq!(begin_http1(&house).answer().status(), 408);
    assert_eq!(status_of(&mut begin_http2(&house, "text/plain")), 408);
    plain.send("x");
    framed.send(&frame(DATA, END_STREAM, 1, b"x")).unwrap();

    assert_eq!(plain.answer().text(), "late");
    assert_eq!(framed.answer(1), (200, b"late".to_vec()));
}

/// Writes this until it is told to stop, often enough that nothing is idle.
fn trickle(mut to: impl Write, piece: &[u8], over: &AtomicBool) -> io::Result<()> {
    while !over.load(SeqCst) {
        to.write_all(piece)?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn an_exchange_in_which_one_side_alone_sends_is_not_idle() {
    let over = Arc::<AtomicBool>::default();
    let told = Arc::clone(&over);
    let origin = Origin::scripted(move |peer| match peer.request()?.unwrap_or_default().target() {
        "/up" => peer.send(ok("all")),
        "/down" => {
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            trickle(peer.stream(), b"1\r\nx\r\n", &told)?;
            peer.send("0\r\n\r\n")
        }
        _ => peer.wait_for_end(),
    });
    let limits = "stream_idle_timeout: 1s, body_rate: off, request_timeout: 10m";
    let house = House::routed(limits, &format!("{{ to: {:?}, timeout: 10m }}", origin.url()));
    let (mut up, mut down) = (house.proxy.client(), house.proxy.client());
    up.send("POST /up HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    down.send("GET /down HTTP/1.1\r\nhost: a\r\n\r\n");
    house.proxy.counts("tollgate_http_active_requests", &[], 2.0);

    let uplink = up.stream().try_clone().unwrap();
    let idle = std::thread::scope(|scope| {
        let sending = scope.spawn(|| trickle(uplink, b"1\r\nx\r\n", &over));
        // It comes last and is ended, so for those before it the time is over as well.
        let idle = house.proxy.get("/idle").status();
        over.store(true, SeqCst);
        sending.join().unwrap().unwrap();
        idle
    });
    assert_eq!((idle, house.reason()), (504, "stream_idle".to_owned()));
    up.send("0\r\n\r\n");

    assert_eq!(up.answer().text(), "all");
    assert!(!down.answer().body.is_empty());
}

#[test]
fn a_request_that_was_received_has_more_time_than_one_that_was_not() {
    let (next, turn) = mpsc::channel::<()>();
    let turn = Mutex::new(turn);
    let origin = Origin::scripted(move |peer| {
        let head = peer.head()?;
        if head.target() == "/whole" {
            turn.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            return peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
        peer.wait_for_end()
    });
    let house = House::of(&origin, "request_timeout: 300ms");
    let mut whole = house.proxy.client();
    whole.send("GET /whole HTTP/1.1\r\nhost: a\r\n\r\n");
    until("it is with the origin", || origin.requests().len() == 1);

    let slower = begin_http1(&house).answer().status();
    next.send(()).unwrap();

    assert_eq!((slower, whole.answer().status()), (408, 200));
}

/// Asks with a window of this size, which is never widened.
fn stalled(house: &House, size: u32, content_type: &str) -> RawH2 {
    let mut client = RawH2::connect(house.proxy.address());
    let head = frame(HEADERS, WHOLE, 1, &get(&[("content-type", content_type)]));
    client.send(&[PREFACE, &settings(&[(4, size)]), &head].concat()).unwrap();
    client
}

#[test]
fn a_client_that_opens_no_window_loses_the_stream_and_not_the_connection() {
    for size in [0, 1, 1000, 65_535] {
        let origin = large();
        let house = House::of(&origin, "write_timeout: 300ms, stream_idle_timeout: 10m");
        let mut client = stalled(&house, size, "text/plain");

        let reset = loop {
            let frame = client.next().expect("the connection goes on");
            if frame.kind == RST_STREAM {
                break (frame.stream, frame.code());
            }
        };
        client.send(&[settings(&[(4, 1 << 20)]), window(0, 1 << 20), asks(3)].concat()).unwrap();

        assert_eq!(reset, (1, CANCEL), "{size}");
        while client.next().expect("the connection goes on").stream != 3 {}
        assert_eq!(house.reason(), "slow_reader");
        drop(client);
        house.proxy.counts("tollgate_upstream_connections_active", &[], 0.0);
    }
}

/// Opens the window by what came until the answer is whole; its length.
fn taken(client: &mut RawH2) -> usize {
    let mut length = 0;
    loop {
        let frame = client.next().expect("the connection goes on");
        assert_ne!(frame.kind, RST_STREAM);
        if frame.kind == DATA && !frame.payload.is_empty() {
            length += frame.payload.len();
            let more = u32::try_from(frame.payload.len()).unwrap();
            client.send(&[window(0, more), window(1, more)].concat()).unwrap();
        }
        if frame.kind == DATA && frame.flags & END_STREAM != 0 {
            return length;
        }
    }
}

#[test]
fn a_client_of_a_route_for_streams_that_reads_nothing_goes_on_and_one_beside_it_is_ended() {
    let origin = large();
    let house = House::beside_a_stream(&origin, "write_timeout: 50ms, stream_idle_timeout: 10m");
    let (mut plain, mut framed) = (house.proxy.client(), RawH2::connect(house.proxy.address()));
    plain.send("GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
    let asking = frame(HEADERS, WHOLE, 1, &of_a_stream("GET"));
    framed.send(&[PREFACE, &settings(&[(4, 1000)]), &asking].concat()).unwrap();
    until("both are with the origin", || origin.requests().len() == 2);

    // Those that come second begin after the first were ended, and are ended: the time of the streams is over as well.
    for _ in 0..2 {
        let mut beside = house.proxy.client();
        beside.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut beside_framed = stalled(&house, 1000, "text/plain");
        while beside_framed.next().expect("the connection goes on").kind != RST_STREAM {}
        house.proxy.counts("tollgate_http_active_requests", &[], 2.0);
    }

    assert_eq!(plain.answer().body.len(), 64 << 20);
    assert_eq!(taken(&mut framed), 64 << 20);
}

#[test]
fn a_stream_of_grpc_may_wait_for_a_window_until_it_is_idle() {
    let origin = large();
    let house = House::of(&origin, "write_timeout: 50ms, stream_idle_timeout: 1s");
    let mut client = stalled(&house, 1000, "application/grpc");

    while client.next().expect("the connection goes on").kind != RST_STREAM {}

    assert_eq!(house.reason(), "stream_idle");
    house.proxy.counts("tollgate_upstream_connections_active", &[], 0.0);
}

#[test]
fn a_client_that_widens_its_window_in_time_gets_the_whole_answer() {
    let origin = Origin::scripted(|peer| {
        peer.request()?;
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", 1 << 20, "x".repeat(1 << 20)))
    });
    let house = House::of(&origin, "write_timeout: 10s");
    let mut client = stalled(&house, 1000, "text/plain");

    let length = taken(&mut client);

    assert_eq!(length, 1 << 20);
}

#[test]
fn a_connection_without_a_first_request_is_closed_however_much_of_it_came() {
    let origin = listening();
    let house = House::of(&origin, "header_timeout: 300ms, idle_timeout: 10m");
    let begun = [PREFACE, &settings(&[])].concat();
    let half = [&begun[..], &asks(1)[..20]].concat();
    let unfinished = [&begun[..], &frame(HEADERS, 0, 1, &get(&[]))].concat();

    for bytes in [&[][..], &PREFACE[..10], PREFACE, &begun, &half, &unfinished] {
        let mut client = RawH2::connect(house.proxy.address());
        client.send(bytes).unwrap();

        while client.next().is_some() {}
    }
    assert!(origin.requests().is_empty());
    // Two never came to frames, and two have a head that is not whole.
    house.proxy.counts("tollgate_connection_errors_total", &[], 4.0);
}

#[test]
fn a_head_that_stays_unfinished_ends_a_connection_that_was_served() {
    let origin = Origin::saying("x");
    let house = House::of(&origin, "header_timeout: 300ms, idle_timeout: 10m");
    let mut client = RawH2::greet(house.proxy.address());
    client.send(&asks(1)).unwrap();
    while !client.next().expect("an answer").ends_stream() {}

    client.send(&frame(HEADERS, 0, 3, &get(&[]))).unwrap();

    while client.next().is_some() {}
}

#[test]
fn an_idle_connection_is_told_of_its_end_and_a_ping_makes_it_no_shorter() {
    let origin = Origin::saying("x");
    let house = House::of(&origin, "header_timeout: 50ms, idle_timeout: 1s");
    let mut client = RawH2::greet(house.proxy.address());
    client.send(&asks(1)).unwrap();
    while !client.next().expect("an answer").ends_stream() {}

    client.send(&ping(b"still on")).unwrap();
    let mut told = None;
    while let Some(frame) = client.next() {
        match frame.kind {
            // The proxy asks with a ping whether everything was heard.
            PING if frame.flags & ACK == 0 => client.send(&self::frame(PING, ACK, 0, &frame.payload)).unwrap(),
            GOAWAY => told = Some(goaway_code(&frame)),
            _ => {}
        }
    }

    assert_eq!(told, Some(NO_ERROR));
}

#[test]
fn a_client_that_leaves_a_stream_takes_its_request_back_from_the_origin() {
    let origin = listening();
    let house = House::of(&origin, "");
    let mut client = RawH2::greet(house.proxy.address());
    client.send(&asks(1)).unwrap();
    until("it is with the origin", || origin.requests().len() == 1);

    client.send(&common::h2_raw::reset(1, CANCEL)).unwrap();

    house.proxy.counts("tollgate_upstream_connections_active", &[], 0.0);
    assert_eq!(house.reason(), "client_gone");
    client.send(&ping(b"still on")).unwrap();
    while client.next().expect("the connection goes on").payload != b"still on" {}
}
