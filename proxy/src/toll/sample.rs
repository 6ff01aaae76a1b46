//! The exchange that everything is measured with: read once, then copied.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use crate::exchange::head::{Fields, RequestHead, ResponseHead};
use crate::exchange::stream::{Facts, FilterStream};
use crate::exchange::unsent;
use crate::filter::digest::Digest;
use crate::filter::manners::Manners;
use crate::toll::request::Asked;

/// What listener, route and cluster are called.
const NAME: &str = "toll";
/// What the upstream answers.
const ANSWER: &str = "Hello, toll!\n";

/// Request and answer.
pub(super) struct Sample {
    request: RequestHead,
    /// The request's body.
    pub(super) body: Bytes,
    /// The head of the answer.
    pub(super) answer: ResponseHead,
    /// The answer's body.
    pub(super) answer_body: Bytes,
    /// Of the whole request.
    pub(super) digest: Digest,
}

impl Sample {
    pub(super) fn new(asked: &Asked) -> Self {
        let mut map = HeaderMap::new();
        map.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let has_body = asked.head.method != Method::HEAD;
        Self {
            request: asked.head.clone(),
            body: asked.body.clone(),
            answer: ResponseHead { status: StatusCode::OK, fields: Fields::new(map, 0) },
            answer_body: Bytes::from_static(if has_body { ANSWER.as_bytes() } else { b"" }),
            digest: Digest::of(&asked.spelled()),
        }
    }

    /// The head of the request.
    pub(super) fn request(&self) -> &RequestHead {
        &self.request
    }

    /// What does not change from one exchange through a filter to the next.
    pub(super) fn facts(&self, manners: &Manners) -> Facts {
        unsent::facts(NAME, self.body.len(), manners.properties)
    }

    /// The exchange at its beginning.
    pub(super) fn exchange(&self, facts: &Facts) -> Box<FilterStream> {
        Box::new(FilterStream::new(facts.clone(), self.request.clone()))
    }
}
