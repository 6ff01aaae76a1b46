//! What every fuzz target does with one input. The binaries in `bin` give it inputs that grow coverage; a test of the crate
//! replays the corpus.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tollgate_abi::testing::puppet::{self, CALLS};
use tollgate_abi::testing::{RecordingHost, RecordingStream, property_path as path_parts};
use tollgate_abi::{
    BufferType, CalloutFailure, Cause, ContextId, DnsRecord, Engine, EngineSettings, Failure, GrpcEvent, GuestErrors,
    HeaderMap, HttpReply, Limits, MapType, Module, ModuleLimits, PeerType, PluginSettings, StreamCallback,
    VecHeaderMap, Vm, pairs as codec,
};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(&EngineSettings::default()).expect("an engine"));

/// A list of pairs: what decodes encodes to the same bytes, and a reader of twenty lines agrees.
pub(crate) fn pairs(input: &[u8]) {
    let decoded = codec::decode(input).ok().map(|pairs| pairs.to_vec());
    assert_eq!(decoded, reference(input), "{input:?}");
    if let Some(pairs) = decoded {
        let encoded = codec::encode(&VecHeaderMap::new(pairs.clone()));
        let again = codec::decode(&encoded).expect("what was encoded decodes");
        assert_eq!(again.to_vec(), pairs);
        assert!(encoded == input || pairs.is_empty());
    }
}

/// The format as the specification draws it, without regard to speed.
fn reference(input: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    if matches!(input, [] | [0]) {
        return Some(Vec::new());
    }
    let number = |at: usize| Some(u32::from_le_bytes(input.get(at..at + 4)?.try_into().ok()?) as usize);
    let count = number(0)?;
    if count > 1024 || input.len() > 1024 * 1024 {
        return None;
    }
    let mut at = 4 + 8 * count;
    let mut take = |size: usize| {
        let bytes = input.get(at..at.checked_add(size)?)?;
        at += size + 1;
        (*input.get(at - 1)? == 0).then_some(bytes)
    };
    let mut pairs = Vec::new();
    for index in 0..count {
        let (key, value) = (take(number(4 + 8 * index)?)?, take(number(8 + 8 * index)?)?);
        pairs.push((key, value));
    }
    (at == input.len()).then_some(pairs)
}

/// The path of a property: its parts joined are what came, but for one NUL at the end.
pub(crate) fn property_path(input: &[u8]) {
    let Some(parts) = path_parts(input) else {
        let shorter = input.strip_suffix(&[0]).unwrap_or(input);
        assert!(shorter.is_empty() || shorter.iter().filter(|byte| **byte == 0).count() >= 32);
        return;
    };
    assert!((1..=32).contains(&parts.len()));
    assert_eq!(parts.join(&0), input.strip_suffix(&[0]).unwrap_or(input));
}

static PUPPET: LazyLock<Module> = LazyLock::new(|| {
    Module::compile(&ENGINE, &puppet::module(), &ModuleLimits::default()).expect("the puppet compiles")
});

/// A hostile guest: callbacks, each making the hostcalls of a script, in any order.
pub(crate) fn hostcalls(input: &[u8]) {
    let mut script = Script(input);
    let strict = if script.byte() & 1 == 0 { GuestErrors::Lenient } else { GuestErrors::Strict };
    let limits = Limits { callback: Duration::from_secs(5), timers: 4, ..Limits::default() };
    let settings = PluginSettings {
        config: b"configuration".to_vec(),
        env: vec![("NAME".into(), "value".into())],
        guest_errors: strict,
        vm_id: "vm".into(),
        limits,
        ..PluginSettings::default()
    };
    let host = RecordingHost { upstreams: vec!["up".into()], ..RecordingHost::default() };
    let Ok(vm) = Vm::start(&PUPPET, Arc::new(settings), host) else { panic!("the puppet starts") };
    let mut act = Act { vm, live: Vec::new() };
    for _ in 0..64 {
        if script.0.is_empty() || act.step(&mut script).is_err() {
            break;
        }
    }
    act.check();
    act.vm.retire();
}

const CALL_COUNT: u32 = 52;
const _: () = assert!(CALLS.len() == 52, "the count follows the list");

