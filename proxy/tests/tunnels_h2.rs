//! CONNECT over HTTP/2: a stream that is a tunnel, beside others on its connection, and how all of it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{ErrorKind, Read};

use bytes::Bytes;
use common::access::AccessLog;
use common::frames::Frame;
use common::h2_raw::{
    ACK, CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NO_ERROR, PING, RST_STREAM, RawH2, SETTINGS,
    WINDOW_UPDATE, asks, block, frame, ping, reset, status, window,
};
use common::origin::{Origin, refusing};
use common::proxy::TestProxy;
use common::tcp::{echo, listening, overflowing, pattern, speaking_first};
use common::tunnels::{proxy, proxy_with};
use common::upgrades::active;
use common::{PATIENCE, until};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The head of a CONNECT.
fn connects(stream: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(&[(":method", "CONNECT"), (":authority", "nowhere.test:9")]))
}

/// The next frame that is neither about the connection as a whole nor about windows.
fn next(client: &mut RawH2) -> Frame {
    loop {
        let frame = client.next().expect("the connection goes on");
        if !matches!(frame.kind, SETTINGS | WINDOW_UPDATE | PING) {
            return frame;
        }
    }
}

/// A client with a tunnel on stream 1.
fn connected(proxy: &TestProxy) -> RawH2 {
    let mut client = RawH2::greet(proxy.address());
    client.send(&connects(1, 0)).unwrap();
    let answer = next(&mut client);
    assert_eq!((answer.kind, answer.stream, answer.ends_stream()), (HEADERS, 1, false), "{answer:?}");
    assert_eq!(status(&answer.payload), 200);
    client
}

/// The bytes of a stream up to its end, or the code of its reset.
fn rest(client: &mut RawH2, stream: u32) -> Result<Vec<u8>, u32> {
    let mut bytes = Vec::new();
    loop {
        let frame = next(client);
        match frame.kind {
            DATA if frame.stream == stream => bytes.extend_from_slice(&frame.payload),
            RST_STREAM if frame.stream == stream => return Err(frame.code()),
            _ => {}
        }
        if frame.stream == stream && frame.ends_stream() {
            return Ok(bytes);
        }
    }
}

#[test]
fn a_stream_is_a_tunnel_and_its_neighbours_are_requests() {
    let (origin, tunnels) = (Origin::saying("plain"), echo());
    let proxy = TestProxy::with(&format!(
        "routes:\n- {{ to: {:?} }}\n- {{ name: r, match: {{ method: CONNECT }}, to: {:?}, upgrade: [connect] }}",
        origin.url(),
        tunnels.url()
    ));
    let mut client = connected(&proxy);

    client.send(&frame(DATA, 0, 1, b"one")).unwrap();
    let one = next(&mut client);
    client.send(&asks(3)).unwrap();
    let plain = rest(&mut client, 3);
    client.send(&frame(DATA, 0, 1, b"two")).unwrap();
    let two = next(&mut client);

    assert_eq!((&one.payload[..], &two.payload[..], plain), (&b"one"[..], &b"two"[..], Ok(b"plain".to_vec())));
    assert_eq!(active(&proxy), 1.0);
    client.send(&frame(DATA, END_STREAM, 1, b"end")).unwrap();
    assert_eq!(rest(&mut client, 1), Ok(b"end".to_vec()));
    until("it is over", || active(&proxy) == 0.0);
    let bytes = |way| proxy.metric("tollgate_http_body_bytes_total", &["route=\"r\"", way]);
    assert_eq!((bytes("\"request\""), bytes("\"response\"")), (9.0, 9.0));
    assert_eq!(proxy.metric("tollgate_http_upgrades_total", &["route=\"r\""]), 1.0);
}

