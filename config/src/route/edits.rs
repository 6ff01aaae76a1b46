//! Header fields that a configuration changes, of requests on their way out and of answers on their way back.
//! When they are changed is the proxy's business.

use serde_json::Value;

use crate::route::HeaderName;
use crate::scalar::{Scalar, Unfit};

/// Changes to the fields of requests and of answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Those of the request as the upstream gets it.
    pub request: FieldEdits,
    /// Those of the answer as the client gets it.
    pub response: FieldEdits,
}

/// Changes to the fields of one message, in the order in which they are made. Names are in lower case, and none belongs to
/// framing or to a single hop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// Fields that go.
    pub remove: Vec<String>,
    /// Fields that get this value in place of those that they have.
    pub set: Vec<(String, String)>,
    /// Fields that get this value beside those that they have.
    pub add: Vec<(String, String)>,
}

impl FieldEdits {
    /// True when nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// Fields of framing and of one hop: RFC 9110, section 7.6.1, and those that proxies must not pass on.
const OF_THE_PROXY: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-tollgate-callout-hops",
    "host",
];

/// The name of a field that a configuration may change, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EditedName(pub(crate) String);

impl Scalar for EditedName {
    const EXPECTED: &'static str = HeaderName::EXPECTED;

    fn parse(text: &str) -> Result<EditedName, Unfit> {
        let HeaderName(name) = HeaderName::parse(text)?;
        match name.as_str() {
            "host" => Err(Unfit::value("is not changed as a header; write \"rewrite: { host: … }\" in a route")),
            known if OF_THE_PROXY.contains(&known) => Err(Unfit::value(
                "belongs to one hop or to the framing of a message, which are the proxy's own; leave it out",
            )),
            _ => Ok(EditedName(name)),
        }
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_belongs_to_the_proxy_whatever_its_case() {
        for name in OF_THE_PROXY {
            assert!(EditedName::parse(&name.to_ascii_uppercase()).is_err(), "{name}");
        }
        assert_eq!(EditedName::parse("X-Forwarded-For"), Ok(EditedName("x-forwarded-for".into())));
        for text in ["", ":path", "a b", "a:", "ä"] {
            assert!(EditedName::parse(text).is_err(), "{text}");
        }
    }
}
