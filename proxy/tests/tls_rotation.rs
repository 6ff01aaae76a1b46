//! Files of TLS that change while the proxy serves, and sessions that go on across that. Nobody is cut, and what is bad
//! changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, SystemTime};

use common::process::{Tollgate, ask};
use common::proxy::{TestProxy, prepare};
use common::tls::{Authority, Files, Hand, Pem, believing, named, shake};
use common::until;
use rustls::HandshakeKind;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::version::{TLS12, TLS13};
use tollgate::app::reload::{Done, Order, Refused};
use tollgate::filter::rollout::Trigger;

/// A listener with this certificate. Files are looked at when a test says so.
fn yaml(identity: &str, more: &str) -> String {
    format!(
        "watch: off\nlisteners:\n- name: edge\n  listen: 127.0.0.1:0\n  tls: {{ certificates: [{{ {identity} }}]{more} }}\n  \
         routes: [{{ to: echo }}]\n"
    )
}

fn der(pem: &Pem) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.cert.as_bytes()).unwrap()
}

/// Certificates for `a.test` that differ.
fn pems(authority: &Authority, count: u64) -> Vec<Pem> {
    (0..count).map(|serial| authority.issue(&named(&["a.test"]).serial(100 + serial))).collect()
}

fn look(proxy: &TestProxy, files: &Files, names: &[&str]) -> Result<Done, Refused> {
    proxy.order(Order::Look(names.iter().map(|name| files.path(name)).collect()))
}

fn serves(proxy: &TestProxy, pem: &Pem) {
    let config = believing();
    until("the certificate is shown", || shake(&config, proxy.address(), "a.test").unwrap().shown() == der(pem));
}

#[test]
fn a_hundred_rotations_under_load_lose_no_handshake_and_no_exchange() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let pems = pems(&authority, 5);
    let proxy = TestProxy::with(&format!("workers: 2\n{}", yaml(&files.identity("a", &pems[0]), "")));
    let (stop, exchanges) = (AtomicBool::new(false), AtomicUsize::new(0));
    let hands = [&TLS12, &TLS13].map(|version| Hand::new(&authority, &[version], None));

    thread::scope(|scope| {
        for hand in &hands {
            scope.spawn(|| {
                let mut kept = hand.shake(proxy.address(), "a.test").unwrap();
                while !stop.load(SeqCst) {
                    // A fresh client each time, in full; and one that has been there since the beginning.
                    let fresh = Hand::clone(hand).shake(proxy.address(), "a.test");
                    let answer = fresh.and_then(|mut client| client.get("/")).expect("a fresh client is served");
                    assert_eq!(answer.status(), 200);
                    assert_eq!(kept.get("/").expect("a connection goes on").status(), 200);
                    exchanges.fetch_add(2, SeqCst);
                }
            });
        }
        let rotating = scope.spawn(|| {
            for turn in 1..=100 {
                let pem = &pems[turn % pems.len()];
                files.identity("a", pem);
                assert_eq!(look(&proxy, &files, &["a.pem", "a.key"]).unwrap(), Done::Serving, "{turn}");
                let before = exchanges.load(SeqCst);
                until("exchanges go on", || exchanges.load(SeqCst) > before);
            }
        });
        let outcome = rotating.join();
        stop.store(true, SeqCst);
        outcome.unwrap();
    });

    assert_eq!(proxy.metric("tollgate_tls_handshake_failures_total", &[]), 0.0);
    assert_eq!(proxy.metric("tollgate_tls_reloads_total", &["outcome=\"success\""]), 100.0);
    serves(&proxy, &pems[0]);
}

#[test]
fn files_are_followed_through_edits_renames_and_links_that_turn() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let pems = pems(&authority, 4);
    let version = |number: usize| {
        let folder = files.path(&format!("v{number}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.pem"), &pems[number].cert).unwrap();
        fs::write(folder.join("a.key"), &pems[number].key).unwrap();
    };
    version(0);
    symlink("v0", files.path("..data")).unwrap();
    for name in ["a.pem", "a.key"] {
        symlink(Path::new("..data").join(name), files.path(name)).unwrap();
    }
    let identity = format!("cert: {}, key: {}", files.path("a.pem").display(), files.path("a.key").display());
    let proxy = TestProxy::with(&yaml(&identity, "").replace("watch: off", "watch: on"));
    serves(&proxy, &pems[0]);

    // As Kubernetes does it.
    version(1);
    symlink("v1", files.path("..tmp")).unwrap();
    fs::rename(files.path("..tmp"), files.path("..data")).unwrap();
    serves(&proxy, &pems[1]);
    // In place, one file after the other.
    fs::write(files.path("v1/a.pem"), &pems[2].cert).unwrap();
    fs::write(files.path("v1/a.key"), &pems[2].key).unwrap();
    serves(&proxy, &pems[2]);
    // By a rename.
    for (name, text) in [("a.key", &pems[3].key), ("a.pem", &pems[3].cert)] {
        fs::write(files.path("fresh"), text).unwrap();
        fs::rename(files.path("fresh"), files.path(name)).unwrap();
    }
    serves(&proxy, &pems[3]);
}

