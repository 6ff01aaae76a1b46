//! Bytes as words and maps as bytes: percent-encoding and the wire form of header pairs.
//! No hostcall, no meaning.

/// Undoes percent-encoding; `None` when a `%` is not followed by two hexadecimal digits.
pub(super) fn percent_decode(word: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        decoded.push(digit(digits[0])? << 4 | digit(digits[1])?);
        rest = after;
    }
    Some(decoded)
}

fn digit(b: u8) -> Option<u8> {
    char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Text as it is when it is text, else `0x` and hexadecimal digits.
pub(super) fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.iter().fold("0x".to_owned(), |hex, b| hex + &format!("{b:02x}")),
    }
}

/// A map from the wire as `NAME=VALUE,…`, or its bytes when they are no map.
pub(super) fn shown_pairs(wire: &[u8]) -> String {
    let Some(pairs) = decode_pairs(wire) else {
        return shown(wire);
    };
    let pair = |(name, value): (&[u8], &[u8])| format!("{}={}", escaped(name), escaped(value));
    pairs.into_iter().map(pair).collect::<Vec<_>>().join(",")
}

/// Percent-encoded so that a command can say it again.
fn escaped(bytes: &[u8]) -> String {
    let plain = |b: u8| b.is_ascii_graphic() && !b"%,;=".contains(&b);
    let each = |&b: &u8| {
        if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }
    };
    bytes.iter().map(each).collect()
}

/// Writes a map as the wire has it. spec v0.2.1, Serialized map: count, sizes, then each string and a NUL.
pub fn encode_pairs<B: AsRef<[u8]>>(pairs: &[(B, B)]) -> Vec<u8> {
    let mut wire = size(pairs.len()).to_vec();
    for (name, value) in pairs {
        wire.extend(size(name.as_ref().len()));
        wire.extend(size(value.as_ref().len()));
    }
    for part in pairs.iter().flat_map(|(name, value)| [name, value]) {
        wire.extend(part.as_ref());
        wire.push(0);
    }
    wire
}

/// A guest's memory ends at 4 GiB, so the wire can hold every length that occurs.
fn size(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}

/// Reads a map as the wire has it; `None` unless every byte is accounted for. Nothing is an empty map.
pub fn decode_pairs(wire: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    if wire.is_empty() {
        return Some(Vec::new());
    }
    let mut sizes = wire;
    let count = number(&mut sizes)?;
    let mut strings = sizes.get(count.checked_mul(8)?..)?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        let (name, value) = (number(&mut sizes)?, number(&mut sizes)?);
        pairs.push((string(&mut strings, name)?, string(&mut strings, value)?));
    }
    strings.is_empty().then_some(pairs)
}

fn number(wire: &mut &[u8]) -> Option<usize> {
    let (first, rest) = wire.split_first_chunk()?;
    *wire = rest;
    usize::try_from(u32::from_le_bytes(*first)).ok()
}

fn string<'a>(wire: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (string, rest) = wire.split_at_checked(len)?;
    *wire = rest.strip_prefix(b"\0")?;
    Some(string)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn percent_signs_stand_for_bytes() {
        assert_eq!(percent_decode("a%20b%3b%FF").unwrap(), b"a b;\xff");
        assert_eq!(percent_decode("plain").unwrap(), b"plain");
        for bad in ["%", "%2", "%zz", "%+1", "a%"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_map_goes_over_the_wire_and_back() {
        let pairs = [(b":path".as_slice(), b"/".as_slice()), (b"x", b""), (b"x", b"\xff\0")];

        let wire = encode_pairs(&pairs);

        assert_eq!(&wire[..12], [3, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(decode_pairs(&wire).unwrap(), pairs);
    }

    #[test]
    fn a_map_that_does_not_add_up_is_none() {
        let wire = encode_pairs(&[("ab", "cd")]);

        assert_eq!(decode_pairs(&[]).unwrap(), []);
        assert_eq!(decode_pairs(&[0, 0, 0, 0]).unwrap(), []);
        assert_eq!(decode_pairs(&[0xff; 8]), None);
        for end in 1..wire.len() {
            assert_eq!(decode_pairs(&wire[..end]), None, "{end}");
        }
        assert_eq!(decode_pairs(&[wire.as_slice(), b"x"].concat()), None);
    }

    #[test]
    fn maps_are_shown_so_that_a_command_can_say_them_again() {
        let wire = encode_pairs(&[(b"a".as_slice(), b"1, 2".as_slice()), (b"b=", b"%")]);

        assert_eq!(shown_pairs(&wire), "a=1%2C%202,b%3D=%25");
        assert_eq!(shown_pairs(b"\x01"), "0x01");
    }

    #[test]
    fn text_is_shown_as_it_is_and_other_bytes_in_hexadecimal() {
        assert_eq!(shown("grün".as_bytes()), "grün");
        assert_eq!(shown(&[200, 0, 0, 0]), "0xc8000000");
    }
}
