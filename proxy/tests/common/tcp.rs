//! Raw connections through a proxy, the endpoints they lead to, and guests that filter them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{LazyLock, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::modules::Guest;
use crate::common::origin::{Origin, Peer};
use crate::common::proxy::TestProxy;
use crate::common::{PATIENCE, until};

/// A new connection to the first listener.
pub(crate) fn connect(proxy: &TestProxy) -> TcpStream {
    try_connect(proxy).unwrap()
}

/// A new connection, which may be refused.
pub(crate) fn try_connect(proxy: &TestProxy) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&proxy.address(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    Ok(stream)
}

/// True when a new connection is reset before a byte: so early that connecting may already fail.
pub(crate) fn is_refused(proxy: &TestProxy) -> bool {
    is_reset(&try_connect(proxy).and_then(|mut stream| to_end(&mut stream)))
}

/// True where a peer closed with RST.
pub(crate) fn is_reset(outcome: &io::Result<Vec<u8>>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

/// All that comes up to the end.
pub(crate) fn to_end(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map(|_| bytes)
}

/// That many bytes.
pub(crate) fn take(stream: &mut impl Read, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// The same, as text.
pub(crate) fn exactly(stream: &mut impl Read, length: usize) -> String {
    String::from_utf8(take(stream, length)).unwrap()
}

/// An endpoint that says back what it hears.
pub(crate) fn echo() -> Origin {
    echo_at(TcpListener::bind("127.0.0.1:0").unwrap())
}

/// The same at an address that was bound already.
pub(crate) fn echo_at(listener: TcpListener) -> Origin {
    Origin::listening(listener, |peer| {
        let mut bytes = vec![0; 1 << 16];
        loop {
            match peer.read(&mut bytes)? {
                0 => return Ok(()),
                length => peer.send(&bytes[..length])?,
            }
        }
    })
}

/// Tells the test what endpoints hear.
pub(crate) struct Ear(Mutex<mpsc::Sender<Result<Vec<u8>, ErrorKind>>>);

impl Ear {
    /// Hears a connection up to its end, or how it breaks off, and tells that.
    pub(crate) fn hear(&self, peer: &mut Peer) -> io::Result<()> {
        let heard = to_end(peer.reader()).map_err(|error| error.kind());
        self.0.lock().unwrap().send(heard).unwrap();
        Ok(())
    }
}

/// One for a script, and where the test is told.
pub(crate) fn ear() -> (Ear, mpsc::Receiver<Result<Vec<u8>, ErrorKind>>) {
    let (tell, told) = mpsc::channel();
    (Ear(Mutex::new(tell)), told)
}

/// An endpoint that says this and that it is the end, hears on, and tells the test all it heard.
pub(crate) fn speaking_first(greeting: &'static str) -> (Origin, mpsc::Receiver<Result<Vec<u8>, ErrorKind>>) {
    let (ear, told) = ear();
    let origin = Origin::scripted(move |peer| {
        peer.send(greeting)?;
        peer.stream().shutdown(Shutdown::Write)?;
        ear.hear(peer)
    });
    (origin, told)
}

/// An endpoint that tells the test all it heard, once it has heard the end, and says goodbye.
pub(crate) fn listening() -> (Origin, mpsc::Receiver<Result<Vec<u8>, ErrorKind>>) {
    let (ear, told) = ear();
    let origin = Origin::scripted(move |peer| {
        ear.hear(peer)?;
        peer.send("bye")
    });
    (origin, told)
}

/// A piece of a long message, which is repeated. Its length is a prime, so that what is lost, shifted or comes twice shows.
fn piece() -> &'static [u8] {
    static PIECE: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..65_521_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect());
    &PIECE
}

/// The byte of it that stands there.
pub(crate) fn pattern(at: usize) -> u8 {
    piece()[at % piece().len()]
}

/// The lengths of the pieces of a message of so many bytes.
fn pieces(length: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by(piece().len()).map(move |start| piece().len().min(length - start))
}

/// Writes so much of it.
pub(crate) fn pour(stream: &mut impl Write, length: usize) {
    pieces(length).for_each(|length| stream.write_all(&piece()[..length]).unwrap());
}

/// Reads so much of it, and fails where a byte is another one.
pub(crate) fn check(stream: &mut impl Read, length: usize) {
    let mut bytes = vec![0; piece().len()];
    for length in pieces(length) {
        stream.read_exact(&mut bytes[..length]).unwrap();
        assert!(bytes[..length] == piece()[..length]);
    }
}