/// Bytes of the input, zeros after its end.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    /// An argument: small numbers and places of the puppet's data are one byte, others five.
    fn number(&mut self) -> u32 {
        match self.byte() {
            small @ 0..=63 => small.into(),
            place @ 64..=191 => puppet::DATA + u32::from(place - 64) * 16,
            192..=199 => 1_048_560 + u32::from(self.byte()),
            _ => u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()]),
        }
    }

    /// What one callback answers, and its hostcalls with eight arguments each.
    fn calls(&mut self) -> Vec<u8> {
        let mut words = vec![u32::from(self.byte() % 5)];
        for _ in 0..self.byte() % 8 {
            words.push(u32::from(self.byte()) % CALL_COUNT);
            words.extend(std::array::from_fn::<u32, 8, _>(|_| self.number()));
        }
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }
}

/// A VM and the exchanges that it knows.
struct Act {
    vm: Vm<RecordingHost>,
    live: Vec<ContextId>,
}

impl Act {
    /// One callback. `Err` once the guest died.
    fn step(&mut self, script: &mut Script<'_>) -> Result<(), Failure> {
        let event = script.byte() % 16;
        let number = script.byte();
        let calls = script.calls();
        self.vm.host_mut().properties.insert(puppet::SCRIPT.to_owned(), calls);
        let outcome = self.event(event, number);
        if let Err(failure) = &outcome {
            assert_ne!(failure.cause, Cause::Host, "{failure}");
        }
        outcome
    }

    fn event(&mut self, event: u8, number: u8) -> Result<(), Failure> {
        let (size, end_of_stream) = (4, number & 1 == 1);
        match event {
            0 => self.begin(),
            1 => self.deliver(number, StreamCallback::RequestBody { size, end_of_stream }),
            2 => self.deliver(number, StreamCallback::ResponseHeaders { fields: 1, end_of_stream }),
            3 => self.deliver(number, StreamCallback::DownstreamData { size, end_of_stream }),
            4 => self.deliver(number, StreamCallback::UpstreamClose { peer: PeerType::Remote }),
            5 => self.end(number, false),
            6 => self.end(number, true),
            7 => self.vm.tick(),
            8 => self.answer(number),
            9 => self.grpc(number),
            10 => self.queue(number),
            11 => self.timer(number),
            12 => self.resolved(number),
            13 => self.vm.call_foreign_function(number.into(), vec![number; 9]),
            14 => self.vm.finish().map(drop),
            _ => self.deliver(number, StreamCallback::ResponseTrailers { fields: 0 }),
        }
    }

    fn begin(&mut self) -> Result<(), Failure> {
        if self.live.len() >= 4 {
            return Ok(());
        }
        let (stream, begun) = self.vm.begin_stream(stream(), 2, false);
        let (id, _) = begun?;
        self.live.push(id);
        self.keep(id, stream);
        Ok(())
    }

    /// Streams wait with the host between callbacks, where `proxy_set_effective_context` finds them.
    fn keep(&mut self, id: ContextId, stream: RecordingStream) {
        self.vm.host_mut().lendable.insert(id, stream);
    }

    fn pick(&mut self, number: u8) -> Option<(ContextId, RecordingStream)> {
        let id = *self.live.get(usize::from(number) % self.live.len().max(1))?;
        let stream = self.vm.host_mut().lendable.remove(&id)?;
        Some((id, stream))
    }

    fn deliver(&mut self, number: u8, callback: StreamCallback) -> Result<(), Failure> {
        let Some((id, stream)) = self.pick(number) else { return Ok(()) };
        let (stream, outcome) = self.vm.deliver(id, stream, callback);
        self.keep(id, stream);
        outcome.map(drop)
    }

    fn end(&mut self, number: u8, force: bool) -> Result<(), Failure> {
        let Some((id, stream)) = self.pick(number) else { return Ok(()) };
        let (stream, gone) = match force {
            true => {
                let (stream, outcome) = self.vm.end_stream(id, stream);
                (stream, outcome.map(|()| true))
            }
            false => self.vm.finish_stream(id, stream),
        };
        if gone? {
            self.live.retain(|live| *live != id);
        } else {
            self.keep(id, stream);
        }
        Ok(())
    }

    fn answer(&mut self, number: u8) -> Result<(), Failure> {
        let Some((id, _)) = nth(&self.vm.host().http_calls, number) else { return Ok(()) };
        let reply = HttpReply {
            headers: VecHeaderMap::new([(":status", "200"), ("x", "y")]),
            body: vec![number; 9],
            trailers: VecHeaderMap::default(),
        };
        let outcome = if number & 1 == 0 { Ok(reply) } else { Err(CalloutFailure::Timeout) };
        self.vm.http_call_ended(id, outcome)
    }

