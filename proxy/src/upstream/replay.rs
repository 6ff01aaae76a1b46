//! A request's body that may be sent more than once: what was read of it is kept, within a bound.
//!
//! It is read once, whoever makes it: filters see it once. Whether a request may be sent again is decided elsewhere.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::error::Abort;
use crate::upstream::body::RequestBody;

/// Bytes to a frame at the least, on the average and but for the first: small frames are kept at a cost of their own.
const FRAME: usize = 64;
/// Frames that may be of any size.
const FRAMES: usize = 16;
/// A frame is a part of what was read at a time, and keeps the memory of all of that: a smaller one is kept as a copy.
const PART: usize = 4096;

/// See the module.
pub struct Replay(Rc<RefCell<Source>>);

struct Source {
    body: RequestBody,
    /// What was pulled out of `body` so far; `None` once a part of it is gone.
    kept: Option<Kept>,
    /// True once nothing will be repeated: what is kept is for the attempt under way.
    forgotten: bool,
    /// The most bytes that are kept.
    bound: usize,
    /// The attempt that may read; one before gets nothing more.
    attempt: usize,
    /// True once it has read all of the body.
    taken: bool,
}

#[derive(Default)]
struct Kept {
    data: Vec<Bytes>,
    bytes: usize,
    trailers: Option<HeaderMap>,
}

impl Replay {
    /// Of a body of which nothing was read yet; one that sent more than `bound` bytes is not sent again.
    pub fn new(body: RequestBody, bound: usize) -> Self {
        let kept = Some(Kept::default());
        Self(Rc::new(RefCell::new(Source { body, kept, forgotten: false, bound, attempt: 0, taken: false })))
    }

    /// The body for one more attempt, from its beginning; `Err` when that is gone, `Ok(None)` when there is no body.
    pub fn part(&self) -> Result<Option<Part>, Gone> {
        let mut source = self.0.borrow_mut();
        if source.kept.is_none() || source.forgotten {
            return Err(Gone);
        }
        source.attempt += 1;
        source.taken = source.is_untouched() && source.body.is_end_stream();
        if source.taken {
            return Ok(None);
        }
        Ok(Some(Part { source: Rc::clone(&self.0), attempt: source.attempt, next: 0 }))
    }

    /// True while the body can be had from its beginning.
    pub fn is_whole(&self) -> bool {
        let source = self.0.borrow();
        source.kept.is_some() && !source.forgotten
    }

    /// True once the last attempt has read all of the body.
    pub fn is_taken(&self) -> bool {
        self.0.borrow().taken
    }

    /// An answer began: nothing will be repeated. The attempt that is answered still gets what it has not sent.
    pub fn forget(&self) {
        self.0.borrow_mut().forgotten = true;
    }

    /// The body, when nothing of it was read.
    pub fn reclaim(&self) -> Option<RequestBody> {
        let mut source = self.0.borrow_mut();
        source.is_untouched().then(|| std::mem::replace(&mut source.body, RequestBody::Empty))
    }

    /// True when there is no body at all.
    pub fn is_empty(&self) -> bool {
        let source = self.0.borrow();
        source.is_untouched() && source.body.is_end_stream()
    }
}

/// The beginning of a body is not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Kept {
    /// Keeps one more piece. The first is not copied: most bodies have no other.
    fn take(&mut self, data: &Bytes) {
        self.bytes += data.len();
        let is_copied = data.len() < PART && !self.data.is_empty();
        self.data.push(if is_copied { Bytes::copy_from_slice(data) } else { data.clone() });
    }
}

impl Source {
    fn is_untouched(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.data.is_empty() && kept.trailers.is_none())
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        // An attempt that pulls has sent what was kept.
        self.kept = self.kept.take().filter(|_| !self.forgotten);
        let Some(kept) = &mut self.kept else { return };
        if let Some(data) = frame.data_ref() {
            kept.take(data);
        } else {
            kept.trailers = frame.trailers_ref().cloned();
        }
        if kept.bytes > self.bound || kept.data.len() > self.bound / FRAME + FRAMES {
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
        self.taken = frame.is_none();
        Poll::Ready(frame)
    }

    /// True where nothing comes behind the first `next` frames.
    fn ends_at(&self, next: usize) -> bool {
        self.replay(next).is_none() && self.body.is_end_stream()
    }
}

/// What one attempt sends.
pub struct Part {
    source: Rc<RefCell<Source>>,
    attempt: usize,
    /// The next kept frame to repeat; past them the body itself goes on.
    next: usize,
}

