//! Connections that end or stall before there is an answer, and uploads that nobody reads.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::fault::Ask::Upload;
use crate::fault::Outcome::{Own, Whole};
use crate::fault::{Fault, TIMEOUT, closing, doing, resetting, saying};

pub(super) fn faults() -> Vec<Fault> {
    let reset = "upstream_reset";
    let full = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\n\r\nfull";
    vec![
        closing("no answer", "", Own(502), reset),
        resetting("a reset in place of an answer", "", Own(502), reset),
        closing("half a status line", "HTTP/1.1 2", Own(502), reset),
        closing("half a head", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n", Own(502), reset),
        resetting("half a head and a reset", "HTTP/1.1 200 OK\r\n", Own(502), reset),
        closing("an interim answer alone", "HTTP/1.1 103 Early Hints\r\n\r\n", Own(502), reset),
        doing("a close before the request is read", Own(502), reset, |peer| peer.head().map(drop)).asked(Upload),
        doing("a reset before the request is read", Own(502), reset, |peer| peer.head().and_then(|_| peer.reset()))
            .asked(Upload),
        doing("an answer before the request is read, and a close", Whole(413, "full"), "", move |peer| {
            peer.head()?;
            peer.send(full)
        })
        .asked(Upload),
        doing("an answer before the request is read, and no close", Whole(413, "full"), "", move |peer| {
            peer.head()?;
            peer.send(full)?;
            still(peer.stream())
        })
        .asked(Upload)
        .and_closes(),
        saying("silence", "", Own(504), TIMEOUT),
        saying("a head that does not end", "HTTP/1.1 200 OK\r\nx: ", Own(504), TIMEOUT),
        saying("silence behind 100", "HTTP/1.1 100 Continue\r\n\r\n", Own(504), TIMEOUT),
        doing("a head that comes byte by byte", Own(504), TIMEOUT, |peer| {
            peer.request()?;
            for byte in "HTTP/1.1 200 OK\r\n".bytes().chain(std::iter::repeat(b'x')) {
                peer.send([byte])?;
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        }),
    ]
}

/// Waits for the proxy to reset or close, without reading what it sends.
fn still(stream: &TcpStream) -> io::Result<()> {
    let timeout = Timespec { tv_sec: 20, tv_nsec: 0 };
    match poll(&mut [PollFd::new(stream, PollFlags::RDHUP)], Some(&timeout))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}
