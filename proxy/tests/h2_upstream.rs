//! Clusters that speak HTTP/2: what an exchange keeps on its way, and how connections are shared.
//! What goes wrong is in `h2_failures`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::sync::{Arc, Mutex};
use std::thread;

use common::client::Client;
use common::h2;
use common::h2_origin::{H2Origin, Seen, cluster, failures, seen, whole};
use common::modules::probes;
use common::proxy::TestProxy;
use common::until;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

/// An origin that remembers its requests and answers each with two chunks and a trailer.
fn remembering() -> (H2Origin, Arc<Mutex<Vec<Seen>>>) {
    let requests = Arc::<Mutex<Vec<Seen>>>::default();
    let known = Arc::clone(&requests);
    let origin = H2Origin::serving(100, move |request| {
        let known = Arc::clone(&known);
        async move {
            let request = seen(request).await;
            known.lock().unwrap().push(request);
            let mut response = Response::new(whole(&["one ", "two"], &[("x-sum", "42")]));
            response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
            response
        }
    });
    (origin, requests)
}

#[test]
fn an_exchange_of_http_1_travels_in_http_2_both_ways() {
    let (origin, requests) = remembering();
    let proxy = cluster("", &[origin.address()]);

    let mut client = proxy.client();
    client.send("POST /a?b=c HTTP/1.1\r\nhost: api.local:81\r\nte: trailers\r\nconnection: te\r\nx-own: 1\r\n");
    client.send("transfer-encoding: chunked\r\ntrailer: x-check\r\n\r\n3\r\nabc\r\n0\r\nx-check: 7\r\n\r\n");
    let answer = client.answer();

    assert_eq!((answer.status(), answer.text()), (200, "one two"));
    assert_eq!(answer.trailer("x-sum"), Some("42"));
    let request = requests.lock().unwrap().remove(0);
    assert_eq!((request.method.as_str(), request.uri.to_string().as_str()), ("POST", "http://api.local:81/a?b=c"));
    assert_eq!(request.body, b"abc");
    assert_eq!(request.trailers["x-check"], "7");
    assert_eq!(
        (&request.headers["te"], &request.headers["x-own"]),
        (&"trailers".parse().unwrap(), &"1".parse().unwrap())
    );
    assert!(["host", "connection", "transfer-encoding"].iter().all(|name| !request.headers.contains_key(*name)));
}

#[test]
fn an_exchange_of_http_2_keeps_its_trailers_both_ways() {
    let (origin, requests) = remembering();
    let proxy = cluster("", &[origin.address()]);
    let request =
        Request::post("http://test/p").header("te", "trailers").body(h2::body(&["ab", "c"], &[("x-end", "1")]));

    let answer = h2::exchange(proxy.address(), request.unwrap());

    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"one two"[..]));
    assert_eq!(answer.trailers["x-sum"], "42");
    let request = requests.lock().unwrap().remove(0);
    assert_eq!((request.body.as_slice(), &request.headers["te"]), (&b"abc"[..], &"trailers".parse().unwrap()));
    assert_eq!(request.trailers["x-end"], "1");
}

#[test]
fn te_is_not_said_for_a_client_that_did_not_say_it() {
    let (origin, requests) = remembering();
    let proxy = cluster("", &[origin.address()]);

    proxy.ask("/", "te: deflate\r\n");

    assert!(!requests.lock().unwrap()[0].headers.contains_key("te"));
}

#[test]
fn a_declared_length_stays_and_an_empty_post_has_one() {
    let (origin, requests) = remembering();
    let proxy = cluster("", &[origin.address()]);

    proxy.post("/", "", "four");
    proxy.post("/", "", "");

    let requests = requests.lock().unwrap();
    assert_eq!(
        (&requests[0].headers["content-length"], requests[0].body.as_slice()),
        (&"4".parse().unwrap(), &b"four"[..])
    );
    assert_eq!(
        (&requests[1].headers["content-length"], requests[1].body.as_slice()),
        (&"0".parse().unwrap(), &b""[..])
    );
}