impl Body for Part {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let part = self.get_mut();
        let mut source = part.source.borrow_mut();
        if source.attempt != part.attempt {
            return Poll::Ready(Some(Err(Abort)));
        }
        let frame = match source.replay(part.next) {
            Some(frame) => Some(Ok(frame)),
            None => ready!(source.poll_frame(cx)),
        };
        part.next += 1;
        source.taken |= source.ends_at(part.next);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.borrow().ends_at(self.next)
    }

    fn size_hint(&self) -> SizeHint {
        let source = self.source.borrow();
        let kept = source.kept.as_ref().map_or(&[][..], |kept| kept.data.get(self.next..).unwrap_or_default());
        let repeated: usize = kept.iter().map(Bytes::len).sum();
        let rest = source.body.size_hint().exact();
        match rest.zip(u64::try_from(repeated).ok()).and_then(|(rest, repeated)| rest.checked_add(repeated)) {
            Some(bytes) => SizeHint::with_exact(bytes),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::BodyExt;

    use super::*;

    /// A body of these pieces, each a frame.
    struct Pieces(VecDeque<&'static str>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Abort;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    fn replay(pieces: &[&'static str], bound: usize) -> Replay {
        Replay::new(RequestBody::Filtered(Box::new(Pieces(pieces.iter().copied().collect()))), bound)
    }

    async fn whole(part: Option<Part>) -> Result<Bytes, Abort> {
        part.unwrap().collect().await.map(http_body_util::Collected::to_bytes)
    }

    #[tokio::test]
    async fn a_body_within_the_bound_is_sent_again_from_its_beginning() {
        let replay = replay(&["a", "bc", "d"], 4);
        let mut first = replay.part().unwrap().unwrap();
        first.frame().await.unwrap().unwrap();

        let again = replay.part().unwrap();

        assert_eq!(whole(again).await.unwrap(), "abcd");
        assert_eq!(whole(replay.part().unwrap()).await.unwrap(), "abcd");
        // An attempt that is over gets nothing of what belongs to the next.
        assert_eq!(first.frame().await.unwrap().unwrap_err(), Abort);
    }

    #[tokio::test]
    async fn an_attempt_that_is_answered_early_still_sends_all_of_it() {
        let replay = replay(&["a", "b", "c"], 1024);
        let mut first = replay.part().unwrap().unwrap();
        first.frame().await.unwrap().unwrap();
        first.frame().await.unwrap().unwrap();
        let second = replay.part().unwrap();

        replay.forget();

        assert_eq!(whole(second).await.unwrap(), "abc");
        assert!(!replay.is_whole() && replay.part().is_err());
    }

    #[tokio::test]
    async fn an_attempt_has_taken_the_body_once_it_has_read_the_last_of_it() {
        let replay = replay(&["a", "b"], 1024);
        let mut first = replay.part().unwrap().unwrap();

        first.frame().await.unwrap().unwrap();
        assert!(!replay.is_taken());
        first.frame().await.unwrap().unwrap();
        assert!(replay.is_taken());
        let mut second = replay.part().unwrap().unwrap();
        second.frame().await.unwrap().unwrap();

        assert!(!replay.is_taken());
    }

    #[tokio::test]
    async fn a_body_past_the_bound_goes_on_and_is_not_sent_again() {
        let replay = replay(&["a", "bc", "d"], 3);

        assert_eq!(whole(replay.part().unwrap()).await.unwrap(), "abcd");

        assert!(!replay.is_whole());
        assert_eq!(replay.part().err(), Some(Gone));
    }

    #[tokio::test]
    async fn many_small_frames_are_not_kept() {
        let replay = replay(&["a"; 100], 1024);

        assert_eq!(whole(replay.part().unwrap()).await.unwrap().len(), 100);

        assert!(!replay.is_whole());
    }

    #[test]
    fn small_pieces_keep_no_more_than_their_own_memory() {
        let read = Bytes::from(vec![0; 2 * PART]);
        let mut kept = Kept::default();

        kept.take(&Bytes::from_static(b"first"));
        (0..PART).step_by(512).for_each(|at| kept.take(&read.slice(at..at + 512)));
        let is_let_go = read.is_unique();
        kept.take(&read.slice(PART..));

        assert!(is_let_go && !read.is_unique());
        assert_eq!((kept.bytes, kept.data.len()), (2 * PART + 5, 10));
    }

    #[test]
    fn a_body_that_is_none_needs_no_part() {
        let replay = Replay::new(RequestBody::Empty, 0);

        assert!(replay.is_empty() && replay.part().unwrap().is_none());
        assert!(replay.is_taken());
        assert!(replay.part().unwrap().is_none());
    }
}
