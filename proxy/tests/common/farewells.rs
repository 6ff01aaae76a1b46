//! Peers that say much and are gone before it is heard, which what comes for them finds out; and who hears them out.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use crate::common::origin::Peer;
use crate::common::tcp::to_end;
use crate::common::{PATIENCE, until};

/// More than the sockets on the way hold as a rule.
const LENGTH: usize = 8 << 20;

/// Connections that said all and were shut, as they come to be.
pub(crate) type Gone = mpsc::Receiver<Ports>;

/// A connection as the kernel names it to one of its sides, both of which are on this machine.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    here: u16,
    there: u16,
}

impl Ports {
    fn of(stream: &TcpStream) -> io::Result<Ports> {
        Ok(Ports { here: stream.local_addr()?.port(), there: stream.peer_addr()?.port() })
    }

    /// What this side said and the kernel has not heard the arrival of, the end counted as a byte; `None` once it has forgotten the connection. See
    /// proc(5), `net/tcp`.
    fn unacknowledged(self) -> Option<usize> {
        let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        let (here, there) = (format!(":{:04X}", self.here), format!(":{:04X}", self.there));
        let mut rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = rows.find(|row| row[1].ends_with(&here) && row[2].ends_with(&there))?;
        let (unacknowledged, _unread) = row[4].split_once(':').unwrap();
        Some(usize::from_str_radix(unacknowledged, 16).unwrap())
    }

    /// Waits until the kernel has answered bytes for this side with a reset.
    pub(crate) fn wait_until_reset(self) {
        until("what came for a socket that is shut was refused", || self.unacknowledged().is_none());
    }
}

/// Says much and that this is the end, and then shuts the socket both ways. The kernel forgets what did not arrive when bytes
/// come for such a one, so that is waited for.
pub(crate) fn say(stream: &mut TcpStream) -> io::Result<Ports> {
    let ports = Ports::of(stream)?;
    stream.write_all(&vec![b'a'; LENGTH])?;
    stream.shutdown(Shutdown::Write)?;
    until("all has arrived, and the end", || ports.unacknowledged().is_none_or(|bytes| bytes == 0));
    stream.shutdown(Shutdown::Read)?;
    Ok(ports)
}

/// The script of an endpoint that hears a byte, and does this.
pub(crate) fn saying() -> (impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static, Gone) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let script = move |peer: &mut Peer| {
        peer.reader().read_exact(&mut [0])?;
        tell.lock().unwrap().send(say(peer.stream())?).map_err(io::Error::other)
    };
    (script, told)
}

/// Hears such a peer out: no more than has to be heard for the rest to be on the way, and all of that once the peer is gone
/// and was sent much that it does not hear.
pub(crate) fn hear_out(reader: &mut impl Read, mut writer: &TcpStream, gone: &Gone) {
    let mut heard = 0;
    let ports = loop {
        let patience = if heard < LENGTH { Duration::from_millis(2) } else { PATIENCE };
        match gone.recv_timeout(patience) {
            Ok(ports) => break ports,
            Err(_) => heard += hear_some(reader, heard),
        }
    };
    writer.write_all(b"refused").unwrap();
    ports.wait_until_reset();
    writer.write_all(&[b'x'; 1 << 18]).unwrap();
    writer.shutdown(Shutdown::Write).unwrap();

    while heard < LENGTH {
        heard += hear_some(reader, heard);
    }
    assert_eq!(to_end(reader).unwrap(), b"");
}

fn hear_some(reader: &mut impl Read, before: usize) -> usize {
    let mut bytes = vec![0; 1 << 16];
    let length = reader.read(&mut bytes).unwrap_or_else(|error| panic!("{error} after {before} bytes"));
    assert!(length > 0, "an end after {before} bytes");
    assert!(bytes[..length].iter().all(|byte| *byte == b'a'));
    length
}
