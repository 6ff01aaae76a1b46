//! What this proxy reads of an X.509 certificate (RFC 5280 §4.1): subject, names, and for how long it is good.
//!
//! Whether it is to be believed is not decided here; webpki has looked at those of peers before. What is not understood is
//! left out, and no length is believed.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `subjectAltName`, 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is, as RFC 2253 writes it.
    pub subject: String,
    /// DNS names, in their order and case.
    pub dns: Vec<String>,
    /// URIs, in their order.
    pub uris: Vec<String>,
    /// IP addresses, in their order.
    pub addresses: Vec<IpAddr>,
    /// When it begins to be good.
    pub not_before: SystemTime,
    /// When it ends to be good.
    pub not_after: SystemTime,
}

impl Certificate {
    /// The certificate in these bytes (DER); `None` when they are none.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let mut signed = Der(Der(der).expect(SEQUENCE)?);
        let mut fields = Der(signed.expect(SEQUENCE)?);
        fields.skip_if(VERSION);
        let (_serial, _algorithm, _issuer) = (fields.next()?, fields.next()?, fields.next()?);
        let mut validity = Der(fields.expect(SEQUENCE)?);
        let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
        let subject = subject(fields.expect(SEQUENCE)?)?;
        let (dns, uris, addresses) = (Vec::new(), Vec::new(), Vec::new());
        let mut certificate = Self { subject, dns, uris, addresses, not_before, not_after };
        let _key = fields.next()?;
        while let Some((tag, value)) = fields.next() {
            if tag == EXTENSIONS {
                certificate.read_extensions(Der(value).expect(SEQUENCE)?)?;
            }
        }
        Some(certificate)
    }

    /// What it is called where there is room for one name.
    pub fn shown_name(&self) -> String {
        self.dns.first().or(self.uris.first()).unwrap_or(&self.subject).clone()
    }

    fn read_extensions(&mut self, list: &[u8]) -> Option<()> {
        let mut list = Der(list);
        while !list.0.is_empty() {
            let mut extension = Der(list.expect(SEQUENCE)?);
            if extension.expect(OBJECT)? == ALTERNATIVE_NAMES {
                // Whether it is critical stands before the value, or nothing does.
                let value = std::iter::from_fn(|| extension.next()).find(|(tag, _)| *tag == OCTETS)?.1;
                self.read_names(Der(value).expect(SEQUENCE)?)?;
            }
        }
        Some(())
    }

    fn read_names(&mut self, list: &[u8]) -> Option<()> {
        let mut list = Der(list);
        while !list.0.is_empty() {
            let (tag, value) = list.next()?;
            let text = || std::str::from_utf8(value).ok().filter(|text| text.is_ascii()).map(str::to_owned);
            match tag {
                0x82 => self.dns.extend(text()),
                0x86 => self.uris.extend(text()),
                0x87 => self.addresses.extend(address(value)),
                _ => {}
            }
        }
        Some(())
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Values of DER one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value with its tag; `None` at the end, or where there is no whole value.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Four bytes of length are more than any certificate here has.
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (length.iter().try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add((*byte).into()))?, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The next value, which has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }

    fn skip_if(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            let _ = self.next();
        }
    }
}

/// RFC 5280 §4.1.2.5: to the second, in UTC, with two digits of the year or four.
fn time((tag, value): (u8, &[u8])) -> Option<SystemTime> {
    let text = std::str::from_utf8(value).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| number(rest.get(at..at + 2)?);
    let (month, day) = (part(0)?, part(2)?);
    let (hour, minute, second) = (part(4)?, part(6)?, part(8)?);
    let fits = rest.len() == 10 && (1..=12).contains(&month) && (1..=31).contains(&day);
    let seconds = days(year, month, day).checked_mul(86_400)?.checked_add(hour * 3600 + minute * 60 + second)?;
    let since = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH.checked_sub(since) } else { UNIX_EPOCH.checked_add(since) };
    time.filter(|_| fits)
}

