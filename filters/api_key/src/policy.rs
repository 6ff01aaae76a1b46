//! From the configuration's JSON to a verdict on one request's key.
//! Nothing here knows the SDK.

use std::fmt;
use std::hint::black_box;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The request header that carries the client's name upstream.
pub const CLIENT_HEADER: &str = "x-api-client";

/// Who may pass, and where to look for the key. The default admits nobody.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    header: String,
    clients: Vec<Client>,
}

/// One client; the secret is never empty and belongs to no other client of the plan.
#[derive(PartialEq, Eq)]
struct Client {
    name: String,
    secret: String,
}

/// What becomes of one request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It goes on as this client's.
    Admit(&'a str),
    /// It is answered here.
    Deny(Denial),
}

/// An answer in the upstream's place.
#[derive(Debug, PartialEq, Eq)]
pub struct Denial {
    /// The HTTP status.
    pub status: u32,
    /// In the order they are sent.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
}

impl Plan {
    /// Reads the plugin's configuration; what it refuses, it refuses whole.
    pub fn parse(json: &[u8]) -> Result<Self, Refusal> {
        let said: Said = serde_json::from_slice(json).map_err(Refusal::Json)?;
        if !is_token(&said.header) {
            return Err(Refusal::Header(said.header));
        }
        if said.keys.is_empty() {
            return Err(Refusal::NoKeys);
        }
        let mut clients = Vec::new();
        for (name, secret) in said.keys {
            let client = Client::new(name, secret)?;
            if let Some(other) = clients.iter().find(|other: &&Client| other.secret == client.secret) {
                return Err(Refusal::Shared(other.name.clone(), client.name));
            }
            clients.push(client);
        }
        Ok(Self { header: said.header, clients })
    }

    /// The request header that carries the key.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// Judges the value of that header; `None` when the request has none. An empty value counts as none.
    pub fn judge(&self, key: Option<&[u8]>) -> Verdict<'_> {
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            let challenge = format!("ApiKey header=\"{}\"", self.header);
            return Verdict::Deny(self.denial(401, "api key missing", Some(challenge)));
        };
        // Every secret is compared, so the time does not tell which one matched.
        let found = self.clients.iter().fold(None, |found, client| if client.has(key) { Some(client) } else { found });
        match found {
            Some(client) => Verdict::Admit(&client.name),
            None => Verdict::Deny(self.denial(403, "api key unknown", None)),
        }
    }

    fn denial(&self, status: u32, error: &str, challenge: Option<String>) -> Denial {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        headers.extend(challenge.map(|challenge| ("www-authenticate", challenge)));
        // A header name is a token, which has neither quotes nor backslashes to escape.
        let body = format!(r#"{{"error":"{error}","header":"{}"}}"#, self.header);
        Denial { status, headers, body }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self { header: default_header(), clients: Vec::new() }
    }
}

impl Client {
    fn new(name: String, secret: Value) -> Result<Self, Refusal> {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Refusal::Client(name));
        }
        match secret {
            Value::String(secret) if !secret.is_empty() => Ok(Self { name, secret }),
            _ => Err(Refusal::Secret(name)),
        }
    }

    /// Takes a time that depends on the lengths alone.
    fn has(&self, key: &[u8]) -> bool {
        let secret = self.secret.as_bytes();
        let difference = secret.iter().zip(key).fold(0, |seen, (a, b)| black_box(seen | (a ^ b)));
        secret.len() == key.len() && difference == 0
    }
}

/// Shows the name only: a secret never reaches a log.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.name).finish()
    }
}

/// Why a configuration is refused. No variant carries a secret.
#[derive(Debug)]
pub enum Refusal {
    /// It is not JSON of the documented shape.
    Json(serde_json::Error),
    /// This cannot be the name of a header.
    Header(String),
    /// It names no client.
    NoKeys,
    /// This client's name cannot be a header's value.
    Client(String),
    /// This client's secret is empty or not a string.
    Secret(String),
    /// These two clients have one secret.
    Shared(String, String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Header(name) => write!(f, "header: {name:?} is not a header name"),
            Self::NoKeys => f.write_str("keys: at least one client is needed"),
            Self::Client(name) => write!(f, "keys: client {name:?} needs a name of visible ASCII without blanks"),
            Self::Secret(name) => write!(f, "keys: client {name:?} needs a secret that is a non-empty string"),
            Self::Shared(one, other) => write!(f, "keys: clients {one:?} and {other:?} have the same secret"),
        }
    }
}

