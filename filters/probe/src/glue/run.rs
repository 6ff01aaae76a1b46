//! Runs one list of commands in one callback and keeps what the callback shall answer.
//! Each command is carried out, its answer logged and, where it says so, stored.

use std::hint::black_box;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{Action, LogLevel, Status};

use super::ffi::{self, Frame};
use super::shared::Shared;
use crate::policy::{Act, Answer, Arg, Callback, Callout, Command, Fault, GrpcCallout, Hostcall, Outcome, Sink, Value};

pub(super) struct Run<'a> {
    at: Callback,
    context: u32,
    shared: &'a Shared,
    /// No more of the body will come.
    pub(super) ended: bool,
    /// What the callback answers, if it answers an action.
    pub(super) action: Action,
    /// The callback answers false, if it answers a boolean.
    pub(super) refused: bool,
    /// The list stopped at its `body-buffer`.
    pub(super) held: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(at: Callback, context: u32, shared: &'a Shared) -> Self {
        let action = Action::Continue;
        Self { at, context, shared, ended: true, action, refused: false, held: false }
    }

    pub(super) fn list(&mut self, commands: &[Command]) {
        for command in commands {
            if command.act == Act::BodyBuffer && !self.ended {
                self.held = true;
                self.action = Action::Pause;
                return;
            }
            self.command(command);
        }
    }

    fn command(&mut self, command: &Command) {
        let Some(answer) = self.act(&command.act) else {
            return;
        };
        let text = String::from_utf8_lossy(&answer);
        let line = || format!("probe: {} = {text}", command.text);
        if text.starts_with("status ") {
            warn(&line());
        } else if text != "ok" {
            let _ = hostcalls::log(LogLevel::Info, &line());
        }
        if let Some(sink) = &command.sink {
            store(sink, &answer);
        }
    }

    /// The answer, in bytes because `copy` has any; `None` for commands that ask the host nothing.
    fn act(&mut self, act: &Act) -> Option<Vec<u8>> {
        match act {
            Act::Call(call) => return Some(self.call(call).answer(call.answer).into()),
            Act::OnHandle { open, then } => return Some(self.on_handle(open, then).into()),
            Act::Copy(call) => return self.copy(call),
            Act::Callout(callout) => return Some(dispatch(callout).into()),
            Act::GrpcCallout(callout) => return Some(self.dispatch_grpc(callout).into()),
            Act::OnGrpc(call) => return Some(self.on_grpc(call).into()),
            Act::BodyUpper => return Some(self.body_upper().into()),
            Act::BodyBuffer => {}
            Act::Pause => self.action = Action::Pause,
            Act::ResumeAfterTicks(ticks) => {
                self.shared.wait(self.context, self.at.stream(), *ticks);
                self.action = Action::Pause;
            }
            Act::Refuse => self.refused = true,
            Act::Fault(fault) => return Some(commit(fault).into()),
        }
        None
    }

    fn call(&self, call: &Hostcall) -> Outcome {
        ffi::call(call, self.frame(0))
    }

    fn frame(&self, handle: u64) -> Frame {
        Frame { body: self.at.body(), handle }
    }

    fn on_handle(&self, open: &Hostcall, then: &Hostcall) -> String {
        match self.shared.handle(open) {
            Ok(handle) => ffi::call(then, self.frame(handle)).answer(then.answer),
            Err(outcome) => outcome.answer(open.answer),
        }
    }

    fn dispatch_grpc(&self, callout: &GrpcCallout) -> String {
        match open_grpc(callout) {
            Ok(id) => {
                self.shared.grpc.set(id);
                id.to_string()
            }
            Err(status) => format!("status {}", status as u32),
        }
    }

    fn on_grpc(&self, call: &Hostcall) -> String {
        ffi::call(call, self.frame(self.shared.grpc.get().into())).answer(call.answer)
    }

    fn copy(&self, call: &Hostcall) -> Option<Vec<u8>> {
        let outcome = self.call(call);
        match outcome.results.into_iter().next() {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => {
                warn(&format!("probe: copy = status {}", outcome.status));
                None
            }
        }
    }

    fn body_upper(&self) -> String {
        let whole = self.call(&Hostcall::whole_body());
        match whole.results.into_iter().next() {
            Some(Value::Bytes(body)) => {
                let upper = Hostcall::replace_body(body.to_ascii_uppercase());
                self.call(&upper).answer(Answer::Results)
            }
            _ => Outcome { status: whole.status, results: vec![] }.answer(Answer::Results),
        }
    }
}

fn store(sink: &Sink, answer: &[u8]) {
    let args = [Arg::number(sink.map), Arg::Bytes(sink.name.clone()), Arg::Bytes(answer.to_vec())];
    let outcome = ffi::call(&Hostcall::new("proxy_replace_header_map_value", args), Frame::default());
    if outcome.status != 0 {
        warn(&format!("probe: -> {} = status {}", String::from_utf8_lossy(&sink.name), outcome.status));
    }
}

pub(super) fn warn(line: &str) {
    let _ = hostcalls::log(LogLevel::Warn, line);
}

/// Goes through the SDK, which must know the id to find the context that its response is for.
fn dispatch(callout: &Callout) -> String {
    let headers = callout.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let body = Some(callout.body.as_slice()).filter(|body| !body.is_empty());
    let timeout = Duration::from_millis(callout.timeout_ms.into());
    let trailers = callout.trailers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    match hostcalls::dispatch_http_call(&callout.upstream, headers, body, trailers, timeout) {
        Ok(id) => id.to_string(),
        Err(status) => format!("status {}", status as u32),
    }
}

fn open_grpc(callout: &GrpcCallout) -> Result<u32, Status> {
    let GrpcCallout { upstream, service, method, metadata, message } = callout;
    let upstream = &String::from_utf8_lossy(upstream);
    let metadata = metadata.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    match message {
        Some((message, milliseconds)) => {
            let timeout = Duration::from_millis((*milliseconds).into());
            hostcalls::dispatch_grpc_call(upstream, service, method, metadata, Some(message), timeout)
        }
        None => hostcalls::open_grpc_stream(upstream, service, method, metadata),
    }
}

#[expect(clippy::panic, clippy::exit, reason = "misbehaving is what these commands are for")]
fn commit(fault: &Fault) -> String {
    match fault {
        Fault::Trap => std::arch::wasm32::unreachable(),
        Fault::Panic(text) => panic!("{text}"),
        Fault::Loop => loop {
            black_box(());
        },
        Fault::Recurse => recurse(0).to_string(),
        Fault::Exit(code) => std::process::exit(*code),
        Fault::Grow(bytes) => grow(*bytes),
    }
}

/// Neither a loop nor memory can stand in for these frames, so what ends is the host's stack.
fn recurse(depth: u64) -> u64 {
    match depth {
        u64::MAX => depth,
        _ => recurse(depth + 1).rotate_left(1) ^ depth,
    }
}

/// Keeps the bytes for the life of the VM.
fn grow(bytes: usize) -> String {
    let mut memory: Vec<u8> = Vec::new();
    if memory.try_reserve_exact(bytes).is_err() {
        return "refused".to_owned();
    }
    memory.resize(bytes, 1);
    black_box(memory.leak());
    "ok".to_owned()
}
