//! Floods of HTTP/2: frames that cost a client next to nothing and a proxy something each time.
//!
//! Every one is ended after so many frames as its row says, without one more, and told why, while a victim on another
//! connection of the same worker gets every answer it asks for. Nothing is judged by a clock.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;
#[path = "h2_floods/rows.rs"]
mod rows;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use common::client::Client;
use common::frames;
use common::h2_origin::cluster;
use common::h2_raw::{
    DATA, END_HEADERS, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, RawH2, WHOLE, asks, frame, get, goaway_code, ping, post,
    reset, window,
};
use common::h2_wire;
use common::origin::Origin;
use common::proxy::TestProxy;
use common::until;
use rows::{Flood, ROWS};

const FLOODS: &str = "tollgate_connection_floods_total";

/// A client that asks all the while, and fails when an answer is not the one.
struct Victim {
    over: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    asking: Option<thread::JoinHandle<()>>,
}

impl Victim {
    fn of(address: SocketAddr) -> Victim {
        let (over, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (ended, count) = (Arc::clone(&over), Arc::clone(&answers));
        let asking = thread::spawn(move || {
            let mut client = Client::connect(address);
            while !ended.load(SeqCst) {
                client.send("GET /victim HTTP/1.1\r\nhost: a\r\n\r\n");
                assert_eq!(client.answer().status(), 200);
                count.fetch_add(1, SeqCst);
            }
        });
        Victim { over, answers, asking: Some(asking) }
    }

    /// Waits for some more answers.
    fn is_served(&self) {
        let before = self.answers.load(SeqCst);
        let served = || {
            self.answers.load(SeqCst) >= before + 10 || self.asking.as_ref().is_none_or(|asking| asking.is_finished())
        };
        until("the victim is served", served);
    }

    fn leave(mut self) {
        self.over.store(true, SeqCst);
        let asking = self.asking.take().unwrap();
        asking.join().expect("the victim got every answer");
    }
}

/// Everything is answered by a silent origin, what the victim asks by the echo.
fn house() -> (Origin, TestProxy) {
    let origin = Origin::silent();
    let url = origin.url();
    let proxy = TestProxy::with(&format!(
        "routes: [{{ match: {{ path: /victim }}, to: echo }}, {{ match: {{ path: /echo }}, to: echo }}, {{ to: {url:?} }}]"
    ));
    (origin, proxy)
}

/// Reads to the end; the code of GOAWAY, if there was one.
fn end(client: &mut RawH2) -> Option<u32> {
    let mut code = None;
    while let Some(frame) = client.next() {
        if frame.kind == GOAWAY {
            code = Some(goaway_code(&frame));
        }
    }
    code
}

/// Sends a flood, and waits for the end of its connection. Answers the code of GOAWAY.
fn ended(proxy: &TestProxy, flood: &Flood) -> Option<u32> {
    let mut client = RawH2::greet(proxy.address());
    // Whatever is written after the end is lost.
    let _ = client.send(&(flood.begin)());
    for number in 0..flood.frames {
        if client.send(&(flood.frame)(number)).is_err() {
            break;
        }
    }
    end(&mut client)
}

#[test]
fn every_flood_is_ended_in_so_many_frames_and_a_victim_is_served_all_the_while() {
    let (_origin, proxy) = house();
    let victim = Victim::of(proxy.address());
    victim.is_served();

    for flood in ROWS {
        eprintln!("{}", flood.name);
        let before = proxy.metric(FLOODS, &[]);
        let code = ended(&proxy, flood);

        assert!(code.is_some_and(|code| flood.codes.contains(&code)), "{}: {code:?}", flood.name);
        if flood.is_counted {
            proxy.counts(FLOODS, &[], before + 1.0);
        }
        victim.is_served();
    }

    victim.leave();
    proxy.counts("tollgate_connections_active", &[], 0.0);
    // What the floods had asked of the origin was taken back.
    proxy.counts("tollgate_upstream_connections_active", &[], 0.0);
    proxy.counts("tollgate_http_active_requests", &[], 0.0);
}

#[test]
fn no_two_floods_are_the_same_and_there_are_twenty_of_them() {
    let names: BTreeSet<_> = ROWS.iter().map(|flood| flood.name).collect();
    let acts: BTreeSet<_> = ROWS.iter().map(|flood| [(flood.begin)(), (flood.frame)(0), (flood.frame)(1)]).collect();

    assert_eq!((names.len(), acts.len()), (ROWS.len(), ROWS.len()));
    assert!(ROWS.len() >= 20, "{}", ROWS.len());
}

#[test]
fn a_client_that_never_reads_what_its_pings_bring_is_ended() {
    let (_origin, proxy) = house();
    let mut client = RawH2::greet(proxy.address());
    let mut sent = 0;

    // Its own socket fills up at last where nobody ends it, which fails the test.
    while client.send(&ping(b"unheard!").repeat(100)).is_ok() {
        sent += 100;
        assert!(sent < 10_000_000, "pings without end");
    }

    proxy.counts(FLOODS, &[], 1.0);
}

#[test]
fn requests_that_reach_the_origin_and_are_reset_end_with_the_hundredth() {
    let (origin, proxy) = house();
    let victim = Victim::of(proxy.address());
    let mut client = RawH2::greet(proxy.address());

    for number in 0..100 {
        let stream = number * 2 + 1;
        client.send(&asks(stream)).unwrap();
        let asked = usize::try_from(number).unwrap() + 1;
        until("the request is with the origin", || origin.requests().len() == asked);
        client.send(&reset(stream, 8)).unwrap();
    }

    assert_eq!(end(&mut client), Some(ENHANCE_YOUR_CALM));
    proxy.counts(FLOODS, &[], 1.0);
    proxy.counts("tollgate_upstream_connections_active", &[], 0.0);
    assert_eq!(origin.requests().len(), 100);
    victim.is_served();
    victim.leave();
}

#[test]
fn requests_that_are_reset_after_their_answer_began_are_no_flood() {
    let origin = Origin::scripted(|peer| {
        while peer.request()?.is_some() {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")?;
        }
        Ok(())
    });
    let proxy = TestProxy::to(&origin.url());
    let mut client = RawH2::greet(proxy.address());

    for number in 0..300 {
        let stream = number * 2 + 1;
        client.send(&asks(stream)).unwrap();
        while client.next().expect("an answer").kind != DATA {}
        client.send(&reset(stream, 8)).unwrap();
    }
    client.send(&ping(b"stillon?")).unwrap();

    while client.next().expect("a sign of life").payload != b"stillon?" {}
    assert_eq!(proxy.metric(FLOODS, &[]), 0.0);
}

#[test]
fn a_client_that_asks_much_and_updates_its_windows_is_no_flood() {
    let (_origin, proxy) = house();
    let mut client = RawH2::greet(proxy.address());
    let head = get(&[]);
    let path = head.windows(1).position(|byte| byte == b"/").unwrap();
    let echo = [&head[..path - 1], b"\x05/echo", &head[path + 1..]].concat();

    for number in 0..300 {
        let stream = number * 2 + 1;
        let asking = [frame(HEADERS, WHOLE, stream, &echo), window(0, 1024), ping(b"stillon?").repeat(10)];
        client.send(&asking.concat()).unwrap();
        while !client.next().expect("an answer").ends_stream() {}
    }

    assert_eq!(proxy.metric(FLOODS, &[]), 0.0);
}

#[test]
fn an_upload_of_small_pieces_is_no_flood() {
    let (_origin, proxy) = house();
    let mut client = RawH2::greet(proxy.address());

    client.send(&frame(HEADERS, END_HEADERS, 1, &post(&[("content-length", "2000")]))).unwrap();
    for _ in 0..2000 {
        client.send(&frame(DATA, 0, 1, b"x")).unwrap();
    }
    client.send(&ping(b"stillon?")).unwrap();

    while client.next().expect("a sign of life").payload != b"stillon?" {}
    assert_eq!(proxy.metric(FLOODS, &[]), 0.0);
}

#[test]
fn an_upload_beside_a_thousand_quiet_streams_is_no_flood() {
    const QUIET: u32 = 1000;
    let origin = Origin::silent();
    let routes = format!("[{{ match: {{ headers: {{ x-up: y }} }}, to: {:?} }}, {{ to: echo }}]", origin.url());
    let proxy = TestProxy::with(&format!("limits: {{ streams: 2000 }}\nroutes: {routes}"));
    let (mut client, upload) = (RawH2::greet(proxy.address()), QUIET * 2 + 1);

    for number in 0..QUIET {
        client.send(&frame(HEADERS, END_HEADERS, number * 2 + 1, &post(&[]))).unwrap();
        // A thousand heads would be so many frames without progress.
        if number % 500 == 499 {
            client.send(&frame(DATA, 0, number * 2 + 1, b"x")).unwrap();
        }
    }
    client.send(&frame(HEADERS, END_HEADERS, upload, &post(&[("x-up", "y"), ("content-length", "2000")]))).unwrap();
    for _ in 0..2000 {
        client.send(&frame(DATA, 0, upload, b"x")).unwrap();
    }
    client.send(&ping(b"stillon?")).unwrap();

    while client.next().expect("a sign of life").payload != b"stillon?" {}
    assert_eq!(proxy.metric(FLOODS, &[]), 0.0);
}

#[test]
fn an_endpoint_that_floods_is_left_and_the_next_request_gets_another_connection() {
    let origin = Origin::scripted(|peer| {
        frames::greet(peer)?;
        let stream = frames::request(peer)?;
        if peer.number == 0 {
            for _ in 0..1100 {
                frames::send(peer, frames::PING, 0, 0, b"upstream")?;
            }
            return peer.wait_for_end();
        }
        frames::answer(peer, stream, "again")?;
        peer.wait_for_end()
    });
    let proxy = cluster("", &[origin.address()]);

    assert_eq!(proxy.get("/").status(), 502);

    assert_eq!(proxy.get("/").text(), "again");
    assert_eq!(proxy.metric("tollgate_upstream_floods_total", &["cluster=\"app\""]), 1.0);
}
