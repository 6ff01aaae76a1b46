//! Routes: which exchanges are meant, and where they go.
//! Which route wins when several match is decided by the proxy.

mod action;
mod edits;
mod upgrade;

use std::time::Duration;

use regex::{Regex, RegexBuilder};
use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::cluster::{ClusterId, Endpoint, Retry, host_name};
use crate::filter::PluginId;
use crate::scalar::{Name, Scalar, Unfit};

pub(crate) use action::{HostName, Moved, SentPath, unknown_group};
pub use action::{PathChange, PathRewrite, Redirect, Respond, Rewrite, Scheme};
pub(crate) use edits::EditedName;
pub use edits::{FieldEdits, HeaderEdits};
pub(crate) use upgrade::Upgrade;

/// A match with a target and a filter chain.
#[derive(Debug, Clone)]
pub struct Route {
    /// The name written, else `LISTENER/INDEX`; what metrics call it.
    pub name: String,
    /// The exchanges it is for.
    pub matcher: RouteMatch,
    /// Where they go.
    pub target: Target,
    /// What their target is asked for instead; only where there is one.
    pub rewrite: Option<Box<Rewrite>>,
    /// Header fields that are changed, after those that the listener changes; none unless written.
    pub headers: Option<Box<HeaderEdits>>,
    /// The longest wait for the head of the response.
    pub timeout: Duration,
    /// After what its requests are sent once more, in place of what the cluster says.
    pub retry: Option<Retry>,
    /// How long they may stay without a byte; absent, the limit of the listener holds.
    pub idle_timeout: Option<Duration>,
    /// The longest wait for the end of a request; absent, the limit of the listener holds.
    pub request_timeout: Option<Duration>,
    /// True when requests may take as long, and come as slowly, as they like.
    pub stream: bool,
    /// Protocols that an exchange may change its connection to, in lower case; only where every target speaks HTTP/1.1.
    pub upgrade: Vec<String>,
    /// True where CONNECT makes a tunnel to an endpoint of the target, whatever host it names. The match asks for neither path
    /// nor query then, and every target takes bytes as they come: it does not speak HTTP/2.
    pub connect: bool,
    /// The filters in the order they run on a request: the listener's, then the route's own.
    pub chain: Vec<PluginId>,
}

impl Route {
    /// [`Route::timeout`] when none is written.
    pub const TIMEOUT: Duration = Duration::from_secs(15);
}

/// What a request must be like; every part has to agree.
#[derive(Debug, Clone, Default)]
pub struct RouteMatch {
    /// The host asked for.
    pub host: HostMatch,
    /// The path asked for, without the query.
    pub path: PathMatch,
    /// The methods allowed; empty means every method.
    pub methods: Vec<String>,
    /// What is asked of headers; names are lower case, no name appears twice.
    pub headers: Vec<(String, ValueMatch)>,
    /// What is asked of query parameters, of their names and values unescaped; no name appears twice.
    pub query: Vec<(String, ValueMatch)>,
}

/// A condition on a header or a query parameter. Where it is there more than once, one that agrees is enough.
#[derive(Debug, Clone)]
pub enum ValueMatch {
    /// It has this value.
    Equal(String),
    /// The expression is found in its value.
    Regex(Regex),
    /// It is there.
    Present,
    /// It is not there.
    Absent,
}

/// A condition on the host of a request, port left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HostMatch {
    /// Every host.
    #[default]
    Any,
    /// This host, in lower case.
    Exact(String),
    /// Every host that ends like this and has something before it: `.example.com`, in lower case.
    Suffix(String),
}

/// A condition on the path of a request, query left out.
#[derive(Debug, Clone, Default)]
pub enum PathMatch {
    /// Every path.
    #[default]
    Any,
    /// This path and no other.
    Exact(String),
    /// This path and everything below it, written without a slash at its end: `/v1` means `/v1`,
    /// `/v1/` and `/v1/x`, never `/v1x`. The empty prefix is what `/` means: every path.
    Prefix(String),
    /// Every path in which the expression is found; it is anchored only where it says so.
    Regex(Regex),
}

