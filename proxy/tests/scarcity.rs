//! A process that runs out of what the system gives: descriptors, and time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use common::client::Client;
use common::origin::{Origin, ok};
use common::process::{Tollgate, ask};
use common::{PATIENCE, until};

/// CPU time of a process, in hundredths of a second.
fn cpu(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

fn get(address: std::net::SocketAddr) -> u16 {
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

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let config = "admin: off\nlisten: 127.0.0.1:0\nlimits: { header_timeout: 10m }\nroutes: [{ to: echo }]\n";
    let tollgate = Tollgate::run_under("ulimit -Sn 64; exec \"$0\" \"$@\"", config);
    let address = tollgate.address_after("listening on http://");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", tollgate.id())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut limits = line.split_whitespace();

    assert_eq!(limits.next(), limits.next(), "{line}");

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
