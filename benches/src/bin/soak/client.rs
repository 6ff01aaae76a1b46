//! One HTTP/1.1 connection for questions asked one after the other, each waited for.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tollgate_benches::http;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// See the module.
pub(crate) struct Client {
    stream: TcpStream,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Its status.
    pub(crate) status: u16,
    /// Its head.
    pub(crate) head: String,
}

impl Reply {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client { stream })
    }

    /// The socket itself.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// GET with these further lines of the head, each with its line end.
    pub(crate) fn ask(&mut self, path: &str, lines: &str) -> io::Result<Reply> {
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: soak.test\r\n{lines}\r\n").as_bytes())?;
        self.reply()
    }

    /// Any method, with a body.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Reply> {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(body)?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match self.stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => bytes.extend_from_slice(piece.get(..read).unwrap_or_default()),
            }
            if let Some(answer) = http::answer(&bytes).map_err(io::Error::other)? {
                bytes.truncate(answer.head);
                let head = String::from_utf8(bytes).map_err(io::Error::other)?;
                return Ok(Reply { status: answer.status, head });
            }
        }
    }
}

/// A page of the admin endpoints, whole.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}
