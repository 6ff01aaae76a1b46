//! One exchange that no client sent, through one VM, in the order in which the proxy has it: request, answer, end.
//!
//! Each body comes whole, in one callback, and there are no trailers. Nothing is waited for: a half that a filter still holds
//! when its last callback is over, and what [`Stage::behind`] brought about, ends the exchange there. Self-tests and
//! `tollgate toll` pass their exchanges in no other way.

use std::time::Instant;

use bytes::Bytes;
use tollgate_abi::{
    Action, BufferType, CallbackKind, ContextId, Failure, HeaderMap as _, Host, LocalResponse, Stream, StreamCallback,
    StreamType, Vm,
};
use tollgate_config::{EmptyBody, HeaderPause, Limits};

use crate::exchange::Half;
use crate::exchange::buffer::BodyBuffer;
use crate::exchange::head::{Fields, ResponseHead};
use crate::exchange::lent::Lent;
use crate::exchange::stream::FilterStream;
use crate::exchange::{hop, local};
use crate::filter::manners::Manners;

/// What carries the exchange into the VM and back.
pub trait Carrier: Stream + Sized {
    /// The exchange; `None` where something else is carried.
    fn bare(&mut self) -> Option<&mut FilterStream>;
}

impl Carrier for Box<FilterStream> {
    fn bare(&mut self) -> Option<&mut FilterStream> {
        Some(self)
    }
}

impl Carrier for Lent {
    fn bare(&mut self) -> Option<&mut FilterStream> {
        match self {
            Self::Http(stream) => Some(stream),
            Self::Tcp(_) => None,
        }
    }
}

/// A host whose VMs take part in rehearsals.
pub trait Stage: Host<Stream: Carrier> + Sized {
    /// Called behind every entry of the guest, before what the filter wishes is looked at. The carrier comes back.
    fn behind(vm: &mut Vm<Self>, id: ContextId, carrier: Self::Stream) -> (Self::Stream, Result<(), Failure>) {
        let _ = (vm, id);
        (carrier, Ok(()))
    }
}

/// What came of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream's answer reached the client.
    Passes,
    /// The filter answered in the upstream's place, with this status.
    Answers(u16),
    /// The filter put an answer with this status in the place of the upstream's.
    Replaces(u16),
    /// The filter's answer cannot be sent.
    Refused,
    /// The filter closed the exchange.
    Closes,
    /// The filter holds this half.
    Holds(Half),
}

/// What a half does next.
enum Turn {
    GoesOn,
    Answers(LocalResponse),
    Ends(Outcome),
}

/// See the module.
pub struct Rehearsal<'a, H: Stage> {
    vm: &'a mut Vm<H>,
    manners: Manners,
    /// Absent while it is lent.
    carrier: Option<H::Stream>,
    /// The filter's context, once it has one.
    id: Option<ContextId>,
}

impl<'a, H: Stage> Rehearsal<'a, H> {
    /// An exchange that no filter has seen. `carrier` carries one.
    pub fn new(vm: &'a mut Vm<H>, manners: Manners, carrier: H::Stream) -> Self {
        Self { vm, manners, carrier: Some(carrier), id: None }
    }

    /// From the head of the request to the end of the answer, which is `upstream` unless the filter gives one: its fields
    /// are taken where the request leaves. The exchange then has the head that is sent to the client.
    ///
    /// # Errors
    /// The filter failed, and its VM with it.
    pub fn run(&mut self, body: &Bytes, (upstream, back): (&mut ResponseHead, &Bytes)) -> Result<Outcome, Failure> {
        let (outcome, answer) = match self.request(body)? {
            Turn::GoesOn => (Outcome::Passes, (taken(upstream), back.clone())),
            Turn::Answers(local) => (Outcome::Answers(local.status), self.compose(local)),
            Turn::Ends(outcome) => return Ok(outcome),
        };
        match self.response(answer)? {
            Turn::GoesOn => Ok(outcome),
            Turn::Answers(local) => Ok(self.replace(outcome, local)),
            Turn::Ends(outcome) => Ok(outcome),
        }
    }

    /// Done, log and delete, whether the filter asks for more time or not.
    ///
    /// # Errors
    /// The filter failed, and its VM with it.
    pub fn end(mut self) -> Result<H::Stream, Failure> {
        let exchange = self.exchange();
        exchange.may_respond = false;
        exchange.ended = Some(Instant::now());
        exchange.status = exchange.response.as_ref().map(|head| head.status.as_u16());
        exchange.response.iter_mut().for_each(|head| head.fields.writable = false);
        let carrier = self.take();
        let Some(id) = self.id else { return Ok(carrier) };
        let (carrier, ended) = self.vm.end_stream(id, carrier);
        ended?;
        let (carrier, behind) = H::behind(self.vm, id, carrier);
        behind.map(|()| carrier)
    }

    fn request(&mut self, body: &Bytes) -> Result<Turn, Failure> {
        let (fields, end) = (self.exchange().request.len(), body.is_empty());
        let action = self.enter(|vm, carrier| vm.begin_stream(carrier, fields, end))?;
        self.half(Half::Request, action, body)
    }