/// The script of an endpoint that says so much of it while it hears as much, and waits for the end.
pub(crate) fn pouring(length: usize) -> impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static {
    move |peer| {
        let mut writer = peer.stream().try_clone()?;
        let pouring = thread::spawn(move || pour(&mut writer, length));
        check(peer.reader(), length);
        pouring.join().unwrap();
        peer.wait_for_end()
    }
}

/// The script of an endpoint that says more than the kernel takes for whoever does not listen, and where the test is told how
/// that ended.
pub(crate) fn overflowing()
-> (impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static, mpsc::Receiver<Result<(), ErrorKind>>) {
    let (tell, told) = mpsc::channel();
    // Made beforehand: that takes its time, in which nothing would move.
    let (tell, bytes) = (Mutex::new(tell), vec![b'x'; 64 << 20]);
    let script = move |peer: &mut Peer| {
        let said = peer.send(&bytes).map_err(|error| error.kind());
        tell.lock().unwrap().send(said).unwrap();
        Ok(())
    };
    (script, told)
}

/// What the client of one that pours does: it says so much, and that this is the end, while it hears as much.
pub(crate) fn pour_and_check(reader: &mut impl Read, mut writer: TcpStream, length: usize) {
    let pouring = thread::spawn(move || {
        pour(&mut writer, length);
        writer.shutdown(Shutdown::Write).unwrap();
    });
    check(reader, length);
    pouring.join().unwrap();
}

/// The number once it has stopped to grow.
pub(crate) fn settled(number: &AtomicU64) -> u64 {
    let (mut last, mut since) = (number.load(SeqCst), Instant::now());
    until("the sender is held back", || {
        let now = number.load(SeqCst);
        if now != last || now == 0 {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(300)
    });
    last
}

/// What the guests of these tests have in common. Their allocator hands out one place, which is enough for one value.
const PRELUDE: &str = r#"
  (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
  (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $turn_to (param i32) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $tick_every (param i32) (result i32)))
  (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (memory (export "memory") 3)
  (global $first (mut i32) (i32.const 0))
  (global $open (mut i32) (i32.const 0))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $tick_every (i32.const 10))) (i32.const 1))
  ;; Puts bytes behind what buffer $b holds.
  (func $append (param $b i32) (param $at i32) (param $n i32)
    (drop (call $set (local.get $b) (i32.const 0x7fffffff) (i32.const 0) (local.get $at) (local.get $n))))
"#;

/// A guest with these callbacks.
pub(crate) fn guest(body: &str) -> Guest {
    Guest::from_wat(&format!("(module {PRELUDE} {body})"))
}

/// A proxy that passes connections through these filters; each has a name, a guest and further settings.
pub(crate) fn proxy_with(limits: &str, to: SocketAddr, filters: &[(&str, &Guest, &str)]) -> TestProxy {
    let one = |(name, guest, settings): &(&str, &Guest, &str)| {
        format!("  {name}: {{ wasm: {:?}, budget: {{ time: 1s }}, {settings} }}\n", guest.path())
    };
    let names: Vec<_> = filters.iter().map(|(name, ..)| *name).collect();
    TestProxy::with(&format!(
        "limits: {{ {limits} }}\nfilters:\n{}listeners: [{{ name: raw, listen: \"127.0.0.1:0\", tcp: {{ to: \"tcp://{to}\", filters: [{}] }} }}]",
        filters.iter().map(one).collect::<String>(),
        names.join(", ")
    ))
}

/// One filter that may not fail.
pub(crate) fn filtered(to: SocketAddr, body: &str) -> TestProxy {
    proxy_with("", to, &[("f", &guest(body), "on_error: deny")])
}

/// How often the filter `f` was entered for a callback.
pub(crate) fn calls(proxy: &TestProxy, phase: &str) -> f64 {
    proxy.metric("tollgate_filter_calls_total", &["filter=\"f\"", &format!("phase=\"{phase}\"")])
}

/// The second connection lets the first one go on, which had paused at its beginning.
pub(crate) const HELD_AT_THE_DOOR: &str = r#"
  (func (export "proxy_on_new_connection") (param i32) (result i32)
    (if (i32.eqz (global.get $first)) (then
      (global.set $first (local.get 0))
      (return (i32.const 1))))
    (drop (call $turn_to (global.get $first)))
    (drop (call $continue (i32.const 2)))
    (i32.const 0))"#;
