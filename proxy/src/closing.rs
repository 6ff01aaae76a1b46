//! How a socket is closed when it is dropped, whoever drops it, and how its peer closed it. What is still to be said on it is not
//! its business.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

/// With a reset, so that its peer takes nothing for a whole conversation; what it was told and did not take yet is lost.
pub(crate) fn by_reset(stream: &TcpStream) {
    // A socket that refuses is gone already.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// With an end behind all that was written. Every socket is, unless it was told otherwise.
pub(crate) fn by_end(stream: &TcpStream) {
    // A socket that refuses is gone already.
    let _ = SockRef::from(stream).set_linger(None);
}

/// True for a failure to write, or to say the end, on a connection whose peer was closed or reset and of which that was told
/// before, or is told to whoever reads. Linux has EPIPE for what is written after a reset that followed an end, or that was
/// told already, and ENOTCONN for an end that is said after any reset. For a reset of which nobody was told it has ECONNRESET,
/// and further words where a network is gone.
pub(crate) fn is_told(failure: &io::Error) -> bool {
    matches!(failure.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_reset_of_which_nobody_was_told_is_news() {
        assert!([ErrorKind::BrokenPipe, ErrorKind::NotConnected].into_iter().all(|kind| is_told(&kind.into())));
        let others = [ErrorKind::ConnectionReset, ErrorKind::TimedOut, ErrorKind::HostUnreachable, ErrorKind::Other];
        assert!(!others.into_iter().any(|kind| is_told(&kind.into())));
    }
}
