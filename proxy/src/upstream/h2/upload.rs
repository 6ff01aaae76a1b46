//! A request's body on its way into an HTTP/2 stream, kept until the answer begins so that a stream which the endpoint
//! refused can be repeated.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::error::Abort;
use crate::upstream::h2::session::Stream;
use crate::upstream::replay::{Part, Replay};

/// Bytes of a body that are kept; a request that sent more is not repeated.
pub(super) const KEPT: usize = 64 * 1024;

/// What one stream sends. While it lives, the stream counts as one of its connection.
pub(crate) struct Upload {
    /// Absent where there is nothing to send.
    part: Option<Part>,
    _stream: Rc<Stream>,
}

impl Upload {
    /// The body for one more stream, from its beginning; `None` when that is gone.
    pub(super) fn new(replay: &Replay, stream: &Rc<Stream>) -> Option<Self> {
        replay.part().ok().map(|part| Self { part, _stream: Rc::clone(stream) })
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        match &mut self.get_mut().part {
            Some(part) => Pin::new(part).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.part.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.part.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
