//! A client that writes what it is told and reads one message at a time.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::common::PATIENCE;
use crate::common::wire::{self, Kind, Message};

/// One connection to a proxy.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects; every later wait is bounded.
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the proxy accepts connections");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { reader: BufReader::with_capacity(1 << 16, stream) }
    }

    /// The socket itself.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.reader.get_mut()
    }

    /// Writes all of it.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the proxy takes what is sent");
    }

    /// Writes all of it, unless the proxy hangs up.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream().write_all(bytes.as_ref())
    }

    /// Says that nothing more will be sent.
    pub(crate) fn end(&mut self) {
        self.stream().shutdown(Shutdown::Write).unwrap();
    }

    /// The next final answer, whole.
    pub(crate) fn answer(&mut self) -> Message {
        self.try_answer().expect("a whole answer")
    }

    /// The next final answer, or why there is no whole one.
    pub(crate) fn try_answer(&mut self) -> io::Result<Message> {
        let mut answer = self.try_head()?;
        wire::read_body(&mut self.reader, &mut answer, Kind::Answer)?;
        Ok(answer)
    }

    /// The next answer, to a HEAD request.
    pub(crate) fn answer_to_head(&mut self) -> Message {
        let mut answer = self.head();
        wire::read_body(&mut self.reader, &mut answer, Kind::AnswerToHead).unwrap();
        answer
    }

    /// The head of the next final answer; its body is still to be read.
    pub(crate) fn head(&mut self) -> Message {
        self.try_head().expect("the head of an answer")
    }

    /// The head of the next final answer, or why there is none.
    pub(crate) fn try_head(&mut self) -> io::Result<Message> {
        let mut interim = Vec::new();
        loop {
            let head = wire::read_head(&mut self.reader)?.ok_or(ErrorKind::UnexpectedEof)?;
            if head.status() >= 200 {
                return Ok(Message { interim, ..head });
            }
            interim.push(head);
        }
    }

    /// One message head, interim or not.
    pub(crate) fn any_head(&mut self) -> Message {
        wire::read_head(&mut self.reader).unwrap().expect("the head of an answer")
    }

    /// The rest of a message whose head was read.
    pub(crate) fn body(&mut self, head: &mut Message) -> io::Result<()> {
        wire::read_body(&mut self.reader, head, Kind::Answer)
    }

    /// Reads some bytes as they come.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reader.read(into)
    }

    /// The bytes as they come.
    pub(crate) fn reader(&mut self) -> &mut impl BufRead {
        &mut self.reader
    }

    /// Waits for the proxy to close, and fails when it says anything more.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            // Closed with bytes of ours unread.
            Err(error) => error.kind() == ErrorKind::ConnectionReset && rest.is_empty(),
        }
    }
}
