//! Connections of this process to endpoints, by which one is known that rules of the kernel led back here.
//!
//! Where nothing exempts the proxy from rules that redirect what an application sends out, each of its connections comes
//! back as a client's, for ever. Such a client's address is this end of one of these connections, and what it was meant for
//! is the other: no other connection has both.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use crate::upstream::balance::hash;

/// True once there is a listener that connections are led to.
static WATCHED: AtomicBool = AtomicBool::new(false);
/// One place for each local port. A port that two connections have at a time is known of the younger one alone.
static PLACES: LazyLock<Box<[AtomicU64]>> = LazyLock::new(|| (0..=u16::MAX).map(|_| AtomicU64::new(0)).collect());

/// From here on connections are noted.
pub fn watch() {
    WATCHED.store(true, Relaxed);
}

/// A connection that is noted until this is dropped.
#[derive(Debug)]
pub struct Noted {
    port: u16,
    word: u64,
}

impl Drop for Noted {
    fn drop(&mut self) {
        // A younger connection may have the place.
        let _ = place(self.port).compare_exchange(self.word, 0, Relaxed, Relaxed);
    }
}

/// Notes a connection, where anybody would ask for it.
pub fn note(local: SocketAddr, peer: SocketAddr) -> Option<Noted> {
    WATCHED.load(Relaxed).then(|| {
        let (port, word) = (local.port(), word(local, peer));
        place(port).store(word, Release);
        Noted { port, word }
    })
}

/// True where a client from `source`, whose connection was meant for `destination`, is this process.
pub fn is_own(source: SocketAddr, destination: SocketAddr) -> bool {
    WATCHED.load(Relaxed) && place(source.port()).load(Acquire) == word(source, destination)
}

fn place(port: u16) -> &'static AtomicU64 {
    &PLACES[usize::from(port)]
}

/// Never 0, which is nobody.
fn word(local: SocketAddr, peer: SocketAddr) -> u64 {
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let mut bytes = [0; 34];
    bytes[..16].copy_from_slice(&octets(local));
    bytes[16..32].copy_from_slice(&octets(peer));
    bytes[32..].copy_from_slice(&peer.port().to_be_bytes());
    hash::of(&bytes) | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_connection_is_known_by_both_of_its_ends_as_long_as_it_is_noted() {
        watch();
        let noted = note(at("10.0.0.1:40001"), at("10.9.9.9:80"));

        assert!(is_own(at("10.0.0.1:40001"), at("10.9.9.9:80")));
        assert!(is_own(at("[::ffff:10.0.0.1]:40001"), at("10.9.9.9:80")));
        for (source, destination) in [
            ("10.0.0.1:40002", "10.9.9.9:80"),
            ("10.0.0.2:40001", "10.9.9.9:80"),
            ("10.0.0.1:40001", "10.9.9.8:80"),
            ("10.0.0.1:40001", "10.9.9.9:81"),
        ] {
            assert!(!is_own(at(source), at(destination)), "{source} {destination}");
        }
        drop(noted);
        assert!(!is_own(at("10.0.0.1:40001"), at("10.9.9.9:80")));
    }

    #[test]
    fn the_end_of_a_connection_is_not_that_of_a_younger_one_at_its_port() {
        watch();
        let older = note(at("10.0.0.1:40003"), at("10.9.9.8:80"));
        let _younger = note(at("10.0.0.1:40003"), at("10.9.9.9:80"));

        drop(older);

        assert!(is_own(at("10.0.0.1:40003"), at("10.9.9.9:80")));
    }
}
