//! From the configuration's JSON and a request's headers to lists of commands, one for each callback.
//! Nothing here knows the SDK: what a command does is data, and `glue` carries it out.

mod bytes;
mod command;
mod hostcall;
mod lower;
mod refusal;
mod words;

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;

pub use bytes::{decode_pairs, encode_pairs};
pub use command::{Act, Callout, Command, Fault, GrpcCallout, Sink};
pub use hostcall::{Answer, Arg, Hostcall, Out, Outcome, Value};
pub use refusal::{Cause, Refusal};

/// What a request's header must start with to be read as commands.
const PREFIX: &[u8] = b"x-probe-";

/// The commands of every callback, in the order they run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    lists: HashMap<Callback, Vec<Command>>,
}

impl Plan {
    /// Reads a plugin's or VM's configuration; none at all is an empty plan.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        if json.is_empty() {
            return Ok(Self::default());
        }
        let said: HashMap<Callback, Vec<String>> = serde_json::from_slice(json).map_err(ConfigError::Json)?;

        let mut plan = Self::default();
        for (at, texts) in said {
            for text in texts {
                let commands = Command::list(&text).map_err(|why| ConfigError::Command(at, why))?;
                plan.lists.entry(at).or_default().extend(commands);
            }
        }
        Ok(plan)
    }

    /// Appends what one request header says, and tells whether it says anything.
    pub fn read_header(&mut self, name: &[u8], value: &[u8]) -> Result<bool, Refusal> {
        let Some(callback) = name.to_ascii_lowercase().strip_prefix(PREFIX).map(<[u8]>::to_vec) else {
            return Ok(false);
        };
        let callback = String::from_utf8_lossy(&callback);
        let Some(at) = Callback::of_header(&callback) else {
            return Err(Refusal::new(&callback, Cause::NoCallback));
        };
        let commands = Command::list(&String::from_utf8_lossy(value))?;
        self.lists.entry(at).or_default().extend(commands);
        Ok(true)
    }

    /// The commands of one callback.
    pub fn at(&self, callback: Callback) -> &[Command] {
        self.lists.get(&callback).map_or(&[], Vec::as_slice)
    }
}

/// What a list holds after its first `body-buffer`: the part that waits for the end of a body.
pub fn held_back(list: &[Command]) -> &[Command] {
    let buffer = list.iter().position(|command| command.act == Act::BodyBuffer);
    buffer.map_or(&[], |at| &list[at + 1..])
}

/// Why a configuration is refused.
#[derive(Debug)]
pub enum ConfigError {
    /// It is not JSON of the documented shape.
    Json(serde_json::Error),
    /// A command in this callback's list is not one.
    Command(Callback, Refusal),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Command(at, refusal) => write!(f, "{}: {refusal}", at.name()),
        }
    }
}

/// Where commands run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of the spec, without `proxy_on_`")]
pub enum Callback {
    VmStart,
    Configure,
    Tick,
    QueueReady,
    RootDone,
    CallResponse,
    GrpcInitial,
    GrpcMessage,
    GrpcTrailers,
    GrpcClose,
    ForeignFunction,
    RequestHeaders,
    RequestBody,
    RequestTrailers,
    ResponseHeaders,
    ResponseBody,
    ResponseTrailers,
    Done,
    Log,
}

impl Callback {
    const NAMES: [(&str, Self); 19] = [
        ("vm_start", Self::VmStart),
        ("configure", Self::Configure),
        ("tick", Self::Tick),
        ("queue_ready", Self::QueueReady),
        ("root_done", Self::RootDone),
        ("call_response", Self::CallResponse),
        ("grpc_initial", Self::GrpcInitial),
        ("grpc_message", Self::GrpcMessage),
        ("grpc_trailers", Self::GrpcTrailers),
        ("grpc_close", Self::GrpcClose),
        ("foreign_function", Self::ForeignFunction),
        ("request_headers", Self::RequestHeaders),
        ("request_body", Self::RequestBody),
        ("request_trailers", Self::RequestTrailers),
        ("response_headers", Self::ResponseHeaders),
        ("response_body", Self::ResponseBody),
        ("response_trailers", Self::ResponseTrailers),
        ("done", Self::Done),
        ("log", Self::Log),
    ];

