//! The commands about one exchange: its headers, its bodies, its two streams, and calls made for it.
//! They read in any callback; whether the host lets them there is what tests find out.

use super::*;
use crate::policy::{Answer, Callout, GrpcCallout};

pub(super) const FAMILIES: &[Family] = &[headers, body, stream, grpc];

fn headers(command: &str, words: &mut Words<'_>) -> Read {
    match command {
        "set" => entry("proxy_replace_header_map_value", words),
        "add" => entry("proxy_add_header_map_value", words),
        "remove" => {
            let args = [map(words)?, bytes(words, NAME)?];
            call("proxy_remove_header_map_value", args)
        }
        "get" => Ok(Some(Act::Call(header(words)?))),
        "copy" => Ok(Some(Act::Copy(header(words)?))),
        "size" => call("proxy_get_header_map_size", [map(words)?, OUT_U32]),
        "pairs" => call("proxy_get_header_map_pairs", [map(words)?, OUT_PAIRS]),
        "set-pairs" => {
            let args = [map(words)?, pairs(words.word("NAME=VALUE,…")?)?];
            call("proxy_set_header_map_pairs", args)
        }
        _ => Ok(None),
    }
}

fn entry(name: &'static str, words: &mut Words<'_>) -> Read {
    let args = [map(words)?, bytes(words, NAME)?, bytes(words, VALUE)?];
    call(name, args)
}

fn header(words: &mut Words<'_>) -> Result<Hostcall, Cause> {
    let args = [map(words)?, bytes(words, NAME)?, OUT_BYTES];
    Ok(Hostcall::new("proxy_get_header_map_value", args))
}

fn map(words: &mut Words<'_>) -> Result<Arg, Cause> {
    words.map().map(Arg::number)
}

fn body(command: &str, words: &mut Words<'_>) -> Read {
    let nothing = Arg::number(0);
    match command {
        "body-set" => splice(Arg::number(0), Arg::BodySize, words),
        "body-prepend" => splice(Arg::number(0), nothing, words),
        // spec v0.2.1, proxy_set_buffer_bytes: a start past the end appends.
        "body-append" => splice(Arg::number(u32::MAX), nothing, words),
        "body-insert" => splice(number(words, "an offset")?, nothing, words),
        "body-get" => Ok(Some(Act::Call(Hostcall::whole_body()))),
        "body-len" => Ok(Some(Act::Call(Hostcall::body_size()))),
        "body-upper" => Ok(Some(Act::BodyUpper)),
        "body-buffer" => Ok(Some(Act::BodyBuffer)),
        _ => Ok(None),
    }
}

fn splice(start: Arg, size: Arg, words: &mut Words<'_>) -> Read {
    let args = [Arg::Body, start, size, bytes(words, TEXT)?];
    call("proxy_set_buffer_bytes", args)
}

impl Hostcall {
    /// Fetches the body of the running callback.
    pub fn whole_body() -> Self {
        let args = [Arg::Body, Arg::number(0), Arg::number(u32::MAX), OUT_BYTES];
        Self::new("proxy_get_buffer_bytes", args)
    }

    /// Puts another body in its place.
    pub fn replace_body(content: Vec<u8>) -> Self {
        let args = [Arg::Body, Arg::number(0), Arg::BodySize, Arg::Bytes(content)];
        Self::new("proxy_set_buffer_bytes", args)
    }

    /// Asks how long it is.
    pub fn body_size() -> Self {
        let args = [Arg::Body, OUT_U32, OUT_U32];
        Self::new("proxy_get_buffer_status", args).answering(Answer::Result(0))
    }
}

fn stream(command: &str, words: &mut Words<'_>) -> Read {
    match command {
        "pause" => Ok(Some(Act::Pause)),
        "resume-after-ticks" => {
            let ticks = words.number("a number of ticks")?;
            Ok(Some(Act::ResumeAfterTicks(ticks)))
        }
        "continue" => call("proxy_continue_stream", [Arg::number(words.stream()?)]),
        "close" => call("proxy_close_stream", [Arg::number(words.stream()?)]),
        "reply" => reply(words),
        "call" => Ok(Some(Act::Callout(callout(words)?))),
        _ => Ok(None),
    }
}

fn reply(words: &mut Words<'_>) -> Read {
    let status = number(words, "a status code")?;
    let content = bytes(words, "a body")?;
    let headers = Arg::Bytes(encode_pairs(&words.pairs()?));
    let (details, no_grpc) = (Arg::Bytes(b"probe".to_vec()), Arg::Number(-1));
    let args = [status, details, content, headers, no_grpc];
    call("proxy_send_local_response", args)
}

fn callout(words: &mut Words<'_>) -> Result<Callout, Cause> {
    let upstream = words.text("a cluster")?;
    let timeout_ms = words.number("milliseconds")?;
    let path = words.text("a path")?;
    let body = words.bytes("a body")?;
    let method = if body.is_empty() { "GET" } else { "POST" };
    let defaults = [(":method", method), (":path", &path), (":authority", &upstream)];
    let mut headers: Vec<(String, String)> = defaults.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut trailers = Vec::new();
    for (name, value) in words.pairs()? {
        let [name, value] = [name, value].map(|part| String::from_utf8_lossy(&part).into_owned());
        if let Some(name) = name.strip_prefix("trailer:") {
            trailers.push((name.to_owned(), value));
            continue;
        }
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value));
    }
    Ok(Callout { upstream, headers, body, trailers, timeout_ms })
}

fn grpc(command: &str, words: &mut Words<'_>) -> Read {
    let handle = Arg::Handle;
    let on_grpc = |name, args: Vec<Arg>| Ok(Some(Act::OnGrpc(Hostcall::new(name, args))));
    match command {
        "grpc-call" => {
            let upstream = words.bytes("a cluster")?;
            let timeout = words.number("milliseconds")?;
            let names = (words.text("a service")?, words.text("a method")?);
            let message = words.bytes("a message")?;
            grpc_callout(upstream, names, Some((message, timeout)), words)
        }
        "grpc-stream" => {
            let upstream = words.bytes("a cluster")?;
            let names = (words.text("a service")?, words.text("a method")?);
            grpc_callout(upstream, names, None, words)
        }
        "grpc-send" => on_grpc("proxy_grpc_send", vec![handle, bytes(words, "a message")?, Arg::number(0)]),
        "grpc-last" => on_grpc("proxy_grpc_send", vec![handle, bytes(words, "a message")?, Arg::number(1)]),
        "grpc-close" => on_grpc("proxy_grpc_close", vec![handle]),
        "grpc-cancel" => on_grpc("proxy_grpc_cancel", vec![handle]),
        _ => Ok(None),
    }
}

fn grpc_callout(
    upstream: Vec<u8>,
    (service, method): (String, String),
    message: Option<(Vec<u8>, u32)>,
    words: &mut Words<'_>,
) -> Read {
    let pair = |(name, value): (Vec<u8>, Vec<u8>)| (String::from_utf8_lossy(&name).into_owned(), value);
    let metadata = words.pairs()?.into_iter().map(pair).collect();
    Ok(Some(Act::GrpcCallout(GrpcCallout { upstream, service, method, metadata, message })))
}
