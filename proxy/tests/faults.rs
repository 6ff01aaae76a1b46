//! What goes wrong around a proxy: disks, files, processes, clocks and signals. It serves on, and says what was wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "faults/clock.rs"]
mod clock;
#[path = "common/common.rs"]
mod common;
#[path = "faults/compiling.rs"]
mod compiling;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/files.rs"]
mod files;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;

use common::client::Client;
use common::modules::Guest;
use common::process::Tollgate;
use common::until;

/// Everything is answered by the echo, after a module.
fn config(module: &Guest, more: &str) -> String {
    let path = module.path();
    format!(
        "admin: {{ listen: \"127.0.0.1:0\" }}\nlisten: 127.0.0.1:0\n{more}\n\
         filters: {{ mine: {{ wasm: {path:?}, budget: {{ time: 1s }} }} }}\nroutes: [{{ to: echo, filters: [mine] }}]\n"
    )
}

/// What the module that serves says.
fn word(address: SocketAddr) -> String {
    let mut client = Client::connect(address);
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    client.answer().field("x-by").unwrap_or_default().to_owned()
}

fn until_it_says(address: SocketAddr, wanted: &str) {
    until(&format!("the module says {wanted:?}"), || word(address) == wanted);
}

/// Waits for a line of the log with all these parts behind its first `from` bytes.
fn until_logged(tollgate: &Tollgate, from: usize, parts: &[&str]) {
    let logged = || tollgate.log()[from..].lines().any(|line| parts.iter().all(|part| line.contains(part)));
    until(&format!("the log has {parts:?} in {}", tollgate.log()), logged);
}

/// Puts a text in place of a file, whole.
fn put(path: &Path, text: &str) {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

/// A client that asks all the while on one connection.
struct Asking {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Asking {
    fn of(address: SocketAddr) -> Asking {
        let enough = Arc::<AtomicBool>::default();
        let told = Arc::clone(&enough);
        let mut client = Client::connect(address);
        let thread = std::thread::spawn(move || {
            let mut words: Vec<String> = Vec::new();
            loop {
                // Asked once more after the end is told, so that it hears what serves by then.
                let is_last = told.load(SeqCst);
                client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
                let answer = client.answer();
                assert_eq!(answer.status(), 200);
                words.push(answer.field("x-by").unwrap().to_owned());
                words.dedup();
                if is_last {
                    return words;
                }
            }
        });
        Asking { enough, thread }
    }

    /// What it was told, one after the other without what is the same; every answer was good.
    fn heard(self) -> Vec<String> {
        self.enough.store(true, SeqCst);
        self.thread.join().unwrap()
    }
}
