//! Bugs of the proxy's own, planted where they would hurt most: what they end, and that the rest goes on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use super::*;
use crate::telemetry::panics::sabotage;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn proxy() -> Running {
    let yaml = "admin: off\nworkers: 1\nlisten: 127.0.0.1:0\nlimits: { drain_timeout: 10m }\n\
                filters: { none: { wasm: none.wasm, on_error: { load: skip } } }\nroutes: [{ to: echo, filters: [none] }]\n";
    let config = tollgate_config::parse(yaml, Path::new("test.yaml")).unwrap();
    App::prepare(config, &RunOptions::default()).unwrap().bind().unwrap().start(false).unwrap()
}

/// Everything that comes back for a request on a connection of its own.
fn ask(proxy: &Running) -> String {
    let mut stream = TcpStream::connect(proxy.listeners()[0].1).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // A connection that is reset is no answer either.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn is_served(proxy: &Running) -> bool {
    ask(proxy).starts_with("HTTP/1.1 200 ")
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "in {PATIENCE:?} it did not come true that {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// One test: what is planted is the process's own, so that two would take each other's.
#[test]
fn a_panic_ends_what_it_strikes_and_nothing_else() {
    let proxy = proxy();
    until("it serves", || is_served(&proxy));

    for (place, what) in [("exchange", "an exchange"), ("accept", "a connection")] {
        sabotage::plant(place);
        assert_eq!(ask(&proxy), "", "{what} that a bug struck has no answer");
        assert!(is_served(&proxy), "after {what} the next one is served");
        assert_eq!(sabotage::passes(place), 2, "{what}");
    }

    sabotage::plant("sweep");
    until("timeouts are looked after again", || sabotage::passes("sweep") > 2);
    assert!(is_served(&proxy));

    until("nothing of what was struck is left", || {
        proxy.shared.connections.load(Relaxed) == 0 && proxy.shared.loads[0].exchanges.load(Relaxed) == 0
    });

    sabotage::plant("adopt");
    let reload = || proxy.orders().ask_blocking(reload::Order::Reload(Trigger::Admin));
    assert!(matches!(reload(), Err(reload::Refused::Bug)));
    assert_eq!(proxy.orders().sight().plugins.len(), 1, "a reload that a bug ended changes nothing");
    assert_eq!(reload().unwrap(), reload::Done::Serving);
    assert!(is_served(&proxy));

    sabotage::plant("obey");
    proxy.drain();
    proxy.wait();
    assert!(sabotage::passes("obey") > 1, "the worker heard of the end in spite of its bug");
}
