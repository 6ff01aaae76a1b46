//! What lives in the store of a VM, and what hostcalls may do to it without touching guest memory.
//!
//! It never enters the guest.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::{Instance, Memory, ModuleExport, TypedFunc, UpdateDeadline};

use crate::callback::CallbackKind;
use crate::callout::{Callouts, HttpReply};
use crate::context::{Contexts, Rundown};
use crate::deadline::Deadline;
use crate::engine::Ceiling;
use crate::fault::Fault;
use crate::host::{Host, LocalResponse, Stream};
use crate::limits::{self, Limits};
use crate::memory::GuestSlice;
use crate::settings::{GuestErrors, PluginSettings};
use crate::storage::{Buffer, HeaderMap, Refusal, VecHeaderMap};
use crate::types::{AbiVersion, BufferType, ContextId, MapType, Status, StreamType};

mod caps;
mod kept;

pub(crate) use caps::Caps;
pub(crate) use kept::Kept;

/// How refused local responses are reported.
const RESPOND: &str = "proxy_send_local_response";

/// The data of one store.
pub(crate) struct State<H: Host> {
    pub(crate) host: H,
    pub(crate) settings: Arc<PluginSettings>,
    pub(crate) abi: AbiVersion,
    /// `None` until the module is instantiated; nothing of the guest runs before.
    pub(crate) memory: Option<Memory>,
    pub(crate) allocator: Allocator,
    pub(crate) stage: Stage,
    /// True while the host is inside the guest's allocator.
    pub(crate) allocating: bool,
    pub(crate) running: CallbackKind,
    pub(crate) contexts: Contexts<H::Stream>,
    /// What the running entry asked for, in order; empty while no entry runs.
    actions: Vec<(ContextId, StreamAction)>,
    pub(crate) deadline: Deadline,
    pub(crate) caps: Caps,
    /// Room for one value between the embedder and the guest's allocator.
    pub(crate) scratch: Vec<u8>,
    /// Bytes that the running hostcall has copied; stays 0 unless the host meters hostcalls.
    pub(crate) copied: usize,
    pub(crate) rundown: Rundown,
    pub(crate) callouts: Callouts,
    pub(crate) status: CalloutStatus,
    pub(crate) handed: Handed,
    /// DNS look-ups that the guest waits for, by token.
    pub(crate) lookups: HashMap<u32, Asker>,
    /// One-shot timers that run, by number, with the context that set them.
    pub(crate) timers: HashMap<u32, ContextId>,
    /// Properties that the guest declared, and how often each may be set. Shared with the image, as hardly any VM declares
    /// one after its start.
    pub(crate) declared: Arc<HashMap<Vec<u8>, Writable>>,
    last_token: u32,
    /// Zero of the guest's monotonic clock.
    pub(crate) born: Instant,
}

/// The guest's allocator.
#[derive(Default)]
pub(crate) enum Allocator {
    /// The module is not instantiated, or the allocator is being called.
    #[default]
    Out,
    /// It was not needed so far.
    Unused(Instance, ModuleExport),
    Known(TypedFunc<u32, u32>),
}

/// How a look-up is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Through `envoy_on_resolve_dns`.
    Envoy,
    /// Through `proxy_on_foreign_function`, as long as this context lives.
    Function(ContextId),
}

/// How often a declared property may be set for one exchange.
#[cfg_attr(not(feature = "functions"), expect(dead_code, reason = "nobody declares"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writable {
    Once,
    Always,
}

/// How far the guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its initialisers run; most hostcalls are closed.
    Init,
    /// Its root context exists or is being made.
    Open,
}

/// What a callback of the root hands the guest to read, for as long as it runs.
#[derive(Debug, Default)]
pub(crate) enum Handed {
    #[default]
    Nothing,
    Reply(HttpReply),
    Metadata(MapType, VecHeaderMap),
    Bytes(BufferType, Vec<u8>),
}

impl Handed {
    fn map(&self, map: MapType) -> Option<&VecHeaderMap> {
        match (self, map) {
            (Handed::Reply(reply), MapType::CalloutResponseHeaders) => Some(&reply.headers),
            (Handed::Reply(reply), MapType::CalloutResponseTrailers) => Some(&reply.trailers),
            (Handed::Metadata(kind, fields), _) if *kind == map => Some(fields),
            _ => None,
        }
    }

    fn buffer(&self, buffer: BufferType) -> Option<&Vec<u8>> {
        match (self, buffer) {
            (Handed::Reply(reply), BufferType::CalloutResponseBody) => Some(&reply.body),
            (Handed::Bytes(kind, bytes), _) if *kind == buffer => Some(bytes),
            _ => None,
        }
    }
}

