//! What a client's connection costs that does nothing: KiB of resident memory for each of many, over HTTP/1.1 and HTTP/2,
//! each without TLS and with it.
//!
//! Each asks once, so that everything a connection gets with its first request is there. What the kernel keeps for a socket
//! is not in it. Nothing is judged.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;
use tollgate_benches::memory::resident;
use tollgate_benches::process::Process;
use tollgate_benches::target::free_address;
use tollgate_benches::tls::{self, Identity};

/// Connections before the first look, so that what is made once is made.
const FIRST: usize = 200;
/// How long connections are left alone before the second look.
const REST: Duration = Duration::from_secs(2);
/// How often a program that starts is looked at, and how often at most.
const LOOKS: (Duration, u32) = (Duration::from_millis(50), 200);
const KIB: f64 = 1024.0;

/// What idle connections cost
#[derive(Parser)]
struct Arguments {
    /// The program
    #[arg(long, default_value = "target/dist/tollgate")]
    tollgate: PathBuf,
    /// Connections of each protocol
    #[arg(long, default_value_t = 8000)]
    connections: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    raise()?;
    let mut out = io::stdout().lock();
    for (name, way) in WAYS {
        let bytes = measure(&arguments, way).with_context(|| name.to_owned())?;
        let each = bytes as f64 / arguments.connections as f64 / KIB;
        writeln!(out, "{name}: {} idle connections, {each:.1} KiB each", arguments.connections)?;
        out.flush()?;
    }
    Ok(())
}

/// A stream, with TLS or without.
trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// What is spoken.
#[derive(Clone, Copy)]
struct Way {
    /// Asks once, and waits for the answer.
    ask: fn(&mut dyn Stream) -> io::Result<()>,
    /// With TLS: what is offered.
    tls: Option<&'static str>,
}

const WAYS: [(&str, Way); 4] = [
    ("HTTP/1.1", Way { ask: http1, tls: None }),
    ("HTTP/2", Way { ask: http2, tls: None }),
    ("HTTP/1.1 with TLS", Way { ask: http1, tls: Some("http/1.1") }),
    ("HTTP/2 with TLS", Way { ask: http2, tls: Some("h2") }),
];

/// As many descriptors as the system allows.
fn raise() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

/// How many bytes the proxy has grown by.
fn measure(arguments: &Arguments, way: Way) -> anyhow::Result<u64> {
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let file = folder.path().join("tollgate.yaml");
    let limits = "limits: { idle_timeout: 1h, connections: 100000 }";
    let identity = Identity::make(folder.path())?;
    let (tls, client) = match way.tls {
        Some(protocol) => (format!("  {}\n", identity.listener("")), Some(identity.client(protocol)?)),
        None => (String::new(), None),
    };
    let listener = format!("listeners:\n- listen: {address}\n{tls}  routes: [{{ to: echo }}]\n");
    fs::write(&file, format!("workers: 1\nadmin: off\ncache: off\n{limits}\n{listener}"))?;
    let words = [arguments.tollgate.clone().into(), "run".into(), "--config".into(), file.into()];
    let proxy = Process::start("tollgate", words, folder.path().join("log"))?;
    await_start(address)?;
    let speak = |count| open(address, count, way.ask, client.as_ref());
    let mut clients = speak(FIRST)?;
    let before = resident(proxy.id())?;
    clients.extend(speak(arguments.connections)?);
    std::thread::sleep(REST);
    let after = resident(proxy.id())?;
    drop(clients);
    Ok(after.saturating_sub(before))
}

fn await_start(address: SocketAddr) -> anyhow::Result<()> {
    let (pause, most) = LOOKS;
    let begun = (0..most).any(|_| {
        let is_there = TcpStream::connect(address).is_ok();
        if !is_there {
            std::thread::sleep(pause);
        }
        is_there
    });
    ensure!(begun, "the proxy does not listen at {address}");
    Ok(())
}

fn open(
    address: SocketAddr,
    count: usize,
    ask: fn(&mut dyn Stream) -> io::Result<()>,
    tls: Option<&Arc<ClientConfig>>,
) -> anyhow::Result<Vec<TcpStream>> {
    let connect = |_| {
        let mut client = TcpStream::connect(address)?;
        client.set_read_timeout(Some(Duration::from_secs(20)))?;
        let Some(config) = tls else {
            ask(&mut client)?;
            return Ok(client);
        };
        let mut secured = tls::stream(config, client)?;
        ask(&mut secured)?;
        // The client's own state is of no more use.
        Ok(secured.into_parts().1)
    };
    (0..count).map(connect).collect()
}

fn http1(client: &mut dyn Stream) -> io::Result<()> {
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    answered(client)
}

/// The preface, settings, and a GET of the static table (RFC 7541 appendix A); then the acknowledgement of settings.
fn http2(client: &mut dyn Stream) -> io::Result<()> {
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
    client.write_all(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x01\x01a")?;
    answered(client)?;
    client.write_all(b"\0\0\0\x04\x01\0\0\0\0")
}

/// The echo's answer ends with a brace and a line.
fn answered(client: &mut dyn Stream) -> io::Result<()> {
    let (mut answer, mut some) = (Vec::new(), [0; 4096]);
    while !answer.windows(2).any(|end| end == b"}\n") {
        let length = client.read(&mut some)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(some.get(..length).unwrap_or_default());
    }
    Ok(())
}