fn number(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Days of the Gregorian calendar from 1 January 1970.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// RFC 2253 §2: the last part of the name comes first.
fn subject(list: &[u8]) -> Option<String> {
    let mut list = Der(list);
    let mut parts = Vec::new();
    while !list.0.is_empty() {
        let mut set = Der(list.expect(SET)?);
        let mut part = String::new();
        while !set.0.is_empty() {
            let mut pair = Der(set.expect(SEQUENCE)?);
            let (kind, value) = (pair.expect(OBJECT)?, pair.next()?);
            if !part.is_empty() {
                part.push('+');
            }
            push_attribute(&mut part, kind, value);
        }
        parts.push(part);
    }
    parts.reverse();
    Some(parts.join(","))
}

fn push_attribute(out: &mut String, kind: &[u8], (tag, value): (u8, &[u8])) {
    match short_name(kind) {
        Some(name) => out.push_str(name),
        None => push_object(out, kind),
    }
    out.push('=');
    match tag {
        // UTF8String, NumericString, PrintableString, IA5String.
        0x0c | 0x12 | 0x13 | 0x16 => push_escaped(out, value),
        _ => {
            out.push('#');
            [tag].iter().chain(value).for_each(|byte| push_hex(out, *byte));
        }
    }
}

/// Names of RFC 2253 §2.3, and of what else subjects have.
fn short_name(kind: &[u8]) -> Option<&'static str> {
    Some(match kind {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 4] => "SN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "street",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x55, 4, 12] => "title",
        [0x55, 4, 42] => "GN",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        _ => return None,
    })
}

/// The numbers of an object identifier, with points between them.
fn push_object(out: &mut String, bytes: &[u8]) {
    let mut number = 0_u64;
    let mut is_first = true;
    for byte in bytes {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        // A String takes every write.
        let _ = match is_first {
            // The first two numbers share a byte.
            true => write!(out, "{}.{}", (number / 40).min(2), number - (number / 40).min(2) * 40),
            false => write!(out, ".{number}"),
        };
        (number, is_first) = (0, false);
    }
}

/// RFC 2253 §2.4; what is no ASCII is written in hex, as OpenSSL does.
fn push_escaped(out: &mut String, value: &[u8]) {
    for (at, &byte) in value.iter().enumerate() {
        let (first, last) = (at == 0, at + 1 == value.len());
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', char::from(byte)]),
            b'#' if first => out.push_str("\\#"),
            b' ' if first || last => out.push_str("\\ "),
            0x20..0x7f => out.push(char::from(byte)),
            _ => {
                out.push('\\');
                push_hex(out, byte);
            }
        }
    }
}

