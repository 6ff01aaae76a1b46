//! Admin: where the endpoints for operators are, and what they must say to change anything.
//! Serving them is the proxy's work.

use std::fmt;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where the admin endpoints are; beyond this machine's loopback only with a [`Token`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admin {
    /// Nowhere.
    Off,
    /// At the default address, because nothing was written: when it is busy, a warning is enough.
    Default(SocketAddr),
    /// At the address written: when it is busy, the proxy cannot start.
    Listen(SocketAddr),
}

impl Admin {
    /// The address when nothing is written.
    pub const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);
}

/// A secret that a client of the admin endpoints has to say; nothing prints it.
#[derive(Clone, Eq)]
pub struct Token(Vec<u8>);

impl Token {
    /// The fewest bytes of a token.
    pub const LEAST: usize = 16;

    /// The token of these bytes; `None` when they are fewer than [`Token::LEAST`].
    pub fn new(bytes: Vec<u8>) -> Option<Token> {
        (bytes.len() >= Token::LEAST).then_some(Token(bytes))
    }

    /// Whether a client said it. How long that takes depends on what was said, never on the token's bytes.
    pub fn matches(&self, said: &[u8]) -> bool {
        // What is too long or too short is compared all the same, against the token over and over.
        let fold = |differ: u8, (said, own): (&u8, &u8)| black_box(differ | (said ^ own));
        let differ = said.iter().zip(self.0.iter().cycle()).fold(0, fold);
        (black_box(differ) == 0) & (said.len() == self.0.len())
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Token) -> bool {
        self.matches(&other.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        Token::new(text.into()).unwrap()
    }

    #[test]
    fn a_token_matches_itself_alone() {
        let token = token("0123456789abcdef");

        assert!(token.matches(b"0123456789abcdef"));
        for said in
            ["", "0", "0123456789abcde", "0123456789abcdeF", "x123456789abcdef", "0123456789abcdef0123456789abcdef"]
        {
            assert!(!token.matches(said.as_bytes()), "{said}");
        }
    }

    #[test]
    fn a_short_token_is_none_and_a_token_is_not_printed() {
        assert_eq!(Token::new(vec![b'a'; 15]), None);
        assert_eq!(format!("{:?}", token("0123456789abcdef")), "Token(<redacted>)");
    }
}