#[test]
fn what_is_bad_keeps_what_was_there_and_is_told() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let pems = pems(&authority, 3);
    let proxy = TestProxy::with(&yaml(&files.identity("a", &pems[0]), ""));
    let expired = authority.issue(&named(&["a.test"]).years(2020, 2021));
    let half = &pems[1].cert[..pems[1].cert.len() / 2];

    let mut refusals = 0.0;
    for (cert, key, code) in [
        (&*pems[1].cert, &*pems[2].key, "TG0503"),
        (half, &pems[1].key, "TG0502"),
        ("no PEM at all", &pems[1].key, "TG0502"),
        ("", &pems[1].key, "TG0501"),
        (&pems[1].cert, &pems[1].key[..60], "TG0502"),
        (&pems[1].cert, &pems[1].cert, "TG0502"),
        (&expired.cert, &expired.key, "TG0504"),
    ] {
        files.write("a.pem", cert);
        files.write("a.key", key);
        let refused = look(&proxy, &files, &["a.pem", "a.key"]).unwrap_err().to_string();

        assert!(refused.contains(code) && refused.contains("listener \"edge\""), "{refused}");
        assert!(
            !refused.contains("-----") && !key.lines().any(|line| line.len() > 20 && refused.contains(line)),
            "{refused}"
        );
        refusals += 1.0;
        assert_eq!(proxy.metric("tollgate_tls_reloads_total", &["outcome=\"refused\""]), refusals, "{code}");
        serves(&proxy, &pems[0]);
    }
    let view = proxy.sight().tls[0].clone();
    assert!(view.refused.is_some_and(|(_, why)| why.contains("TG0504")), "the last one is kept");
    // A file that is gone is as bad as one that is wrong.
    fs::remove_file(files.path("a.pem")).unwrap();
    assert!(look(&proxy, &files, &["a.pem"]).unwrap_err().to_string().contains("TG0501"));

    files.identity("a", &pems[2]);
    assert_eq!(look(&proxy, &files, &["a.pem", "a.key"]).unwrap(), Done::Serving);

    serves(&proxy, &pems[2]);
    assert_eq!(proxy.sight().tls[0].refused, None);
}

#[test]
fn a_ca_and_revocations_are_followed_and_take_tickets_with_them() {
    let (files, authority, clients) = (Files::new(), Authority::new("ca"), Authority::new("clients"));
    let identity = files.identity("a", &authority.issue(&named(&["a.test"])));
    let ca = files.write("ca.pem", clients.pem());
    let crl = files.write("ca.crl", &clients.revoking(&[]));
    let proxy = TestProxy::with(&yaml(&identity, &format!(", client_ca: {ca}, crl: {crl}")));
    let shown = clients.issue(&named(&["client.test"]).serial(5));
    let config = Hand::new(&authority, &[&TLS13], Some(&shown)).config();
    let get = || shake(&config, proxy.address(), "a.test").and_then(|mut client| client.get("/").map(|_| client));
    get().unwrap();
    assert_eq!(get().unwrap().session().handshake_kind(), Some(HandshakeKind::Resumed));

    files.write("ca.crl", &clients.revoking(&[5]));
    assert_eq!(look(&proxy, &files, &["ca.crl"]).unwrap(), Done::Serving);

    assert!(get().is_err(), "neither a ticket nor its certificate lets it in");
}

