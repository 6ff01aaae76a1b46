//! HTTP/1.1 with one endpoint: one exchange at a time on a connection (RFC 9112).
//!
//! A connection has no task. Who waits for the answer writes the request and reads the answer, in one; who reads the answer's
//! body reads the socket. Only a request that is answered before all of it was sent goes on in a task of its own. Between
//! exchanges nobody listens: that the endpoint left, or said what nobody asked for, is found when the connection is used again
//! or the pool is swept.

mod framing;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderMap};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::task::coop::unconstrained;

use crate::closing;
use crate::error::{Abort, Reason};
use crate::http1::decode::{Decoder, Piece};
use crate::http1::encode::Encoder;
use crate::http1::head::{self, NoHead};
use crate::http1::out::Out;
use crate::tls::stream::Stream;
use crate::upstream::body::RequestBody;
use crate::upstream::classify;
use crate::upstream::cluster::PeerLimits;
use crate::upstream::connect::{Open, Task};
use crate::upstream::h1::framing::{closes, decoder, write_head};
use crate::upstream::pool::Transport;

/// How much is read at a time at first, and at most.
const READ: (usize, usize) = (8 * 1024, 64 * 1024);
/// Interim answers that one request may bring.
const INTERIM: u8 = 10;

/// Who hears of interim answers (RFC 9110 §15.2).
pub trait Hints {
    /// One came.
    fn hint(&self, status: StatusCode, fields: HeaderMap);
}

/// Why a request brought no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing was written: the connection had ended, or its endpoint spoke before it was asked.
    NotBegun,
    /// The connection broke; without an error it ended.
    Broken(Option<io::Error>),
    /// The answer is not HTTP/1.1.
    Malformed,
    /// Its head is over a limit.
    TooLarge,
    /// More interim answers than one request may bring.
    Storm,
    /// The request's own body broke off.
    Aborted,
}

/// See the module.
pub struct Connection(RefCell<Inner>);

struct Inner {
    /// Absent once it is closed, or handed over.
    socket: Option<Transport>,
    read: BytesMut,
    /// How much of a head was looked at.
    seen: usize,
    /// Bytes of empty lines before heads, which count towards the bytes of one.
    blank: usize,
    /// How much to read at a time.
    step: usize,
    out: Out,
    /// What is still to be sent.
    upload: Option<Upload>,
    /// Whether the socket takes no more; what it says then explains why (RFC 9112 §9.5).
    deaf: Deaf,
    /// What is to come of the answer.
    decoder: Decoder,
    /// True while another exchange may follow this one.
    keeps: bool,
    /// The rest of a request that is answered.
    rest: Option<Task>,
    /// Who reads the answer meanwhile.
    reader: Option<Waker>,
    limits: PeerLimits,
    open: Option<Open>,
}

/// Whether a socket takes what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deaf {
    Not,
    /// Its peer has said its end, and was closed or reset since.
    Ended,
    /// It was reset. The kernel says that once, and to whom it said it here: what can be read may end short.
    Reset,
}

impl Deaf {
    fn of(error: &io::Error) -> Self {
        if closing::is_told(error) { Self::Ended } else { Self::Reset }
    }
}

/// A body that is being sent.
struct Upload {
    body: RequestBody,
    encoder: Encoder,
}

impl Connection {
    /// On a connected socket.
    pub(super) fn new(socket: Transport, limits: PeerLimits, open: Open) -> Rc<Self> {
        Rc::new(Self(RefCell::new(Inner {
            socket: Some(socket),
            read: BytesMut::new(),
            seen: 0,
            blank: 0,
            step: READ.0,
            out: Out::default(),
            upload: None,
            deaf: Deaf::Not,
            decoder: Decoder::DONE,
            keeps: true,
            rest: None,
            reader: None,
            limits,
            open: Some(open),
        })))
    }

    /// True while the endpoint neither left nor said what nobody asked for.
    pub(super) fn is_silent(&self) -> bool {
        self.0.borrow_mut().is_silent()
    }

