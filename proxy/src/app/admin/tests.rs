//! The endpoints over real sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::app::reload::Sight;
use crate::pressure::Memory;

/// Admin endpoints on a port of their own, which end with the test.
struct TestAdmin {
    address: SocketAddr,
    readiness: Arc<Readiness>,
    registry: Arc<Registry>,
    task: JoinHandle<()>,
}

impl Drop for TestAdmin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestAdmin {
    async fn start() -> TestAdmin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let readiness = Arc::new(Readiness::default());
        let registry = Registry::new(1);
        let sight = Sight {
            plugins: Vec::new(),
            tls: Vec::new(),
            last_reload: None,
            config_dump: Arc::new(serde_json::json!({ "filters": { "auth": { "config": "<redacted>" } } })),
            clusters: Vec::new(),
        };
        let orders = Orders::of_nobody(sight);
        let state = AdminState::new(Arc::clone(&readiness), Arc::clone(&registry), orders, None);
        let state = Arc::new(state);
        let task = tokio::spawn(async move { serve(&listener, &state).await });
        TestAdmin { address, readiness, registry, task }
    }

    /// Sends bytes and reads until the server closes.
    async fn send(&self, request: &str) -> String {
        let talk = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        tokio::time::timeout(Duration::from_secs(20), talk).await.unwrap()
    }

    async fn get(&self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost:9901\r\n\r\n")).await
    }

    async fn get_as(&self, host: &str) -> String {
        self.send(&format!("GET /live HTTP/1.1\r\nhost: {host}\r\n\r\n")).await
    }
}

#[tokio::test]
async fn live_answers_from_the_start_and_the_connection_closes() {
    let admin = TestAdmin::start().await;

    let answer = admin.get("/live").await;

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nlive\n"), "{answer}");
}

#[tokio::test]
async fn ready_follows_the_stage_and_says_what_is_not_ready() {
    let admin = TestAdmin::start().await;

    let starting = admin.get("/ready").await;
    admin.registry.beat(0, Instant::now());
    admin.registry.set_memory(Memory { resident: 64 << 20, ..Memory::default() });
    admin.readiness.set(Stage::Ready);
    let ready = admin.get("/ready").await;
    let verbose = admin.get("/ready?verbose").await;
    admin.readiness.set(Stage::Draining);
    let draining = admin.get("/ready").await;

    assert!(starting.starts_with("HTTP/1.1 503 ") && starting.contains("\r\n\r\nstage: starting"), "{starting}");
    assert!(ready.starts_with("HTTP/1.1 200 ") && ready.ends_with("\r\n\r\nready\n"), "{ready}");
    assert!(draining.starts_with("HTTP/1.1 503 ") && draining.contains("\r\n\r\nstage: draining"), "{draining}");
    let lines = "\r\n\r\nready\n[+] stage: ready\n[+] worker 0: serving\n[+] memory: 64MiB of no bound, nothing is refused\n\
                 [+] config: as at the start\n";
    assert!(verbose.starts_with("HTTP/1.1 200 ") && verbose.ends_with(lines), "{verbose}");
}

#[tokio::test]
async fn metrics_are_served_under_both_names() {
    let admin = TestAdmin::start().await;
    let _series = admin.registry.listener(0, "edge");

    for path in ["/metrics", "/stats/prometheus"] {
        let answer = admin.get(path).await;

        assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
        assert!(answer.contains("tollgate_connections_total{listener=\"edge\"} 0\n"), "{answer}");
    }
}

#[tokio::test]
async fn the_configuration_is_served_as_json() {
    let admin = TestAdmin::start().await;

    let answer = admin.get("/config_dump").await;

    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    let dump: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(dump["filters"]["auth"]["config"], "<redacted>");
}

#[tokio::test]
async fn an_unknown_path_is_not_found_and_lists_the_endpoints() {
    let admin = TestAdmin::start().await;

    let unknown = admin.get("/stats").await;
    let root = admin.get("/").await;

    assert!(unknown.starts_with("HTTP/1.1 404 ") && unknown.contains("/config_dump"), "{unknown}");
    assert!(root.starts_with("HTTP/1.1 200 ") && root.contains("/config_dump"), "{root}");
}

#[tokio::test]
async fn other_methods_are_refused_and_told_which_are_allowed() {
    let admin = TestAdmin::start().await;

    let answer = admin.send("POST /ready HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc").await;

    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
}

#[tokio::test]
async fn names_of_this_machine_are_answered() {
    let admin = TestAdmin::start().await;

    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:9901", "127.9.9.9", "[::1]:9901", "[::ffff:127.0.0.1]"] {
        let answer = admin.get_as(host).await;

        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
}

#[tokio::test]
async fn foreign_names_are_refused_with_a_sentence() {
    let admin = TestAdmin::start().await;

    for host in [
        "evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "127.0.0.1.evil.example:9901",
        "",
        "a@b",
        "a\r\nhost: localhost",
    ] {
        let answer = admin.get_as(host).await;

        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("admin answers only"), "{host}: {answer}");
    }
    let absolute = admin.send("GET http://evil.example/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(absolute.starts_with("HTTP/1.1 403 "), "{absolute}");
}

#[tokio::test]
async fn sixteen_silent_connections_are_dropped_and_the_next_one_is_served() {
    let admin = TestAdmin::start().await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(TcpStream::connect(admin.address).await.unwrap());
    }

    let answer = admin.get("/live").await;

    assert!(answer.ends_with("live\n"), "{answer}");
}
