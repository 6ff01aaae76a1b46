//! A process that runs out of what the system gives: descriptors, and time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use common::client::Client;
use common::modules::Guest;
use common::origin::{Origin, ok};
use common::process::{Tollgate, ask};
use common::swaps::speaker;
use common::{PATIENCE, admin, until};
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

#[test]
fn without_descriptors_it_rests_and_tells_that_it_lives_and_serves_again_once_there_are_some() {
    let config = "admin: { listen: \"127.0.0.1:0\" }\nlisten: 127.0.0.1:0\nlimits: { header_timeout: 10m }\nroutes: [{ to: echo }]\n";
    let tollgate = Tollgate::run_under("ulimit -n 64; exec \"$0\" \"$@\"", config);
    let address = tollgate.address_after("listening on http://");
    let admin = tollgate.address_after("admin on http://");

    let crowd: Vec<_> = (0..80).map(|_| Client::connect(address)).collect();
    until("there are no descriptors left", || tollgate.log().contains("cannot accept connections"));
    let (begun, used) = (Instant::now(), cpu(tollgate.id()));
    let mut lived = 0;
    until("a second is over", || {
        assert_eq!(ask(admin, "/live").status(), 200);
        lived += 1;
        std::thread::sleep(Duration::from_millis(50));
        begun.elapsed() > Duration::from_secs(1)
    });
    let used = cpu(tollgate.id()) - used;

    assert!(used < 50, "{used} of 100 hundredths: it spins");
    assert!(lived > 1, "{lived}");
    assert_eq!(tollgate.log().matches("cannot accept connections").count(), 1, "{}", tollgate.log());
    drop(crowd);
    until("it serves again", || get(address) == 200);
}

/// A proxy with few descriptors and a filter that says `one`, and a client that has a connection.
struct Scarce {
    tollgate: Tollgate,
    guest: Guest,
    address: SocketAddr,
    admin: SocketAddr,
    kept: Client,
}

impl Scarce {
    fn new() -> Scarce {
        let guest = Guest::from_bytes(&speaker("one"));
        let config = format!(
            "admin: {{ listen: \"127.0.0.1:0\" }}\nlisten: 127.0.0.1:0\ncache: off\nlimits: {{ header_timeout: 10m }}\n\
             filters: {{ f: {{ wasm: {:?} }} }}\nroutes: [{{ to: echo, filters: [f] }}]\n",
            guest.path()
        );
        let tollgate = Tollgate::run_under("ulimit -n 64; exec \"$0\" \"$@\"", &config);
        let address = tollgate.address_after("listening on http://");
        let admin = tollgate.address_after("admin on http://");
        let mut scarce = Scarce { tollgate, guest, address, admin, kept: Client::connect(address) };
        assert_eq!(scarce.says(), "one");
        scarce
    }

    /// Takes all descriptors that are left. One connection alone then waits to be let in, so that no more than one is
    /// snatched of those that are kept back for the admin endpoints.
    fn crowd(&self) -> Vec<Client> {
        let folder = format!("/proc/{}/fd", self.tollgate.id());
        let is_socket =
            |path: PathBuf| fs::read_link(path).is_ok_and(|what| what.to_string_lossy().starts_with("socket:"));
        let open = || fs::read_dir(&folder).unwrap().filter(|entry| is_socket(entry.as_ref().unwrap().path())).count();
        let is_full = || self.tollgate.log().contains("cannot accept connections");
        let mut crowd = Vec::new();
        while !is_full() {
            let before = open();
            crowd.push(Client::connect(self.address));
            until("it is let in, or there are no descriptors left", || open() > before || is_full());
        }
        crowd
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
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let origin = Origin::scripted(move |peer| {
        while peer.request()?.is_some() {
            let _ = held.lock().unwrap().recv_timeout(PATIENCE);
            peer.send(ok("finished"))?;
        }
        Ok(())
    });
    let config = "admin: { listen: \"127.0.0.1:0\" }\nlisten: 127.0.0.1:0\nlimits: { stream_idle_timeout: 4s }\n";
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
    // What is tried is being stopped for so long; nothing is waited for.
    std::thread::sleep(Duration::from_secs(5));
    tollgate.signal("CONT");
    let live = ask(admin, "/live");
    let answers: Vec<_> = clients.iter_mut().map(|client| client.answer().status()).collect();

    assert_eq!(answers, [200; 20], "{}", tollgate.log());
    assert_eq!(live.status(), 200, "{}", live.text());
}