    fn grpc(&mut self, number: u8) -> Result<(), Failure> {
        let Some((id, _)) = nth(&self.vm.host().grpc_calls, number) else { return Ok(()) };
        let event = match number >> 4 & 3 {
            0 => GrpcEvent::InitialMetadata(VecHeaderMap::new([("a", "b")])),
            1 => GrpcEvent::Message(vec![number; 9]),
            2 => GrpcEvent::TrailingMetadata(VecHeaderMap::default()),
            _ => GrpcEvent::Closed { status: number.into(), message: "over".into() },
        };
        self.vm.grpc_event(id, event)
    }

    fn queue(&mut self, number: u8) -> Result<(), Failure> {
        match nth(&self.vm.host().queues, number) {
            Some(queue) => self.vm.queue_ready(queue),
            None => Ok(()),
        }
    }

    fn timer(&mut self, number: u8) -> Result<(), Failure> {
        match nth(&self.vm.host().timers, number) {
            Some((timer, _)) => self.vm.timer_fired(timer),
            None => Ok(()),
        }
    }

    fn resolved(&mut self, number: u8) -> Result<(), Failure> {
        let record = DnsRecord { address: [10, 0, 0, number].into(), ttl: Duration::from_secs(60) };
        match nth(&self.vm.host().lookups, number) {
            Some((token, _)) => self.vm.dns_resolved(token, &[record]),
            None => Ok(()),
        }
    }

    /// What holds whatever the guest did.
    fn check(&self) {
        let settings = self.vm.settings();
        assert!(self.vm.memory_bytes() <= settings.limits.memory);
        assert!(self.vm.stream_contexts() <= self.live.len() || self.vm.is_poisoned());
        assert!(self.vm.host().borrowed.is_empty(), "every stream came back");
        for stream in self.vm.host().lendable.values() {
            stream.maps.values().for_each(check_fields);
        }
    }
}

fn nth<T: Clone>(all: &[T], number: u8) -> Option<T> {
    all.get(usize::from(number >> 1) % all.len().max(1)).cloned()
}

fn stream() -> RecordingStream {
    RecordingStream::request([(":path", "/"), ("a", "b")])
        .with_map(MapType::ResponseHeaders, [(":status", "200")])
        .with_map(MapType::ResponseTrailers, [])
        .with_buffer(BufferType::RequestBody, b"body")
        .with_buffer(BufferType::DownstreamData, b"data")
}

fn check_fields(map: &VecHeaderMap) {
    map.for_each(&mut |name, value| {
        let breaks = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        assert!(!name.is_empty() && !name.iter().any(breaks) && !value.iter().any(breaks));
    });
}

/// Any bytes as a module, or the text of one: it is refused in words, or runs within its bounds.
pub(crate) fn modules(input: &[u8]) {
    let text = std::str::from_utf8(input).ok().filter(|text| text.starts_with("(module"));
    let made = text.and_then(|text| wat::parse_str(text).ok());
    let bytes = made.as_deref().unwrap_or(input);
    let bounds = ModuleLimits { bytes: 64 * 1024, functions: 200, body_bytes: 16 * 1024, ..ModuleLimits::default() };
    let module = match Module::compile(&ENGINE, bytes, &bounds) {
        Ok(module) => module,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let millisecond = Duration::from_millis(1);
    let limits = Limits { memory: 1 << 20, start: 4 * millisecond, callback: 2 * millisecond, ..Limits::default() };
    let settings = PluginSettings { limits, ..PluginSettings::default() };
    let Ok(mut vm) = Vm::start(&module, Arc::new(settings), RecordingHost::default()) else { return };
    let (stream, begun) = vm.begin_stream(stream(), 2, false);
    let Ok((id, _)) = begun else { return };
    let (stream, _) = vm.deliver(id, stream, StreamCallback::RequestBody { size: 4, end_of_stream: true });
    let _ = vm.tick();
    let (stream, _) = vm.end_stream(id, stream);
    stream.maps.values().for_each(check_fields);
    assert!(vm.memory_bytes() <= 1 << 20);
    vm.retire();
}
