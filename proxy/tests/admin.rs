//! The admin endpoints of a proxy that serves: filters are shown, swapped, tried and taken back, and nothing else is said.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::net::SocketAddr;

use common::admin::{AUTHORIZED, LOOPBACK, TOKEN, ask, ask_with, filter, proxy_with, secured, speaks, upload};
use common::client::Client;
use common::modules::Guest;
use common::process::Tollgate;
use common::proxy::TestProxy;
use common::swaps::{module, speaker};
use common::until;
use serde_json::{Value, json};
use tollgate_abi::ModuleLimits;

/// A proxy whose only filter says `one`.
fn proxy() -> (TestProxy, Guest) {
    let guest = Guest::from_bytes(&speaker("one"));
    (proxy_with(LOOPBACK, &guest, ""), guest)
}

#[test]
fn filters_are_listed_with_what_serves_them() {
    let (proxy, guest) = proxy();

    let list = ask(proxy.admin(), "GET /filters");

    assert_eq!((list.status(), list.field("content-type")), (200, Some("application/json")));
    let listed = &list.json()[0];
    assert_eq!(listed["name"], "f");
    assert_eq!(listed["state"], "serving");
    assert_eq!(listed["generation"], 1);
    assert_eq!(listed["abi"], "0.2.1");
    assert_eq!(listed["source"], guest.path());
    assert_eq!(listed["digest"].as_str().unwrap().len(), 64);
    assert_eq!(
        (&listed["canary"], &listed["staged"], &listed["last_error"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
}

#[test]
fn a_filter_is_shown_with_its_workers_and_its_history() {
    let (proxy, _guest) = proxy();
    speaks(&proxy);

    let shown = filter(&proxy);

    assert_eq!(shown["workers"].as_array().unwrap().len(), 1, "{shown}");
    let worker = &shown["workers"][0];
    assert_eq!((&worker["worker"], &worker["track"], &worker["instances"]), (&json!(0), &json!("stable"), &json!(1)));
    assert_eq!(worker["memory_bytes"], 2 * 65_536);
    let event = &shown["history"][0];
    assert_eq!(
        (&event["trigger"], &event["what"], &event["generation"]),
        (&json!("start"), &json!("serving"), &json!(1))
    );
    assert_eq!(event["digest"], shown["digest"]);
    assert!(event["took_ms"].as_f64().unwrap() > 0.0, "{event}");
    assert!(event["time"].as_str().unwrap().ends_with('Z'), "{event}");
}

#[test]
fn text_is_shown_to_people() {
    let (proxy, guest) = proxy();
    speaks(&proxy);

    let list = ask(proxy.admin(), "GET /filters?text");
    let shown = ask_with(proxy.admin(), "GET /filters/f", "accept: text/plain\r\n", b"");

    assert_eq!(list.field("content-type"), Some("text/plain; charset=utf-8"));
    let lines: Vec<_> = list.text().lines().collect();
    assert!(lines[0].starts_with("NAME  STATE"), "{lines:?}");
    assert!(lines[1].starts_with("f     serving  1 ") && lines[1].contains(&guest.path()), "{lines:?}");
    for part in [
        "filter f: serving\n\nGENERATION  STATE    WORKERS  ABI ",
        "\n1           serving  1        0.2.1  ",
        "\n\nWORKER  TRACK   VMS  MEMORY\n0       stable  1    128 KiB\n\n",
        "Z  start  serving  1           ",
    ] {
        assert!(shown.text().contains(part), "{part} is not in\n{}", shown.text());
    }
}

#[test]
fn an_unknown_filter_is_not_found_and_the_known_ones_are_named() {
    let (proxy, _guest) = proxy();

    for asked in [
        "GET /filters/g",
        "PUT /filters/g/module",
        "POST /filters/g/promote",
        "POST /filters/g/canary",
        "POST /filters/g/rollback",
    ] {
        let answer = ask(proxy.admin(), asked);

        assert_eq!(answer.status(), 404, "{asked}");
        assert_eq!(answer.json()["error"], "there is no filter \"g\"; there are: f", "{asked}");
    }
}

#[test]
fn a_filter_whose_name_has_a_slash_is_reached_by_its_encoded_name() {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = TestProxy::with(&format!(
        "{LOOPBACK}filters: {{ \"a/b\": {{ wasm: {:?} }} }}\nroutes: [{{ to: echo, filters: [\"a/b\"] }}]",
        guest.path()
    ));

    assert_eq!(ask(proxy.admin(), "GET /filters/a%2Fb").json()["name"], "a/b");
    assert_eq!(ask_with(proxy.admin(), "PUT /filters/a%2Fb/module", "", &speaker("two")).status(), 200);
}

#[test]
fn an_uploaded_module_serves_when_it_is_promoted_and_goes_when_it_is_rolled_back() {
    let (proxy, _guest) = proxy();
    let admin = proxy.admin();

    let staged = upload(admin, &speaker("two"));
    assert_eq!((staged.status(), &staged.json()["outcome"]), (200, &json!("staged")));
    assert_eq!(speaks(&proxy), "one");
    assert_eq!(filter(&proxy)["staged"]["digest"], staged.json()["digest"]);

    let promoted = ask(admin, "POST /filters/f/promote").json();
    assert_eq!((&promoted["outcome"], &promoted["generation"]), (&json!("serving"), &staged.json()["generation"]));
    assert_eq!(speaks(&proxy), "two");
    assert_eq!(
        (&filter(&proxy)["source"], &filter(&proxy)["previous"][0]["generation"]),
        (&json!("upload"), &json!(1))
    );

    let back = ask(admin, "POST /filters/f/rollback").json();
    assert_eq!(back["outcome"], "serving");
    assert_eq!(speaks(&proxy), "one");
    let history = filter(&proxy)["history"].clone();
    let what: Vec<_> = history.as_array().unwrap().iter().map(|event| event["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["rolled back", "serving", "staged", "serving"]);
}

#[test]
fn another_module_than_the_one_that_is_meant_is_neither_promoted_nor_tried() {
    let (proxy, _guest) = proxy();
    let admin = proxy.admin();
    let two = upload(admin, &speaker("two")).json()["digest"].as_str().unwrap().to_owned();
    let three = upload(admin, &speaker("three")).json()["digest"].as_str().unwrap().to_owned();

    for asked in ["promote?", "canary?share=5%&"] {
        let answer = ask(admin, &format!("POST /filters/f/{asked}sha256={two}"));

        let error = "filter \"f\": another module was uploaded meanwhile; upload this one again";
        assert_eq!((answer.status(), answer.json()), (409, json!({ "error": error })), "{asked}");
        assert_eq!((&filter(&proxy)["staged"]["digest"], &filter(&proxy)["canary"]), (&json!(three), &Value::Null));
    }
    assert_eq!(speaks(&proxy), "one");
    assert_eq!(ask(admin, &format!("POST /filters/f/promote?sha256={three}")).status(), 200);
    assert_eq!(speaks(&proxy), "three");
}

#[test]
fn what_has_nothing_to_work_on_is_a_conflict() {
    let (proxy, _guest) = proxy();

    for asked in ["POST /filters/f/promote", "POST /filters/f/canary?share=5%", "POST /filters/f/rollback"] {
        let answer = ask(proxy.admin(), asked);

        assert_eq!(answer.status(), 409, "{asked}");
        assert!(answer.json()["error"].as_str().unwrap().starts_with("filter \"f\": "), "{answer:?}");
    }
}

#[test]
fn a_canary_gets_the_share_that_is_asked_for() {
    let (proxy, _guest) = proxy();
    let admin = proxy.admin();
    upload(admin, &speaker("two"));

    for (query, share) in [("share=50%", "50%"), ("share=12.5%25", "12.5%")] {
        let answer = ask(admin, &format!("POST /filters/f/canary?{query}")).json();

        assert_eq!(answer["outcome"], "canary");
        let shown = filter(&proxy);
        assert_eq!((&shown["state"], &shown["canary"]["share"]), (&json!("canary"), &json!(share)));
        assert_eq!(shown["canary"]["generation"], answer["generation"]);
    }
    assert_eq!(ask(admin, "POST /filters/f/rollback").status(), 200);

    assert_eq!((&filter(&proxy)["state"], &filter(&proxy)["canary"]), (&json!("serving"), &Value::Null));
}

#[test]
fn a_share_that_is_none_is_refused_before_anything_is_done() {
    let (proxy, _guest) = proxy();
    upload(proxy.admin(), &speaker("two"));

    for share in ["5", "", "0%", "101%", "-1%", "5%%", "much"] {
        let answer = ask(proxy.admin(), &format!("POST /filters/f/canary?share={share}"));

        assert_eq!(answer.status(), 400, "{share}: {answer:?}");
        assert!(answer.json()["error"].as_str().unwrap().starts_with("share: "), "{answer:?}");
    }
    assert_eq!(filter(&proxy)["canary"], Value::Null);
}

#[test]
fn other_methods_are_refused_with_the_ones_that_are_taken() {
    let (proxy, _guest) = proxy();

    for (asked, allow) in [
        ("GET /reload", "POST"),
        ("PUT /reload", "POST"),
        ("DELETE /filters/f", "GET, HEAD"),
        ("POST /filters", "GET, HEAD"),
        ("POST /filters/f/module", "PUT"),
        ("GET /filters/f/module", "PUT"),
        ("GET /filters/f/promote", "POST"),
        ("HEAD /filters/f/rollback", "POST"),
        ("PATCH /filters/f/canary", "POST"),
    ] {
        let mut client = Client::connect(proxy.admin());
        client.send(format!("{asked} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        let head = client.head();

        assert_eq!((head.status(), head.field("allow")), (405, Some(allow)), "{asked}");
    }
    assert_eq!(filter(&proxy)["history"].as_array().unwrap().len(), 1);
}

#[test]
fn a_module_may_be_as_large_as_the_limit_and_no_larger() {
    let (proxy, _guest) = proxy();
    let limit = ModuleLimits::default().bytes;

    let largest = upload(proxy.admin(), &vec![b'x'; limit]);
    assert_eq!((largest.status(), &largest.json()["faults"][0]["step"]), (422, &json!("check")), "{largest:?}");

    let larger = upload(proxy.admin(), &vec![b'x'; limit + 1]);
    assert_eq!(
        (larger.status(), larger.json()),
        (413, json!({ "error": format!("the module is larger than the limit of {limit} bytes") }))
    );

    let mut chunked =
        b"PUT /filters/f/module HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    chunked.extend(format!("{:x}\r\n", limit + 1).bytes());
    chunked.extend(std::iter::repeat_n(b'x', limit + 1));
    chunked.extend(b"\r\n0\r\n\r\n");
    let mut client = Client::connect(proxy.admin());
    client.send(chunked);
    assert_eq!(client.answer().status(), 413);
}

#[test]
fn a_client_that_asks_first_is_told_before_it_sends_what_is_too_large() {
    let (proxy, _guest) = proxy();
    let length = ModuleLimits::default().bytes + 1;
    let mut client = Client::connect(proxy.admin());

    client.send(format!(
        "PUT /filters/f/module HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
    ));

    let head = client.any_head();
    assert_eq!(head.status(), 413);
}

#[test]
fn changes_that_do_not_come_along_leave_reading_possible_and_give_way() {
    let (proxy, _guest) = proxy();
    let slow = || {
        let mut client = Client::connect(proxy.admin());
        client.send(
            "PUT /filters/f/module HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n",
        );
        // The proxy waits for the body from here on.
        assert_eq!(client.any_head().status(), 100);
        client
    };
    let held: Vec<_> = (0..4).map(|_| slow()).collect();

    let refused = ask(proxy.admin(), "POST /reload");
    assert_eq!(refused.status(), 503, "{refused:?}");
    assert_eq!(ask(proxy.admin(), "GET /live").status(), 200);

    drop(held);
    until("there is room again", || ask(proxy.admin(), "POST /reload").status() == 200);
}

#[test]
fn a_reload_takes_over_what_changed_and_a_refused_one_leaves_everything() {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = proxy_with(&format!("watch: off\n{LOOPBACK}"), &guest, "");
    let admin = proxy.admin();
    until("it is ready", || ask(admin, "GET /ready").status() == 200);
    let verbose = || ask(admin, "GET /ready?verbose").text().to_owned();
    assert!(verbose().contains("[+] config: as at the start\n[+] filter f: serving generation 1\n"), "{}", verbose());

    guest.replace(&speaker("two"));
    let taken = ask(admin, "POST /reload");
    assert_eq!((taken.status(), taken.json()), (200, json!({ "outcome": "serving" })));
    assert_eq!(speaks(&proxy), "two");
    assert!(verbose().contains("[+] config: reloaded at ") && verbose().contains(" by admin\n"), "{}", verbose());

    guest.replace(b"no module");
    let refused = ask(admin, "POST /reload");
    assert_eq!((refused.status(), &refused.json()["faults"][0]["code"]), (422, &json!("TG0204")));
    assert_eq!(speaks(&proxy), "two");
    assert_eq!(ask(admin, "GET /ready").text(), "ready\n");
    let told = verbose();
    assert!(told.contains("[!] config: reload at ") && told.contains(" by admin refused: error[TG0204]: "), "{told}");
    assert!(
        told.contains("[!] filter f: serving generation 2; last module failed: step check, error[TG0204]"),
        "{told}"
    );
}

#[test]
fn a_filter_that_nothing_serves_has_failed() {
    let guest = Guest::from_bytes(b"no module");
    let proxy = proxy_with(LOOPBACK, &guest, ", on_error: { load: skip }");
    until("it is ready", || ask(proxy.admin(), "GET /ready").status() == 200);

    let shown = filter(&proxy);
    let text = ask(proxy.admin(), "GET /filters?text");

    assert_eq!((&shown["state"], &shown["generation"]), (&json!("failed"), &Value::Null));
    assert_eq!(shown["last_error"]["step"], "check");
    assert!(text.text().contains("f     failed  -"), "{}", text.text());
    let verbose = ask(proxy.admin(), "GET /ready?verbose");
    assert!(verbose.text().contains("[!] filter f: failed: step check"), "{}", verbose.text());
    assert_eq!(upload(proxy.admin(), &speaker("one")).status(), 200);
    assert_eq!(ask(proxy.admin(), "POST /filters/f/promote").json()["outcome"], "serving");
    assert_eq!(speaks(&proxy), "one");
}

#[test]
fn on_loopback_the_token_is_wanted_for_changes() {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = proxy_with(&secured("127.0.0.1"), &guest, "");
    let admin = proxy.admin();

    assert_eq!(ask(admin, "GET /filters/f").status(), 200);
    for lines in ["", "authorization: Bearer canary-token-4b1d9b\r\n", "authorization: Basic canary-token-4b1d9a\r\n"] {
        let answer = ask_with(admin, "PUT /filters/f/module", lines, &speaker("two"));

        assert_eq!((answer.status(), answer.field("www-authenticate")), (401, Some("Bearer")), "{lines}");
    }
    assert_eq!(filter(&proxy)["staged"], Value::Null);
    assert_eq!(ask_with(admin, "PUT /filters/f/module", AUTHORIZED, &speaker("two")).status(), 200);
}

#[test]
fn beyond_loopback_the_token_is_wanted_for_all_but_probes() {
    let guest = Guest::from_bytes(&speaker("one"));
    let proxy = proxy_with(&secured("0.0.0.0"), &guest, "");
    let admin = SocketAddr::from(([127, 0, 0, 1], proxy.admin().port()));
    until("it is ready", || ask_with(admin, "GET /ready", "host: 10.1.2.3:9901\r\n", b"").status() == 200);

    assert_eq!(ask_with(admin, "GET /live", "host: pod.example\r\n", b"").status(), 200);
    assert_eq!(ask_with(admin, "GET /ready?verbose", "host: pod.example\r\n", b"").text(), "ready\n");
    for asked in
        ["GET /", "GET /filters", "GET /filters/f", "GET /metrics", "GET /config_dump", "GET /no", "POST /reload"]
    {
        assert_eq!(ask(admin, asked).status(), 401, "{asked}");
        assert_eq!(ask_with(admin, asked, "host: pod.example\r\n", b"").status(), 403, "{asked}");
        let answer = ask_with(admin, asked, &format!("host: pod.example\r\n{AUTHORIZED}"), b"");
        assert_eq!(answer.status(), if asked == "GET /no" { 404 } else { 200 }, "{asked}");
    }
    let verbose = ask_with(admin, "GET /ready?verbose", AUTHORIZED, b"");
    assert!(verbose.text().contains("filter f: serving"), "{}", verbose.text());
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let (proxy, _guest) = proxy();

    for lines in [
        "host: evil.example\r\n",
        "origin: http://evil.example\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
    ] {
        for asked in ["PUT /filters/f/module", "POST /reload"] {
            assert_eq!(ask_with(proxy.admin(), asked, lines, &speaker("two")).status(), 403, "{asked} {lines}");
        }
    }
    let shown = filter(&proxy);
    assert_eq!((&shown["staged"], shown["history"].as_array().unwrap().len()), (&Value::Null, 1));
}

#[test]
fn the_list_of_endpoints_has_all_of_them() {
    let (proxy, _guest) = proxy();

    let root = ask(proxy.admin(), "GET /");

    let (endpoints, _more) = root.text().split_once("\n\n").unwrap();
    for line in endpoints.lines() {
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap(), words.next().unwrap().replace("NAME", "f"));
        let status = ask(proxy.admin(), &format!("{method} {path}")).status();
        assert!(![404, 405].contains(&status), "{line}: {status}");
    }
    assert_eq!(endpoints.lines().count(), 12);
}

#[test]
fn no_answer_has_a_secret_in_it() {
    let secret = "canary-secret-77c0de";
    let guest = Guest::from_bytes(&speaker("one"));
    let bad = module("two", "(func (export \"proxy_on_configure\") (param i32 i32) (result i32) (i32.const 0))");
    let filter =
        |more: &str| format!("filters: {{ f: {{ wasm: {:?}, config: {{ key: {secret} }}{more} }} }}\n", guest.path());
    let config = |more: &str| {
        let admin = secured("127.0.0.1");
        format!("watch: off\n{admin}listen: 127.0.0.1:0\n{}routes: [{{ to: echo, filters: [f] }}]\n", filter(more))
    };
    let tollgate = Tollgate::run(&config(""));
    let admin = tollgate.address_after("admin on http://");
    until("it is ready", || ask(admin, "GET /ready").status() == 200);
    let mut said = Vec::new();
    let mut hear = |asked: &str, body: &[u8]| {
        let answer = ask_with(admin, asked, AUTHORIZED, body);
        said.push(format!("{asked}: {answer:?} {}", String::from_utf8_lossy(&answer.body)));
        answer.status()
    };

    assert_eq!(hear("PUT /filters/f/module", &bad), 422);
    // The line that is wrong has the secret in it.
    std::fs::write(tollgate.folder().join("tollgate.yaml"), config(", tyop: 1")).unwrap();
    assert_eq!(hear("POST /reload", b""), 422);
    assert_eq!(hear("POST /reload?text", b""), 422);
    assert_eq!(hear("PUT /filters/f/module?text", &speaker("two")), 200);
    assert_eq!(hear("POST /filters/f/promote?text", b""), 200);
    let paths = [
        "/",
        "/live",
        "/ready?verbose",
        "/metrics",
        "/config_dump",
        "/filters",
        "/filters?text",
        "/filters/f",
        "/filters/f?text",
    ];
    paths.iter().for_each(|path| assert_eq!(hear(&format!("GET {path}"), b""), 200, "{path}"));

    assert!(said.iter().any(|answer| answer.contains("tyop")), "the fault of the configuration is told: {said:?}");
    for answer in &said {
        assert!(!answer.contains(secret) && !answer.contains(TOKEN), "{answer}");
    }
}
