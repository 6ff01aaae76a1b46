//! The exchange that everything is measured with, and what an exchange must offer for that.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use tollgate_abi::{BufferType, Stream};
use tollgate_config::{Limits, TestRequest};

use crate::exchange::buffer::BodyBuffer;
use crate::exchange::head::{Fields, ResponseHead};
use crate::exchange::kept::PropertyQuota;
use crate::exchange::stream::FilterStream;
use crate::exchange::unsent::{self, Unfit};

/// What listener, route and cluster are called.
const NAME: &str = "toll";
/// What the upstream answers.
const ANSWER: &str = "Hello, toll!\n";
/// What a filter may set of properties: more than any does.
const QUOTA: PropertyQuota = PropertyQuota { count: 1024, bytes: 64 * 1024 };

/// Request and answer.
pub(super) struct Sample {
    /// As it was given.
    pub(super) request: TestRequest,
    /// Its body, shared.
    pub(super) request_body: Bytes,
    /// The head of the answer.
    pub(super) answer: ResponseHead,
    /// Its body.
    pub(super) answer_body: Bytes,
}

impl Sample {
    pub(super) fn new(request: &TestRequest) -> Self {
        let mut map = HeaderMap::new();
        map.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        map.insert(CONTENT_LENGTH, HeaderValue::from(ANSWER.len()));
        let fields = Fields::new(map, Limits::default().headers);
        Self {
            request: request.clone(),
            request_body: Bytes::copy_from_slice(&request.body),
            answer: ResponseHead { status: StatusCode::OK, fields },
            answer_body: Bytes::from_static(ANSWER.as_bytes()),
        }
    }

    /// The exchange at its beginning.
    pub(super) fn stream(&self) -> Result<FilterStream, Unfit> {
        unsent::stream(NAME, &self.request, QUOTA)
    }
}

/// An exchange that can be lent.
pub(super) trait Subject: Stream {
    /// What filters wish, and the request's head.
    fn bare(&mut self) -> &mut FilterStream;

    /// The answer's head came.
    fn set_answer(&mut self, head: ResponseHead);

    /// The body of the callback that follows, or none.
    fn set_body(&mut self, body: Option<(BufferType, BodyBuffer)>);
}

impl Subject for Box<FilterStream> {
    fn bare(&mut self) -> &mut FilterStream {
        self
    }

    fn set_answer(&mut self, head: ResponseHead) {
        self.response = Some(head);
    }

    fn set_body(&mut self, body: Option<(BufferType, BodyBuffer)>) {
        self.body = body;
    }
}
