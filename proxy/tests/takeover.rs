//! A process takes the place of another at the same addresses, and nobody who connects or waits meanwhile is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use common::client::Client;
use common::h2_raw::{RawH2, asks_for};
use common::load::Load;
use common::origin::{Origin, ok};
use common::process::{Tollgate, ask};
use common::proxy::{TestProxy, prepare_with};
use common::until;
use tempfile::TempDir;
use tollgate::app::RunOptions;
use tollgate::app::reload::{Done, Refused};

const ASK: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Where processes of a test meet.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("takeover.sock")
    }

    /// A process that attends there.
    fn run(&self, config: &str) -> Process {
        self.run_with(config, 1)
    }

    fn run_with(&self, config: &str, workers: usize) -> Process {
        let shell = format!("exec \"$0\" run --workers {workers} --takeover {}", self.socket().display());
        let tollgate = Tollgate::run_under(&shell, config);
        let address = tollgate.address_after("listening on http://");
        let admin = tollgate.address_after("admin on http://");
        Process { tollgate, address, admin }
    }

    /// A proxy of this process that attends there.
    fn within(&self, yaml: &str) -> TestProxy {
        let options = RunOptions { takeover: Some(self.socket()), ..RunOptions::default() };
        TestProxy::of(prepare_with(yaml, &options).unwrap_or_else(|error| panic!("{error}")))
    }

    fn attends(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok()
    }
}

struct Process {
    tollgate: Tollgate,
    address: SocketAddr,
    admin: SocketAddr,
}

/// A configuration whose answers say who gave them.
fn says(origin: &Origin, more: &str) -> String {
    format!("admin: {{ listen: 127.0.0.1:0 }}\nlisten: 127.0.0.1:0\n{more}routes: [{{ to: {:?} }}]\n", origin.url())
}

fn origin(word: &'static str) -> Origin {
    Origin::scripted(move |peer| {
        while peer.request()?.is_some() {
            peer.send(ok(word))?;
        }
        Ok(())
    })
}

fn said(address: SocketAddr) -> String {
    let mut client = Client::connect(address);
    client.send(ASK);
    client.answer().text().to_owned()
}

#[test]
fn a_successor_answers_at_the_same_addresses_and_its_predecessor_ends() {
    let (place, one, two) = (Place::new(), origin("one"), origin("two"));
    let mut first = place.run(&says(&one, ""));
    until("the first attends", || place.attends());
    assert_eq!(said(first.address), "one");

    let second = place.run(&says(&two, ""));

    assert_eq!((second.address, second.admin), (first.address, first.admin));
    assert_eq!(first.tollgate.code(), Some(0), "{}", first.tollgate.log());
    assert_eq!(said(second.address), "two");
    assert_eq!(ask(second.admin, "/ready").status(), 200);
}

/// How often it was asked for what it holds.
fn asked(origin: &Origin) -> usize {
    origin.requests().iter().filter(|request| request.target() == "/held").count()
}

/// A client whose exchange waits for the origin.
fn waiting(process: &Process, origin: &Origin) -> Client {
    let (mut client, before) = (Client::connect(process.address), asked(origin));
    client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    until("the exchange is under way", || asked(origin) > before);
    client
}

/// The same over HTTP/2.
fn waiting_h2(process: &Process, origin: &Origin) -> RawH2 {
    let (mut client, before) = (RawH2::greet(process.address), asked(origin));
    client.send(&asks_for(1, "/held")).unwrap();
    until("the exchange is under way", || asked(origin) > before);
    client
}

const TAKEOVERS: usize = 10;

#[test]
fn no_connection_and_no_exchange_is_lost_in_ten_takeovers_under_load() {
    let (place, (origin, release)) = (Place::new(), Origin::held_there("here"));
    let mut current = place.run(&says(&origin, ""));
    let load = Load::on(current.address, &[("/load", &["here"])]);

    load.during(|| {
        for _ in 0..TAKEOVERS {
            until("the current one attends", || place.attends());
            let mut held = waiting(&current, &origin);
            let mut held_h2 = waiting_h2(&current, &origin);
            let next = place.run(&says(&origin, ""));
            let mut gone = std::mem::replace(&mut current, next);
            load.goes_on();
            (0..2).for_each(|_| release.send(()).unwrap());

            assert_eq!(held.answer().text(), "here");
            assert_eq!(held_h2.answer(1), (200, b"here".to_vec()));
            assert_eq!(gone.tollgate.code(), Some(0), "{}", gone.tollgate.log());
            load.goes_on();
        }
    });

    // Three connections that are kept end in each takeover, and few of them in the very moment of a request.
    let away = load.is_whole(&[&origin]);
    assert!(away <= TAKEOVERS, "{away} requests met a connection that ended");
}