    /// True where another exchange may follow the one that ended.
    pub(super) fn may_serve_on(&self) -> bool {
        let inner = self.0.borrow();
        let is_sent = inner.upload.is_none() && inner.out.is_empty() && inner.deaf == Deaf::Not;
        inner.socket.is_some() && inner.keeps && inner.decoder.is_done() && is_sent && inner.read.is_empty()
    }

    /// Gives up the buffers of a connection that rests.
    pub(super) fn give_up_buffers(&self) {
        self.0.borrow_mut().take_buffers();
    }

    /// Closes it, whatever is under way.
    pub(super) fn close(&self) {
        let closed = self.0.borrow_mut().close();
        // A body that is dropped may look at what it belongs to.
        drop(closed);
    }

    /// The socket of a connection that goes on with another protocol, and what was read of that.
    pub(super) fn hand_over(&self) -> Option<(Transport, Bytes, Option<Open>)> {
        let mut inner = self.0.borrow_mut();
        let socket = inner.socket.take()?;
        // Who holds the lease holds this as long as it lasts.
        let read = inner.take_buffers();
        let early = if read.is_empty() { Bytes::new() } else { read.freeze() };
        Some((socket, early, inner.open.take()))
    }

    /// Sends a request and waits for the head of its answer. Its body is taken out of it once a byte may have left.
    pub(super) async fn send(
        self: &Rc<Self>,
        request: &mut Request<RequestBody>,
        hints: Option<&dyn Hints>,
    ) -> Result<Response<Incoming>, Fault> {
        if !self.is_silent() {
            return Err(Fault::NotBegun);
        }
        self.0.borrow_mut().begin(request);
        let is_head = *request.method() == Method::HEAD;
        let interim = Cell::new(0);
        let answer = poll_fn(|cx| {
            if let Poll::Ready(Err(Abort)) = self.poll_upload(cx) {
                return Poll::Ready(Err(Fault::Aborted));
            }
            self.0.borrow_mut().poll_answer(is_head, &interim, hints, cx)
        });
        let answer = answer.await?;
        self.go_on_sending();
        Ok(self.response(answer))
    }

    fn response(self: &Rc<Self>, answer: head::Answer) -> Response<Incoming> {
        let body = if self.0.borrow().decoder.is_done() { None } else { Some(Rc::clone(self)) };
        let mut response = Response::new(Incoming(body));
        *response.status_mut() = answer.status;
        *response.version_mut() = answer.version;
        *response.headers_mut() = answer.fields;
        response
    }