    /// The buffer that `body-…` commands mean here, as the ABI numbers it.
    pub fn body(self) -> u32 {
        match self {
            Self::CallResponse => 4,
            Self::GrpcMessage => 5,
            Self::ForeignFunction => 8,
            _ => self.stream(),
        }
    }

    /// The half of the exchange this callback belongs to, as the ABI numbers it.
    pub fn stream(self) -> u32 {
        let response = [Self::ResponseHeaders, Self::ResponseBody, Self::ResponseTrailers];
        u32::from(response.contains(&self))
    }

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, callback)| *callback == self).map_or("", |(name, _)| name)
    }

    fn of_header(name: &str) -> Option<Self> {
        let name = name.replace('-', "_");
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, callback)| *callback)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn texts(list: &[Command]) -> Vec<&str> {
        list.iter().map(|command| command.text.as_str()).collect()
    }

    #[test]
    fn each_callback_gets_its_list_in_the_order_written() {
        let json = br#"{ "tick": ["log info a", "pause; done"], "log": ["time"] }"#;

        let plan = Plan::parse(json).unwrap();

        assert_eq!(texts(plan.at(Callback::Tick)), ["log info a", "pause", "done"]);
        assert_eq!(texts(plan.at(Callback::Log)), ["time"]);
        assert_eq!(plan.at(Callback::Done), []);
    }

    #[test]
    fn every_callback_is_known_by_the_name_of_its_key_and_of_its_header() {
        for (name, callback) in Callback::NAMES {
            let json = format!(r#"{{ "{name}": ["time"] }}"#);
            assert_eq!(texts(Plan::parse(json.as_bytes()).unwrap().at(callback)), ["time"]);

            let mut plan = Plan::default();
            let header = format!("X-Probe-{}", name.replace('_', "-"));
            assert!(plan.read_header(header.as_bytes(), b"time").unwrap());
            assert_eq!(texts(plan.at(callback)), ["time"]);
            assert_eq!(callback.name(), name);
        }
    }

    #[test]
    fn no_configuration_is_no_command() {
        assert_eq!(Plan::parse(b"").unwrap(), Plan::default());
    }

    #[test]
    fn a_configuration_is_refused_with_its_callback_and_command() {
        let refusal = |json: &str| Plan::parse(json.as_bytes()).unwrap_err().to_string();

        assert!(refusal(r#"{ "ticks": [] }"#).starts_with("unknown variant `ticks`, expected one of `vm_start`"));
        assert!(refusal("{").starts_with("EOF while parsing"));
        assert_eq!(refusal(r#"{ "tick": ["jump high"] }"#), r#"tick: command "jump high": no such command"#);
    }

    #[test]
    fn headers_add_to_what_is_configured() {
        let mut plan = Plan::parse(br#"{ "request_headers": ["time"] }"#).unwrap();

        assert!(plan.read_header(b"x-probe-request-headers", b"pause; trap").unwrap());

        assert_eq!(texts(plan.at(Callback::RequestHeaders)), ["time", "pause", "trap"]);
    }

    #[test]
    fn other_headers_say_nothing_and_misspelt_ones_are_refused() {
        let mut plan = Plan::default();

        assert!(!plan.read_header(b"x-prob", b"trap").unwrap());
        let refusal = plan.read_header(b"x-probe-request", b"trap").unwrap_err();

        assert_eq!(refusal.to_string(), r#"command "request": no such callback"#);
        assert_eq!(plan, Plan::default());
    }

    #[test]
    fn what_waits_for_a_body_is_what_follows_the_first_buffer() {
        let waits = Command::list("time; body-buffer; pause; body-upper").unwrap();
        let does_not = Command::list("time; pause").unwrap();

        assert_eq!(texts(held_back(&waits)), ["pause", "body-upper"]);
        assert_eq!(held_back(&does_not), []);
    }

    #[test]
    fn the_body_of_a_callback_is_its_own_side_s() {
        assert_eq!(Callback::RequestBody.body(), 0);
        assert_eq!(Callback::ResponseTrailers.body(), 1);
        assert_eq!(Callback::CallResponse.body(), 4);
        assert_eq!(Callback::GrpcMessage.body(), 5);
        assert_eq!(Callback::ForeignFunction.body(), 8);
        assert_eq!(Callback::CallResponse.stream(), 0);
    }
}
