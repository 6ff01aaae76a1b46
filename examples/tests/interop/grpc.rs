//! tonic on both sides: every kind of gRPC call over h2c and TLS, alone and through a filter, with its status, its trailers,
//! its deadline and its cancellation.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Request, Status, Streaming};

use crate::notes::{Client, Note, NoteServer, note};
use crate::peer::PATIENCE;
use crate::proxy::Tollgate;
use crate::scene::Scene;

/// A server, a proxy before it, and a client before that, for each way there is.
struct Way {
    name: &'static str,
    server: NoteServer,
    client: Client,
    _proxy: Tollgate,
}

/// Without and with TLS, on both sides alike; without and with a filter.
async fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for (name, tls, filters) in
        [("h2c", false, ""), ("h2c, filter", false, "noop"), ("tls", true, ""), ("tls, filter", true, "noop, noop")]
    {
        ways.push(way(name, tls, filters).await);
    }
    ways
}

async fn way(name: &'static str, tls: bool, filters: &str) -> Way {
    let scene = Scene::new();
    let read = |name: &str| fs::read(scene.path(name)).unwrap();
    let server = NoteServer::start(tls.then(|| Identity::from_pem(read("a.pem"), read("a.key")))).await;
    let upstream = if tls { ", tls: { sni: a.test, ca: ca.pem }" } else { "" };
    let clusters = format!("{{ notes: {{ hosts: [{}], protocol: h2{upstream} }} }}", server.address);
    let proxy = scene.proxy(&clusters, &format!("[{{ to: notes, filters: [{filters}] }}]"));
    let channel = if tls {
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("ca.pem"))).domain_name("a.test");
        Channel::from_shared(format!("https://{}", proxy.tls())).unwrap().tls_config(config).unwrap()
    } else {
        Channel::from_shared(proxy.plain()).unwrap()
    };
    let channel = tokio::time::timeout(PATIENCE, channel.connect()).await.unwrap().unwrap();
    Way { name, server, client: Client::new(channel), _proxy: proxy }
}

/// What a call answers; a failure where it never does.
async fn soon<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, answer).await.expect("an answer")
}

/// Fails unless the status is the refusal of the service, whole.
#[track_caller]
fn is_refusal(way: &str, status: &Status) {
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "no: 50 % of ü"), "{way}");
    assert_eq!(status.details(), [1, 2, 3, 0], "{way}");
    assert_eq!(status.metadata().get("x-reason").unwrap(), "none", "{way}");
    assert_eq!(status.metadata().get_bin("x-reason-bin").unwrap().to_bytes().unwrap()[..], [0, 255, 7], "{way}");
}

/// Fails unless the trailers say that the call succeeded.
async fn is_good(way: &str, notes: &mut Streaming<Note>) {
    let trailers = soon(notes.trailers()).await.unwrap().expect("trailers");
    assert_eq!(trailers.get("grpc-status").unwrap(), "0", "{way}: {trailers:?}");
}