    /// Completes when nothing more is to be sent: the request is whole, or the socket takes no more and is to be heard out.
    fn poll_upload(&self, cx: &mut Context<'_>) -> Poll<Result<(), Abort>> {
        loop {
            let waits = self.poll_fill(cx)?;
            let mut inner = self.0.borrow_mut();
            if !ready!(inner.poll_out(cx)) {
                let unsent = inner.upload.take();
                drop(inner);
                drop(unsent);
                return Poll::Ready(Ok(()));
            }
            if inner.upload.is_none() {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    /// Takes of the body what there is room for; answers true where more is to come.
    fn poll_fill(&self, cx: &mut Context<'_>) -> Result<bool, Abort> {
        loop {
            let mut inner = self.0.borrow_mut();
            let room = inner.out.has_room();
            let Some(mut upload) = inner.upload.take_if(|_| room) else { return Ok(false) };
            // Bodies run filters, and those know nothing of this connection's state.
            drop(inner);
            let frame = Pin::new(&mut upload.body).poll_frame(cx);
            let mut inner = self.0.borrow_mut();
            let is_over = match frame {
                Poll::Pending => {
                    inner.upload = Some(upload);
                    return Ok(true);
                }
                Poll::Ready(Some(Ok(frame))) => {
                    let is_over = upload.encoder.frame(frame, &mut inner.out);
                    let ends = !is_over && upload.body.is_end_stream();
                    if ends {
                        upload.encoder.end(&mut inner.out).map_err(|_| Abort)?;
                    }
                    is_over || ends
                }
                Poll::Ready(Some(Err(abort))) => return Err(abort),
                Poll::Ready(None) => {
                    upload.encoder.end(&mut inner.out).map_err(|_| Abort)?;
                    true
                }
            };
            if !is_over {
                inner.upload = Some(upload);
            }
        }
    }

    /// The rest of a request that is answered goes on beside the answer.
    fn go_on_sending(self: &Rc<Self>) {
        let is_sent = {
            let inner = self.0.borrow();
            inner.deaf != Deaf::Not || (inner.upload.is_none() && inner.out.is_empty())
        };
        if !is_sent {
            let connection = Rc::clone(self);
            let rest = tokio::task::spawn_local(async move {
                if poll_fn(|cx| connection.poll_upload(cx)).await.is_err() {
                    connection.fail();
                }
            });
            self.0.borrow_mut().rest = Some(Task::new(rest));
        }
    }

    /// The request broke off: nothing of the answer is worth anything.
    fn fail(&self) {
        let reader = {
            let mut inner = self.0.borrow_mut();
            // The task that is at work here ends by itself.
            inner.socket = None;
            inner.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Inner {
    fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        // The runtime knows of what came, so this asks the kernel only where something did.
        match &mut self.socket {
            None => false,
            Some(Stream::Plain(socket)) => {
                socket.try_read(&mut byte).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            Some(Stream::Tls(stream)) => {
                let mut read = ReadBuf::new(&mut byte);
                let reading = poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut read));
                // Whoever has used up its turn is told nothing.
                let mut cx = Context::from_waker(Waker::noop());
                pin!(unconstrained(reading)).poll(&mut cx).is_pending()
            }
        }
    }

    /// What was read; nothing of it, and no room for what is to be written, is kept.
    fn take_buffers(&mut self) -> BytesMut {
        self.out = Out::default();
        std::mem::take(&mut self.read)
    }

    fn close(&mut self) -> impl Sized + use<> {
        (self.socket.take(), self.upload.take(), self.rest.take(), self.open.take())
    }

    /// Writes the head, and takes the body.
    fn begin(&mut self, request: &mut Request<RequestBody>) {
        let body = std::mem::replace(request.body_mut(), RequestBody::Empty);
        let length = body.size_hint().exact();
        let is_empty = body.is_end_stream();
        let encoder = match length {
            Some(length) => Encoder::Length(length),
            None => Encoder::chunks(request.headers()),
        };
        write_head(self.out.small(), request, if is_empty { None } else { Some(length) });
        self.upload = (!is_empty).then_some(Upload { body, encoder });
        self.keeps = !closes(request.headers(), request.version());
        self.step = READ.0;
        (self.rest, self.reader) = (None, None);
    }

    /// Writes what waits; false where the socket takes no more.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(socket) = self.socket.as_mut().filter(|_| self.deaf == Deaf::Not) else { return Poll::Ready(false) };
        if let Err(error) = ready!(self.out.poll_write(Pin::new(socket), cx)) {
            self.deaf = Deaf::of(&error);
        }
        Poll::Ready(self.deaf == Deaf::Not)
    }

    /// Reads the head of the answer, past interim ones.
    fn poll_answer(
        &mut self,
        is_head: bool,
        interim: &Cell<u8>,
        hints: Option<&dyn Hints>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<head::Answer, Fault>> {
        loop {
            while let Some(head) = self.take_head()? {
                let answer = head::answer(&head, self.limits.fields).map_err(Fault::from)?;
                if !answer.status.is_informational() || answer.status == StatusCode::SWITCHING_PROTOCOLS {
                    self.expect(&answer, is_head)?;
                    return Poll::Ready(Ok(answer));
                }
                if interim.replace(interim.get().saturating_add(1)) >= INTERIM {
                    return Poll::Ready(Err(Fault::Storm));
                }
                if let Some(hints) = hints {
                    hints.hint(answer.status, answer.fields);
                }
            }
            match ready!(self.poll_read(cx)) {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(Err(Fault::Broken(None))),
                Err(error) => return Poll::Ready(Err(Fault::Broken(Some(error)))),
            }
        }
    }

    /// The bytes of a head that is whole, where there is one.
    fn take_head(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.seen == 0 {
            let blank = self.read.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.read.advance(blank);
            self.blank += blank;
        }
        match head::find_end(&self.read, &mut self.seen) {
            Some(end) if self.blank + end <= self.limits.bytes => {
                (self.seen, self.blank) = (0, 0);
                Ok(Some(self.read.split_to(end).freeze()))
            }
            None if self.blank + self.read.len() < self.limits.bytes => Ok(None),
            _ => Err(Fault::TooLarge),
        }
    }

    /// RFC 9112 §6.3: what is to come behind the head.
    fn expect(&mut self, answer: &head::Answer, is_head: bool) -> Result<(), Fault> {
        self.decoder = decoder(answer, is_head, self.limits.bytes)?;
        let is_unsure = matches!(self.decoder, Decoder::Chunks { .. }) && answer.fields.contains_key(CONTENT_LENGTH);
        let closes = closes(&answer.fields, answer.version) || self.decoder == Decoder::Close || is_unsure;
        self.keeps &= !closes && answer.status != StatusCode::SWITCHING_PROTOCOLS;
        Ok(())
    }

    /// Reads once; false at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(false)) };
        if self.read.capacity() - self.read.len() < self.step / 2 {
            self.read.reserve(self.step);
        }
        let room = self.read.capacity() - self.read.len();
        let length = ready!(pin!(socket.read_buf(&mut self.read)).poll(cx))?;
        self.step = if length == room { (2 * self.step).min(READ.1) } else { self.step };
        Poll::Ready(Ok(length > 0))
    }

    /// True where the end of the connection is that of the answer.
    fn ends_with_it(&self) -> bool {
        self.decoder == Decoder::Close && self.socket.is_some() && self.deaf != Deaf::Reset
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Fault>> {
        loop {
            match self.decoder.decode(&mut self.read) {
                Ok(Piece::More) => {}
                Ok(piece) => return Poll::Ready(Ok(piece)),
                Err(_) => return Poll::Ready(Err(Fault::Malformed)),
            }
            match ready!(self.poll_read(cx)) {
                Ok(true) => {}
                Ok(false) if self.ends_with_it() => {
                    self.decoder = Decoder::DONE;
                    return Poll::Ready(Ok(Piece::End));
                }
                Ok(false) => return Poll::Ready(Err(Fault::Broken(None))),
                Err(error) => return Poll::Ready(Err(Fault::Broken(Some(error)))),
            }
        }
    }
}

impl From<NoHead> for Fault {
    fn from(why: NoHead) -> Self {
        match why {
            NoHead::Malformed => Self::Malformed,
            NoHead::TooMany => Self::TooLarge,
        }
    }
}

/// The body of an answer, read off the connection. It lets go of that at the end.
pub struct Incoming(Option<Rc<Connection>>);

impl Body for Incoming {
    type Data = Bytes;
    type Error = Reason;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reason>>> {
        let Some(connection) = &self.0 else { return Poll::Ready(None) };
        let mut inner = connection.0.borrow_mut();
        let Poll::Ready(piece) = inner.poll_piece(cx) else {
            if inner.rest.is_some() {
                inner.reader = Some(cx.waker().clone());
            }
            return Poll::Pending;
        };
        let is_over = piece.is_err() || inner.decoder.is_done();
        drop(inner);
        if is_over {
            self.0 = None;
        }
        Poll::Ready(match piece {
            Ok(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Ok(Piece::Trailers(fields)) => Some(Ok(Frame::trailers(fields))),
            Ok(Piece::End | Piece::More) => None,
            Err(Fault::Malformed) => Some(Err(Reason::UpstreamProtocol("body_malformed"))),
            Err(fault) => Some(Err(classify(fault))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(connection) => {
                connection.0.borrow().decoder.length().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}
