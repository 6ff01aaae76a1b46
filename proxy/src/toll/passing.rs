//! One exchange through one VM, in the order in which a proxy has it: request, answer, end.
//!
//! Each body comes whole, in one callback. A callout over HTTP is answered at once with 200 and nothing; one over gRPC is
//! refused. An exchange that a filter answers itself, closes or holds for good ends there.

use bytes::Bytes;
use tollgate_abi::{
    Action, BufferType, CallbackKind, ContextId, Failure, HeaderMap as _, HttpReply, StreamCallback, StreamType,
    VecHeaderMap, Vm,
};
use tollgate_config::Limits;

use crate::exchange::buffer::BodyBuffer;
use crate::exchange::head::ResponseHead;
use crate::toll::clerk::Clerk;
use crate::toll::report::Outcome;
use crate::toll::subject::{Sample, Subject};

/// Callouts that are answered behind one callback: a filter may begin another in the answer.
const CALLOUTS: usize = 32;

/// Passes one exchange, whose answer is made already, and says what is left of it and what came of it. A filter that fails
/// keeps it.
pub(super) fn pass<S: Subject, const METERED: bool>(
    vm: &mut Vm<Clerk<S, METERED>>,
    (mut stream, answer): (S, ResponseHead),
    sample: &Sample,
) -> Result<(S, Outcome), Failure> {
    let fields = stream.bare().request.len();
    let (stream, begun) = vm.begin_stream(stream, fields, sample.request.body.is_empty());
    let (id, action) = begun?;
    let mut passing = Passing { vm, id, stream: Some(stream) };
    let outcome = passing.halves(sample, answer, action)?;
    passing.end(outcome)
}

struct Passing<'a, S: Subject, const METERED: bool> {
    vm: &'a mut Vm<Clerk<S, METERED>>,
    id: ContextId,
    /// Absent while it is lent.
    stream: Option<S>,
}

impl<S: Subject, const METERED: bool> Passing<'_, S, METERED> {
    fn halves(&mut self, sample: &Sample, head: ResponseHead, action: Action) -> Result<Outcome, Failure> {
        if let Some(outcome) = self.half(StreamType::Request, action, &sample.request_body)? {
            return Ok(outcome);
        }
        let answered =
            StreamCallback::ResponseHeaders { fields: head.len(), end_of_stream: sample.answer_body.is_empty() };
        self.change(|stream| {
            stream.bare().request.fields.writable = false;
            stream.set_answer(head);
        });
        let action = self.deliver(answered)?;
        let outcome = self.half(StreamType::Response, action, &sample.answer_body)?;
        Ok(outcome.unwrap_or(Outcome::Passes))
    }

    /// What follows the callback for a head. `Some` ends the exchange.
    fn half(&mut self, half: StreamType, action: Action, body: &Bytes) -> Result<Option<Outcome>, Failure> {
        let (kind, callback) = match half {
            StreamType::Request => (BufferType::RequestBody, CallbackKind::RequestBody),
            _ => (BufferType::ResponseBody, CallbackKind::ResponseBody),
        };
        let has_body = !body.is_empty() && self.vm.exports(callback);
        let outcome = self.settle(half, action)?;
        // A head that waits for its body is no end.
        let waits_for_body = has_body && action == Action::Pause && matches!(outcome, Some(Outcome::Waits(_)));
        if !has_body || (outcome.is_some() && !waits_for_body) {
            return Ok(outcome);
        }
        self.change(|stream| stream.set_body(Some((kind, buffer(body)))));
        let (size, end_of_stream) = (body.len(), true);
        let action = self.deliver(match kind {
            BufferType::RequestBody => StreamCallback::RequestBody { size, end_of_stream },
            _ => StreamCallback::ResponseBody { size, end_of_stream },
        })?;
        let outcome = self.settle(half, action)?;
        self.change(|stream| stream.set_body(None));
        Ok(outcome)
    }

    /// Answers callouts, then looks at what the filter wishes.
    fn settle(&mut self, half: StreamType, action: Action) -> Result<Option<Outcome>, Failure> {
        for _ in 0..CALLOUTS {
            let Some(callout) = self.vm.host_mut().callouts.pop() else { break };
            self.vm.host_mut().parked = self.stream.take();
            let outcome = self.vm.http_call_ended(callout, Ok(reply()));
            self.stream = self.vm.host_mut().parked.take();
            outcome?;
        }
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let wishes = &mut stream.bare().wishes;
        let resumed = std::mem::take(&mut wishes.resume).iter().any(|(_, resumed)| *resumed == half);
        if let Some((_, response)) = &wishes.respond {
            return Ok(Some(Outcome::Answers(response.status)));
        }
        if wishes.close.is_some() || wishes.refused.is_some() {
            return Ok(Some(Outcome::Closes));
        }
        Ok((action != Action::Continue && !resumed).then_some(Outcome::Waits(half.into())))
    }

    fn deliver(&mut self, callback: StreamCallback) -> Result<Action, Failure> {
        let Some(stream) = self.stream.take() else { return Ok(Action::Continue) };
        let (stream, action) = self.vm.deliver(self.id, stream, callback);
        self.stream = Some(stream);
        action
    }

    fn change(&mut self, change: impl FnOnce(&mut S)) {
        if let Some(stream) = &mut self.stream {
            change(stream);
        }
    }

    fn end(mut self, outcome: Outcome) -> Result<(S, Outcome), Failure> {
        #[expect(
            clippy::expect_used,
            reason = "whatever is lent comes back, see `Vm::deliver` and `Host::return_stream`"
        )]
        let mut stream = self.stream.take().expect("the exchange comes back");
        stream.bare().may_respond = false;
        let (stream, ended) = self.vm.end_stream(self.id, stream);
        ended.map(|()| (stream, outcome))
    }
}

/// A body as a callback sees it.
pub(super) fn buffer(body: &Bytes) -> BodyBuffer {
    let mut buffer = BodyBuffer::new(Limits::default().buffer.as_usize());
    buffer.append(body.clone());
    buffer
}

fn reply() -> HttpReply {
    HttpReply { headers: VecHeaderMap::new([(":status", "200")]), ..HttpReply::default() }
}
