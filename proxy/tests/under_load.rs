//! Configurations that follow each other, and the end of the process, while clients of both protocols ask without pause:
//! nothing that was asked is lost, and nothing is sent twice.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::net::{SocketAddr, TcpStream};

use common::client::Client;
use common::h2_raw::{DATA, END_HEADERS, END_STREAM, HEADERS, NO_ERROR, RawH2, asks_for, frame, post};
use common::load::Load;
use common::origin::{Origin, free};
use common::process::{Tollgate, ask};
use common::proxy::TestProxy;
use common::until;
use tollgate::app::reload::Done;

const TURNS: usize = 40;

/// Where the configurations of the turns lead.
struct Places {
    kept: Origin,
    moving: [Origin; 2],
    extra: Origin,
    /// The address of the listener that comes and goes.
    more: SocketAddr,
}

impl Places {
    fn new() -> Places {
        let moving = ["one", "two"].map(Origin::saying);
        Places { kept: Origin::saying("kept"), moving, extra: Origin::saying("extra"), more: free() }
    }

    /// Every turn adds a listener, a cluster and a route or takes them away, changes the limits, and has the endpoints of a
    /// cluster take turns.
    fn turn(&self, turn: usize) -> String {
        let host = |origin: &Origin| format!("{:?}", origin.address().to_string());
        let hosts: Vec<_> = [2, 1].iter().zip(&self.moving).filter(|(gone, _)| turn % 3 != **gone).collect();
        let hosts: Vec<_> = hosts.into_iter().map(|(_, origin)| host(origin)).collect();
        let (is_more, headers) = (turn % 2 == 1, if turn % 2 == 1 { 50 } else { 100 });
        let with = |text: String| if is_more { text } else { String::new() };
        let route = with("  - { match: { path: /extra }, to: extra }\n".to_owned());
        let listener =
            with(format!("- {{ name: more, listen: {:?}, routes: [{{ to: kept }}] }}\n", self.more.to_string()));
        let cluster = with(format!("  extra: {{ hosts: [{}] }}\n", host(&self.extra)));
        format!(
            "workers: 2\nwatch: off\nlimits: {{ headers: {headers} }}\nlisteners:\n- name: edge\n  listen: 127.0.0.1:0\n  \
             routes:\n{route}  - {{ match: {{ path: /moving/ }}, to: moving }}\n  - {{ to: kept }}\n{listener}clusters:\n  \
             kept: {{ hosts: [{}] }}\n  moving: {{ hosts: [{}] }}\n{cluster}",
            host(&self.kept),
            hosts.join(", ")
        )
    }

    /// What the turn brought is there, and what it took away is not.
    fn shows(&self, proxy: &TestProxy, turn: usize) {
        let is_more = turn % 2 == 1;
        let many: String = (0..60).map(|number| format!("x-{number}: y\r\n")).collect();

        assert_eq!(proxy.get("/extra").text(), if is_more { "extra" } else { "kept" }, "{turn}");
        assert_eq!(proxy.ask("/", &many).status(), if is_more { 431 } else { 200 }, "{turn}");
        if is_more {
            assert_eq!(get(&mut Client::connect(self.more)), "kept", "{turn}");
        } else {
            until("nobody listens there", || TcpStream::connect(self.more).is_err());
        }
    }
}

fn get(client: &mut Client) -> String {
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    client.answer().text().to_owned()
}

#[test]
fn forty_configurations_under_load_lose_nothing() {
    let places = Places::new();
    let proxy = TestProxy::with(&places.turn(0));
    let load = Load::on(proxy.address(), &[("/kept", &["kept"]), ("/moving", &["one", "two"])]);

    load.during(|| {
        for turn in 1..=TURNS {
            // It is let in by a listener that leaves, and asks afterwards.
            let mut late = (turn % 2 == 0).then(|| Client::connect(places.more));
            assert_eq!(proxy.configure(&places.turn(turn)).unwrap(), Done::Serving, "{turn}");
            load.goes_on();
            places.shows(&proxy, turn);
            if let Some(late) = &mut late {
                assert_eq!(get(late), "kept", "{turn}");
                assert!(late.is_closed(), "{turn}");
            }
        }
    });

    let [one, two] = &places.moving;
    assert_eq!(load.is_whole(&[&places.kept, one, two]), 0, "the listener stayed, and so did its connections");
    assert!(!one.requests().is_empty() && !two.requests().is_empty());
    let reloads = proxy.metric("tollgate_config_reloads_total", &["outcome=\"success\""]);
    assert_eq!(reloads, 40.0);
}