/// Where the exchanges of a route go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The proxy answers itself with a description of the request.
    Echo,
    /// An endpoint of a cluster answers.
    Cluster(ClusterId),
    /// One of several clusters answers, each as often as its weight says; two at least, and no weight is 0.
    Split(Vec<(ClusterId, u32)>),
    /// The proxy gives this answer.
    Respond(Box<Respond>),
    /// The proxy sends clients elsewhere.
    Redirect(Box<Redirect>),
}

impl Scalar for HostMatch {
    const EXPECTED: &'static str = "a host such as api.local or *.example.com";

    fn parse(text: &str) -> Result<HostMatch, Unfit> {
        let unfit = || Unfit::value("is not a host; write it without a port, as in api.local or *.example.com");
        if text == "*" {
            return Ok(HostMatch::Any);
        }
        if let Some(domain) = text.strip_prefix("*.") {
            let domain = host_name(domain).filter(|name| !name.contains(':')).ok_or_else(unfit)?;
            return Ok(HostMatch::Suffix(format!(".{domain}")));
        }
        // The dot of a fully qualified name means nothing to a match.
        let host = host_name(text.strip_suffix('.').unwrap_or(text)).ok_or_else(unfit)?;
        // A Host header has the brackets of an IPv6 address.
        let bracketed = host.contains(':');
        Ok(HostMatch::Exact(if bracketed { format!("[{host}]") } else { host }))
    }

    fn spell(&self) -> Value {
        match self {
            HostMatch::Any => "*".into(),
            HostMatch::Exact(host) => host.as_str().into(),
            HostMatch::Suffix(domain) => format!("*{domain}").into(),
        }
    }
}

/// A path that stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExactPath(pub(crate) String);

impl Scalar for ExactPath {
    const EXPECTED: &'static str = "a path such as /v1";

    fn parse(text: &str) -> Result<ExactPath, Unfit> {
        let refused = |letter: char| letter.is_whitespace() || letter.is_control() || "?#".contains(letter);
        if !text.starts_with('/') || text.contains(refused) {
            return Err(Unfit::value("is not a path; it starts with / and has no query"));
        }
        Ok(ExactPath(text.to_owned()))
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^/[^?#]*$" })
    }
}

/// A path with its query that the proxy asks for by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probed(pub(crate) String);

impl Scalar for Probed {
    const EXPECTED: &'static str = ExactPath::EXPECTED;

    fn parse(text: &str) -> Result<Probed, Unfit> {
        match text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            true => Ok(Probed(text.to_owned())),
            false => Err(Unfit::value("is not a path; it starts with / and has letters of ASCII alone")),
        }
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^/[!-~]*$" })
    }
}

/// A path that stands for itself and everything below it, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefix(pub(crate) String);

impl Scalar for Prefix {
    const EXPECTED: &'static str = ExactPath::EXPECTED;

    fn parse(text: &str) -> Result<Prefix, Unfit> {
        let ExactPath(path) = ExactPath::parse(text)?;
        Ok(Prefix(path.trim_end_matches('/').to_owned()))
    }

    fn spell(&self) -> Value {
        if self.0.is_empty() { "/".into() } else { self.0.as_str().into() }
    }

    fn schema() -> Schema {
        ExactPath::schema()
    }
}

impl Scalar for Regex {
    const EXPECTED: &'static str = "a regular expression";

    fn parse(text: &str) -> Result<Regex, Unfit> {
        let built = RegexBuilder::new(text).size_limit(1 << 20).build();
        built.map_err(|error| {
            // The last line has the reason; those before draw the expression again.
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Unfit::value(format!("is not a regular expression: {reason}"))
        })
    }

    fn spell(&self) -> Value {
        self.as_str().into()
    }
}

/// A method of a request, in the case in which requests have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Method(pub(crate) String);

impl Scalar for Method {
    const EXPECTED: &'static str = "a method such as GET";

    fn parse(text: &str) -> Result<Method, Unfit> {
        if !is_token(text) {
            return Err(Unfit::value("is not a method"));
        }
        if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            let upper = text.to_ascii_uppercase();
            return Err(Unfit::value(format!("is not a method; methods have capital letters, write {upper}")));
        }
        Ok(Method(text.to_owned()))
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }
}

/// The name of a header, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderName(pub(crate) String);

impl Scalar for HeaderName {
    const EXPECTED: &'static str = "the name of a header";

    fn parse(text: &str) -> Result<HeaderName, Unfit> {
        match is_token(text) {
            true => Ok(HeaderName(text.to_ascii_lowercase())),
            false => Err(Unfit::value("is not the name of a header")),
        }
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }
}

