//! Random changes of requests, the same for the same seed.

/// What two parsers may disagree about.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"=",
    b"\"",
    b"\\",
    b"\0",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"#",
    b"%",
    b"0\r\n\r\n",
    b"0\r\n",
    b"1\r\na\r\n",
    b"3;a=b\r\n",
    b"content-length: 3\r\n",
    b"Content-Length:0\r\n",
    b"content-length: 40\r\n",
    b"transfer-encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"host: b\r\n",
    b"connection: close\r\n",
    b"connection: keep-alive\r\n",
    b"expect: 100-continue\r\n",
    b"upgrade: websocket\r\n",
    b"trailer: x\r\n",
    b"x: y\r\n",
    b" folded\r\n",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\n",
    b"http://b/",
];

/// Lines that a request may have.
const LINES: &[&[u8]] = &[
    b"x: y\r\n",
    b"X-A:1 \t\r\n",
    b"x-a:\t2, 3\r\n",
    b"x-empty:\r\n",
    b"x: \xff\r\n",
    b"x_y: 1\r\n",
    b"accept: */*;q=0.5\r\n",
    b"cookie: a=1\r\n",
    b"authorization: b\r\n",
    b"connection: x-a, cookie\r\n",
    b"Connection: keep-alive\r\n",
    b"keep-alive: 1\r\n",
    b"te: trailers\r\n",
    b"trailer: x\r\n",
    b"proxy-authorization: b\r\n",
    b"proxy-connection: x\r\n",
    b"x-forwarded-for: 1\r\n",
    b"forwarded: for=1\r\n",
    b"expect: 100-continue\r\n",
    b"upgrade: h2c\r\n",
    b"http2-settings: x\r\n",
];

/// What a path may have behind a slash.
const SEGMENTS: &[&[u8]] =
    &[b"a", b"/", b"./", b"../", b".", b"..", b"%2e", b"%2E%2e/", b"%41", b"%3b", b"%c3%A4", b"a;b/", b"?", b"?a=/../"];

/// Random numbers that come again for the same seed (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % end
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// One of the seeds, changed in one place or a few.
pub(crate) fn mutant(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = dice.pick(seeds).clone();
    if dice.below(4) == 0 {
        bytes.extend_from_slice(dice.pick::<Vec<u8>>(seeds));
    }
    for _ in 0..1 + dice.below(4) {
        change(&mut bytes, seeds, dice);
    }
    bytes
}

/// One of the seeds, changed so that it mostly stays a request.
pub(crate) fn variant(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = dice.pick(seeds).clone();
    for _ in 0..1 + dice.below(4) {
        tweak(&mut bytes, dice);
    }
    bytes
}

fn tweak(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let places = |is_it: fn(&u8) -> bool| -> Vec<usize> {
        bytes.iter().enumerate().filter(|(_, byte)| is_it(byte)).map(|(at, _)| at).collect()
    };
    let kind = dice.below(4);
    let places = match kind {
        0 => places(|byte| *byte == b'\n'),
        1 => places(|byte| *byte == b'/'),
        _ => places(u8::is_ascii_alphanumeric),
    };
    if places.is_empty() {
        return;
    }
    let at = *dice.pick(&places);
    match kind {
        0 => drop(bytes.splice(at + 1..at + 1, dice.pick(LINES).iter().copied())),
        1 => drop(bytes.splice(at + 1..at + 1, dice.pick(SEGMENTS).iter().copied())),
        2 => bytes[at] = *dice.pick(b"aZ09"),
        _ if bytes[at].is_ascii_alphabetic() => bytes[at] ^= 0x20,
        _ => {}
    }
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    let to = at + dice.below((bytes.len() - at).min(24) + 1);
    match dice.below(8) {
        0 => drop(bytes.drain(at..to)),
        1 => drop(bytes.splice(at..at, dice.pick(PIECES).iter().copied())),
        2 => drop(bytes.splice(at..to, dice.pick(PIECES).iter().copied())),
        3 => {
            let copy = bytes[at..to].to_vec();
            let there = dice.below(bytes.len() + 1);
            bytes.splice(there..there, copy);
        }
        4 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u8::try_from(dice.below(256)).unwrap();
            }
        }
        5 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        6 => swap_lines(bytes, dice),
        _ => {
            let other = dice.pick(seeds);
            let from = dice.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

fn swap_lines(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    if lines.len() > 1 {
        let (one, other) = (dice.below(lines.len()), dice.below(lines.len()));
        lines.swap(one, other);
        *bytes = lines.concat();
    }
}
