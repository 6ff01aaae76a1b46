//! The PROXY protocol: how a proxy tells the next one, in front of everything else, whose connection it passes on.
//!
//! Versions 1 and 2 as in <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. Who may say so is decided by
//! whoever reads it: what stands there is believed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tollgate_config::ProxyProtocol;

/// What version 2 begins with. It is no beginning of HTTP, TLS or version 1.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";
/// Bytes of the longest line of version 1 (section 2.1).
const LINE: usize = 107;
/// Bytes before the addresses of version 2.
const HEAD: usize = 16;
/// Bytes of addresses and what follows them in version 2; senders of TLS details need some hundreds.
const REST: usize = 4096;

/// The two ends of the connection that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The client's address.
    pub source: SocketAddr,
    /// The address that the client connected to.
    pub destination: SocketAddr,
}

impl Passed {
    /// With addresses of version four written as such: a socket for both versions has them in the longer form.
    fn canonical(self) -> Self {
        let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        Self { source: canonical(self.source), destination: canonical(self.destination) }
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Whose connection it is.
    Passed(Passed),
    /// Nobody's: the sender's own, such as a health check, or one whose ends cannot be told. The transport's ends stand.
    Nothing,
}

/// What the bytes read so far come to.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// A header of this many bytes.
    Whole(Told, usize),
    /// The header goes on; at least this many bytes belong to it.
    Partial(usize),
}

/// Reads the header that a connection has to begin with, and not a byte more. The caller bounds the time.
///
/// # Errors
///
/// Of kind `InvalidData` for anything else, `UnexpectedEof` for a connection that ends before.
pub async fn read(stream: &mut TcpStream) -> io::Result<Told> {
    let invalid = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut header = vec![0; LINE];
    // Senders send it whole: then one look tells how long it is, and one read takes it.
    let seen = stream.peek(&mut header).await?;
    if let Parsed::Whole(told, length) = parse(&header[..seen]).map_err(invalid)? {
        stream.read_exact(&mut header[..length]).await?;
        return Ok(told);
    }
    header.clear();
    loop {
        let missing = match parse(&header).map_err(invalid)? {
            Parsed::Whole(told, _) => return Ok(told),
            Parsed::Partial(length) => length.saturating_sub(header.len()).max(1),
        };
        let known = header.len();
        header.resize(known + missing, 0);
        // Version 1 ends where its line does: looked at first, so that what follows is left to its reader.
        let seen = stream.peek(&mut header[known..]).await?;
        let taken = own_bytes(&header[..known + seen]) - known;
        header.truncate(known + taken);
        stream.read_exact(&mut header[known..]).await?;
        if taken == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// How many of these bytes are the header's: all, but for those behind the line of version 1.
fn own_bytes(bytes: &[u8]) -> usize {
    let line = bytes.starts_with(WORD).then(|| bytes.iter().position(|byte| *byte == b'\n')).flatten();
    line.map_or(bytes.len(), |end| end + 1)
}

fn parse(bytes: &[u8]) -> Result<Parsed, &'static str> {
    if bytes.starts_with(&SIGNATURE) {
        parse_binary(bytes)
    } else if bytes.starts_with(WORD) {
        parse_line(bytes)
    } else if WORD.starts_with(bytes) {
        Ok(Parsed::Partial(WORD.len()))
    } else if SIGNATURE.starts_with(bytes) {
        Ok(Parsed::Partial(HEAD))
    } else {
        Err("does not begin with a PROXY header")
    }
}

/// Section 2.1: `PROXY TCP4 SOURCE DESTINATION PORT PORT`, or `PROXY UNKNOWN` and anything.
fn parse_line(bytes: &[u8]) -> Result<Parsed, &'static str> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < LINE { Ok(Parsed::Partial(LINE)) } else { Err("has a PROXY line without an end") };
    };
    let wrong = "has a PROXY line that says nothing known";
    let line = bytes.get(WORD.len()..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(wrong)?;
    let line = std::str::from_utf8(line).map_err(|_| wrong)?;
    let told = match line.split_once(' ').unwrap_or((line, "")) {
        ("UNKNOWN", _) => Told::Nothing,
        ("TCP4", ends) => Told::Passed(ends_of::<Ipv4Addr>(ends).ok_or(wrong)?),
        ("TCP6", ends) => Told::Passed(ends_of::<Ipv6Addr>(ends).ok_or(wrong)?),
        _ => return Err(wrong),
    };
    Ok(Parsed::Whole(told, end + 1))
}