/// A token of HTTP. RFC 9110, section 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(letter)
}

/// A target as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TargetName {
    Echo,
    /// `http://HOST:PORT`; port 80 unless written.
    Url(Endpoint),
    /// `https://HOST:PORT`; port 443 unless written.
    Tls(Endpoint),
    Cluster(Name),
    /// What the client's connection was meant for.
    Original,
}

impl Scalar for TargetName {
    const EXPECTED: &'static str = "a URL, the name of a cluster, \"original\" or \"echo\"";

    fn parse(text: &str) -> Result<TargetName, Unfit> {
        if text == "echo" {
            return Ok(TargetName::Echo);
        }
        if text == "original" {
            return Ok(TargetName::Original);
        }
        match text.split_once("://") {
            None => Name::parse(text).map(TargetName::Cluster),
            Some(("http", rest)) => authority(rest, 80).map(TargetName::Url),
            Some(("https", rest)) => authority(rest, 443).map(TargetName::Tls),
            Some(_) => Err(Unfit::value("is not a target; a URL starts with http:// or https://")),
        }
    }

    fn spell(&self) -> Value {
        match self {
            TargetName::Echo => "echo".into(),
            TargetName::Original => "original".into(),
            TargetName::Url(endpoint) => format!("http://{endpoint}").into(),
            TargetName::Tls(endpoint) => format!("https://{endpoint}").into(),
            TargetName::Cluster(Name(name)) => name.as_str().into(),
        }
    }
}

/// What follows `http://` or `https://` in a target.
fn authority(text: &str, port: u16) -> Result<Endpoint, Unfit> {
    let authority = text.strip_suffix('/').unwrap_or(text);
    if authority.contains(['/', '?', '#', '@']) {
        return Err(Unfit::value("is not a target; a URL has only a host and a port, as in http://127.0.0.1:8080"));
    }
    let endpoint = match host_name(authority) {
        Some(host) => Ok(Endpoint::new(host, port)),
        None => Endpoint::parse(authority),
    };
    endpoint.map_err(|_| Unfit::value("is not a target; write a URL as in http://127.0.0.1:8080"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_of_a_prefix_means_nothing() {
        assert_eq!(Prefix::parse("/v1/"), Prefix::parse("/v1"));
        assert_eq!(Prefix::parse("/"), Ok(Prefix(String::new())));
        assert_eq!(Prefix(String::new()).spell(), "/");
    }

    #[test]
    fn a_path_starts_with_a_slash_and_has_no_query() {
        for text in ["", "v1", "/a?b", "/a#b", "/a b", "http://x/"] {
            assert!(ExactPath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_are_compared_in_lower_case() {
        assert_eq!(HostMatch::parse("Api.Local"), Ok(HostMatch::Exact("api.local".into())));
        assert_eq!(HostMatch::parse("*.Example.com"), Ok(HostMatch::Suffix(".example.com".into())));
        assert_eq!(HostMatch::parse("[::1]"), Ok(HostMatch::Exact("[::1]".into())));
        assert_eq!(HostMatch::parse("*"), Ok(HostMatch::Any));
        for text in ["", "api.local:80", "*api.local", "a.*.b", "*.", "::1", "http://a"] {
            assert!(HostMatch::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_has_a_host_and_a_port_alone() {
        let url = |text| TargetName::parse(text).map(|target| target.spell());
        assert_eq!(url("http://127.0.0.1:8080"), Ok("http://127.0.0.1:8080".into()));
        assert_eq!(url("http://App/"), Ok("http://app:80".into()));
        assert_eq!(url("http://[::1]"), Ok("http://[::1]:80".into()));
        for text in ["http://", "http://a/b", "http://u@a", "http://a?b", "ftp://a", "http://a:x"] {
            assert!(url(text).is_err(), "{text}");
        }
        assert_eq!(url("https://App/"), Ok("https://app:443".into()));
        assert_eq!(url("https://[::1]:8443"), Ok("https://[::1]:8443".into()));
        for text in ["https://", "https://a/b", "https://u@a"] {
            assert!(url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_method_in_small_letters_gets_advice() {
        assert!(Method::parse("get").unwrap_err().reason.ends_with("write GET"));
    }
}