#[test]
fn the_signal_that_follows_a_successor_cuts_nothing() {
    let (place, (origin, release)) = (Place::new(), Origin::held_there("here"));
    let mut first = place.run(&says(&origin, ""));
    until("the first attends", || place.attends());
    let mut client = waiting(&first, &origin);

    let second = place.run(&says(&origin, ""));
    until("the first drains", || first.tollgate.log().contains("a successor serves: draining"));
    first.tollgate.signal("TERM");
    until("the signal is heard", || first.tollgate.log().contains("SIGTERM"));
    release.send(()).unwrap();

    assert_eq!(client.answer().text(), "here");
    assert_eq!(first.tollgate.code(), Some(0), "{}", first.tollgate.log());
    assert_eq!(said(second.address), "here");
}

#[test]
fn a_successor_of_a_process_that_drains_cuts_nothing() {
    let (place, (origin, release)) = (Place::new(), Origin::held_there("here"));
    let mut first = place.run(&says(&origin, ""));
    until("the first attends", || place.attends());
    let mut client = waiting(&first, &origin);

    first.tollgate.signal("TERM");
    until("the signal is heard", || first.tollgate.log().contains("SIGTERM"));
    let second = place.run(&says(&origin, ""));
    until("the first is told", || first.tollgate.log().contains("a successor serves: draining"));
    release.send(()).unwrap();

    assert_eq!(client.answer().text(), "here");
    assert_eq!(first.tollgate.code(), Some(0), "{}", first.tollgate.log());
    assert_eq!(said(second.address), "here");
}

#[test]
fn a_successor_with_fewer_or_more_workers_takes_every_socket() {
    let (place, origin) = (Place::new(), origin("here"));
    let mut current = place.run_with(&says(&origin, ""), 3);
    let address = current.address;

    for workers in [1, 4] {
        until("the current one attends", || place.attends());
        let next = place.run_with(&says(&origin, ""), workers);
        let mut gone = std::mem::replace(&mut current, next);
        assert_eq!(gone.tollgate.code(), Some(0), "{}", gone.tollgate.log());
        for _ in 0..32 {
            assert_eq!(said(address), "here");
        }
    }
}

#[test]
fn a_process_that_was_succeeded_takes_no_address_from_its_successor() {
    let (place, origin) = (Place::new(), origin("here"));
    let first = place.within(&says(&origin, ""));
    until("the first attends", || place.attends());

    let second = place.within(&says(&origin, ""));

    let refuses = |yaml: &str| matches!(first.configure(yaml), Err(Refused::Ending));
    until("the first changes nothing more", || refuses(&says(&origin, "")));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let elsewhere = says(&origin, "").replace("listen: 127.0.0.1:0\nr", &format!("listen: {free}\nr"));
    assert!(refuses(&elsewhere));
    assert_eq!(second.configure(&elsewhere).unwrap(), Done::Serving);
    assert_eq!(said(free), "here");
}

#[test]
fn a_successor_may_listen_at_another_address_of_the_same_port() {
    let (place, one, two) = (Place::new(), origin("one"), origin("two"));
    let mut first = place.run(&says(&one, ""));
    until("the first attends", || place.attends());
    let port = first.address.port();
    let elsewhere = says(&two, "").replace("listen: 127.0.0.1:0\nr", &format!("listen: 0.0.0.0:{port}\nr"));

    let _second = place.run(&elsewhere);

    assert_eq!(first.tollgate.code(), Some(0), "{}", first.tollgate.log());
    assert_eq!(said(first.address), "two");
}