const LARGE: usize = 16 << 20;

/// Clients in every state that a connection may be in when the end is told.
struct Clients {
    idle: Client,
    silent: Client,
    half_head: Client,
    half_body: Client,
    reader: Client,
    held: Client,
    idle_h2: RawH2,
    half_h2: RawH2,
}

impl Clients {
    fn of(address: SocketAddr) -> Clients {
        let begin = |bytes: &str| {
            let mut client = Client::connect(address);
            client.send(bytes);
            client
        };
        let begin_h2 = |bytes: &[u8]| {
            let mut client = RawH2::greet(address);
            client.send(bytes).unwrap();
            client
        };
        let mut idle = begin("GET /idle HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(idle.answer().text(), "here");
        let mut idle_h2 = begin_h2(&asks_for(1, "/idle"));
        assert_eq!(idle_h2.answer(1).0, 200);
        Clients {
            idle,
            silent: begin(""),
            half_head: begin("GET /half HTTP/1.1\r\nho"),
            half_body: begin("POST /half HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab"),
            reader: begin("GET /large HTTP/1.1\r\nhost: a\r\n\r\n"),
            held: begin("GET /held HTTP/1.1\r\nhost: a\r\n\r\n"),
            idle_h2,
            half_h2: begin_h2(&[frame(HEADERS, END_HEADERS, 1, &post(&[])), frame(DATA, 0, 1, b"ab")].concat()),
        }
    }

    /// Those with nothing under way hear of the end.
    fn idle_ones_are_told(&mut self) {
        assert!(self.idle.is_closed());
        let codes = self.idle_h2.parted();
        assert!(!codes.is_empty() && codes.iter().all(|code| *code == NO_ERROR), "{codes:?}");
    }

    /// The others go on where they were.
    fn others_end_in_their_time(&mut self) {
        self.silent.send("GET /silent HTTP/1.1\r\nhost: a\r\n\r\n");
        self.half_head.send("st: a\r\n\r\n");
        self.half_body.send("cd");
        for client in [&mut self.silent, &mut self.half_head, &mut self.half_body] {
            let answer = client.answer();
            assert_eq!((answer.text(), answer.field("connection")), ("here", Some("close")));
            assert!(client.is_closed());
        }
        self.half_h2.send(&frame(DATA, END_STREAM, 1, b"cd")).unwrap();
        assert_eq!(self.half_h2.answer(1), (200, b"here".to_vec()));
        self.half_h2.parted();
        assert_eq!(self.reader.answer().body.len(), LARGE);
        assert!(self.reader.is_closed());
    }
}

#[test]
fn sigterm_under_load_loses_none_of_the_slow_the_half_sent_and_the_idle() {
    let ((origin, release), large) = (Origin::held_there("here"), Origin::saying(&"x".repeat(LARGE)));
    let mut tollgate = Tollgate::run(&format!(
        "admin: {{ listen: 127.0.0.1:0 }}\nlisten: 127.0.0.1:0\n\
         limits: {{ header_timeout: 10m, body_grace: 10m, write_timeout: 10m, drain_timeout: 10m }}\n\
         routes: [{{ match: {{ path: /large }}, to: {:?} }}, {{ to: {:?}, timeout: 10m }}]\n",
        large.url(),
        origin.url()
    ));
    let address = tollgate.address_after("listening on http://");
    let admin = tollgate.address_after("admin on http://");
    let load = Load::on(address, &[("/load", &["here"])]);

    let mut clients = load.during(|| {
        let mut clients = Clients::of(address);
        until("the large answer is on its way", || large.requests().len() == 1);
        until("one is held", || origin.requests().iter().any(|request| request.target() == "/held"));
        // The only worker has read what was sent before.
        load.goes_on();
        tollgate.signal("TERM");
        until("it is not ready any more", || ask(admin, "/ready").status() == 503);
        clients.idle_ones_are_told();
        // Who has not heard of the end is served until it comes; then the load goes elsewhere, as a balancer would have it.
        load.goes_on();
        clients
    });
    clients.others_end_in_their_time();
    release.send(()).unwrap();

    assert_eq!(clients.held.answer().text(), "here");
    assert!(clients.held.is_closed());
    assert_eq!(tollgate.code(), Some(0), "{}", tollgate.log());
    load.is_whole(&[&origin]);
}
