//! A body on its way through the chain: frames in from the wire, frames out to the wire, filters between.
//!
//! It is pulled by whoever writes the message, so back-pressure reaches the sender; while a filter holds bytes, reading
//! goes on until the filter's buffer is full.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

use crate::error::{Abort, Reason};
use crate::exchange::Half;
use crate::exchange::head::Fields;
use crate::filter::chain::{Chain, Draw, Flow, Halt};

/// See the module. `B` brings the frames of one half.
pub struct Pump<B> {
    chain: Rc<Chain>,
    half: Half,
    source: B,
    /// Frames that left the chain, in order: seldom more than one.
    ready: SmallVec<[Frame<Bytes>; 1]>,
    /// True once the source gave its last frame and the filters saw the end.
    source_ended: bool,
    /// True once the last frame is in `ready`.
    finished: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Pump<B> {
    /// Pumps `source` through the filters of `chain`.
    pub fn new(chain: Rc<Chain>, half: Half, source: B) -> Self {
        Self { chain, half, source, ready: SmallVec::new(), source_ended: false, finished: false }
    }

    /// The bytes still to come when the whole body has left the chain already, and the names of its trailers.
    pub fn remainder(&self) -> Option<(u64, Option<&http::HeaderMap>)> {
        if !self.finished {
            return None;
        }
        let bytes: usize = self.ready.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let trailers = self.ready.iter().find_map(Frame::trailers_ref);
        Some((u64::try_from(bytes).unwrap_or(u64::MAX), trailers))
    }

    /// Completes when the first bytes have left the chain, or the whole body has: then its framing can be chosen.
    pub fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Halt>> {
        while self.ready.is_empty() && !self.finished {
            match self.step(cx) {
                Poll::Ready(outcome) => outcome?,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Brings one thing forward: a resume, or a frame of the source.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Halt>> {
        let exchange = self.chain.exchange();
        if exchange.interrupted() {
            let reason = exchange.reason().unwrap_or(Reason::ClientGone);
            return Poll::Ready(Err(Halt::Fail(reason)));
        }
        if let Some(flow) = self.chain.catch_up(self.half)? {
            self.queue(flow)?;
            return Poll::Ready(Ok(()));
        }
        if self.chain.is_held(self.half) {
            exchange.register(self.half, cx.waker());
            if let Some(flow) = self.chain.resumed(self.half)? {
                self.queue(flow)?;
                return Poll::Ready(Ok(()));
            }
        }
        // A filter may have answered or ended the exchange from its root context.
        self.chain.wished()?;
        if self.source_ended {
            return Poll::Pending;
        }
        let frame = match Pin::new(&mut self.source).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                exchange.register(self.half, cx.waker());
                return Poll::Pending;
            }
        };
        Poll::Ready(self.accept(frame))
    }

    fn accept(&mut self, frame: Option<Result<Frame<Bytes>, B::Error>>) -> Result<(), Halt> {
        let flow = match frame {
            None => self.body(Bytes::new(), true)?,
            Some(Err(_)) => return Err(Halt::Fail(self.broken())),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => {
                    let end = self.source.is_end_stream();
                    self.body(bytes, end)?
                }
                Err(frame) => self.trailers(frame.into_trailers().unwrap_or_default())?,
            },
        };
        self.queue(flow)
    }

    fn body(&mut self, bytes: Bytes, end: bool) -> Result<Flow, Halt> {
        self.source_ended = end;
        self.chain.body(self.half, 0, bytes, end)
    }

    fn trailers(&mut self, map: http::HeaderMap) -> Result<Flow, Halt> {
        self.source_ended = true;
        let half = self.half;
        self.chain.with_stream(|stream| {
            let fields = Some(Box::new(Fields::bounded(map, stream.request.fields.limit)));
            match half {
                Half::Request => stream.request_trailers = fields,
                Half::Response => stream.response_trailers = fields,
            }
        })?;
        self.chain.trailers(half, 0)
    }

    /// The sender broke off.
    fn broken(&self) -> Reason {
        match self.half {
            Half::Request => Reason::ClientGone,
            Half::Response => Reason::UpstreamReset,
        }
    }

    fn queue(&mut self, flow: Flow) -> Result<(), Halt> {
        let (bytes, end) = match flow {
            Flow::Held => return Ok(()),
            Flow::Out { bytes, end } => (bytes, end),
            Flow::Trailers { bytes } => (bytes, true),
        };
        if !bytes.is_empty() {
            self.ready.push(Frame::data(bytes));
        }
        if end {
            self.finished = true;
            let half = self.half;
            let trailers = self.chain.with_stream(|stream| {
                let fields = match half {
                    Half::Request => &mut stream.request_trailers,
                    Half::Response => &mut stream.response_trailers,
                };
                fields.as_mut().map(|fields| {
                    fields.writable = false;
                    fields.map.clone()
                })
            })?;
            self.ready.extend(trailers.filter(|map| !map.is_empty()).map(Frame::trailers));
        }
        Ok(())
    }

    /// Tells the rest of the exchange that this half gave up.
    fn give_up(&self, halt: Halt) -> Abort {
        match self.half {
            Half::Request => self.chain.halt(halt),
            Half::Response => self.chain.exchange().note(match halt {
                Halt::Fail(reason) => reason,
                Halt::Respond(_) => Reason::LocalResponseRefused(String::new()),
            }),
        }
        Abort
    }
}

impl<B: Body<Data = Bytes> + Unpin> Draw for Pump<B> {
    fn draw(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Halt>> {
        self.step(cx)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Pump<B> {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let this = self.get_mut();
        match this.poll_first(cx) {
            Poll::Ready(Ok(())) => Poll::Ready((!this.ready.is_empty()).then(|| Ok(this.ready.remove(0)))),
            Poll::Ready(Err(halt)) => Poll::Ready(Some(Err(this.give_up(halt)))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.finished && self.ready.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.remainder() {
            Some((bytes, None)) => SizeHint::with_exact(bytes),
            _ => SizeHint::default(),
        }
    }
}
