//! Requests that may not travel and clients that take too much: each is told so, or let go, and nobody else waits for it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use common::client::Client;
use common::h2;
use common::h2_raw::{
    ACK, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NO_ERROR, PING, RawH2, block, frame, goaway_code, ping, window,
};
use common::origin::{Origin, ok};
use common::proxy::TestProxy;
use common::until;

/// The built-in echo behind these limits.
fn echo(limits: &str) -> TestProxy {
    TestProxy::with(&format!("limits: {{ {limits} }}\nroutes: [{{ to: echo }}]"))
}

/// A request with so many fields in all.
fn with_fields(count: usize) -> String {
    let fields = (1..count).map(|at| format!("x-{at}: 1\r\n")).collect::<String>();
    format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n")
}

#[test]
fn a_head_has_so_many_fields_and_one_more_is_431() {
    for (limits, most) in [("", 100), ("headers: 20", 20)] {
        let proxy = echo(limits);

        let statuses = [most, most + 1].map(|count| proxy.send(with_fields(count)).status());

        assert_eq!(statuses, [200, 431], "{limits}");
    }
}

#[test]
fn a_head_has_so_many_bytes_and_more_are_431() {
    for (limits, most) in [("", 60 * 1024), ("header_bytes: 20KiB", 20 * 1024), ("header_bytes: 2KiB", 2048)] {
        let proxy = echo(limits);
        let with = |bytes: usize| format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(bytes));

        let statuses = [most / 2, most * 2].map(|bytes| proxy.send(with(bytes)).status());

        assert_eq!(statuses, [200, 431], "{limits}");
    }
}

#[test]
fn a_target_has_so_many_bytes_and_one_more_is_414() {
    let proxy = echo("");
    let with = |bytes: usize| format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(bytes - 1));

    let statuses = [16 * 1024, 16 * 1024 + 1].map(|bytes| proxy.send(with(bytes)).status());

    assert_eq!(statuses, [200, 414]);
}

#[test]
fn a_header_list_of_http2_that_is_too_large_is_refused() {
    let proxy = echo("header_bytes: 4KiB");
    let large = http::Request::get("http://test/").header("x", "x".repeat(8 * 1024)).body(h2::body(&[], &[])).unwrap();

    let status = h2::talk(proxy.address(), |mut sender| async move {
        sender.send_request(large).await.map(|answer| answer.status().as_u16())
    });

    assert!(matches!(status, Ok(431) | Err(_)), "{status:?}");
    assert_eq!(h2::exchange(proxy.address(), h2::get("/")).status, 200);
}

#[test]
fn a_head_that_comes_too_slowly_is_408() {
    let proxy = echo("header_timeout: 300ms");
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost:");
    let answer = client.answer();

    assert_eq!((answer.status(), answer.field("connection")), (408, Some("close")));
    assert!(client.is_closed());
}

#[test]
fn every_byte_of_a_head_counts_towards_its_time_only_once() {
    let proxy = echo("header_timeout: 300ms");
    let mut client = proxy.client();

    let mut sent = 0;
    until("the proxy gives up", || {
        sent += 1;
        client.try_send(if sent == 1 { "GET / HTTP/1.1\r\nx: " } else { "x" }).is_err()
    });

    assert!(sent > 1);
}

#[test]
fn a_second_head_that_comes_too_slowly_ends_the_connection() {
    let proxy = echo("header_timeout: 300ms");
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let first = client.answer();
    client.send("GET /");
    let second = client.answer();

    assert_eq!((first.status(), second.status()), (200, 408));
    assert!(client.is_closed());
    proxy.counts("tollgate_connection_errors_total", &[], 1.0);
}

#[test]
fn pings_give_a_head_no_more_time() {
    let proxy = echo("header_timeout: 300ms");
    let mut client = RawH2::greet(proxy.address());

    let mut told = None;
    until("the proxy gives up", || {
        let frames = client.send(&ping(&[0; 8])).map(|()| std::iter::from_fn(|| client.next()));
        let mut frames = frames.into_iter().flatten().inspect(|frame| {
            told = told.or((frame.kind == GOAWAY).then(|| goaway_code(frame)));
        });
        !frames.any(|frame| frame.kind == PING && frame.flags == ACK)
    });

    // Nor was it for their number, and a client that warms its connection up makes no mistake.
    assert_eq!(told, Some(NO_ERROR));
    assert_eq!(proxy.metric("tollgate_connection_floods_total", &[]), 0.0);
    proxy.counts("tollgate_connections_active", &[], 0.0);
    assert_eq!(proxy.metric("tollgate_connection_errors_total", &[]), 0.0);
}