#[test]
fn a_revocation_is_followed_although_a_certificate_is_refused() {
    let (files, authority, clients) = (Files::new(), Authority::new("ca"), Authority::new("clients"));
    let pems = pems(&authority, 2);
    let identity = files.identity("a", &pems[0]);
    let ca = files.write("ca.pem", clients.pem());
    let crl = files.write("ca.crl", &clients.revoking(&[]));
    let text = yaml(&identity, &format!(", client_ca: {ca}, crl: {crl}"));
    let proxy = TestProxy::with(&text);
    let shown = clients.issue(&named(&["client.test"]).serial(5));
    let get = || {
        let config = Hand::new(&authority, &[&TLS13], Some(&shown)).config();
        shake(&config, proxy.address(), "a.test").and_then(|mut client| client.get("/"))
    };
    files.write("a.pem", "no PEM at all");
    assert!(look(&proxy, &files, &["a.pem"]).is_err());
    assert_eq!(proxy.configure(&text).unwrap(), Done::Serving, "it was told already");

    files.write("ca.crl", &clients.revoking(&[5]));
    let refused = proxy.configure(&text).unwrap_err().to_string();
    assert!(refused.contains("TG0502") && refused.contains("a.pem"), "{refused}");
    assert!(look(&proxy, &files, &["ca.crl"]).is_err());
    assert_eq!(get().unwrap().status(), 200, "what is spoken with is whole");

    files.identity("a", &pems[1]);
    assert_eq!(look(&proxy, &files, &["a.pem", "a.key"]).unwrap(), Done::Serving);
    assert!(get().is_err());
}

#[test]
fn a_session_goes_on_on_any_worker_and_after_a_reload() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let pems = pems(&authority, 2);
    let text = format!("workers: 2\n{}", yaml(&files.identity("a", &pems[0]), ""));
    let proxy = TestProxy::with(&text);

    for version in [&TLS12, &TLS13] {
        let config = Hand::new(&authority, &[version], None).config();
        let kind = || {
            let mut client = shake(&config, proxy.address(), "a.test").unwrap();
            assert_eq!(client.get("/").unwrap().status(), 200);
            client.session().handshake_kind()
        };
        kind();
        // The kernel spreads them over both workers.
        for _ in 0..16 {
            assert_eq!(kind(), Some(HandshakeKind::Resumed));
        }
        files.identity("a", &pems[1]);
        proxy.configure(&text.replace("to: echo", "to: echo, timeout: 9s")).unwrap();
        assert_eq!(kind(), Some(HandshakeKind::Resumed), "a reload and another certificate");
    }
    let without = TestProxy::with(&yaml(&files.identity("a", &pems[0]), ", tickets: off"));
    let config = Hand::new(&authority, &[&TLS13], None).config();
    for _ in 0..3 {
        let mut client = shake(&config, without.address(), "a.test").unwrap();
        client.get("/").unwrap();
        assert_eq!(client.session().handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn a_reload_with_bad_files_is_refused_whole_and_one_with_good_files_taken_over() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let pems = pems(&authority, 3);
    let text = yaml(&files.identity("a", &pems[0]), "");
    let proxy = TestProxy::with(&text);
    let other = text.replace("a.pem", "b.pem").replace("a.key", "b.key");

    let refused = proxy.configure(&other).unwrap_err().to_string();
    assert!(refused.contains("error[TG0501]: listener \"edge\"") && refused.contains("b.pem"), "{refused}");
    serves(&proxy, &pems[0]);

    files.identity("b", &pems[2]);
    assert_eq!(proxy.configure(&other).unwrap(), Done::Serving);
    serves(&proxy, &pems[2]);
    // The file that is no longer named is not followed.
    files.identity("a", &pems[1]);
    assert_eq!(look(&proxy, &files, &["a.pem"]).unwrap(), Done::Unchanged);
    serves(&proxy, &pems[2]);
}

#[test]
fn a_cluster_takes_over_the_ca_and_the_certificate_that_changed() {
    let (files, old, new) = (Files::new(), Authority::new("old"), Authority::new("new"));
    let endpoint = TestProxy::with(&yaml(&files.identity("a", &new.issue(&named(&["127.0.0.1"]))), ""));
    let ca = files.write("ca.pem", old.pem());
    let proxy = TestProxy::with(&format!(
        "watch: off\nroutes: [{{ to: app }}]\nclusters: {{ app: {{ hosts: [{:?}], tls: {{ ca: {ca} }} }} }}\n",
        endpoint.address().to_string()
    ));
    assert_eq!(proxy.get("/").status(), 503);

    files.write("ca.pem", new.pem());
    assert_eq!(look(&proxy, &files, &["ca.pem"]).unwrap(), Done::Serving);

    assert_eq!(proxy.get("/").status(), 200);
}

#[test]
fn a_proxy_does_not_start_with_files_that_it_cannot_use() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let pems = pems(&authority, 2);
    let (ca, text) = (files.write("ca.pem", authority.pem()), files.write("text", "text"));
    let mixed = Pem { cert: pems[0].cert.clone(), key: pems[1].key.clone() };
    let identity = |name: &str, pem: &Pem| files.identity(name, pem);

    for (identity, more, says) in [
        (
            "cert: nowhere/a.pem, key: nowhere/a.key".to_owned(),
            "",
            "error[TG0501]: listener \"edge\": nowhere/a.pem cannot be read",
        ),
        (identity("mixed", &mixed), "", "error[TG0503]: listener \"edge\""),
        (identity("a", &pems[0]), &*format!(", client_ca: {text}"), "has no certificate in PEM"),
        (identity("a", &pems[0]), &format!(", client_ca: {ca}, crl: {ca}"), "has no list of revocations in PEM"),
    ] {
        let Err(error) = prepare(&yaml(&identity, more)) else { panic!("it starts: {says}") };
        assert_eq!(error.exit_code(), 1);
        assert!(error.to_string().contains(says), "{error}");
    }
    // Every bad one is named.
    let bad = yaml("cert: x.pem, key: x.key", "").replace("routes: [{ to: echo }]", "routes: [{ to: app }]");
    let bad = format!("{bad}clusters: {{ app: {{ hosts: [10.0.0.1:443], tls: {{ ca: y.pem }} }} }}\n");
    let Err(error) = prepare(&bad) else { panic!("it starts") };
    assert_eq!(error.to_string().lines().count(), 2, "{error}");
}