#[test]
fn answers_without_a_body_have_none() {
    let origin = H2Origin::serving(100, |request| async move {
        let mut response = Response::new(whole(&[], &[]));
        match request.uri().path() {
            "/204" => *response.status_mut() = StatusCode::NO_CONTENT,
            "/304" => *response.status_mut() = StatusCode::NOT_MODIFIED,
            _ => drop(response.headers_mut().insert("content-length", "5".parse().unwrap())),
        }
        response
    });
    let proxy = cluster("", &[origin.address()]);
    let mut client = proxy.client();

    client.send("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n");
    let head = client.answer_to_head();
    client.send("GET /204 HTTP/1.1\r\nhost: test\r\n\r\n");
    let no_content = client.answer();
    client.send("GET /304 HTTP/1.1\r\nhost: test\r\n\r\n");
    let not_modified = client.answer();

    assert_eq!((head.status(), head.field("content-length")), (200, Some("5")));
    assert_eq!((no_content.status(), not_modified.status()), (204, 304));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn bodies_stream_both_ways_at_once() {
    let origin = H2Origin::serving(100, |request: Request<hyper::body::Incoming>| async move {
        Response::new(request.into_body().boxed_unsync())
    });
    let proxy = cluster("", &[origin.address()]);
    let sent = (0..251).collect::<Vec<u8>>().repeat((16 << 20) / 251);
    let mut client = proxy.client();
    client.send(format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", sent.len()));
    let (mut uplink, bytes) = (client.stream().try_clone().unwrap(), sent.clone());

    let sender = thread::spawn(move || std::io::Write::write_all(&mut uplink, &bytes).unwrap());
    let answer = client.answer();
    sender.join().unwrap();

    assert!(answer.body == sent, "{} bytes of {}", answer.body.len(), sent.len());
}

/// An origin whose answers wait for the test.
fn waiting(streams: u32) -> (H2Origin, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let known = Arc::clone(&gate);
    let origin = H2Origin::serving(streams, move |_| {
        let known = Arc::clone(&known);
        async move {
            known.acquire().await.unwrap().forget();
            Response::new(whole(&["done"], &[]))
        }
    });
    (origin, gate)
}

/// Clients that each ask for something, once the origin has seen all before.
fn ask(proxy: &TestProxy, origin: &H2Origin, count: usize) -> Vec<Client> {
    let before = origin.requests();
    let ask = |number| {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        until("the origin has the request", || origin.requests() == before + number);
        client
    };
    (1..=count).map(ask).collect()
}

#[test]
fn concurrent_exchanges_share_one_connection() {
    let (origin, gate) = waiting(100);
    let proxy = cluster("", &[origin.address()]);

    let clients = ask(&proxy, &origin, 20);
    gate.add_permits(20);

    for mut client in clients {
        assert_eq!(client.answer().text(), "done");
    }
    assert_eq!((origin.connections(), origin.most()), (1, 20));
    assert_eq!(proxy.metric("tollgate_upstream_connections_total", &["cluster=\"app\""]), 1.0);
}

#[test]
fn a_crowd_that_comes_at_once_waits_for_one_connection() {
    let origin = H2Origin::saying("done");
    let proxy = cluster("", &[origin.address()]);

    let answers = h2::talk(proxy.address(), |mut sender| async move {
        let answers: Vec<_> = (0..50).map(|_| sender.send_request(h2::get("/"))).collect();
        let mut statuses = Vec::new();
        for answer in answers {
            statuses.push(answer.await.unwrap().status().as_u16());
        }
        statuses
    });

    assert_eq!(answers, [200; 50]);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn another_connection_is_made_where_the_endpoint_allows_no_more_streams() {
    let (origin, gate) = waiting(2);
    let proxy = cluster("", &[origin.address()]);

    let clients = ask(&proxy, &origin, 5);
    gate.add_permits(5);

    for mut client in clients {
        assert_eq!(client.answer().text(), "done");
    }
    assert_eq!((origin.connections(), origin.most()), (3, 2));
}

#[test]
fn another_connection_is_made_where_our_own_bound_is_reached() {
    let (origin, gate) = waiting(100);
    let proxy = cluster("streams: 3", &[origin.address()]);

    let clients = ask(&proxy, &origin, 4);
    gate.add_permits(4);

    for mut client in clients {
        assert_eq!(client.answer().text(), "done");
    }
    assert_eq!((origin.connections(), origin.most()), (2, 3));
}

#[test]
fn past_all_bounds_an_exchange_waits_and_past_the_queue_it_is_refused() {
    let (origin, gate) = waiting(100);
    let proxy = cluster("streams: 1, upstream_connections: 1, pending: 1, pool_timeout: 10s", &[origin.address()]);
    let mut first = ask(&proxy, &origin, 1).remove(0);
    let mut second = proxy.client();
    second.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    proxy.counts("tollgate_http_active_requests", &[], 2.0);

    let third = proxy.get("/");

    assert_eq!(third.status(), 503);
    assert_eq!(failures(&proxy, "overflow"), 1.0);
    gate.add_permits(2);
    assert_eq!((first.answer().text(), second.answer().text()), ("done", "done"));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_connection_outlives_its_clients_and_ends_unused() {
    let origin = H2Origin::saying("x");
    let proxy = cluster("upstream_idle_timeout: 300ms", &[origin.address()]);

    assert_eq!(proxy.get("/").text(), "x");
    assert_eq!(proxy.get("/").text(), "x");

    assert_eq!(origin.connections(), 1);
    until("the connection is closed", || origin.open() == 0);
    proxy.counts("tollgate_upstream_connections_active", &["cluster=\"app\""], 0.0);
    assert_eq!(proxy.get("/").text(), "x");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_else_on_its_connection() {
    let origin = H2Origin::serving(100, |request: Request<_>| async move {
        let long = "x".repeat(1 << 20);
        let chunks = if request.uri().path() == "/long" { vec![long.as_str(); 8] } else { vec!["short"] };
        Response::new(whole(&chunks, &[]))
    });
    let proxy = cluster("", &[origin.address()]);
    let lazy: Vec<Client> = (0..8)
        .map(|_| {
            let mut client = proxy.client();
            client.send("GET /long HTTP/1.1\r\nhost: test\r\n\r\n");
            client.head();
            client
        })
        .collect();

    for _ in 0..20 {
        assert_eq!(proxy.get("/short").text(), "short");
    }

    assert_eq!(origin.connections(), 1);
    drop(lazy);
}

#[test]
fn filters_work_on_an_exchange_with_an_endpoint_of_http_2() {
    let (origin, requests) = remembering();
    let config = "{ request_headers: [\"add request-headers x-seen a\"], response_headers: [\"add response-headers x-told b\"] }";
    let proxy = TestProxy::with(&format!(
        "{}clusters: {{ app: {{ hosts: [\"{}\"], protocol: h2 }} }}\nroutes: [{{ to: app, filters: [a] }}]",
        probes(&[("a", config)]),
        origin.address()
    ));

    let request = Request::post("http://test/p").header("te", "trailers").body(h2::body(&["abc"], &[("x-end", "1")]));
    let answer = h2::exchange(proxy.address(), request.unwrap());

    assert_eq!((answer.body.as_slice(), &answer.headers["x-told"]), (&b"one two"[..], &"b".parse().unwrap()));
    let request = requests.lock().unwrap().remove(0);
    assert_eq!(
        (&request.headers["x-seen"], &request.headers["te"]),
        (&"a".parse().unwrap(), &"trailers".parse().unwrap())
    );
    assert_eq!((request.body.as_slice(), &request.trailers["x-end"]), (&b"abc"[..], &"1".parse().unwrap()));
}
