//! nginx and haproxy that are reloaded while requests run: connections that they close under a request cost no request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::h2::all_succeeded;
use crate::origins::{Haproxy, Nginx};
use crate::peer::{Server, run, until};
use crate::scene::Scene;

/// Requests that are under way while an upstream is reloaded.
const REQUESTS: u32 = 10_000;

/// Sends requests, and signals to a server for as long as they run; each waits for the sign in its log that the one before
/// was followed. Answers with how many were.
fn under_load(url: &str, server: &mut Server, signal: &str, followed: impl Fn() -> usize) -> usize {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let requests = REQUESTS.to_string();
            let said = run("h2load", &["-n", &requests, "-c", "10", "-m", "10", url]);
            ended.store(true, Ordering::Relaxed);
            said
        });
        while !ended.load(Ordering::Relaxed) {
            let before = followed();
            server.signal(signal);
            // The last may come too late to be followed while there is anything to lose.
            until("the signal is followed", || followed() > before || ended.load(Ordering::Relaxed));
        }
        all_succeeded(&load.join().unwrap().good(), REQUESTS);
        followed()
    })
}

/// How often the log of a scene has these words.
fn count(scene: &Scene, log: &str, words: &str) -> usize {
    std::fs::read_to_string(scene.path(log)).unwrap().matches(words).count()
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn no_get_is_lost_while_nginx_is_reloaded() {
    let scene = Scene::new();
    let mut nginx = Nginx::start(&scene);
    let proxy = scene.proxy(&format!("{{ nginx: {{ hosts: [{}] }} }}", nginx.plain), "[{ to: nginx }]");

    let followed = || count(&scene, "nginx.log", "gracefully shutting down");
    let reloads = under_load(&(proxy.plain() + "/facts"), &mut nginx.server, "HUP", followed);

    assert!(reloads > 1, "nothing was reloaded under load");
}

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn no_get_is_lost_while_haproxy_is_reloaded() {
    let scene = Scene::new();
    let nginx = Nginx::start(&scene);
    let mut haproxy = Haproxy::start(&scene, &nginx);
    let clusters = format!("{{ haproxy: {{ hosts: [{}], protocol: h2 }} }}", haproxy.h2c);
    let proxy = scene.proxy(&clusters, "[{ to: haproxy }]");

    let followed = || count(&scene, "haproxy.log", "Former worker");
    let reloads = under_load(&(proxy.plain() + "/facts"), &mut haproxy.server, "USR2", followed);

    assert!(reloads > 1, "nothing was reloaded under load");
}