/// What `proxy_get_status` says: how the last callout ended.
#[derive(Debug, Default)]
pub(crate) struct CalloutStatus {
    pub(crate) code: u32,
    pub(crate) message: String,
}

/// Something with an effect outside the guest, held back until the outermost guest call returned.
pub(crate) enum StreamAction {
    Respond(LocalResponse),
    /// A local response that is not to be.
    RefuseResponse,
    Resume(StreamType),
    Close(StreamType),
    Done,
}

impl StreamAction {
    fn hostcall(&self) -> &'static str {
        match self {
            StreamAction::Respond(_) | StreamAction::RefuseResponse => RESPOND,
            StreamAction::Resume(_) => "proxy_continue_stream",
            StreamAction::Close(_) => "proxy_close_stream",
            StreamAction::Done => "proxy_done",
        }
    }
}

impl<H: Host> State<H> {
    pub(crate) fn new(settings: Arc<PluginSettings>, abi: AbiVersion, ceiling: Ceiling, host: H) -> Self {
        let Limits { start, wall_factor, .. } = settings.limits;
        let born = Instant::now();
        State {
            host,
            born,
            abi,
            memory: None,
            allocator: Allocator::Out,
            stage: Stage::Init,
            allocating: false,
            running: CallbackKind::Init,
            contexts: Contexts::new(),
            actions: Vec::new(),
            deadline: Deadline::new(born, start, wall_factor),
            caps: Caps::new(&settings.limits, ceiling),
            scratch: Vec::new(),
            copied: 0,
            rundown: Rundown::Serving,
            callouts: Callouts::default(),
            status: CalloutStatus::default(),
            handed: Handed::Nothing,
            lookups: HashMap::new(),
            timers: HashMap::new(),
            declared: Arc::default(),
            last_token: 0,
            settings,
        }
    }

