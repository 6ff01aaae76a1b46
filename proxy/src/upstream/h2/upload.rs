//! A request's body on its way into an HTTP/2 stream, kept until the answer begins so that a stream which the endpoint
//! refused can be repeated.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::error::Abort;
use crate::upstream::body::RequestBody;
use crate::upstream::h2::session::Stream;

/// Bytes of a body that are kept; a request that sent more is not repeated.
const KEPT: usize = 64 * 1024;

/// A body that may be sent more than once, but by one stream at a time.
pub(super) struct Replay(Rc<RefCell<Source>>);

struct Source {
    body: RequestBody,
    /// What was pulled out of `body` so far; `None` once a part of it is gone.
    kept: Option<Kept>,
    /// The attempt that may read; a stream of an earlier one gets nothing more.
    attempt: usize,
}

#[derive(Default)]
struct Kept {
    data: Vec<Bytes>,
    bytes: usize,
    trailers: Option<HeaderMap>,
}

impl Replay {
    /// Nothing of `body` was read yet.
    pub(super) fn new(body: RequestBody) -> Self {
        Self(Rc::new(RefCell::new(Source { body, kept: Some(Kept::default()), attempt: 0 })))
    }

    /// The body for one more stream, from its beginning; `None` when that is gone.
    pub(super) fn upload(&self, stream: &Rc<Stream>) -> Option<Upload> {
        let mut source = self.0.borrow_mut();
        source.kept.as_ref()?;
        source.attempt += 1;
        if source.is_untouched() && source.body.is_end_stream() {
            return Some(Upload { part: None, _stream: Rc::clone(stream) });
        }
        let part = Part { source: Rc::clone(&self.0), attempt: source.attempt, next: 0 };
        Some(Upload { part: Some(part), _stream: Rc::clone(stream) })
    }

    /// An answer began: nothing will be repeated.
    pub(super) fn forget(&self) {
        self.0.borrow_mut().kept = None;
    }

    /// The body, when nothing of it was read.
    pub(super) fn reclaim(&self) -> Option<RequestBody> {
        let mut source = self.0.borrow_mut();
        source.is_untouched().then(|| std::mem::replace(&mut source.body, RequestBody::Empty))
    }

    /// True when there is no body at all.
    pub(super) fn is_empty(&self) -> bool {
        let source = self.0.borrow();
        source.is_untouched() && source.body.is_end_stream()
    }
}

impl Source {
    fn is_untouched(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.data.is_empty() && kept.trailers.is_none())
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(kept) = &mut self.kept else { return };
        if let Some(data) = frame.data_ref() {
            kept.bytes += data.len();
            kept.data.push(data.clone());
        } else {
            kept.trailers = frame.trailers_ref().cloned();
        }
        if kept.bytes > KEPT || kept.data.len() > KEPT / 64 {
            self.kept = None;
        }
    }

    /// The kept frame at `next`.
    fn replay(&self, next: usize) -> Option<Frame<Bytes>> {
        let kept = self.kept.as_ref()?;
        match kept.data.get(next) {
            Some(data) => Some(Frame::data(data.clone())),
            None if next == kept.data.len() => kept.trailers.clone().map(Frame::trailers),
            None => None,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.keep(frame);
        }
        Poll::Ready(frame)
    }
}

/// What one stream sends. While it lives, the stream counts as one of its connection.
pub(crate) struct Upload {
    /// Absent where there is nothing to send.
    part: Option<Part>,
    _stream: Rc<Stream>,
}

struct Part {
    source: Rc<RefCell<Source>>,
    attempt: usize,
    /// The next kept frame to repeat; past them the body itself goes on.
    next: usize,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let Some(part) = &mut self.get_mut().part else { return Poll::Ready(None) };
        let mut source = part.source.borrow_mut();
        if source.attempt != part.attempt {
            return Poll::Ready(Some(Err(Abort)));
        }
        if let Some(frame) = source.replay(part.next) {
            part.next += 1;
            return Poll::Ready(Some(Ok(frame)));
        }
        let frame = ready!(source.poll_frame(cx));
        part.next += 1;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.part.as_ref().is_none_or(|part| {
            let source = part.source.borrow();
            source.replay(part.next).is_none() && source.body.is_end_stream()
        })
    }

    fn size_hint(&self) -> SizeHint {
        let Some(part) = &self.part else { return SizeHint::with_exact(0) };
        let source = part.source.borrow();
        let kept = source.kept.as_ref().map_or(&[][..], |kept| kept.data.get(part.next..).unwrap_or_default());
        let repeated: usize = kept.iter().map(Bytes::len).sum();
        let rest = source.body.size_hint().exact();
        match rest.zip(u64::try_from(repeated).ok()).and_then(|(rest, repeated)| rest.checked_add(repeated)) {
            Some(bytes) => SizeHint::with_exact(bytes),
            None => SizeHint::default(),
        }
    }
}