#[test]
fn a_certificate_that_is_shown_already_keeps_nothing_else_from_changing_once_it_is_too_late_for_it() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let of = |name: &str, serial| authority.issue(&named(&[name]).serial(serial));
    let late = |serial| authority.issue(&named(&["a.test"]).years(2020, 2021).serial(serial));
    let (expired, others) = (late(1), [of("b.test", 2), of("b.test", 3)]);
    let both = format!("{} }}, {{ {}", files.identity("a", &expired), files.identity("b", &others[0]));
    let text = yaml(&both, "");
    let shows = |proxy: &TestProxy, name: &str, pem: &Pem| {
        assert_eq!(shake(&believing(), proxy.address(), name).unwrap().shown(), der(pem));
    };

    // One that starts has nothing better.
    let proxy = TestProxy::with(&text);
    shows(&proxy, "a.test", &expired);
    shows(&proxy, "b.test", &others[0]);

    // Everything else changes: routes, what else is said of the listener, another certificate of it.
    assert_eq!(proxy.configure(&text.replace("to: echo", "to: echo, timeout: 9s")).unwrap(), Done::Serving);
    assert_eq!(proxy.configure(&yaml(&both, ", min_version: 1.3")).unwrap(), Done::Serving);
    files.identity("b", &others[1]);
    assert_eq!(look(&proxy, &files, &["b.pem", "b.key"]).unwrap(), Done::Serving);
    shows(&proxy, "b.test", &others[1]);

    // What takes its place is to be better.
    files.identity("a", &late(4));
    let refused = look(&proxy, &files, &["a.pem", "a.key"]).unwrap_err().to_string();
    assert!(refused.contains("error[TG0504]: listener \"edge\"") && refused.contains("expired at 2021"), "{refused}");
    shows(&proxy, "a.test", &expired);
}

#[test]
fn a_certificate_that_it_was_too_early_for_is_taken_over_when_its_time_comes() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let old = authority.issue(&named(&["a.test"]).serial(1));
    let proxy = TestProxy::with(&yaml(&files.identity("a", &old), ""));
    let soon = authority.issue(&named(&["a.test"]).serial(2).from(SystemTime::now() + Duration::from_secs(5)));
    files.identity("a", &soon);
    let refused = look(&proxy, &files, &["a.pem", "a.key"]).unwrap_err().to_string();
    assert!(refused.contains("error[TG0504]") && refused.contains("is not good before"), "{refused}");
    serves(&proxy, &old);

    // Nobody touches the files, and nobody gives an order.
    serves(&proxy, &soon);

    until("nothing is refused", || proxy.sight().tls[0].refused.is_none());
    assert_eq!(proxy.metric("tollgate_tls_reloads_total", &["outcome=\"success\""]), 1.0);
}