#[test]
fn a_connection_of_http2_all_of_whose_requests_are_refused_has_its_time_between_them() {
    let proxy = echo("header_timeout: 300ms, idle_timeout: 10m");
    let mut client = RawH2::greet(proxy.address());
    let (since, mut streams) = (Instant::now(), (1..).step_by(2));

    // For so long that the time of one head is over.
    while since.elapsed() < Duration::from_secs(1) {
        let stream = streams.next().unwrap();
        let refused = block(&[(":method", "CONNECT"), (":authority", "a:1")]);
        let asks = frame(HEADERS, END_HEADERS | END_STREAM, stream, &refused);
        // However many answers there are, there is a window for their bodies.
        client.send(&[window(0, 100), asks].concat()).unwrap();

        assert_eq!(client.answer(stream).0, 400);
    }
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let proxy = echo("header_timeout: 300ms");
    let mut client = proxy.client();

    assert!(client.is_closed());
    proxy.counts("tollgate_connections_active", &[], 0.0);
    assert_eq!(proxy.metric("tollgate_connection_errors_total", &[]), 1.0);
}

#[test]
fn a_connection_that_is_not_used_again_is_closed() {
    let proxy = echo("idle_timeout: 300ms");
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.answer().status(), 200);

    assert!(client.is_closed());
    proxy.counts("tollgate_connections_active", &[], 0.0);
}

#[test]
fn a_body_that_does_not_end_is_408() {
    let proxy = echo("request_timeout: 300ms");

    let answer = proxy.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");

    assert_eq!(answer.status(), 408);
}

#[test]
fn an_answer_that_stalls_breaks_off() {
    let origin = Origin::scripted(|peer| {
        peer.request()?;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")?;
        peer.wait_for_end()
    });
    let proxy =
        TestProxy::with(&format!("limits: {{ stream_idle_timeout: 300ms }}\nroutes: [{{ to: {:?} }}]", origin.url()));
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");

    assert!(client.try_answer().is_err());
}

#[test]
fn a_client_that_reads_nothing_is_let_go() {
    let origin = Origin::scripted(|peer| {
        peer.request()?;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")?;
        while peer.send([b'x'; 1 << 16]).is_ok() {}
        Ok(())
    });
    let proxy = TestProxy::with(&format!("limits: {{ write_timeout: 300ms }}\nroutes: [{{ to: {:?} }}]", origin.url()));
    let mut client = proxy.client();

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");

    until("the exchange has begun", || origin.requests().len() == 1);
    proxy.counts("tollgate_connections_active", &[], 0.0);
    proxy.counts("tollgate_http_active_requests", &[], 0.0);
    drop(client);
}

#[test]
fn a_client_that_reads_slowly_is_not_let_go() {
    const LENGTH: usize = 40 << 20;
    let origin = Origin::answering(ok(&"x".repeat(LENGTH)));
    // The filter lets the whole body go at once, so that there is always something to write.
    let filters = common::modules::probes(&[("a", "{ response_body: [body-buffer] }")]);
    let proxy = TestProxy::with(&format!(
        "{filters}limits: {{ write_timeout: 2s, buffer: 64MiB }}\nroutes: [{{ to: {:?}, filters: [a] }}]",
        origin.url()
    ));
    let begin = || {
        let mut client = proxy.client();
        // A large buffer of the kernel would read in the client's place.
        socket2::SockRef::from(&*client.stream()).set_recv_buffer_size(1 << 16).unwrap();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.head().status(), 200);
        client
    };
    let (mut client, _stalled) = (begin(), begin());
    let (mut chunk, mut read) = (vec![0; 1 << 16], 0);
    let mut take = || {
        let size = client.read(&mut chunk).expect("the answer goes on");
        assert!(size > 0, "cut after {read} bytes");
        read += size;
        read
    };

    // Slow all in all: it has only a part when one that does not read at all is let go.
    until("the other one is let go", || {
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(take() < LENGTH);
        proxy.metric("tollgate_connections_active", &[]) == 1.0
    });
    while take() < LENGTH {}
}

