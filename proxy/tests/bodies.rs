//! Bodies and their framing, straight through the proxy: what arrives is what was sent, or it is visibly broken.
//! Filters are not asked here, and neither is how much memory a large body takes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{ErrorKind, Write as _};

use common::client::Client;
use common::h2;
use common::origin::{Origin, chunked, ok};
use common::proxy::TestProxy;
use http::Request;

/// An origin with this answer, and a proxy before it.
fn pair(answer: impl Into<Vec<u8>>) -> (Origin, TestProxy) {
    let origin = Origin::answering(answer);
    let proxy = TestProxy::to(&origin.url());
    (origin, proxy)
}

/// An origin that reads one request, sends these bytes and closes.
fn breaking_off(bytes: &'static str) -> (Origin, TestProxy) {
    let origin = Origin::scripted(move |peer| {
        peer.request()?;
        peer.send(bytes)
    });
    let proxy = TestProxy::to(&origin.url());
    (origin, proxy)
}

#[test]
fn a_declared_length_stays_declared_both_ways() {
    let (origin, proxy) = pair(ok("answer"));

    let answer = proxy.post("/", "", "request");

    assert_eq!((answer.text(), answer.all("content-length")), ("answer", vec!["6"]));
    assert!(answer.field("transfer-encoding").is_none());
    let request = origin.request();
    assert_eq!((request.text(), request.all("content-length")), ("request", vec!["7"]));
    assert!(request.field("transfer-encoding").is_none());
}