    /// Asked by the engine at every tick while the guest runs.
    pub(crate) fn tick(&mut self) -> UpdateDeadline {
        if self.deadline.is_over() { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) }
    }

    /// The bytes that a guest hands over, counted where the host meters hostcalls.
    pub(crate) fn read<'m>(&mut self, memory: &'m [u8], slice: GuestSlice) -> Result<&'m [u8], Status> {
        let bytes = slice.read(memory)?;
        self.tally(slice);
        Ok(bytes)
    }

    /// These bytes are copied out of the guest or into it.
    pub(crate) fn tally(&mut self, slice: GuestSlice) {
        if H::METERS_HOSTCALLS {
            self.copied = self.copied.saturating_add(usize::try_from(slice.len()).unwrap_or(usize::MAX));
        }
    }

    /// A header map to read: of the running callback, else of the effective context.
    pub(crate) fn map(&mut self, map: MapType) -> Option<&dyn HeaderMap> {
        if map.is_handed() {
            return self.handed.map(map).map(|fields| fields as &dyn HeaderMap);
        }
        self.contexts.stream()?.headers(map).map(|fields| &*fields)
    }

    /// A header map of the effective context, to change.
    pub(crate) fn map_mut(&mut self, map: MapType) -> Result<&mut dyn HeaderMap, Refusal> {
        if map.is_handed() {
            return Err(Refusal::ReadOnly);
        }
        self.contexts.stream().and_then(|stream| stream.headers(map)).ok_or(Refusal::Unavailable)
    }

    /// A buffer to read: of the running callback, else of the effective context; configuration is not one of them.
    pub(crate) fn buffer(&mut self, buffer: BufferType) -> Option<&dyn Buffer> {
        if buffer.is_handed() {
            return self.handed.buffer(buffer).map(|bytes| bytes as &dyn Buffer);
        }
        self.contexts.stream()?.buffer(buffer).map(|bytes| &*bytes)
    }

    /// A buffer of the effective context, to change.
    pub(crate) fn buffer_mut(&mut self, buffer: BufferType) -> Option<&mut dyn Buffer> {
        self.contexts.stream()?.buffer(buffer)
    }

    /// A fresh number for a look-up or a timer: one that neither has at the moment.
    pub(crate) fn token(&mut self) -> u32 {
        loop {
            self.last_token = self.last_token.wrapping_add(1).max(1);
            if !self.timers.contains_key(&self.last_token) && !self.lookups.contains_key(&self.last_token) {
                return self.last_token;
            }
        }
    }

    /// Forgets a context and the timers it set.
    pub(crate) fn close(&mut self, context: ContextId) {
        self.contexts.close(context);
        if self.timers.is_empty() {
            return;
        }
        let host = &mut self.host;
        self.timers.retain(|timer, owner| {
            let keeps = *owner != context;
            if !keeps {
                host.cancel_timer(*timer);
            }
            keeps
        });
    }

    /// Reports a refusal; the answer is OK unless the operator asked for codes.
    pub(crate) fn refuse(&mut self, hostcall: &'static str, why: &Refusal, code: Status) -> Result<(), Fault> {
        self.host.refused(hostcall, why);
        match self.settings.guest_errors {
            GuestErrors::Lenient => Ok(()),
            GuestErrors::Strict => Err(code.into()),
        }
    }

    /// Turns what an embedder said to a change into what the guest hears.
    pub(crate) fn answer(&mut self, hostcall: &'static str, outcome: Result<(), Refusal>) -> Result<(), Fault> {
        match outcome {
            Ok(()) => Ok(()),
            Err(why) => self.refuse(hostcall, &why, Status::BadArgument),
        }
    }

    /// Holds an action of the effective context back until the guest has returned.
    pub(crate) fn queue(&mut self, action: StreamAction) -> Result<(), Fault> {
        let context = self.contexts.effective();
        let hostcall = action.hostcall();
        if self.contexts.stream().is_none() {
            return self.answer(hostcall, Err(Refusal::Unavailable));
        }
        if self.actions.len() >= limits::ACTIONS {
            return self.answer(hostcall, Err(Refusal::Limit("actions of one callback")));
        }
        self.actions.push((context, action));
        Ok(())
    }

    /// Has the client answered after the guest has returned; the first answer of an entry wins. An answer that cannot be
    /// sent is told to the exchange, which ends in another way. There is one of either for each exchange of an entry,
    /// so the bound on actions does not hold them back.
    pub(crate) fn respond(&mut self, response: LocalResponse) -> Result<(), Fault> {
        let context = self.contexts.effective();
        let Some(stream) = self.contexts.stream() else {
            return self.answer(RESPOND, Err(Refusal::Unavailable));
        };
        let checked = stream.check_response(&response);
        let only_a_field = matches!(checked, Err(Refusal::Name(_) | Refusal::Value(_)));
        match checked {
            _ if self.has_response(context) => return self.answer(RESPOND, Err(Refusal::Unavailable)),
            Err(why) if only_a_field && self.settings.guest_errors == GuestErrors::Lenient => {
                self.host.refused(RESPOND, &why);
            }
            Err(why) => return self.refuse_response(&why),
            Ok(()) => {}
        }
        self.actions.push((context, StreamAction::Respond(response)));
        Ok(())
    }

    /// The guest asked for an answer that cannot be sent.
    pub(crate) fn refuse_response(&mut self, why: &Refusal) -> Result<(), Fault> {
        let context = self.contexts.effective();
        let refused = |(known, action): &(ContextId, StreamAction)| {
            *known == context && matches!(action, StreamAction::RefuseResponse)
        };
        if self.contexts.stream().is_some() && !self.actions.iter().any(refused) {
            self.actions.push((context, StreamAction::RefuseResponse));
        }
        self.refuse(RESPOND, why, Status::BadArgument)
    }

    /// Delivers what the entry asked for, in order, then gives borrowed exchanges back.
    pub(crate) fn settle(&mut self) {
        if !self.actions.is_empty() {
            self.deliver_all();
        }
        self.return_borrowed();
    }

    fn deliver_all(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        let answered: Vec<ContextId> = actions.iter().filter_map(responder).collect();
        for (context, action) in actions.drain(..) {
            // A local response ends the exchange, so there is nothing left to continue, or to end in another way.
            let moot = matches!(action, StreamAction::Resume(_) | StreamAction::RefuseResponse);
            let moot = moot && answered.contains(&context);
            if !moot {
                self.deliver(context, action);
            }
        }
        self.actions = actions;
    }

    /// Forgets what a failed entry asked for.
    pub(crate) fn abandon(&mut self) {
        self.actions.clear();
        self.return_borrowed();
    }

    fn deliver(&mut self, context: ContextId, action: StreamAction) {
        let Some(stream) = self.contexts.stream_of(context) else {
            return;
        };
        match action {
            StreamAction::Respond(response) => {
                if let Err(why) = stream.local_response(response) {
                    self.host.refused(RESPOND, &why);
                }
            }
            StreamAction::RefuseResponse => stream.response_refused(),
            StreamAction::Resume(half) => stream.resume(half),
            StreamAction::Close(half) => stream.close(half),
            StreamAction::Done => stream.done(),
        }
    }

    fn return_borrowed(&mut self) {
        while let Some((context, stream)) = self.contexts.pop_borrowed() {
            self.host.return_stream(context, stream);
        }
    }

    fn has_response(&self, context: ContextId) -> bool {
        self.actions.iter().filter_map(responder).any(|known| known == context)
    }
}

fn responder((context, action): &(ContextId, StreamAction)) -> Option<ContextId> {
    matches!(action, StreamAction::Respond(_)).then_some(*context)
}
