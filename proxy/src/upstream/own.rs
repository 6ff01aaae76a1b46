//! Answers that a route gives itself: a fixed one, or a redirect. They are made before the request goes on, and given once it
//! was read, so that no byte of it is taken for the next one.

use std::pin::pin;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::Scheme as AskedScheme;
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use tollgate_config::{Redirect, Respond, Scheme, Target};

use crate::error::{Abort, Reason};
use crate::exchange::edits::{changed, fields};
use crate::exchange::head::RequestHead;
use crate::upstream::body::RequestBody;

/// What a route answers.
#[derive(Debug)]
pub enum Own {
    /// This.
    Respond(Response<Bytes>),
    /// Where to go instead.
    Redirect(Redirect),
}

/// An answer that waits beside its request until that is read.
#[derive(Clone)]
struct Prepared(Response<Bytes>);

impl Own {
    /// What a route with this target answers; `None` where somebody else does.
    pub fn of(target: &Target) -> Option<Box<Self>> {
        match target {
            Target::Respond(said) => Some(Box::new(Self::Respond(fixed(said)))),
            Target::Redirect(said) => Some(Box::new(Self::Redirect((**said).clone()))),
            Target::Echo | Target::Cluster(_) | Target::Split(_) => None,
        }
    }

    /// Makes the answer to a request as the filters left it.
    pub fn prepare(&self, head: &RequestHead, request: &mut Request<RequestBody>) -> Result<(), Reason> {
        let response = match self {
            Self::Respond(response) => response.clone(),
            Self::Redirect(redirect) => redirected(redirect, head)?,
        };
        request.extensions_mut().insert(Prepared(response));
        Ok(())
    }
}

/// The answer that was prepared for a request, once its body is read. On a connection that others share it need not be, but
/// where filters look at it.
pub async fn answer(request: &mut Request<RequestBody>, version: Version) -> Result<Option<Response<Bytes>>, Abort> {
    let Some(Prepared(response)) = request.extensions_mut().remove() else { return Ok(None) };
    let body = std::mem::replace(request.body_mut(), RequestBody::Empty);
    if version != Version::HTTP_2 || matches!(body, RequestBody::Filtered(_)) {
        let mut body = pin!(body);
        while let Some(frame) = body.frame().await {
            frame?;
        }
    }
    Ok(Some(response))
}

fn fixed(said: &Respond) -> Response<Bytes> {
    let mut map: HeaderMap = fields(&said.headers).collect();
    if !said.body.is_empty() && !map.contains_key(header::CONTENT_TYPE) {
        map.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    let mut response = Response::new(Bytes::from(said.body.clone()));
    *response.status_mut() = status(said.status);
    *response.headers_mut() = map;
    response
}

/// The configuration has no other numbers than those of statuses.
fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn redirected(redirect: &Redirect, head: &RequestHead) -> Result<Response<Bytes>, Reason> {
    let location = HeaderValue::from_str(&location(redirect, head));
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status(redirect.status);
    let location = location.map_err(|_| Reason::Internal("the place of a redirect cannot be sent"))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// The whole URL: RFC 9110 §10.2.2 allows a shorter one, which a client would read against what it takes for its own.
fn location(redirect: &Redirect, head: &RequestHead) -> String {
    let scheme = match redirect.scheme {
        Some(Scheme::Http) => "http",
        Some(Scheme::Https) => "https",
        None if head.scheme == AskedScheme::HTTPS => "https",
        None => "http",
    };
    let host = redirect.host.as_deref().unwrap_or_else(|| head.authority.host());
    let kept = if redirect.scheme.is_none() && redirect.host.is_none() { head.authority.port_u16() } else { None };
    let usual = if scheme == "https" { 443 } else { 80 };
    let port = redirect.port.or(kept).filter(|port| *port != usual);
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let asked = head.path.path();
    // `*` is the whole server and no path of it.
    let path = match &redirect.path {
        Some(change) => changed(change, asked),
        None => asked.to_owned(),
    };
    let path = if path.starts_with('/') { path } else { "/".to_owned() };
    let query = head.path.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{scheme}://{host}{port}{path}{query}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use http::Method;
    use http::uri::{Authority, PathAndQuery};

    use super::*;
    use crate::exchange::head::{Edited, Fields};

    /// Where a route with these keys sends a request for `authority` and `target`.
    fn place(keys: &str, authority: &'static str, target: &'static str) -> String {
        let text = format!("listen: 127.0.0.1:0\nroutes: [{{ {keys} }}]\n");
        let config = tollgate_config::parse(&text, Path::new("t.yaml")).unwrap();
        let Target::Redirect(redirect) = &config.listeners[0].routes[0].target else { panic!("a redirect") };
        let head = RequestHead {
            method: Method::GET,
            scheme: AskedScheme::HTTP,
            authority: Authority::from_static(authority),
            path: PathAndQuery::from_static(target),
            fields: Fields::default(),
            edited: Edited::default(),
        };
        location(redirect, &head)
    }

    #[test]
    fn what_a_redirect_does_not_say_stays_as_the_client_asked() {
        let to = |redirect: &str| place(&format!("redirect: {redirect}"), "a.local:81", "/x?y=z");

        assert_eq!(to("{ path: / }"), "http://a.local:81/?y=z");
        assert_eq!(to("{ host: b.local }"), "http://b.local/x?y=z");
        assert_eq!(to("{ scheme: https }"), "https://a.local/x?y=z");
        assert_eq!(to("{ scheme: https, port: 8443 }"), "https://a.local:8443/x?y=z");
        assert_eq!(to("{ port: 80 }"), "http://a.local/x?y=z");
        assert_eq!(to("{ scheme: https, host: '[::1]', port: 443, path: /y }"), "https://[::1]/y?y=z");
    }

    #[test]
    fn a_prefix_takes_the_place_of_what_the_route_matches() {
        let to = |matched: &str, prefix: &str, target| {
            place(&format!("match: {{ {matched} }}, redirect: {{ prefix: {prefix} }}"), "a", target)
        };

        assert_eq!(to("path: /v1/", "/v2/", "/v1/a?b"), "http://a/v2/a?b");
        assert_eq!(to("path: /v1", "/", "/v1"), "http://a/");
        assert_eq!(to("exact: /v1", "/v2/", "/v1"), "http://a/v2/");
        assert_eq!(to("", "/new", "/a"), "http://a/new/a");
        assert_eq!(to("path: /v1", "/", "/v1//evil.example"), "http://a//evil.example");
    }

    #[test]
    fn a_question_about_the_whole_server_is_sent_to_the_root() {
        assert_eq!(place("redirect: { host: b }", "a", "*"), "http://b/");
    }
}