#[test]
fn a_connection_that_is_used_is_not_closed_for_its_age() {
    let proxy = echo("idle_timeout: 1s, header_timeout: 1s");
    let mut client = proxy.client();
    let mut ask = || {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.answer().status(), 200);
    };
    let there = || proxy.metric("tollgate_connections_active", &[]);
    ask();

    for _ in 0..2 {
        let _younger = proxy.client();
        until("another one is there", || there() == 2.0);
        until("it is closed for its age", || {
            ask();
            there() == 1.0
        });
        ask();
    }
}

#[test]
fn there_are_so_many_connections_and_one_more_is_closed() {
    let proxy = echo("connections: 2");
    let ask = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut clients = [proxy.client(), proxy.client()];
    for client in &mut clients {
        client.send(ask);
        assert_eq!(client.answer().status(), 200);
    }

    let mut third = proxy.client();
    assert!(third.is_closed());
    drop(clients);
    proxy.counts("tollgate_connections_active", &[], 0.0);
    let fourth = proxy.get("/");

    assert_eq!(fourth.status(), 200);
    assert_eq!(proxy.metric("tollgate_connections_refused_total", &[]), 1.0);
}

#[test]
fn connections_of_a_listener_count_for_it_and_for_all_and_go_on_counting_when_it_changes() {
    let yaml = |narrow: &str| {
        format!(
            "limits: {{ connections: 3 }}\nlisteners:\n\
             - {{ name: narrow, listen: '127.0.0.1:0', limits: {{ connections: 1, {narrow} }}, routes: [{{ to: echo }}] }}\n\
             - {{ name: wide, listen: '127.0.0.1:0', limits: {{ connections: 9 }}, routes: [{{ to: echo }}] }}"
        )
    };
    let proxy = TestProxy::with(&yaml(""));
    let served = |name: &str| {
        let mut client = Client::connect(proxy.address_of(name));
        let is_served = client.try_send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").and_then(|()| client.try_answer()).is_ok();
        is_served.then_some(client)
    };

    let wide = served("wide").expect("there is room");
    let narrow = served("narrow").expect("others do not count");
    assert!(served("narrow").is_none());
    proxy.configure(&yaml("headers: 50")).unwrap();
    assert!(served("narrow").is_none(), "it goes on counting");
    drop(narrow);
    proxy.counts("tollgate_connections_active", &["listener=\"narrow\""], 0.0);
    let all = [Some(wide), served("narrow"), served("wide")];

    assert!(all.iter().all(Option::is_some));
    assert!(served("wide").is_none(), "the process has as many as it may");
    let refused = |name: &str| proxy.metric("tollgate_connections_refused_total", &[&format!("listener={name:?}")]);
    assert_eq!((refused("narrow"), refused("wide")), (2.0, 1.0));
}