#[test]
fn files_that_were_refused_keep_no_reload_from_what_it_is_for() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let pems = pems(&authority, 2);
    let text = yaml(&files.identity("a", &pems[0]), "");
    let proxy = TestProxy::with(&text);
    files.write("a.key", "text");
    let other = text.replace("to: echo", "to: echo, timeout: 9s");
    assert!(proxy.configure(&other).unwrap_err().to_string().contains("TG0502"), "nobody was told of it yet");
    assert!(look(&proxy, &files, &["a.key"]).is_err());

    assert_eq!(proxy.configure(&other).unwrap(), Done::Serving);

    serves(&proxy, &pems[0]);
    assert!(proxy.sight().tls[0].refused.as_ref().is_some_and(|(_, why)| why.contains("TG0502")), "it is told on");
    files.identity("a", &pems[1]);
    assert_eq!(look(&proxy, &files, &["a.pem", "a.key"]).unwrap(), Done::Serving);
    serves(&proxy, &pems[1]);
}

#[test]
fn a_check_names_certificates_that_it_is_too_late_or_too_early_for() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let of = |name: &str, (from, to)| files.identity(name, &authority.issue(&named(&["a.test"]).years(from, to)));
    let both = format!("{} }}, {{ {}", of("late", (2020, 2021)), of("soon", (2080, 2090)));
    let path = files.write("tollgate.yaml", &yaml(&both, ""));

    let checked = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(["check", &path]).output().unwrap();

    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && said.contains("shown out of its time\n  listener \"edge\": "), "{said}");
    assert!(said.contains("late.pem expired at 2021-01-01T00:00:00.000Z\n"), "{said}");
    assert!(said.contains("soon.pem is not good before 2080-01-01T00:00:00.000Z\n"), "{said}");
}

#[test]
fn what_operators_see_names_certificates_and_shows_no_key() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let pem = authority.issue(&named(&["a.test"]));
    let identity = files.identity("a", &pem);
    let watching = yaml(&identity, "").replace("watch: off", "watch: on");
    let process = Tollgate::run(&format!("admin: {{ listen: 127.0.0.1:0 }}\n{watching}"));
    let admin = process.address_after("admin on http://");
    let secret: Vec<&str> = pem.key.lines().filter(|line| !line.starts_with("-----")).collect();
    until("it is ready", || ask(admin, "/ready").status() == 200);

    let ready = ask(admin, "/ready?verbose");
    assert!(ready.text().contains("[+] tls of listener edge: certificate a.test good until 2090-01-01"), "{ready:?}");
    let metrics = ask(admin, "/metrics");
    let sample = "tollgate_tls_certificate_not_after_timestamp_seconds{kind=\"listener\",owner=\"edge\",name=\"a.test\"} 3786912000";
    assert!(metrics.text().contains(sample), "{}", metrics.text());
    let dump = ask(admin, "/config_dump");
    assert!(dump.text().contains("a.key") && dump.text().contains("min_version"), "{dump:?}");

    fs::write(files.path("a.key"), "-----BEGIN PRIVATE KEY-----\n").unwrap();
    until("the change is told", || ask(admin, "/ready?verbose").text().contains("[!] tls of listener edge"));
    assert_eq!(ask(admin, "/ready").status(), 200, "traffic goes on");
    let pages = ["/ready?verbose", "/metrics", "/config_dump"].map(|path| ask(admin, path).text().to_owned());
    for text in pages.iter().chain([&process.log()]) {
        assert!(!secret.iter().any(|line| text.contains(line)) && !text.contains("BEGIN"), "{text}");
    }
    assert!(process.log().contains("TG0502"), "{}", process.log());
}

#[test]
fn a_signal_has_files_read_again_that_nobody_follows() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let pems = pems(&authority, 2);
    let text = format!("admin: off\nworkers: 1\n{}", yaml(&files.identity("a", &pems[0]), ""));
    let path = files.path("tollgate.yaml");
    fs::write(&path, text).unwrap();
    let proxy = TestProxy::of_file(&path);
    let hand = Hand::new(&authority, &[&TLS13], None);
    let mut kept = hand.shake(proxy.address(), "a.test").unwrap();
    files.identity("a", &pems[1]);
    serves(&proxy, &pems[0]);

    assert_eq!(proxy.order(Order::Reload(Trigger::Signal)).unwrap(), Done::Serving);

    serves(&proxy, &pems[1]);
    assert_eq!(kept.get("/").unwrap().status(), 200, "who was there before is not touched");
    // A file that is bad has the whole reload refused.
    files.write("a.key", "text");
    let refused = proxy.order(Order::Reload(Trigger::Signal)).unwrap_err().to_string();
    assert!(refused.contains("TG0502"), "{refused}");
    serves(&proxy, &pems[1]);
}
