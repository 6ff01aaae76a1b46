//! An origin that reads whole requests as bytes, whatever is in them, and answers each.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::reference::{Request, sorted};

pub(crate) struct RawOrigin {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    closing: AtomicBool,
    requests: Mutex<Vec<Request>>,
}

impl RawOrigin {
    pub(crate) fn start() -> RawOrigin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let known = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if known.closing.load(SeqCst) {
                    return;
                }
                let known = Arc::clone(&known);
                // A connection that breaks off ends its thread; what was whole has been kept.
                thread::spawn(move || drop(serve(stream, &known)));
            }
        });
        RawOrigin { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests that were read, oldest first, and forgotten with this.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }
}

impl Drop for RawOrigin {
    fn drop(&mut self) {
        self.shared.closing.store(true, SeqCst);
        // Ends the wait for the next connection.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let request = read(&mut reader)?;
        shared.requests.lock().unwrap().push(request);
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}

/// What a proxy sends is framed in one way alone; anything else ends the connection.
fn read(reader: &mut impl BufRead) -> io::Result<Request> {
    let start = line(reader)?;
    let words: Vec<&[u8]> = start.split(|byte| *byte == b' ').collect();
    let [method, target, b"HTTP/1.1"] = words[..] else { return Err(bad()) };
    let (mut length, mut is_chunked, mut host, mut fields) = (0, false, Vec::new(), Vec::new());
    loop {
        let field = line(reader)?;
        if field.is_empty() {
            break;
        }
        let colon = field.windows(2).position(|pair| pair == b": ").ok_or_else(bad)?;
        let (name, value) = (field[..colon].to_vec(), field[colon + 2..].to_vec());
        match &name[..] {
            b"content-length" => {
                length = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()).ok_or_else(bad)?;
            }
            b"transfer-encoding" if value == b"chunked" => is_chunked = true,
            b"host" => host = value,
            _ => fields.push((name, value)),
        }
    }
    let (method, target, fields) = (method.to_vec(), target.to_vec(), sorted(fields));
    let body = body(reader, length, is_chunked)?;
    Ok(Request { method, target, host, fields, body })
}

fn body(reader: &mut impl BufRead, length: u64, is_chunked: bool) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if !is_chunked {
        exactly(reader, length, &mut body)?;
        return Ok(body);
    }
    loop {
        let size = line(reader)?;
        let size =
            std::str::from_utf8(&size).ok().and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or_else(bad)?;
        exactly(reader, size, &mut body)?;
        // Behind the last chunk this is the end of a section that may hold trailers.
        while !line(reader)?.is_empty() {}
        if size == 0 {
            return Ok(body);
        }
    }
}

fn exactly(reader: &mut impl BufRead, length: u64, into: &mut Vec<u8>) -> io::Result<()> {
    let copied = io::copy(&mut reader.take(length), into)?;
    if copied == length { Ok(()) } else { Err(bad()) }
}

fn line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    line.strip_suffix(b"\r\n").map(<[u8]>::to_vec).ok_or_else(bad)
}

fn bad() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
