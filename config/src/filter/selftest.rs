//! Self-tests: a request that a new generation of a plugin must answer, or pass on, as expected.
//! Running them is the proxy's work.

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
