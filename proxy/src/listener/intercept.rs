//! Connections that were meant for somebody else, and got here by rules of the kernel: where they were meant to go.
//!
//! Whether they may go there is `upstream::original`'s business.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::TcpStream;
use tollgate_config::Intercept;

/// Readies fresh sockets of a listener for connections that were meant for other addresses.
pub fn prepare(sockets: &[TcpListener], by: Option<Intercept>) -> io::Result<()> {
    if by != Some(Intercept::Tproxy) {
        return Ok(());
    }
    sockets.iter().try_for_each(|socket| make_transparent(SockRef::from(socket)))
}

/// Says whether [`adapt`] may do what it is to do, and changes nothing.
pub fn may_adapt(sockets: &[TcpListener], by: Option<Intercept>) -> io::Result<()> {
    let lacks = |socket: &TcpListener| SockRef::from(socket).ip_transparent_v4().is_ok_and(|is| !is);
    if by != Some(Intercept::Tproxy) || !sockets.iter().any(lacks) {
        return Ok(());
    }
    let probe = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    make_transparent(SockRef::from(&probe))
}

/// Readies sockets that another process has made ready for itself, and shares until it ends.
pub fn adapt(sockets: &[TcpListener], by: Option<Intercept>) -> io::Result<()> {
    let wanted = by == Some(Intercept::Tproxy);
    for socket in sockets.iter().map(SockRef::from) {
        match (socket.ip_transparent_v4()?, wanted) {
            (false, true) => make_transparent(socket)?,
            (true, false) => socket.set_ip_transparent_v4(false)?,
            _ => {}
        }
    }
    Ok(())
}

/// The flag is one of the socket, whichever version of IP it speaks.
fn make_transparent(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_ip_transparent_v4(true).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            io::Error::new(error.kind(), "\"intercept: tproxy\" needs the capability CAP_NET_ADMIN")
        }
        _ => error,
    })
}

/// The address that a connection was meant for. Where the kernel changed nothing, that is the address it came to: the one
/// that its listener is bound to, if that is one.
pub(super) fn destination(
    stream: &TcpStream,
    bound: Option<SocketAddr>,
    by: Option<Intercept>,
) -> io::Result<SocketAddr> {
    let local = match bound {
        Some(bound) if by != Some(Intercept::Tproxy) => bound,
        _ => stream.local_addr()?,
    };
    match by {
        None => Ok(local),
        Some(Intercept::Tproxy) => Ok(canonical(local)),
        Some(Intercept::Redirect) => Ok(canonical(redirected(stream, local).unwrap_or(local))),
    }
}

/// What the kernel's tracking of connections remembers, if it tracks this one.
fn redirected(stream: &TcpStream, local: SocketAddr) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    let original = match local.ip().to_canonical() {
        IpAddr::V4(_) => socket.original_dst_v4(),
        IpAddr::V6(_) => socket.original_dst_v6(),
    };
    match original {
        Ok(original) => original.as_socket(),
        Err(error) => {
            tracing::debug!(%local, %error, "no original destination is known of a connection");
            None
        }
    }
}

/// An address of version four is one, also on a socket that speaks both.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn accepted(at: &str) -> TcpStream {
        let listener = tokio::net::TcpListener::bind(at).await.unwrap();
        let _client = TcpStream::connect(("127.0.0.1", listener.local_addr().unwrap().port())).await.unwrap();
        listener.accept().await.unwrap().0
    }

    #[tokio::test]
    async fn a_connection_that_nobody_redirected_was_meant_for_where_it_came() {
        let stream = accepted("127.0.0.1:0").await;

        let local = stream.local_addr().unwrap();

        for by in [None, Some(Intercept::Redirect), Some(Intercept::Tproxy)] {
            assert_eq!(destination(&stream, None, by).unwrap(), local);
        }
    }

    #[tokio::test]
    async fn an_address_of_version_four_is_one_on_a_socket_that_speaks_both() {
        let stream = accepted("[::]:0").await;

        let destination = destination(&stream, None, Some(Intercept::Redirect)).unwrap();

        assert_eq!(destination.ip(), IpAddr::from([127, 0, 0, 1]));
    }

    #[test]
    fn sockets_that_intercept_nothing_stay_as_they_are() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();

        for by in [None, Some(Intercept::Redirect)] {
            for ready in [prepare, may_adapt, adapt] {
                ready(std::slice::from_ref(&socket), by).unwrap();
            }
            assert!(!SockRef::from(&socket).ip_transparent_v4().unwrap());
        }
    }
}
