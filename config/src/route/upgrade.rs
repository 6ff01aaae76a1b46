//! Protocols that an exchange may change its connection to, and the word for tunnels.

use serde_json::Value;

use crate::scalar::{Scalar, Unfit};

use super::is_token;

/// What `upgrade` asks for, in lower case: a token, perhaps with a version behind a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upgrade(pub(crate) String);

impl Upgrade {
    /// True for the word that stands for the method CONNECT, and for no protocol.
    pub(crate) fn is_connect(&self) -> bool {
        self.0 == "connect"
    }
}

impl Scalar for Upgrade {
    const EXPECTED: &'static str = "the name of a protocol such as websocket";

    fn parse(text: &str) -> Result<Upgrade, Unfit> {
        let (name, version) = text.split_once('/').map_or((text, None), |(name, version)| (name, Some(version)));
        if !is_token(name) || !version.is_none_or(is_token) {
            return Err(Unfit::value("is not the name of a protocol; write it as in websocket"));
        }
        let lower = text.to_ascii_lowercase();
        if lower != text {
            return Err(Unfit::value(format!("is written in small letters, write {lower}")));
        }
        // Behind such a request both sides would speak HTTP past every filter and rule.
        if matches!(name, "h2c" | "http" | "tls") {
            return Err(Unfit::value(
                "is never passed on, because requests in it would pass every route and filter by",
            ));
        }
        Ok(Upgrade(lower))
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_a_token_in_small_letters_perhaps_with_a_version() {
        for text in ["websocket", "spdy/3.1", "tcp", "x-y"] {
            assert_eq!(Upgrade::parse(text), Ok(Upgrade(text.to_owned())));
        }
        for text in ["", "WebSocket", "a b", "a/", "/1", "a/1/2", "web,socket", "h2c", "http/2.0", "tls/1.0"] {
            assert!(Upgrade::parse(text).is_err(), "{text}");
        }
    }
}
