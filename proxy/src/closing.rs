//! How a socket is closed when it is dropped, whoever drops it. What is still to be said on it is not its business.

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