#[test]
fn chunks_stay_chunks_both_ways() {
    let (origin, proxy) = pair(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", chunked("answer")));

    let answer = proxy.send(
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nreq\r\n4\r\nuest\r\n0\r\n\r\n",
    );

    assert_eq!((answer.text(), answer.is_chunked()), ("answer", true));
    let request = origin.request();
    assert_eq!((request.text(), request.is_chunked()), ("request", true));
}

#[test]
fn an_empty_body_is_empty_both_ways() {
    let (origin, proxy) = pair(ok(""));

    let answer = proxy.post("/", "", "");

    assert_eq!((answer.status(), answer.field("content-length"), answer.text()), (200, Some("0"), ""));
    let request = origin.request();
    assert_eq!((request.field("content-length"), request.field("transfer-encoding")), (Some("0"), None));
}

#[test]
fn a_request_without_a_body_gets_no_framing() {
    let (origin, proxy) = pair(ok("x"));

    proxy.get("/");

    let request = origin.request();
    assert_eq!((request.field("content-length"), request.field("transfer-encoding")), (None, None));
}

#[test]
fn the_answer_to_head_tells_the_length_and_has_no_body() {
    let (_origin, proxy) = pair("HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n");
    let mut client = proxy.client();

    client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\nHEAD / HTTP/1.1\r\nhost: a\r\n\r\n");

    for _ in 0..2 {
        let answer = client.answer_to_head();
        assert_eq!((answer.status(), answer.all("content-length")), (200, vec!["12345"]));
    }
}

#[test]
fn answers_without_a_body_keep_the_connection_in_step() {
    for head in ["204 No Content\r\n", "304 Not Modified\r\netag: \"x\"\r\ncontent-length: 7\r\n"] {
        let (origin, proxy) = pair(format!("HTTP/1.1 {head}\r\n"));
        let mut client = proxy.client();

        client.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\n");
        let first = client.answer();
        client.send("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
        let second = client.answer();

        for answer in [first, second] {
            assert!(head.starts_with(&answer.start["HTTP/1.1 ".len()..]), "{answer:?}");
            assert_eq!(answer.field("transfer-encoding"), None);
        }
        assert_eq!((origin.requests().len(), origin.connections()), (2, 1));
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_becomes_chunked() {
    let (_origin, proxy) = breaking_off("HTTP/1.0 200 OK\r\n\r\nuntil the end");
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let answer = client.answer();

    assert_eq!((answer.start.as_str(), answer.text(), answer.is_chunked()), ("HTTP/1.1 200 OK", "until the end", true));
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks() {
    let (origin, proxy) = pair(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", chunked("answer")));

    let answer = proxy.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n");

    assert_eq!((answer.text(), answer.field("transfer-encoding")), ("answer", None));
    assert_eq!(origin.request().start, "GET / HTTP/1.1");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::scripted(|peer| {
        while let Some(request) = peer.request()? {
            peer.send(ok(request.target()))?;
        }
        Ok(())
    });
    let proxy = TestProxy::to(&origin.url());
    let mut client = proxy.client();

    let one = |at: usize| format!("POST /{at} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx");
    client.send((0..20).map(one).collect::<String>());

    for at in 0..20 {
        assert_eq!(client.answer().text(), format!("/{at}"));
    }
}

#[test]
fn announced_trailers_travel_both_ways_over_http1() {
    let (origin, proxy) = pair(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: answer\r\n\r\n",
    );

    let answer = proxy.send(
        "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te, close\r\ntrailer: x-sum\r\n\
         transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-sum: request\r\n\r\n",
    );

    assert_eq!((answer.text(), answer.trailer("x-sum")), ("ok", Some("answer")));
    let request = origin.request();
    assert_eq!((request.text(), request.trailer("x-sum")), ("x", Some("request")));
}

#[test]
fn trailers_travel_from_http2_to_http1_and_back() {
    let (origin, proxy) =
        pair("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: answer\r\n\r\n");
    let request = Request::post("http://test/").header("trailer", "x-sum");
    let request = request.body(h2::body(&["a", "b"], &[("x-sum", "request")])).unwrap();

    let answer = h2::exchange(proxy.address(), request);

    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    assert_eq!(answer.trailers.get("x-sum").unwrap(), "answer");
    let request = origin.request();
    assert_eq!((request.text(), request.trailer("x-sum")), ("ab", Some("request")));
}

#[test]
fn a_client_that_expects_100_gets_it_before_it_sends_the_body() {
    let (origin, proxy) = pair(ok("done"));
    let mut client = proxy.client();

    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    let go = client.any_head();
    client.send("body");
    let answer = client.answer();

    assert_eq!((go.status(), answer.text()), (100, "done"));
    let request = origin.request();
    assert_eq!((request.text(), request.field("expect")), ("body", None));
}

#[test]
fn a_client_that_expects_100_is_not_asked_for_a_body_that_nobody_wants() {
    let proxy = TestProxy::with("routes: [{ match: { path: /a }, to: echo }]");
    let mut client = proxy.client();

    client.send("POST /b HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    let answer = client.answer();

    assert_eq!((answer.status(), answer.interim.len()), (404, 0));
}

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";

#[test]
fn early_hints_reach_a_client_before_the_answer_is_made() {
    let (hinted, go) = std::sync::mpsc::channel::<()>();
    let go = std::sync::Mutex::new(go);
    let origin = Origin::scripted(move |peer| {
        peer.request()?;
        peer.send(HINTS)?;
        // The answer exists only once the client has seen the hint.
        let _ = go.lock().unwrap().recv_timeout(common::PATIENCE);
        peer.send(ok("done"))
    });
    let proxy = TestProxy::to(&origin.url());
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let hint = client.any_head();
    hinted.send(()).unwrap();
    let answer = client.answer();

    assert_eq!((hint.status(), hint.field("link")), (103, Some("</a.css>")));
    assert_eq!((answer.status(), answer.text()), (200, "done"));
}

#[test]
fn interim_answers_are_kept_from_clients_that_may_not_know_them() {
    let (_origin, proxy) = pair(format!("{HINTS}{}", ok("done")));

    let old = proxy.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n");
    let new = h2::exchange(proxy.address(), h2::get("/"));

    assert_eq!((old.text(), old.interim.len()), ("done", 0));
    assert_eq!((new.status, new.body.as_slice()), (200, &b"done"[..]));
}

#[test]
fn interim_answers_lose_what_belongs_to_their_hop() {
    let hint = "HTTP/1.1 103 Early Hints\r\nconnection: x-secret\r\nx-secret: 1\r\nkeep-alive: timeout=5\r\n\
                content-length: 5\r\ntransfer-encoding: chunked\r\nlink: </a.css>\r\n\r\n";
    let (_origin, proxy) = pair(format!("{hint}{}", ok("done")));

    let answer = proxy.get("/");

    let fields = answer.interim.iter().map(|interim| interim.fields.clone());
    assert!(fields.eq([vec![("link".to_owned(), "</a.css>".to_owned())]]), "{:?}", answer.interim);
    assert_eq!(answer.text(), "done");
}

#[test]
fn a_100_of_the_upstream_is_not_the_client_s_business() {
    let (_origin, proxy) = pair(format!("HTTP/1.1 100 Continue\r\n\r\n{}", ok("done")));

    let answer = proxy.get("/");

    assert_eq!((answer.text(), answer.interim.len()), ("done", 0));
}

#[test]
fn a_truncated_answer_never_looks_whole() {
    let broken = [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ];
    for bytes in broken {
        let (_origin, proxy) = breaking_off(bytes);
        let mut client = proxy.client();

        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let outcome = client.try_answer();

        let kind = outcome.expect_err(bytes).kind();
        assert!(matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{kind:?}: {bytes}");
    }
}

#[test]
fn a_truncated_answer_never_looks_whole_to_http2() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let (_origin, proxy) = breaking_off(bytes);

        // Its end may be known as soon as its head.
        let outcome = h2::talk(proxy.address(), |mut sender| async move {
            match sender.send_request(h2::get("/")).await {
                Ok(response) => h2::whole(response).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        });

        assert!(outcome.is_err(), "{bytes}: {outcome:?}");
    }
}

/// The outcome for a client that asks in this way, of an origin that resets the connection once the client got half.
fn reset_half_way(head: &'static str, request: &str) -> std::io::Result<common::wire::Message> {
    let (halved, half) = std::sync::mpsc::channel::<()>();
    let half = std::sync::Mutex::new(half);
    let origin = Origin::scripted(move |peer| {
        peer.request()?;
        peer.send(head)?;
        peer.send("half")?;
        let _ = half.lock().unwrap().recv_timeout(common::PATIENCE);
        peer.reset()
    });
    let proxy = TestProxy::to(&origin.url());
    let mut client = proxy.client();
    client.send(request);
    let mut answer = client.head();
    halved.send(()).unwrap();
    client.body(&mut answer).map(|()| answer)
}

#[test]
fn an_answer_that_is_reset_never_looks_whole() {
    let until_the_end = "HTTP/1.1 200 OK\r\n\r\n";
    let declared = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
    for head in [until_the_end, declared] {
        let outcome = reset_half_way(head, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");

        assert!(outcome.is_err(), "{head}: {outcome:?}");
    }
}

/// Whoever writes the request may be the one who hears of the reset, of which the kernel tells once.
#[test]
fn an_answer_that_is_reset_in_the_middle_of_its_request_never_looks_whole() {
    for _ in 0..10 {
        let origin = Origin::scripted(|peer| {
            peer.head()?;
            peer.send("HTTP/1.1 200 OK\r\n\r\nhalf")?;
            peer.reset()
        });
        let proxy = TestProxy::to(&origin.url());
        let mut client = proxy.client();
        client.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 33554432\r\n\r\n");
        let mut upload = client.stream().try_clone().unwrap();
        // It ends with the connection, in whatever way.
        let uploading = std::thread::spawn(move || upload.write_all(&vec![b'x'; 33_554_432]));

        let outcome = client.try_answer();

        // Where the reset overtakes the head, there is no answer.
        let is_no_answer = outcome.as_ref().map_or(true, |answer| answer.status() == 502);
        assert!(is_no_answer, "{outcome:?}");
        drop(client);
        drop(uploading.join().unwrap());
    }
}

#[test]
fn an_answer_that_is_reset_does_not_look_whole_to_http_1_0_either() {
    let outcome = reset_half_way("HTTP/1.1 200 OK\r\n\r\n", "GET / HTTP/1.0\r\nhost: a\r\n\r\n");

    assert!(outcome.is_err(), "{outcome:?}");
}

#[test]
fn a_request_that_breaks_off_never_looks_whole() {
    let heads = ["content-length: 10\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"];
    for head in heads {
        let (send, receive) = std::sync::mpsc::channel();
        let send = std::sync::Mutex::new(send);
        let origin = Origin::scripted(move |peer| {
            let outcome = peer.request().map(drop).map_err(|error| error.kind());
            let _ = send.lock().unwrap().send(outcome);
            Ok(())
        });
        let proxy = TestProxy::to(&origin.url());
        let mut client = Client::connect(proxy.address());

        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{head}"));
        common::until("the request reaches the origin", || origin.connections() == 1);
        drop(client);

        let outcome = receive.recv_timeout(common::PATIENCE).unwrap();
        let kind = outcome.expect_err(head);
        assert!(matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{kind:?}: {head}");
    }
}

#[test]
fn a_client_that_resets_its_connection_ends_its_exchange() {
    let origin = Origin::silent();
    let proxy = TestProxy::with(&format!("routes: [{{ to: {:?}, timeout: 5m }}]", origin.url()));
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    common::until("the exchange is under way", || origin.requests().len() == 1);
    socket2::SockRef::from(&*client.stream()).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);

    proxy.counts("tollgate_http_active_requests", &[], 0.0);
}

#[test]
fn an_answer_before_the_end_of_the_request_reaches_the_client() {
    let origin = Origin::scripted(|peer| {
        peer.head()?;
        peer.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
        peer.wait_for_end()
    });
    let proxy = TestProxy::to(&origin.url());
    let mut client = proxy.client();

    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nonly the beginning");
    let answer = client.answer();

    assert_eq!(answer.status(), 413);
}
