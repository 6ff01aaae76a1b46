//! A process that runs out of what the system gives: descriptors, and time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use common::client::Client;
use common::h2_raw::{HEADERS, RawH2, left, status};
use common::modules::Guest;
use common::origin::{Origin, ok};
use common::process::{Tollgate, ask};
use common::proxy::TestProxy;
use common::swaps::speaker;
use common::{admin, until};
use serde_json::{Value, json};

/// CPU time of a process, in hundredths of a second.
fn cpu(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

fn get(address: SocketAddr) -> u16 {
    let mut client = Client::connect(address);
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    client.answer().status()
}

/// The sum of the samples of that name.
fn metric(admin: SocketAddr, name: &str) -> usize {
    let page = ask(admin, "/metrics");
    let samples = page.text().lines().filter(|line| line.starts_with(name));
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

/// What takes all descriptors that are left. Clients get only their part, so it is requests of one client to an origin that
/// says nothing which take the rest, and one connection more that waits to be let in.
struct Crowd {
    _requests: RawH2,
    _waiting: Client,
    _origin: Origin,
}

impl Crowd {
    /// Says nothing for as long as it takes.
    fn origin() -> Origin {
        Origin::scripted(|peer| {
            peer.request()?;
            peer.stream().set_read_timeout(None)?;
            peer.wait_for_end()
        })
    }

    /// The route to it.
    fn route(origin: &Origin) -> String {
        format!("{{ match: {{ path: /left }}, to: {:?}, timeout: 10m }}", origin.url())
    }

    fn of(origin: Origin, tollgate: &Tollgate, address: SocketAddr) -> Crowd {
        let mut requests = RawH2::greet(address);
        for number in 0..99 {
            requests.send(&left(number * 2 + 1)).unwrap();
        }
        let answer = std::iter::repeat_with(|| requests.next().expect("an answer")).find(|frame| frame.kind == HEADERS);
        assert_eq!(status(&answer.unwrap().payload), 503, "a connection to the origin takes a descriptor");
        let waiting = Client::connect(address);
        until("there are no descriptors left", || tollgate.log().contains("cannot accept connections"));
        Crowd { _requests: requests, _waiting: waiting, _origin: origin }
    }
}

#[test]
fn without_descriptors_it_rests_and_tells_that_it_lives_and_serves_again_once_there_are_some() {
    let origin = Crowd::origin();
    let config = format!(
        "admin: {{ listen: \"127.0.0.1:0\" }}\nlisten: 127.0.0.1:0\nroutes: [{}, {{ to: echo }}]\n",
        Crowd::route(&origin)
    );
    let tollgate = Tollgate::run_under("ulimit -n 64; exec \"$0\" \"$@\"", &config);
    let address = tollgate.address_after("listening on http://");
    let admin = tollgate.address_after("admin on http://");

    let crowd = Crowd::of(origin, &tollgate, address);
    let (begun, before) = (Instant::now(), cpu(tollgate.id()));
    for _ in 0..20 {
        assert_eq!(ask(admin, "/live").status(), 200);
        // Between the questions it has nothing to do.
        std::thread::sleep(Duration::from_millis(50));
    }
    let (used, time) = (u128::from(cpu(tollgate.id()) - before), begun.elapsed().as_millis() / 10);

    // However long it took; a machine with much else to do gives less to who spins, and never more to who rests.
    assert!(2 * used < time, "{used} of {time} hundredths: it spins");
    assert_eq!(tollgate.log().matches("cannot accept connections").count(), 1, "{}", tollgate.log());
    drop(crowd);
    until("it serves again", || get(address) == 200);
}

#[test]
fn clients_hold_all_descriptors_they_may_and_requests_get_connections_to_upstreams_all_the_same() {
    const UPSTREAMS: usize = 4;
    let gate = Arc::new(Barrier::new(UPSTREAMS));
    let origin = Origin::scripted(move |peer| {
        peer.request()?;
        // Each has a connection of its own before any is answered.
        gate.wait();
        peer.send(ok("x"))
    });
    let config = format!(
        "admin: {{ listen: \"127.0.0.1:0\" }}\nlisten: 127.0.0.1:0\nlimits: {{ header_timeout: 10m }}\nroutes: [{{ to: {:?} }}]\n",
        origin.url()
    );
    let tollgate = Tollgate::run_under("ulimit -n 64; exec \"$0\" \"$@\"", &config);
    let address = tollgate.address_after("listening on http://");
    let admin = tollgate.address_after("admin on http://");
    let mut served: Vec<_> = (0..UPSTREAMS).map(|_| Client::connect(address)).collect();
    until("they are let in", || metric(admin, "tollgate_connections_active{") == UPSTREAMS);

    let crowd: Vec<_> = (0..80).map(|_| Client::connect(address)).collect();
    let (active, refused) = ("tollgate_connections_active{", "tollgate_connections_refused_total{");
    until("each is let in or refused", || metric(admin, active) + metric(admin, refused) == 80 + UPSTREAMS);
    for client in &mut served {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    let answers: Vec<_> = served.iter_mut().map(|client| client.answer().status()).collect();

    assert_eq!(answers, [200; UPSTREAMS]);
    assert!(metric(admin, refused) > 80 - 48, "{} refused", metric(admin, refused));
    assert!(!tollgate.log().contains("cannot accept connections"), "{}", tollgate.log());
    drop(crowd);
}

#[test]
fn of_four_hundred_descriptors_clients_get_three_hundred_and_twenty_whatever_is_written() {
    let config = "admin: { listen: \"127.0.0.1:0\" }\nlisten: 127.0.0.1:0\nlimits: { header_timeout: 10m, connections: 500 }\n\
                  routes: [{ to: echo }]\n";
    let tollgate = Tollgate::run_under("ulimit -n 404; exec \"$0\" \"$@\"", config);
    let address = tollgate.address_after("listening on http://");
    let admin = tollgate.address_after("admin on http://");

    let crowd: Vec<_> = (0..330).map(|_| Client::connect(address)).collect();
    let counts = || ["active{", "refused_total{"].map(|what| metric(admin, &format!("tollgate_connections_{what}")));
    until("each is let in or refused", || counts().iter().sum::<usize>() == 330);

    assert_eq!(counts(), [320, 10]);
    let warning = "limits.connections: 500 is more than the 320 that clients get of 400 descriptors";
    assert_eq!(tollgate.log().matches(warning).count(), 1, "{}", tollgate.log());
    drop(crowd);
}

/// A proxy with few descriptors and a filter that says `one`, and a client that has a connection.
struct Scarce {
    tollgate: Tollgate,
    guest: Guest,
    address: SocketAddr,
    admin: SocketAddr,
    kept: Client,
    /// Taken by the crowd.
    origin: Option<Origin>,
}

impl Scarce {
    fn new() -> Scarce {
        let (guest, origin) = (Guest::from_bytes(&speaker("one")), Crowd::origin());
        let config = format!(
            "admin: {{ listen: \"127.0.0.1:0\" }}\nlisten: 127.0.0.1:0\ncache: off\n\
             filters: {{ f: {{ wasm: {:?} }} }}\nroutes: [{}, {{ to: echo, filters: [f] }}]\n",
            guest.path(),
            Crowd::route(&origin)
        );
        let tollgate = Tollgate::run_under("ulimit -n 64; exec \"$0\" \"$@\"", &config);
        let address = tollgate.address_after("listening on http://");
        let admin = tollgate.address_after("admin on http://");
        let (kept, origin) = (Client::connect(address), Some(origin));
        let mut scarce = Scarce { tollgate, guest, address, admin, kept, origin };
        assert_eq!(scarce.says(), "one");
        scarce
    }

    /// Takes all descriptors that are left. One connection alone waits to be let in, so that no more than one is snatched of
    /// those that are kept back for the admin endpoints.
    fn crowd(&mut self) -> Crowd {
        let origin = self.origin.take().expect("one crowd");
        Crowd::of(origin, &self.tollgate, self.address)
    }

    /// What the filter says on the connection that there is.
    fn says(&mut self) -> String {
        self.kept.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = self.kept.answer();
        assert_eq!(answer.status(), 200);
        answer.field("x-by").unwrap_or_default().to_owned()
    }
}

#[test]
fn without_descriptors_filters_serve_and_an_uploaded_module_is_refused_until_there_are_some() {
    let mut scarce = Scarce::new();
    let crowd = scarce.crowd();
    assert_eq!(scarce.says(), "one");

    let refused = admin::upload(scarce.admin, &speaker("two"));

    assert_eq!(refused.status(), 422, "{refused:?}");
    let shown = ask(scarce.admin, "/filters/f").json();
    let error = &shown["last_error"];
    let told = ["step", "code", "source"].map(|key| error[key].as_str().unwrap());
    assert_eq!(told, ["compile", "TG0207", "upload"]);
    assert!(error["message"].as_str().unwrap().ends_with(": Too many open files (os error 24)"), "{error}");
    assert_eq!((&shown["generation"], &shown["staged"], scarce.says()), (&json!(1), &Value::Null, "one".to_owned()));
    drop(crowd);
    until("it is taken", || admin::upload(scarce.admin, &speaker("two")).status() == 200);
    assert_eq!(admin::ask(scarce.admin, "POST /filters/f/promote").status(), 200);
    assert_eq!(scarce.says(), "two");
    assert_eq!(ask(scarce.admin, "/filters/f").json()["last_error"], Value::Null);
}

#[test]
fn a_file_that_changes_while_there_are_no_descriptors_is_told_of_and_taken_once_there_are_some() {
    let mut scarce = Scarce::new();
    let crowd = scarce.crowd();

    scarce.guest.replace(&speaker("two"));
    until("it is told that the file was not taken", || {
        assert_eq!(scarce.says(), "one");
        // Whether the file itself cannot be read, or no compiler started, is a matter of luck.
        scarce.tollgate.log().lines().any(|line| line.contains("error[TG0") && line.contains("Too many open files"))
    });

    drop(crowd);
    until("it is read again", || admin::ask(scarce.admin, "POST /reload").status() == 200);
    until("the new module serves", || scarce.says() == "two");
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one_but_for_a_few() {
    let config = "admin: off\nlisten: 127.0.0.1:0\nlimits: { header_timeout: 10m }\nroutes: [{ to: echo }]\n";
    let tollgate = Tollgate::run_under("ulimit -Sn 64; exec \"$0\" \"$@\"", config);
    let address = tollgate.address_after("listening on http://");
    let limits = fs::read_to_string(format!("/proc/{}/limits", tollgate.id())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let limits: Vec<u64> = line.split_whitespace().take(2).map(|limit| limit.parse().unwrap()).collect();

    assert_eq!(limits[0], limits[1] - 4, "{line}");

    let _crowd: Vec<_> = (0..80).map(|_| Client::connect(address)).collect();
    assert_eq!(get(address), 200);
}

#[test]
fn a_process_that_was_stopped_for_a_while_finishes_what_was_under_way() {
    let (origin, release) = Origin::held("finished");
    let limits = "limits: { stream_idle_timeout: 4s }\n";
    let config = format!("admin: {{ listen: \"127.0.0.1:0\" }}\nlisten: 127.0.0.1:0\n{limits}");
    let tollgate = Tollgate::run(&format!("{config}routes: [{{ to: {:?}, timeout: 1m }}]\n", origin.url()));
    let address = tollgate.address_after("listening on http://");
    let admin = tollgate.address_after("admin on http://");
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    until("all are under way", || origin.requests().len() == 20);

    tollgate.signal("STOP");
    (0..20).for_each(|_| release.send(()).unwrap());
    // One that goes on loses an exchange meanwhile: so long nothing moved.
    let silent = Origin::silent();
    let beside = TestProxy::with(&format!("{limits}routes: [{{ to: {:?}, timeout: 1m }}]", silent.url()));
    assert_eq!(beside.get("/").status(), 504);
    tollgate.signal("CONT");
    let live = ask(admin, "/live");
    let answers: Vec<_> = clients.iter_mut().map(|client| client.answer().status()).collect();

    assert_eq!(answers, [200; 20], "{}", tollgate.log());
    assert_eq!(live.status(), 200, "{}", live.text());
}
