//! Modules that differ in one word that their exchanges carry, and clients that notice which one they got.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use serde_json::Value;

use crate::common::client::Client;
use crate::common::wire::Message;
use crate::common::{h2, until};

/// A filter that says `word` in the field `x-by` of every answer.
pub(crate) fn speaker(word: &str) -> Vec<u8> {
    module(word, "")
}

/// The same, which hears of bodies and of the end as well.
pub(crate) fn hearing(word: &str) -> Vec<u8> {
    module(
        word,
        r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "proxy_on_done") (param i32) (result i32) (i32.const 1))
        (func (export "proxy_on_log") (param i32))"#,
    )
}

/// A filter that says `word` in the field `x-by` of every request and of every answer.
pub(crate) fn stamper(word: &str) -> Vec<u8> {
    let length = word.len();
    let stamp = format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $add (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 16) (i32.const {length})))
            (i32.const 0))"#
    );
    module(word, &stamp)
}

/// The speaker with further functions in WAT. `$add` adds a field to a map, `$set` writes to a buffer, `$log` a line;
/// `malloc` allocates the same place each time.
pub(crate) fn module(word: &str, more: &str) -> Vec<u8> {
    let length = word.len();
    let text = format!(
        r#"(module
        (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (memory (export "memory") 2)
        (data (i32.const 0) "x-by")
        (data (i32.const 16) "{word}")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_on_context_create") (param i32 i32))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (drop (call $add (i32.const 2) (i32.const 0) (i32.const 4) (i32.const 16) (i32.const {length})))
            (i32.const 0))
        {more})"#
    );
    wat::parse_str(&text).expect("a guest in WAT")
}

/// The same module in other bytes: a section that nobody reads is added.
pub(crate) fn variant(module: &[u8], byte: u8) -> Vec<u8> {
    [module, &[0, 3, 1, b'v', byte]].concat()
}

/// What the stampers of one exchange with the echo wrote: on the request, and on the answer. Fails unless each is one word.
pub(crate) fn words(status: u16, by: &[&str], body: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(body);
    let asked: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error} in {status} {text}"));
    let asked = asked["headers"]["x-by"].as_str().unwrap_or_else(|| panic!("not one stamp in {text}"));
    assert_eq!((status, by.len()), (200, 1), "{text}");
    (asked.to_owned(), by[0].to_owned())
}

/// A client that keeps its connection, and looks at every answer of the echo.
pub(crate) struct Looker {
    client: Client,
    /// The word of the last answer.
    pub(crate) last: String,
    /// Answers so far.
    pub(crate) answers: usize,
}

impl Looker {
    /// One with a connection of its own.
    pub(crate) fn new(address: SocketAddr) -> Looker {
        Looker { client: Client::connect(address), last: String::new(), answers: 0 }
    }

    /// One exchange; fails when it failed, has two generations, or an older one than the exchange before. Words grow.
    pub(crate) fn look(&mut self) {
        self.client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer: Message = self.client.answer();
        let (asked, answered) = words(answer.status(), &answer.all("x-by"), &answer.body);
        assert_eq!(asked, answered, "one exchange saw two generations");
        assert!(answered >= self.last, "{answered} came after {} on one connection", self.last);
        self.last = answered;
        self.answers += 1;
    }
}

/// What clients were told while something happened.
#[derive(Default)]
pub(crate) struct Heard {
    /// Answers, of all clients together.
    pub(crate) answers: usize,
    /// Every word that was in one.
    pub(crate) words: BTreeSet<String>,
}

impl Heard {
    fn take(&mut self, word: &str) {
        self.answers += 1;
        if !self.words.contains(word) {
            self.words.insert(word.to_owned());
        }
    }
}

/// Clients of both protocols, each on a connection of its own, that look at each answer from before `swap` to after it.
pub(crate) fn under_load(address: SocketAddr, swap: impl FnOnce()) -> Heard {
    let (stop, begun) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let plain = || look_by_h1(address, &stop, &begun);
        let by_h2 = || look_by_h2(address, &stop, &begun);
        let clients = [scope.spawn(plain), scope.spawn(plain), scope.spawn(by_h2)];
        // Clients must not run for ever when the swaps fail.
        let swapped = catch_unwind(AssertUnwindSafe(|| {
            until("every client was answered", || begun.load(SeqCst) == clients.len());
            swap();
        }));
        stop.store(true, SeqCst);
        let mut all = Heard::default();
        for client in clients {
            let heard = client.join().expect("a client that saw nothing wrong");
            all.answers += heard.answers;
            all.words.extend(heard.words);
        }
        swapped.unwrap_or_else(|panic| resume_unwind(panic));
        all
    })
}

fn look_by_h1(address: SocketAddr, stop: &AtomicBool, begun: &AtomicUsize) -> Heard {
    let (mut looker, mut heard) = (Looker::new(address), Heard::default());
    loop {
        // Asked once more after the end is told, so that it hears what serves by then.
        let is_last = stop.load(SeqCst);
        looker.look();
        heard.take(&looker.last);
        if heard.answers == 1 {
            begun.fetch_add(1, SeqCst);
        }
        if is_last {
            return heard;
        }
    }
}

/// Four exchanges at a time on one connection; none of them may be older than those of the round before.
fn look_by_h2(address: SocketAddr, stop: &AtomicBool, begun: &AtomicUsize) -> Heard {
    let (mut newest, mut heard, mut is_over) = (String::new(), Heard::default(), false);
    while !is_over {
        // Each conversation is bounded, so a connection lives for some rounds only.
        (newest, heard, is_over) = h2::talk(address, |mut sender| async move {
            for _ in 0..50 {
                let is_last = stop.load(SeqCst);
                let mut asked = Vec::new();
                for _ in 0..4 {
                    sender.ready().await.unwrap();
                    asked.push(sender.send_request(h2::get("/")));
                }
                let floor = newest.clone();
                for answer in asked {
                    let answer = h2::whole(answer.await.unwrap()).await.unwrap();
                    let by: Vec<_> = answer.headers.get_all("x-by").iter().map(|by| by.to_str().unwrap()).collect();
                    let (asked, answered) = words(answer.status, &by, &answer.body);
                    assert_eq!(asked, answered, "one exchange saw two generations");
                    assert!(answered >= floor, "{answered} came after {floor} on one connection");
                    heard.take(&answered);
                    newest = newest.max(answered);
                }
                if heard.answers == 4 {
                    begun.fetch_add(1, SeqCst);
                }
                if is_last {
                    return (newest, heard, true);
                }
            }
            (newest, heard, false)
        });
    }
    heard
}