#[test]
fn a_process_whose_path_cannot_be_had_is_asked_and_changed_all_the_same() {
    let (place, origin) = (Place::new(), origin("here"));
    std::fs::create_dir(place.socket()).unwrap();

    let first = place.run(&says(&origin, ""));

    until("it says so", || first.tollgate.log().contains("no successor can take this process's place"));
    assert_eq!(said(first.address), "here");
    assert_eq!(ask(first.admin, "/ready").status(), 200);
}

#[test]
fn a_successor_that_dies_before_it_serves_changes_nothing() {
    let (place, origin) = (Place::new(), origin("one"));
    let first = place.run(&says(&origin, ""));
    until("the first attends", || place.attends());

    let asks = UnixStream::connect(place.socket()).unwrap();
    drop(asks);
    let mut refused = Tollgate::run_under(
        &format!("exec \"$0\" \"$@\" --takeover {}", place.socket().display()),
        "listen: 127.0.0.1:0\nroutes: [{ to: nowhere }]\n",
    );

    assert_eq!(refused.code(), Some(1));
    assert_eq!(said(first.address), "one");
    assert!(place.attends());
}

#[test]
fn who_ends_without_a_successor_leaves_no_path() {
    let (place, origin) = (Place::new(), origin("one"));
    let mut first = place.run(&says(&origin, ""));
    until("the first attends", || place.attends());

    first.tollgate.signal("TERM");

    assert_eq!(first.tollgate.code(), Some(0));
    assert!(!place.socket().exists());
}

#[test]
fn a_path_where_nobody_attends_is_taken() {
    let (place, origin) = (Place::new(), origin("one"));
    drop(UnixListener::bind(place.socket()).unwrap());

    let first = place.run(&says(&origin, ""));

    until("it attends", || place.attends());
    assert_eq!(said(first.address), "one");
    assert_eq!(mode(&place.socket()), 0o600);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.symlink_metadata().unwrap().permissions().mode() & 0o777
}

/// What a process says that leaves nothing.
fn nothing() -> Vec<u8> {
    let line = br#"{"listeners":[],"admin":null}"#;
    [b"TGTAKE2\n", &u32::try_from(line.len()).unwrap().to_le_bytes()[..], line].concat()
}

#[test]
fn who_is_not_answered_by_a_process_that_lives_gives_way() {
    let (place, origin) = (Place::new(), origin("two"));
    let post = UnixListener::bind(place.socket()).unwrap();
    let attending = std::thread::spawn(move || {
        // It hears that a successor serves and does not answer, as if it had given that one up; then it attends on.
        let mut stream = post.accept().unwrap().0;
        stream.write_all(&nothing()).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        drop(stream);
        post.accept().unwrap().0.write_all(&nothing()).unwrap();
        post
    });

    let mut second = place.run(&says(&origin, ""));

    assert_eq!(second.tollgate.code(), Some(0));
    let log = second.tollgate.log();
    assert!(log.contains("the process before this one does not go, so this one ends"), "{log}");
    let _post = attending.join().unwrap();
    assert!(place.attends(), "the path is the other one's");
}

#[test]
fn a_predecessor_that_ends_before_it_answers_leaves_the_place() {
    let (place, origin) = (Place::new(), origin("two"));
    let post = UnixListener::bind(place.socket()).unwrap();
    let ending = std::thread::spawn(move || {
        let mut stream = post.accept().unwrap().0;
        stream.write_all(&nothing()).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        // The place first, so that nobody is let in any more when the successor looks.
        drop(post);
    });

    let second = place.run(&says(&origin, ""));

    ending.join().unwrap();
    until("it attends", || place.attends());
    assert_eq!(said(second.address), "two");
}

#[test]
fn who_attends_but_is_no_tollgate_is_named() {
    let place = Place::new();
    let stranger = UnixListener::bind(place.socket()).unwrap();
    let answering = std::thread::spawn(move || {
        stranger.accept().unwrap().0.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let shell = format!("exec \"$0\" \"$@\" --takeover {}", place.socket().display());

    let mut tollgate = Tollgate::run_under(&shell, "listen: 127.0.0.1:0\nroutes: [{ to: echo }]\n");

    assert_eq!(tollgate.code(), Some(3));
    until("it says why", || tollgate.log().contains("error[TG0304]: the sockets of the process at "));
    answering.join().unwrap();
}