#[test]
fn four_mebibytes_go_both_ways_at_once_on_two_streams() {
    const LENGTH: usize = 4 << 20;
    let origin = echo();
    let proxy = proxy(&origin);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    let carrying = async {
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        let builder = http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = builder.handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let carry = async |mut sender: http2::SendRequest<Empty<Bytes>>| {
            let request = Request::connect("nowhere.test:9").body(Empty::new()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let (mut reader, mut writer) = tokio::io::split(TokioIo::new(hyper::upgrade::on(response).await.unwrap()));
            let sent: Vec<u8> = (0..LENGTH).map(pattern).collect();
            let pouring = async {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let mut heard = Vec::new();
            let (read, ()) = tokio::join!(reader.read_to_end(&mut heard), pouring);
            read.unwrap();
            assert!(heard == sent, "{} bytes came back", heard.len());
        };
        tokio::join!(carry(sender.clone()), carry(sender));
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, carrying).await.expect("an end of both tunnels") });

    until("both are over", || active(&proxy) == 0.0);
}

#[test]
fn what_is_sent_behind_the_head_goes_through_and_either_side_may_end_first() {
    let (origin, told) = speaking_first("220 hello");
    let proxy = proxy(&origin);
    let mut client = RawH2::greet(proxy.address());

    client.send(&[connects(1, 0), frame(DATA, 0, 1, b"early, ")].concat()).unwrap();
    let answer = next(&mut client);
    let greeting = rest(&mut client, 1);
    client.send(&frame(DATA, END_STREAM, 1, b"and late")).unwrap();

    assert_eq!((status(&answer.payload), greeting), (200, Ok(b"220 hello".to_vec())));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"early, and late");
    until("it is over", || active(&proxy) == 0.0);
    // A head that ends its stream says that the client has nothing to say.
    client.send(&connects(3, END_STREAM)).unwrap();
    assert_eq!(rest(&mut client, 3), Ok(b"220 hello".to_vec()));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"");
}

#[test]
fn a_stream_that_is_reset_resets_the_endpoint_s_connection() {
    for code in [CANCEL, NO_ERROR, 10] {
        let (origin, heard) = listening();
        let proxy = proxy(&origin);
        let mut client = connected(&proxy);
        client.send(&frame(DATA, 0, 1, b"x")).unwrap();
        proxy.counts("tollgate_http_upgraded_active", &["route=\"r\""], 1.0);

        client.send(&reset(1, code)).unwrap();

        assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset), "{code}");
        until("it is over", || active(&proxy) == 0.0);
        client.send(&ping(b"stillon?")).unwrap();
        while client.next().is_some_and(|frame| (frame.kind, frame.flags) != (PING, ACK)) {}
    }
}

#[test]
fn a_reset_is_no_end_although_something_waits_for_its_stream() {
    let (script, told) = overflowing();
    let (origin, log) = (Origin::scripted(script), AccessLog::new());
    let proxy = proxy_with("", &log.yaml(), "", &origin);
    let mut client = connected(&proxy);
    let mut window = 65535;
    while window > 0 {
        window -= next(&mut client).payload.len();
    }

    client.send(&[frame(DATA, 0, 1, b"x"), reset(1, CANCEL)].concat()).unwrap();

    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
    assert_eq!(log.line()["reason"], "client_gone");
}

#[test]
fn an_endpoint_that_breaks_off_resets_the_stream_and_one_that_ends_ends_it() {
    let origin = Origin::scripted(|peer| {
        let mut first = [0];
        peer.reader().read_exact(&mut first)?;
        if first[0] == b'!' { peer.reset() } else { Ok(()) }
    });
    let proxy = proxy(&origin);
    let (mut cut, mut ended) = (connected(&proxy), connected(&proxy));

    cut.send(&frame(DATA, 0, 1, b"!")).unwrap();
    ended.send(&frame(DATA, 0, 1, b".")).unwrap();

    assert_eq!(rest(&mut cut, 1), Err(CANCEL));
    assert_eq!(rest(&mut ended, 1), Ok(Vec::new()));
    drop((cut, ended));
    until("both are over", || active(&proxy) == 0.0);
}

#[test]
fn a_connection_that_is_lost_resets_the_endpoints_of_its_tunnels() {
    let (origin, heard) = listening();
    let proxy = proxy(&origin);
    let client = connected(&proxy);

    drop(client);

    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
    until("it is over", || active(&proxy) == 0.0);
}