fn push_hex(out: &mut String, byte: u8) {
    // A String takes every write.
    let _ = write!(out, "{byte:02X}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut out = vec![tag];
        match u8::try_from(content.len()) {
            Ok(length @ 0..=0x7f) => out.push(length),
            Ok(length) => out.extend([0x81, length]),
            Err(_) => out.extend([&[0x82][..], &u16::try_from(content.len()).unwrap().to_be_bytes()].concat()),
        }
        out.extend(content);
        out
    }

    fn attribute(kind: &[u8], text: &str) -> Vec<u8> {
        value(SET, &[&value(SEQUENCE, &[&value(OBJECT, &[kind]), &value(0x0c, &[text.as_bytes()])])])
    }

    /// A certificate with this subject, times and extensions, and nothing in the other fields.
    fn certificate(subject: &[Vec<u8>], times: [Vec<u8>; 2], extensions: &[Vec<u8>]) -> Vec<u8> {
        let parts: Vec<&[u8]> = subject.iter().map(Vec::as_slice).collect();
        let extensions: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
        let fields = value(
            SEQUENCE,
            &[
                &value(VERSION, &[&[2, 1, 2]]),
                &[2, 1, 1],
                &value(SEQUENCE, &[]),
                &value(SEQUENCE, &[]),
                &value(SEQUENCE, &[&times[0], &times[1]]),
                &value(SEQUENCE, &parts),
                &value(SEQUENCE, &[]),
                &value(EXTENSIONS, &[&value(SEQUENCE, &extensions)]),
            ],
        );
        value(SEQUENCE, &[&fields, &value(SEQUENCE, &[]), &[3, 1, 0]])
    }

    fn times() -> [Vec<u8>; 2] {
        [value(UTC_TIME, &[b"700101000000Z"]), value(GENERALIZED_TIME, &[b"20500301000001Z"])]
    }

    fn names(parts: &[(u8, &[u8])]) -> Vec<u8> {
        let parts: Vec<Vec<u8>> = parts.iter().map(|(tag, bytes)| value(*tag, &[bytes])).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let list = value(SEQUENCE, &parts);
        value(SEQUENCE, &[&value(OBJECT, &[ALTERNATIVE_NAMES]), &[1, 1, 0xff], &value(OCTETS, &[&list])])
    }

    #[test]
    fn subject_names_and_times_are_read() {
        let subject =
            [attribute(&[0x55, 4, 6], "DE"), attribute(&[0x55, 4, 10], "A, B"), attribute(&[0x55, 4, 3], "grün ")];
        let other = value(SEQUENCE, &[&value(OBJECT, &[&[0x55, 0x1d, 0x0f]]), &value(OCTETS, &[&[0]])]);
        let names = names(&[
            (0x82, b"a.test"),
            (0x81, b"m@a"),
            (0x82, b"*.b.test"),
            (0x86, b"spiffe://a/b"),
            (0x87, &[127, 0, 0, 1]),
        ]);

        let read = Certificate::parse(&certificate(&subject, times(), &[other, names])).unwrap();

        assert_eq!(read.subject, "CN=gr\\C3\\BCn\\ ,O=A\\, B,C=DE");
        assert_eq!(read.dns, ["a.test", "*.b.test"]);
        assert_eq!(read.uris, ["spiffe://a/b"]);
        assert_eq!(read.addresses, [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(read.not_before, UNIX_EPOCH);
        assert_eq!(read.not_after, UNIX_EPOCH + Duration::from_secs(2_529_705_601));
    }

    #[test]
    fn an_attribute_without_a_name_has_its_number() {
        let mut out = String::new();

        push_attribute(&mut out, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 99], (0x04, &[1, 0xab]));

        assert_eq!(out, "1.2.840.113549.1.9.99=#0401AB");
    }

    #[test]
    fn no_part_of_a_certificate_is_one() {
        let whole = certificate(&[attribute(&[0x55, 4, 3], "a")], times(), &[names(&[(0x82, b"a.test")])]);
        assert!(Certificate::parse(&whole).is_some());

        for end in 0..whole.len() {
            assert_eq!(Certificate::parse(&whole[..end]), None, "{end}");
        }
    }

    #[test]
    fn no_byte_that_is_changed_does_harm() {
        let whole = certificate(&[attribute(&[0x55, 4, 3], "a")], times(), &[names(&[(0x82, b"a.test")])]);

        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0x80, 0x84, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let _ = Certificate::parse(&bytes);
            }
        }
    }

    #[test]
    fn times_that_are_none_are_refused() {
        let read = |tag, text: &[u8]| time((tag, text));

        assert_eq!(read(UTC_TIME, b"490101000000Z"), read(GENERALIZED_TIME, b"20490101000000Z"));
        assert_eq!(read(GENERALIZED_TIME, b"19691231235959Z"), UNIX_EPOCH.checked_sub(Duration::from_secs(1)));
        for text in
            [&b""[..], b"Z", b"7001010000Z", b"701301000000Z", b"700100000000Z", b"70010100000aZ", b"700101000000"]
        {
            assert_eq!(read(UTC_TIME, text), None, "{text:?}");
        }
    }
}