/// The configuration as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default = "default_header")]
    header: String,
    keys: Map<String, Value>,
}

fn default_header() -> String {
    "x-api-key".to_owned()
}

/// RFC 9110 §5.6.2.
fn is_token(name: &str) -> bool {
    let tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(tchar)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const TWO: &[u8] = br#"{ "keys": { "alice": "wonder", "bob": "builder" } }"#;

    fn denial(verdict: Verdict<'_>) -> Denial {
        match verdict {
            Verdict::Deny(denial) => denial,
            Verdict::Admit(client) => panic!("{client} was admitted"),
        }
    }

    fn refusal(json: &str) -> String {
        Plan::parse(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn each_key_admits_its_own_client() {
        let plan = Plan::parse(TWO).unwrap();

        assert_eq!(plan.judge(Some(b"wonder")), Verdict::Admit("alice"));
        assert_eq!(plan.judge(Some(b"builder")), Verdict::Admit("bob"));
    }

    #[test]
    fn a_missing_key_is_a_401_that_says_where_to_put_it() {
        let plan = Plan::parse(TWO).unwrap();

        let denial = denial(plan.judge(None));

        assert_eq!(denial.status, 401);
        assert_eq!(denial.body, r#"{"error":"api key missing","header":"x-api-key"}"#);
        assert!(denial.headers.contains(&("www-authenticate", r#"ApiKey header="x-api-key""#.to_owned())));
        assert!(denial.headers.contains(&("content-type", "application/json".to_owned())));
        assert_eq!(plan.judge(Some(b"")), Verdict::Deny(denial));
    }

    #[test]
    fn an_unknown_key_is_a_403_without_a_challenge() {
        let plan = Plan::parse(TWO).unwrap();

        for key in ["wonde", "wonderx", "wondez", "\u{fffd}"] {
            let denial = denial(plan.judge(Some(key.as_bytes())));
            assert_eq!(denial.status, 403);
            assert_eq!(denial.body, r#"{"error":"api key unknown","header":"x-api-key"}"#);
            assert!(denial.headers.iter().all(|(name, _)| *name != "www-authenticate"));
        }
    }

    #[test]
    fn another_header_is_named_in_the_answer() {
        let plan = Plan::parse(br#"{ "header": "authorization", "keys": { "a": "1" } }"#).unwrap();

        let denial = denial(plan.judge(None));

        assert_eq!(plan.header(), "authorization");
        assert!(denial.body.contains(r#""header":"authorization""#));
    }

    #[test]
    fn the_default_admits_nobody() {
        assert_eq!(denial(Plan::default().judge(Some(b""))).status, 401);
        assert_eq!(denial(Plan::default().judge(Some(b"x"))).status, 403);
    }

    #[test]
    fn a_refused_configuration_says_what_is_missing() {
        assert_eq!(refusal(r#"{ "keys": {} }"#), "keys: at least one client is needed");
        assert!(refusal("{}").starts_with("missing field `keys`"));
        assert!(refusal(r#"{ "keys": {}, "key": 1 }"#).starts_with("unknown field `key`"));
        assert!(refusal("nonsense").ends_with("at line 1 column 2"));
        assert_eq!(refusal(r#"{ "header": "x y", "keys": {} }"#), r#"header: "x y" is not a header name"#);
    }

    #[test]
    fn bad_clients_are_refused_by_name_and_never_with_their_secret() {
        let no_secret = r#"keys: client "a" needs a secret that is a non-empty string"#;
        assert_eq!(refusal(r#"{ "keys": { "a": "" } }"#), no_secret);
        assert_eq!(refusal(r#"{ "keys": { "a": 7 } }"#), no_secret);
        assert!(refusal(r#"{ "keys": { "a\nb": "s3cret" } }"#).starts_with(r#"keys: client "a\nb" needs a name"#));
        assert_eq!(
            refusal(r#"{ "keys": { "a": "s3cret", "b": "s3cret" } }"#),
            r#"keys: clients "a" and "b" have the same secret"#
        );
        let shown = format!("{:?}", Plan::parse(TWO).unwrap());
        assert!(shown.contains("alice") && !shown.contains("wonder"));
    }
}