#[test]
fn what_two_readers_may_read_differently_is_400_and_ends_the_connection() {
    let origin = Origin::saying("x");
    let proxy = TestProxy::to(&origin.url());
    for lines in [
        "host: a\r\ntransfer-encoding: gzip, chunked\r\n",
        "host: a\r\ntransfer-encoding: chunked, chunked\r\n",
        "host: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "host: a\r\ntransfer-encoding: xchunked\r\n",
        "host: a\r\ntransfer-encoding : chunked\r\n",
        "host: a\r\ncontent-length: 4\r\ncontent-length: 5\r\n",
        "host: a\r\ncontent-length: +4\r\n",
        "host: a\r\ncontent-length: 4, 4\r\n",
        "host: a\r\nhost: a\r\n",
        "host: a\r\nhost: b\r\n",
        "host: a, b\r\n",
        "host: user@a\r\n",
        "host: a b\r\n",
        "host: a\r\n x: folded\r\n",
        "x: y\r\n",
    ] {
        let mut client = proxy.client();

        client.send(format!("POST / HTTP/1.1\r\n{lines}\r\n0\r\n\r\n"));
        let answer = client.answer();

        assert_eq!(answer.status(), 400, "{lines}");
        assert_eq!(answer.field("connection"), Some("close"), "{lines}");
        assert!(client.is_closed(), "{lines}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn trailers_keep_to_the_limits_of_a_head() {
    let proxy = echo("headers: 5, header_bytes: 1KiB");
    let with = |trailers: String| {
        format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{trailers}\r\n")
    };
    let fields = |count: usize| with("x: 1\r\n".repeat(count));
    let bytes = |count: usize| with(format!("x: {}\r\n", "x".repeat(count)));

    let statuses = [fields(5), fields(6), bytes(1000), bytes(1100)].map(|request| proxy.send(request).status());

    assert_eq!(statuses, [200, 431, 200, 431]);
}

/// RFC 9112 §9.6: a connection that is closed while bytes are on their way is reset, and the answer may be lost with it.
#[test]
fn who_is_refused_may_finish_sending_and_is_told_why() {
    let proxy = echo("");
    let junk = vec![b'x'; 4 << 20];
    for refused in ["nonsense\r\n\r\n", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nx\r\n"] {
        let mut client = proxy.client();

        client.send(refused);
        client.send(&junk);
        client.end();

        assert_eq!(client.answer().status(), 400, "{refused}");
        assert!(client.is_closed(), "{refused}");
    }
}

#[test]
fn what_a_proxy_of_this_kind_does_not_do_is_400() {
    let proxy = echo("");

    let statuses = ["CONNECT a:443", "GET a", "GET *"].map(|start| {
        let answer = proxy.send(format!("{start} HTTP/1.1\r\nhost: a\r\n\r\n"));
        (start, answer.status())
    });

    assert!(statuses.iter().all(|(_, status)| *status == 400), "{statuses:?}");
}

#[test]
fn the_fields_of_one_hop_stay_on_it() {
    let hop = "connection: keep-alive, x-named\r\nx-named: 1\r\nkeep-alive: timeout=5\r\nupgrade: websocket\r\nproxy-connection: x\r\n";
    let origin = Origin::answering(format!("HTTP/1.1 200 OK\r\n{hop}x-kept: 1\r\ncontent-length: 1\r\n\r\nx"));
    let proxy = TestProxy::to(&origin.url());
    let mut client = proxy.client();

    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\nte: gzip\r\nproxy-authorization: x\r\nx-kept: 1\r\n{hop}\r\n"));
    let answer = client.answer();

    for message in [answer, origin.request()] {
        for name in ["connection", "x-named", "keep-alive", "upgrade", "proxy-connection", "te", "proxy-authorization"]
        {
            assert_eq!(message.field(name), None, "{name}: {message:?}");
        }
        assert_eq!(message.field("x-kept"), Some("1"));
    }
}

/// Answers that wait for a word, and how many wait at once.
#[derive(Default)]
struct Gate {
    waiting: AtomicUsize,
    most: AtomicUsize,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let waiting = self.waiting.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(waiting, SeqCst);
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_timeout_while(open, common::PATIENCE, |open| !*open).unwrap());
        self.waiting.fetch_sub(1, SeqCst);
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

#[test]
fn a_connection_of_http2_has_so_many_exchanges_at_once() {
    let gate = Arc::new(Gate::default());
    let at_origin = Arc::clone(&gate);
    let origin = Origin::scripted(move |peer| {
        while peer.request()?.is_some() {
            at_origin.pass();
            peer.send(ok("x"))?;
        }
        Ok(())
    });
    let proxy = TestProxy::with(&format!("limits: {{ streams: 2 }}\nroutes: [{{ to: {:?} }}]", origin.url()));

    let statuses = h2::talk(proxy.address(), |mut sender| async move {
        // The first exchange tells the client what the proxy allows.
        gate.open();
        h2::whole(sender.send_request(h2::get("/")).await.unwrap()).await.unwrap();
        *gate.open.lock().unwrap() = false;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let mut sender = sender.clone();
            tasks.spawn(async move { sender.send_request(h2::get("/")).await.map(|answer| answer.status().as_u16()) });
        }
        while gate.waiting.load(SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        gate.open();
        let statuses = tasks.join_all().await;
        assert_eq!(gate.most.load(SeqCst), 2);
        statuses
    });

    assert!(statuses.iter().all(|status| *status.as_ref().unwrap() == 200), "{statuses:?}");
}