/// Waits until the server has so many calls under way.
async fn under_way(way: &Way, count: usize) {
    soon(async {
        while way.server.under_way.load(Ordering::SeqCst) != count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "`make interop` fetches the peers and runs this"]
async fn tonic_gets_a_unary_answer_or_the_status_in_its_place() {
    for mut way in ways().await {
        let mut request = Request::new(note(&"long ".repeat(100_000), 7));
        request.metadata_mut().insert("x-told", "a word".parse().unwrap());

        let answer = soon(way.client.one(request)).await.unwrap();
        let refused = soon(way.client.one(Request::new(note("fail", 0)))).await.unwrap_err();
        let unknown = soon(way.client.unknown()).await.unwrap_err();

        assert_eq!(answer.metadata().get("x-told-back").unwrap(), "a word", "{}", way.name);
        assert_eq!(*answer.get_ref(), note(&"long ".repeat(100_000), 7), "{}", way.name);
        is_refusal(way.name, &refused);
        assert_eq!((unknown.code(), unknown.message()), (Code::Unimplemented, "/tollgate.interop.Notes/Unknown"));
    }
}

#[tokio::test]
#[ignore = "`make interop` fetches the peers and runs this"]
async fn tonic_gets_every_message_of_a_server_and_the_status_after_them() {
    for mut way in ways().await {
        for text in ["good", "fail"] {
            let mut notes = soon(way.client.several(note(text, 1000))).await.unwrap();
            let mut numbers = Vec::new();
            let end = soon(async {
                loop {
                    match notes.message().await {
                        Ok(Some(note)) => numbers.push(note.count),
                        end => break end,
                    }
                }
            })
            .await;

            assert_eq!(numbers, (0..1000).collect::<Vec<_>>(), "{}", way.name);
            match end {
                Ok(_) if text == "good" => is_good(way.name, &mut notes).await,
                Ok(_) => panic!("{}: the status did not come", way.name),
                Err(status) => is_refusal(way.name, &status),
            }
        }
    }
}

#[tokio::test]
#[ignore = "`make interop` fetches the peers and runs this"]
async fn tonic_sends_every_message_of_a_client() {
    for mut way in ways().await {
        let notes = (1..=1000).map(|number| note(&"x".repeat(1000), number)).collect();

        let total = soon(way.client.sum(notes)).await.unwrap();

        assert_eq!(total, note("1000000 bytes", 500_500), "{}", way.name);
    }
}

#[tokio::test]
#[ignore = "`make interop` fetches the peers and runs this"]
async fn tonic_talks_both_ways_message_by_message() {
    for mut way in ways().await {
        let (say, said) = mpsc::channel(1);
        say.send(note("first", 0)).await.unwrap();
        let mut heard = soon(way.client.talk(said)).await.unwrap();

        assert_eq!(soon(heard.message()).await.unwrap(), Some(note("first", 1)), "{}", way.name);
        // Each is said only once the one before was answered, so none waits in a buffer for another.
        for number in 1..100 {
            say.send(note("next", number)).await.unwrap();
            assert_eq!(soon(heard.message()).await.unwrap(), Some(note("next", number + 1)), "{}", way.name);
        }
        say.send(note("fail", 0)).await.unwrap();
        is_refusal(way.name, &soon(heard.message()).await.unwrap_err());
    }
}

#[tokio::test]
#[ignore = "`make interop` fetches the peers and runs this"]
async fn tonic_ends_a_talk_by_ending_its_side() {
    for mut way in ways().await {
        let (say, said) = mpsc::channel(1);
        say.send(note("only", 0)).await.unwrap();
        let mut heard = soon(way.client.talk(said)).await.unwrap();
        assert_eq!(soon(heard.message()).await.unwrap(), Some(note("only", 1)), "{}", way.name);

        drop(say);

        assert_eq!(soon(heard.message()).await.unwrap(), None, "{}", way.name);
        is_good(way.name, &mut heard).await;
        under_way(&way, 0).await;
    }
}

#[tokio::test]
#[ignore = "`make interop` fetches the peers and runs this"]
async fn a_deadline_of_tonic_ends_the_call_on_both_sides() {
    for mut way in ways().await {
        let mut request = Request::new(note("hang", 0));
        request.set_timeout(Duration::from_millis(300));

        let ended = soon(way.client.one(request)).await.unwrap_err();

        // Whichever side is first says it in its own way.
        assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&ended.code()), "{}: {ended:?}", way.name);
        under_way(&way, 0).await;
    }
}

#[tokio::test]
#[ignore = "`make interop` fetches the peers and runs this"]
async fn a_call_that_tonic_gives_up_is_given_up_at_the_server() {
    for mut way in ways().await {
        let mut notes = soon(way.client.several(note("hang", 1))).await.unwrap();
        assert_eq!(soon(notes.message()).await.unwrap(), Some(note("hang", 0)), "{}", way.name);
        under_way(&way, 1).await;

        drop(notes);

        under_way(&way, 0).await;
        // The connection serves the next.
        assert!(soon(way.client.one(Request::new(note("good", 1)))).await.is_ok(), "{}", way.name);
    }
}