fn ends_of<A: std::str::FromStr + Into<IpAddr>>(text: &str) -> Option<Passed> {
    let mut words = text.split(' ');
    let mut address = || words.next()?.parse::<A>().ok().map(Into::into);
    let (source, destination) = (address()?, address()?);
    let ports = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then_some(Passed {
        source: SocketAddr::new(source, ports.0),
        destination: SocketAddr::new(destination, ports.1),
    })
}

/// A decimal number without a sign or zeros in front.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// Section 2.2: version and command, family and transport, the length of what follows, addresses, and what else the sender
/// says, which nobody asked for.
fn parse_binary(bytes: &[u8]) -> Result<Parsed, &'static str> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return Ok(Parsed::Partial(HEAD)) };
    let [.., command, family, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > REST {
        return Err("has a PROXY header that is too long");
    }
    if !matches!(command, 0x20 | 0x21) {
        return Err("has a PROXY header of another version");
    }
    let Some(rest) = rest.get(..length) else { return Ok(Parsed::Partial(HEAD + length)) };
    let short = "has a PROXY header without its addresses";
    let told = match (command, family) {
        // LOCAL is the sender's own connection, whatever else it says.
        (0x21, 0x11) => Told::Passed(addresses::<4>(rest).ok_or(short)?),
        (0x21, 0x21) => Told::Passed(addresses::<16>(rest).ok_or(short)?),
        _ => Told::Nothing,
    };
    Ok(Parsed::Whole(told, HEAD + length))
}

fn addresses<const N: usize>(bytes: &[u8]) -> Option<Passed>
where
    IpAddr: From<[u8; N]>,
{
    let (source, bytes) = bytes.split_first_chunk::<N>()?;
    let (destination, bytes) = bytes.split_first_chunk::<N>()?;
    let (ports, _) = bytes.split_first_chunk::<4>()?;
    let [a, b, c, d] = *ports;
    Some(Passed {
        source: SocketAddr::new((*source).into(), u16::from_be_bytes([a, b])),
        destination: SocketAddr::new((*destination).into(), u16::from_be_bytes([c, d])),
    })
}

/// The header to begin a connection with; without `passed` it is the proxy's own. Ends of two families cannot be told, and
/// are not.
pub fn header(version: ProxyProtocol, passed: Option<Passed>) -> Vec<u8> {
    match version {
        ProxyProtocol::V1 => line(passed).into_bytes(),
        ProxyProtocol::V2 => binary(passed),
    }
}

/// Section 2.1 has no word for a connection of one's own but that its ends are unknown.
fn line(passed: Option<Passed>) -> String {
    let Some(Passed { source, destination }) = passed.map(Passed::canonical) else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => "TCP4",
        (IpAddr::V6(_), IpAddr::V6(_)) => "TCP6",
        _ => return "PROXY UNKNOWN\r\n".to_owned(),
    };
    format!("PROXY {family} {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port())
}

