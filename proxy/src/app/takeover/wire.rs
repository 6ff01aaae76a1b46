//! How sockets go from one process to the next: a line of JSON that names them, then the sockets themselves.
//!
//! Both ends may be of different versions; what the line does not say in the expected form is refused.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use super::{Estate, Left};

/// What the line begins with.
const MAGIC: [u8; 8] = *b"TGTAKE2\n";
/// Bytes of the line.
const LINE: usize = 1 << 20;
/// Sockets in one message; the kernel takes 253.
const BATCH: usize = 64;

/// The line.
#[derive(Serialize, Deserialize)]
struct Names {
    listeners: Vec<Name>,
    admin: Option<Name>,
}

#[derive(Serialize, Deserialize)]
struct Name {
    address: SocketAddr,
    sockets: usize,
}

impl From<&Left> for Name {
    fn from(left: &Left) -> Self {
        Self { address: left.written, sockets: left.sockets.len() }
    }
}

/// Sends everything; the copies stay with the caller.
pub(super) fn send(mut stream: &UnixStream, estate: &Estate) -> io::Result<()> {
    let names = Names {
        listeners: estate.listeners.iter().map(Name::from).collect(),
        admin: estate.admin.as_ref().map(Name::from),
    };
    let line = serde_json::to_vec(&names)?;
    let length = u32::try_from(line.len()).map_err(io::Error::other)?;
    stream.write_all(&[&MAGIC[..], &length.to_le_bytes(), &line].concat())?;
    let all = estate.listeners.iter().chain(&estate.admin).flat_map(|left| &left.sockets);
    let all: Vec<BorrowedFd<'_>> = all.map(AsFd::as_fd).collect();
    all.chunks(BATCH).try_for_each(|batch| send_batch(stream, batch))
}

fn send_batch(stream: &UnixStream, batch: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BATCH))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(batch));
    // Sockets travel with a byte at least.
    sendmsg(stream, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives everything, or nothing of it stays open.
pub(super) fn receive(stream: &UnixStream) -> io::Result<Estate> {
    let Names { listeners, admin } = names(stream)?;
    let expected = listeners.iter().chain(&admin).map(|name| name.sockets).fold(0, usize::saturating_add);
    let mut sockets = Vec::new();
    while sockets.len() < expected {
        sockets.extend(receive_batch(stream)?.into_iter().map(TcpListener::from));
    }
    let mut sockets = sockets.into_iter();
    let mut left = |Name { address, sockets: count }: Name| -> io::Result<Left> {
        let sockets: Vec<_> = sockets.by_ref().take(count).collect();
        sockets.iter().try_for_each(|socket| socket.local_addr().and_then(|_| socket.set_nonblocking(true)))?;
        Ok(Left { written: address, sockets })
    };
    let listeners = listeners.into_iter().map(&mut left).collect::<io::Result<_>>()?;
    Ok(Estate { listeners, admin: admin.map(left).transpose()? })
}

fn names(mut stream: &UnixStream) -> io::Result<Names> {
    let (mut magic, mut length) = ([0; 8], [0; 4]);
    stream.read_exact(&mut magic)?;
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if magic != MAGIC || length > LINE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "who attends there is no tollgate of this kind"));
    }
    let mut line = vec![0; length];
    stream.read_exact(&mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

fn receive_batch(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BATCH))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let sockets: Vec<OwnedFd> = rights.flatten().collect();
    if sockets.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "fewer sockets came than were announced"));
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(count: usize) -> Left {
        let sockets: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        Left { written: ([127, 0, 0, 1], 80).into(), sockets }
    }

    fn addresses(left: &Left) -> Vec<SocketAddr> {
        left.sockets.iter().map(|socket| socket.local_addr().unwrap()).collect()
    }

    #[test]
    fn sockets_arrive_in_their_places_however_many_there_are() {
        let sent = Estate { listeners: vec![left(BATCH - 1), left(2), left(0)], admin: Some(left(1)) };
        let (here, there) = UnixStream::pair().unwrap();

        send(&here, &sent).unwrap();
        let got = receive(&there).unwrap();

        assert_eq!(got.listeners.len(), 3);
        for (got, sent) in got.listeners.iter().zip(&sent.listeners) {
            assert_eq!((got.written, addresses(got)), (sent.written, addresses(sent)));
        }
        assert_eq!(got.admin.as_ref().map(addresses), sent.admin.as_ref().map(addresses));
    }

    #[test]
    fn what_is_no_estate_is_refused() {
        for bytes in
            [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"TGTAKE2\n\xff\xff\xff\xff", b"TGTAKE2\n\x02\0\0\0[]", b"TG"]
        {
            let (mut here, there) = UnixStream::pair().unwrap();
            here.write_all(bytes).unwrap();
            drop(here);

            assert!(receive(&there).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn an_estate_that_breaks_off_is_refused() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let line = br#"{"listeners":[{"address":"127.0.0.1:80","sockets":2}],"admin":null}"#;
        here.write_all(&[&MAGIC[..], &u32::try_from(line.len()).unwrap().to_le_bytes(), line].concat()).unwrap();
        let one = left(1);
        send_batch(&here, &[one.sockets[0].as_fd()]).unwrap();
        drop(here);

        assert_eq!(receive(&there).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