    /// The request is sent by now, or never will be.
    fn response(&mut self, (mut head, body): (ResponseHead, Bytes)) -> Result<Turn, Failure> {
        let exchange = self.exchange();
        exchange.request.fields.writable = false;
        head.fields.limit = exchange.request.fields.limit;
        let bodiless = hop::is_bodiless(&exchange.request.method, head.status);
        let body = if bodiless { Bytes::new() } else { body };
        let fields = head.len();
        exchange.response = Some(head);
        let action = self.deliver(StreamCallback::ResponseHeaders { fields, end_of_stream: body.is_empty() })?;
        self.half(Half::Response, action, &body)
    }

    /// What follows the callback for a head.
    fn half(&mut self, half: Half, action: Action, body: &Bytes) -> Result<Turn, Failure> {
        let comes = self.sees_body(half, body);
        // A pause for good, whichever of the two it is, ends with no body.
        let waits_for_body = action == Action::Pause && comes && self.manners.header_pause == HeaderPause::Headers;
        match self.settle(half, action, waits_for_body) {
            Turn::GoesOn if comes => self.body(half, body),
            turn => Ok(turn),
        }
    }

    /// A body as one chunk that ends it.
    fn body(&mut self, half: Half, body: &Bytes) -> Result<Turn, Failure> {
        let (size, end_of_stream) = (body.len(), true);
        let (kind, callback) = match half {
            Half::Request => (BufferType::RequestBody, StreamCallback::RequestBody { size, end_of_stream }),
            Half::Response => (BufferType::ResponseBody, StreamCallback::ResponseBody { size, end_of_stream }),
        };
        let mut lent = BodyBuffer::new(Limits::default().buffer.as_usize());
        lent.append(body.clone());
        let exchange = self.exchange();
        (exchange.body, exchange.may_add_trailers) = (Some((kind, lent)), true);
        let action = self.deliver(callback)?;
        let exchange = self.exchange();
        (exchange.body, exchange.may_add_trailers) = (None, false);
        Ok(self.settle(half, action, false))
    }

    fn sees_body(&self, half: Half, body: &Bytes) -> bool {
        let kind = match half {
            Half::Request => CallbackKind::RequestBody,
            Half::Response => CallbackKind::ResponseBody,
        };
        let comes = !body.is_empty() || self.manners.empty_body == EmptyBody::Call;
        comes && self.vm.exports(kind)
    }

    /// What the filter wishes after a callback. `may_pause`: a pause ends with the callback that follows.
    fn settle(&mut self, half: Half, action: Action, may_pause: bool) -> Turn {
        let wishes = std::mem::take(&mut self.exchange().wishes);
        if wishes.refused.is_some() {
            return Turn::Ends(Outcome::Refused);
        }
        if let Some((_, response)) = wishes.respond.map(|respond| *respond) {
            return Turn::Answers(response);
        }
        if wishes.close.is_some() {
            return Turn::Ends(Outcome::Closes);
        }
        let wanted = match half {
            Half::Request => StreamType::Request,
            Half::Response => StreamType::Response,
        };
        let resumed = wishes.resume.iter().any(|(_, resumed)| *resumed == wanted);
        if action == Action::Continue || resumed || may_pause { Turn::GoesOn } else { Turn::Ends(Outcome::Holds(half)) }
    }

    /// A filter's answer, which says itself why it was given.
    fn compose(&mut self, local: LocalResponse) -> (ResponseHead, Bytes) {
        let exchange = self.exchange();
        exchange.details = Some(local.details.clone());
        local::compose(local, local::is_grpc(&exchange.request.fields.map))
    }

    /// The answer of a filter that halted the upstream's, or its own: no filter sees it again.
    fn replace(&mut self, before: Outcome, local: LocalResponse) -> Outcome {
        let status = local.status;
        let (head, _) = self.compose(local);
        self.exchange().response = Some(head);
        if matches!(before, Outcome::Answers(_)) { Outcome::Answers(status) } else { Outcome::Replaces(status) }
    }

    fn deliver(&mut self, callback: StreamCallback) -> Result<Action, Failure> {
        let Some(id) = self.id else { return Ok(Action::Continue) };
        self.enter(|vm, carrier| {
            let (carrier, action) = vm.deliver(id, carrier, callback);
            (carrier, action.map(|action| (id, action)))
        })
    }

    /// Lends the exchange for one callback.
    fn enter(
        &mut self,
        call: impl FnOnce(&mut Vm<H>, H::Stream) -> (H::Stream, Result<(ContextId, Action), Failure>),
    ) -> Result<Action, Failure> {
        let carrier = self.take();
        let (carrier, entered) = call(self.vm, carrier);
        let (id, action) = entered?;
        self.id = Some(id);
        let (carrier, behind) = H::behind(self.vm, id, carrier);
        self.carrier = Some(carrier);
        behind.map(|()| action)
    }

    #[expect(clippy::expect_used, reason = "what is lent comes back before anything else is done, see `enter`")]
    fn take(&mut self) -> H::Stream {
        self.carrier.take().expect("the carrier is here")
    }

    #[expect(clippy::expect_used, reason = "`new` gets an exchange, and what is lent comes back, see `enter`")]
    fn exchange(&mut self) -> &mut FilterStream {
        self.carrier.as_mut().and_then(Carrier::bare).expect("the exchange is here")
    }
}

/// The head without its fields stays, so that whoever made it drops it when nobody waits.
fn taken(head: &mut ResponseHead) -> ResponseHead {
    let fields = Fields::bounded(std::mem::take(&mut head.fields.map), head.fields.limit);
    ResponseHead { status: head.status, fields }
}
