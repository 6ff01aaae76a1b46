//! Self-tests: a request that a new generation of a plugin must answer, or pass on, as expected.
//! Running them is the proxy's work.

use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::cluster::{Endpoint, host_name};
use crate::scalar::{Scalar, Unfit};

/// A request, and what has to come of it before a generation serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfTest {
    /// What the plugin is given.
    pub request: TestRequest,
    /// What has to come of it.
    pub expect: Expectation,
}

/// A request that no client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRequest {
    /// The method; `GET` unless written.
    pub method: String,
    /// The authority; `selftest.invalid` unless written.
    pub host: String,
    /// The path with its query; `/` unless written.
    pub path: String,
    /// The header fields in the order written, names in lower case; never a pseudo-header.
    pub headers: Vec<(String, String)>,
    /// The body; empty unless written.
    pub body: Vec<u8>,
}

impl Default for TestRequest {
    fn default() -> TestRequest {
        TestRequest {
            method: "GET".to_owned(),
            host: "selftest.invalid".to_owned(),
            path: "/".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }
}

/// What has to come of a request; in the configuration it expects one thing at least.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expectation {
    /// The status of the answer.
    pub status: Option<u16>,
    /// Header fields that the answer must have, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Header fields that the request must have as the upstream would get it, names in lower case.
    pub upstream_headers: Vec<(String, String)>,
}

/// A host, perhaps with its port, as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority(pub(crate) String);

impl Scalar for Authority {
    const EXPECTED: &'static str = "a host such as api.local or api.local:8080";

    fn parse(text: &str) -> Result<Authority, Unfit> {
        match host_name(text).is_some() || Endpoint::parse(text).is_ok() {
            true => Ok(Authority(text.to_ascii_lowercase())),
            false => Err(Unfit::value("is not a host; write it as in api.local or api.local:8080")),
        }
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }
}

/// A path with its query, as a request has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination(pub(crate) String);

impl Scalar for Destination {
    const EXPECTED: &'static str = "a path such as /v1?a=b";

    fn parse(text: &str) -> Result<Destination, Unfit> {
        let printed = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        match printed && text.starts_with('/') {
            true => Ok(Destination(text.to_owned())),
            false => {
                Err(Unfit::value("is not a path of a request; it starts with / and has printed ASCII alone, no #"))
            }
        }
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^/[!-\"$-~]*$" })
    }
}

/// The value of a header field. RFC 9110, section 5.5: no control characters and no space around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldValue(pub(crate) String);

impl Scalar for FieldValue {
    const EXPECTED: &'static str = "text";

    fn parse(text: &str) -> Result<FieldValue, Unfit> {
        let control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
        match text.bytes().any(control) || text.trim_matches([' ', '\t']) != text {
            true => {
                Err(Unfit::value("is not the value of a header; it has no control characters and no space around it"))
            }
            false => Ok(FieldValue(text.to_owned())),
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
    fn a_host_may_have_a_port() {
        for text in ["api.local", "Api.Local:8080", "[::1]", "[::1]:80", "10.0.0.1:1"] {
            assert_eq!(Authority::parse(text), Ok(Authority(text.to_lowercase())));
        }
        for text in ["", "api.local:", "api.local:0", "a b", "http://a", "a/b", "user@a", "::1"] {
            assert!(Authority::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_may_have_a_query_and_nothing_else() {
        for text in ["/", "/a?b=c&d", "//", "/%20"] {
            assert_eq!(Destination::parse(text), Ok(Destination(text.to_owned())));
        }
        for text in ["", "a", "/a b", "/a#b", "/\u{e4}", "/a\n", "http://a/"] {
            assert!(Destination::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_value_of_a_header_cannot_begin_another() {
        for text in ["", "a", "a b", "a\tb", "\u{e4}"] {
            assert_eq!(FieldValue::parse(text), Ok(FieldValue(text.to_owned())));
        }
        for text in ["a\r\nb: c", "a\0", "\u{7f}", " a", "a\t"] {
            assert!(FieldValue::parse(text).is_err(), "{text}");
        }
    }
}
