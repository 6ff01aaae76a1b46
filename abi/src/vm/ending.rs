//! Why a guest entry ended, and how that reads in a `Failure`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmtime::{Trap, WasmBacktrace};

use crate::error::{Cause, Failure};
use crate::fault::Exit;
use crate::host::Host;
use crate::state::State;

/// The bad end of an entry.
pub(super) enum Ended {
    /// The guest was stopped, by itself or by a hostcall.
    Guest(wasmtime::Error),
    /// The guest declined to serve.
    Refused(&'static str),
    /// The host is to blame.
    Host(String),
}

impl From<wasmtime::Error> for Ended {
    fn from(error: wasmtime::Error) -> Self {
        Ended::Guest(error)
    }
}

/// Runs `call` and turns a panic of the embedder inside a hostcall into an ending.
///
/// The engine carries a panic through guest frames; it is caught here, once an entry, and not in each hostcall. Nothing
/// that the panic may have left half done is looked at again: the VM is poisoned, and only its streams and its host,
/// which are the embedder's own, go back.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, Ended>) -> Result<T, Ended> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(Ended::Host(words(&*panic))))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let literal = panic.downcast_ref::<&str>().copied();
    let text = literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the host panicked: {}", text.unwrap_or("without words"))
}

/// Writes the failure of the entry that `state` ran last.
pub(super) fn failure<H: Host>(state: &State<H>, ended: Ended) -> Failure {
    let (cause, message, backtrace) = match ended {
        Ended::Refused(message) => (Cause::Refused, message.to_owned(), Vec::new()),
        Ended::Host(message) => (Cause::Host, message, Vec::new()),
        Ended::Guest(error) => (cause(state, &error), message(&error), frames(&error)),
    };
    Failure {
        callback: state.running,
        cause,
        message: message.split_whitespace().collect::<Vec<_>>().join(" "),
        backtrace,
    }
}

fn cause<H: Host>(state: &State<H>, error: &wasmtime::Error) -> Cause {
    if let Some(Exit(code)) = error.downcast_ref() {
        return Cause::Exit(*code);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Cause::Deadline,
        _ if state.caps.refused => Cause::Memory,
        _ => Cause::Trap,
    }
}

fn message(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => "the filter ran past its time".to_owned(),
        _ => error.root_cause().to_string(),
    }
}

/// One line a frame, as the engine prints them.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let text = backtrace.to_string();
    let lines = text.lines().skip(1).map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with("note:")).map(str::to_owned).collect()
}
