//! A client's end of a connection that never waits, with TLS or without.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection};

use crate::tls;

/// See the module.
pub(super) struct Wire {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

/// What one reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// All that there is for now.
    All,
    /// The peer says no more.
    Closed,
}

impl Wire {
    /// The peer's system makes the connection at once on loopback, so this waits for nobody.
    pub(super) fn connect(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Wire> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let tls = tls.map(|config| tls::connection(config).map(Box::new)).transpose()?;
        Ok(Wire { stream, tls })
    }

    /// Sends all of this. What is sent is shorter than any socket buffer, so less than all of it taken is an error. Before
    /// hands are shaken it is kept until then.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            return flush(tls, &mut self.stream);
        }
        match self.stream.write(bytes)? {
            written if written == bytes.len() => Ok(()),
            _ => Err(io::Error::other("a request was taken in part")),
        }
    }

    /// Gives what there is to `take`, piece by piece, through `buffer`.
    pub(super) fn receive(
        &mut self,
        buffer: &mut [u8],
        mut take: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<Reading, String> {
        let Some(tls) = &mut self.tls else {
            // What is left after a full buffer has the events tell again.
            return match tried(self.stream.read(buffer))? {
                None => Ok(Reading::All),
                Some(0) => Ok(Reading::Closed),
                Some(read) => take(buffer.get(..read).unwrap_or_default()).map(|()| Reading::All),
            };
        };
        loop {
            match tried(tls.read_tls(&mut self.stream))? {
                None => return Ok(Reading::All),
                Some(0) => return Ok(Reading::Closed),
                Some(_) => {}
            }
            tls.process_new_packets().map_err(|error| error.to_string())?;
            flush(tls, &mut self.stream).map_err(|error| error.to_string())?;
            while let Some(read) = tried(tls.reader().read(buffer))?.filter(|read| *read > 0) {
                take(buffer.get(..read).unwrap_or_default())?;
            }
        }
    }

    /// Tells the peer that nothing more comes.
    pub(super) fn end(&self) {
        // It may have closed already.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn flush(tls: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(stream)?;
    }
    Ok(())
}

/// `None` where there is nothing yet.
fn tried(outcome: io::Result<usize>) -> Result<Option<usize>, String> {
    match outcome {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