#[test]
fn a_tunnel_that_is_refused_is_an_answer_and_the_connection_goes_on() {
    let origin = Origin::saying("plain");
    let closed = TestProxy::to(&origin.url());
    let unreachable = TestProxy::with(&format!("routes: [{{ to: 'http://{}', upgrade: [connect] }}]", refusing()));
    let open = proxy(&origin);
    let with = |more: &[(&str, &str)]| {
        let base = [(":method", "CONNECT"), (":authority", "a:1")];
        frame(HEADERS, END_HEADERS, 1, &block(&[&base[..], more].concat()))
    };
    let portless = frame(HEADERS, END_HEADERS, 1, &block(&[(":method", "CONNECT"), (":authority", "a")]));
    for (proxy, head, refusal) in [
        (&closed, connects(1, 0), 400),
        (&unreachable, connects(1, 0), 503),
        (&open, portless, 400),
        (&open, with(&[("host", "b:1")]), 400),
        (&open, frame(HEADERS, END_HEADERS, 1, &block(&[(":method", "CONNECT")])), 400),
    ] {
        let mut client = RawH2::greet(proxy.address());
        client.send(&[head, frame(DATA, 0, 1, b"in the belief")].concat()).unwrap();

        let answer = next(&mut client);

        assert_eq!((answer.kind, status(&answer.payload)), (HEADERS, refusal), "{answer:?}");
        rest(&mut client, 1).unwrap();
        client.send(&asks(3)).unwrap();
        let mut answer = next(&mut client);
        while answer.kind != HEADERS {
            answer = next(&mut client);
        }
        assert_eq!(answer.stream, 3);
    }
    assert_eq!(open.metric("tollgate_http_upgrades_total", &[]), 0.0);
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_ended_and_its_connection_is_not() {
    let (origin, heard) = listening();
    let proxy = proxy_with("stream_idle_timeout: 300ms", "", "", &origin);
    let mut client = connected(&proxy);

    client.send(&frame(DATA, 0, 1, b"last words")).unwrap();

    assert_eq!(heard.recv_timeout(PATIENCE).unwrap().unwrap(), b"last words");
    assert!(rest(&mut client, 1).is_ok_and(|bytes| bytes.len() <= 3));
    client.send(&connects(3, 0)).unwrap();
    let mut answer = next(&mut client);
    while answer.kind != HEADERS {
        answer = next(&mut client);
    }
    assert_eq!((answer.stream, status(&answer.payload)), (3, 200));
}

#[test]
fn a_client_that_opens_no_window_holds_its_tunnel_back_and_not_its_neighbours() {
    let origin = Origin::scripted(|peer| {
        let bytes: Vec<u8> = (0..1 << 20).map(pattern).collect();
        peer.send(&bytes)
    });
    let proxy = proxy(&origin);
    let mut client = RawH2::greet(proxy.address());
    // A stream of its own has a window of 65,535 bytes; the connection has room for more.
    client.send(&[window(0, 1 << 21), connects(1, 0), connects(3, 0)].concat()).unwrap();

    let mut lengths = [0; 2];
    while lengths[0] < 65535 || lengths[1] < 1 << 20 {
        let frame = next(&mut client);
        if frame.kind == DATA && !frame.payload.is_empty() {
            let place = usize::from(frame.stream == 3);
            let good = frame.payload.iter().enumerate();
            assert!({ good }.all(|(at, byte)| *byte == pattern(lengths[place] + at)));
            lengths[place] += frame.payload.len();
            if frame.stream == 3 {
                client.send(&window(3, u32::try_from(frame.payload.len()).unwrap())).unwrap();
            }
        }
    }

    assert_eq!(lengths, [65535, 1 << 20]);
}

#[test]
fn a_drain_waits_for_a_tunnel_but_not_for_ever() {
    let origin = echo();
    let mut patient = proxy(&origin);
    let mut hasty = proxy_with("drain_timeout: 300ms", "", "", &origin);
    let (mut waited_for, mut cut) = (connected(&patient), connected(&hasty));

    patient.drain();
    hasty.drain();
    assert_eq!(next(&mut waited_for).kind, GOAWAY);
    waited_for.send(&frame(DATA, END_STREAM, 1, b"still here")).unwrap();

    assert_eq!(rest(&mut waited_for, 1), Ok(b"still here".to_vec()));
    patient.ended();
    hasty.ended();
    while cut.next().is_some() {}
}