fn binary(passed: Option<Passed>) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Some(Passed { source, destination }) = passed.map(Passed::canonical) else {
        header.extend([0x20, 0, 0, 0]);
        return header;
    };
    let mut addresses = Vec::with_capacity(36);
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            addresses.extend(source.octets());
            addresses.extend(destination.octets());
            0x11
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            addresses.extend(source.octets());
            addresses.extend(destination.octets());
            0x21
        }
        _ => 0x00,
    };
    if !addresses.is_empty() {
        addresses.extend(source.port().to_be_bytes());
        addresses.extend(destination.port().to_be_bytes());
    }
    let length = u16::try_from(addresses.len()).unwrap_or(0);
    header.extend([0x21, family]);
    header.extend(length.to_be_bytes());
    header.extend(addresses);
    header
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn passed(source: &str, destination: &str) -> Passed {
        Passed { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn whole(bytes: &[u8]) -> Told {
        match parse(bytes) {
            Ok(Parsed::Whole(told, length)) if length == bytes.len() => told,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let pairs = [passed("10.0.0.1:5000", "10.0.0.2:80"), passed("[2001:db8::1]:1", "[::1]:65535")];
        for (version, pair) in pairs.iter().flat_map(|pair| [(ProxyProtocol::V1, pair), (ProxyProtocol::V2, pair)]) {
            assert_eq!(whole(&header(version, Some(*pair))), Told::Passed(*pair), "{version:?}");
        }
    }

    #[test]
    fn ends_of_two_families_are_not_told() {
        let pair = passed("10.0.0.1:1", "[::1]:2");
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            assert_eq!(whole(&header(version, Some(pair))), Told::Nothing, "{version:?}");
        }
    }

    #[test]
    fn every_beginning_of_a_header_is_a_partial_one() {
        let pair = passed("10.0.0.1:5000", "10.0.0.2:80");
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            let header = header(version, Some(pair));
            for end in 0..header.len() {
                assert!(matches!(parse(&header[..end]), Ok(Parsed::Partial(more)) if more > end), "{version:?} {end}");
            }
        }
    }

    #[test]
    fn a_connection_of_the_sender_s_own_tells_nothing() {
        assert_eq!(whole(b"PROXY UNKNOWN\r\n"), Told::Nothing);
        assert_eq!(whole(b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n"), Told::Nothing);
        let local = [&SIGNATURE[..], &[0x20, 0x11, 0, 2, 9, 9]].concat();
        assert_eq!(whole(&local), Told::Nothing);
        let unix = [&SIGNATURE[..], &[0x21, 0x31, 0, 1, 9]].concat();
        assert_eq!(whole(&unix), Told::Nothing);
    }

    #[test]
    fn a_connection_of_the_proxy_s_own_has_a_header_too() {
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            assert_eq!(whole(&header(version, None)), Told::Nothing, "{version:?}");
        }
        assert_eq!(header(ProxyProtocol::V2, None)[12..], [0x20, 0, 0, 0]);
    }

    #[test]
    fn addresses_of_version_four_are_written_as_such() {
        let mapped = passed("[::ffff:10.0.0.1]:1", "[::ffff:10.0.0.2]:2");

        assert_eq!(header(ProxyProtocol::V1, Some(mapped)), b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n");
        assert_eq!(header(ProxyProtocol::V2, Some(mapped))[13..16], [0x11, 0, 12]);
    }

    #[test]
    fn details_behind_the_addresses_are_passed_over() {
        let mut header = header(ProxyProtocol::V2, Some(passed("10.0.0.1:1", "10.0.0.2:2")));
        header[15] = 12 + 4;
        header.extend([3, 0, 1, 9]);

        assert_eq!(whole(&header), Told::Passed(passed("10.0.0.1:1", "10.0.0.2:2")));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let binary = |command: u8, family: u8, length: u16, rest: &[u8]| {
            [&SIGNATURE[..], &[command, family], &length.to_be_bytes(), rest].concat()
        };
        let long = format!("PROXY TCP4 {}", "1".repeat(LINE));
        for bytes in [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"PROXY\r\n".to_vec(),
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n".to_vec(),
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n".to_vec(),
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3\r\n".to_vec(),
            b"PROXY TCP4 10.0.0.1 10.0.0.2 +1 2\r\n".to_vec(),
            b"PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n".to_vec(),
            b"PROXY TCP4 10.0.0.1 10.0.0.2 65536 2\r\n".to_vec(),
            b"PROXY TCP4  10.0.0.1 10.0.0.2 1 2\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::2 1 2\r\n".to_vec(),
            b"PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n".to_vec(),
            b"PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n".to_vec(),
            long.into_bytes(),
            binary(0x11, 0x11, 12, &[0; 12]),
            binary(0x22, 0x11, 12, &[0; 12]),
            binary(0x21, 0x11, 11, &[0; 11]),
            binary(0x21, 0x21, 12, &[0; 12]),
            binary(0x21, 0x11, 4097, &[]),
        ] {
            assert!(parse(&bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        /// What is a header stays one whatever follows, and is none before its end; nothing panics.
        #[test]
        fn any_bytes_are_a_header_of_one_length_a_part_of_one_or_none(
            start in prop_oneof![
                Just(Vec::new()),
                Just(b"PROXY ".to_vec()),
                Just(b"PROXY TCP4 10.0.0.1 10.0.0.2 ".to_vec()),
                Just(b"PROXY UNKNOWN ".to_vec()),
                Just(SIGNATURE.to_vec()),
                (0x1e_u8..0x24, 0x0f_u8..0x33, 0_u8..50).prop_map(|(command, family, length)| {
                    [&SIGNATURE[..], &[command, family, 0, length]].concat()
                }),
            ],
            rest in prop_oneof![vec(any::<u8>(), 0..200), "[0-9 .:A-F]{0,60}\r\n".prop_map(String::into_bytes)],
        ) {
            let bytes = [start, rest].concat();
            match parse(&bytes) {
                Ok(Parsed::Whole(told, length)) => {
                    prop_assert!(length <= bytes.len());
                    prop_assert_eq!(parse(&bytes[..length]), Ok(Parsed::Whole(told, length)));
                    for end in 0..length {
                        let is_part = matches!(parse(&bytes[..end]), Ok(Parsed::Partial(more)) if more > end);
                        prop_assert!(is_part, "{}", end);
                    }
                }
                Ok(Parsed::Partial(more)) => prop_assert!(more > bytes.len() && more <= HEAD + REST),
                Err(_) => prop_assert!(parse(&[&bytes[..], b"\r\n"].concat()).is_err()),
            }
        }

        #[test]
        fn ends_of_one_family_are_told_on_as_they_are(
            four in any::<([u8; 4], [u8; 4])>(),
            six in any::<([u16; 8], [u16; 8])>(),
            ports in any::<(u16, u16)>(),
        ) {
            let ends = |source: IpAddr, destination: IpAddr| Passed {
                source: SocketAddr::new(source, ports.0),
                destination: SocketAddr::new(destination, ports.1),
            };
            for passed in [ends(four.0.into(), four.1.into()), ends(six.0.into(), six.1.into())] {
                for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
                    let header = header(version, Some(passed));
                    let canonical = passed.canonical();
                    let is_one = canonical.source.is_ipv4() == canonical.destination.is_ipv4();
                    let told = if is_one { Told::Passed(canonical) } else { Told::Nothing };
                    prop_assert_eq!(parse(&header), Ok(Parsed::Whole(told, header.len())));
                    prop_assert!(version == ProxyProtocol::V2 || header.len() <= LINE);
                }
            }
        }
    }

    #[tokio::test]
    async fn not_a_byte_more_than_the_header_is_taken() {
        let pair = passed("10.0.0.1:5000", "10.0.0.2:80");
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut sender = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            io::Write::write_all(&mut sender, &[&header(version, Some(pair))[..], b"GET\n"].concat()).unwrap();
            drop(sender);
            let (mut stream, _) = listener.accept().await.unwrap();

            let told = read(&mut stream).await.unwrap();

            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert_eq!((told, &rest[..]), (Told::Passed(pair), &b"GET\n"[..]), "{version:?}");
        }
    }

    #[tokio::test]
    async fn a_header_that_comes_in_two_parts_is_read_wherever_it_was_cut() {
        let pair = passed("10.0.0.1:5000", "10.0.0.2:80");
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            let header = header(version, Some(pair));
            for cut in 1..header.len() {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut sender, &header[..cut]).await.unwrap();

                let (told, sent) = tokio::join!(read(&mut stream), async {
                    // The reader has looked before.
                    tokio::task::yield_now().await;
                    tokio::io::AsyncWriteExt::write_all(&mut sender, &[&header[cut..], b"GET\n"].concat()).await
                });

                sent.unwrap();
                drop(sender);
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.unwrap();
                assert_eq!((told.unwrap(), &rest[..]), (Told::Passed(pair), &b"GET\n"[..]), "{version:?} {cut}");
            }
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_before_its_header_is_an_error() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        io::Write::write_all(&mut sender, b"PROXY TCP4 10").unwrap();
        drop(sender);
        let (mut stream, _) = listener.accept().await.unwrap();

        let error = read(&mut stream).await.unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
