//! Bodies that are larger than any memory they may take: streamed both ways, and held back by whoever does not read.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use common::origin::{Origin, ok};
use common::proxy::TestProxy;
use common::tcp::settled;
use common::wire::{self, Kind};

const GIB: u64 = 1 << 30;
const CHUNK: usize = 1 << 18;
/// What a gibibyte on its way may add to the memory of the process: client, proxy and origin together.
const ROOM: u64 = 64 << 20;

/// Memory is the process's, so one test at a time looks at it.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that the process has in memory.
fn resident() -> u64 {
    let page = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = page.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Writes `length` bytes and returns how much memory they took at the worst moment.
fn pour(stream: &mut TcpStream, length: u64) -> std::io::Result<u64> {
    let (before, chunk, mut most) = (resident(), vec![b'x'; CHUNK], 0);
    let mut left = length;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        stream.write_all(&chunk[..size])?;
        left -= size as u64;
        most = most.max(resident().saturating_sub(before));
    }
    Ok(most)
}

/// Counts bytes and forgets them.
#[derive(Default)]
struct Tally(u64);

impl Write for Tally {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// With no filter, and with one that looks at every byte and lets it go.
fn chains() -> [String; 2] {
    let noop = common::modules::filter("probe");
    [
        String::new(),
        format!(
            "filters: [{{ wasm: {noop:?}, config: {{ request_body: [body-len], response_body: [body-len] }}, budget: {{ time: 1s }} }}]"
        ),
    ]
}

#[test]
fn a_gibibyte_is_downloaded_in_little_memory() {
    let _alone = alone();
    for chain in chains() {
        let most = Arc::new(AtomicU64::new(u64::MAX));
        let seen = Arc::clone(&most);
        let origin = Origin::scripted(move |peer| {
            peer.request()?;
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {GIB}\r\n\r\n"))?;
            seen.store(pour(peer.stream(), GIB)?, SeqCst);
            peer.wait_for_end()
        });
        let proxy = TestProxy::with(&format!("{chain}\nroutes: [{{ to: {:?} }}]", origin.url()));
        let mut client = proxy.client();

        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let (head, mut tally) = (client.head(), Tally::default());
        wire::copy_body(client.reader(), &head, Kind::Answer, &mut tally).unwrap();

        assert_eq!((head.status(), tally.0), (200, GIB));
        assert!(most.load(SeqCst) < ROOM, "{} MiB, {chain:?}", most.load(SeqCst) >> 20);
    }
}

#[test]
fn a_gibibyte_is_uploaded_in_little_memory() {
    let _alone = alone();
    for chain in chains() {
        let origin = Origin::scripted(|peer| {
            let (head, mut tally) = (peer.head()?, Tally::default());
            wire::copy_body(peer.reader(), &head, Kind::Request, &mut tally)?;
            peer.send(ok(&tally.0.to_string()))
        });
        let proxy = TestProxy::with(&format!("{chain}\nroutes: [{{ to: {:?} }}]", origin.url()));
        let mut client = proxy.client();

        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {GIB}\r\n\r\n"));
        let most = pour(client.stream(), GIB).unwrap();
        let answer = client.answer();

        assert_eq!(answer.text(), GIB.to_string());
        assert!(most < ROOM, "{} MiB, {chain:?}", most >> 20);
    }
}

#[test]
fn a_gibibyte_goes_each_way_through_a_tcp_listener_in_little_memory() {
    let _alone = alone();
    let origin = Origin::scripted(|peer| {
        let mut writer = peer.stream().try_clone()?;
        let pouring = thread::spawn(move || pour(&mut writer, GIB).unwrap());
        std::io::copy(&mut peer.reader().take(GIB), &mut Tally::default())?;
        pouring.join().unwrap();
        peer.wait_for_end()
    });
    let proxy = TestProxy::with(&format!(
        "listeners: [{{ listen: \"127.0.0.1:0\", tcp: {{ to: \"tcp://{}\" }} }}]",
        origin.address()
    ));
    let mut client = proxy.client();
    let mut writer = client.stream().try_clone().unwrap();

    let pouring = thread::spawn(move || pour(&mut writer, GIB).unwrap());
    let mut tally = Tally::default();
    std::io::copy(&mut client.reader().take(GIB), &mut tally).unwrap();
    let most = pouring.join().unwrap();

    assert_eq!(tally.0, GIB);
    assert!(most < ROOM, "{} MiB", most >> 20);
}

#[test]
fn a_client_that_does_not_read_holds_the_origin_back() {
    let _alone = alone();
    for chain in chains() {
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let origin = Origin::scripted(move |peer| {
            peer.request()?;
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {GIB}\r\n\r\n"))?;
            let chunk = vec![b'x'; CHUNK];
            for _ in 0..GIB / CHUNK as u64 {
                peer.send(&chunk)?;
                counter.fetch_add(CHUNK as u64, SeqCst);
            }
            Ok(())
        });
        let proxy = TestProxy::with(&format!("{chain}\nroutes: [{{ to: {:?} }}]", origin.url()));
        let (mut client, before) = (proxy.client(), resident());

        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let stood_at = settled(&sent);

        assert!(stood_at < ROOM, "the origin could send {} MiB", stood_at >> 20);
        let grown = resident().saturating_sub(before);
        assert!(grown < ROOM, "{} MiB", grown >> 20);
    }
}

#[test]
fn an_origin_that_does_not_read_holds_the_client_back() {
    let _alone = alone();
    for chain in chains() {
        let origin = Origin::scripted(|peer| {
            peer.head()?;
            thread::park_timeout(common::PATIENCE);
            Ok(())
        });
        let proxy = TestProxy::with(&format!("{chain}\nroutes: [{{ to: {:?} }}]", origin.url()));
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let (mut client, before) = (proxy.client(), resident());
        let mut stream = client.stream().try_clone().unwrap();

        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {GIB}\r\n\r\n"));
        let sender = thread::spawn(move || {
            let chunk = vec![b'x'; CHUNK];
            while stream.write_all(&chunk).is_ok() {
                counter.fetch_add(CHUNK as u64, SeqCst);
            }
        });
        let stood_at = settled(&sent);

        assert!(stood_at < ROOM, "the client could send {} MiB", stood_at >> 20);
        let grown = resident().saturating_sub(before);
        assert!(grown < ROOM, "{} MiB", grown >> 20);
        drop(proxy);
        // The proxy may have hung up already.
        let _ = client.stream().shutdown(std::net::Shutdown::Both);
        sender.join().unwrap();
    }
}
