//! The commands about the plugin and what it shares: log, clock, properties, metrics, shared state; and its mistakes.
//! `raw` is here too: it is about whatever it names.

use super::*;
use crate::policy::words::decoded;
use crate::policy::{Answer, Fault};

pub(super) const FAMILIES: &[Family] = &[integration, properties, metrics, queues, shared, faults];

fn integration(command: &str, words: &mut Words<'_>) -> Read {
    match command {
        "log" => {
            let args = [Arg::number(words.level()?), Arg::Bytes(words.rest()?)];
            call("proxy_log", args)
        }
        "log-level" => call("proxy_get_log_level", [OUT_U32]),
        "time" => call("proxy_get_current_time_nanoseconds", [OUT_U64]),
        "tick" => call("proxy_set_tick_period_milliseconds", [number(words, "milliseconds")?]),
        "effective" => call("proxy_set_effective_context", [number(words, "the id of a context")?]),
        "done" => call("proxy_done", []),
        "foreign" => {
            let args = [bytes(words, NAME)?, bytes(words, "an argument")?, OUT_BYTES];
            call("proxy_call_foreign_function", args)
        }
        "raw" => raw(words),
        _ => Ok(None),
    }
}

fn raw(words: &mut Words<'_>) -> Read {
    let name = words.word("the full name of a hostcall")?;
    let mut args = Vec::new();
    while words.len() > 0 {
        args.push(raw_arg(words.word("an argument")?)?);
    }
    Ok(Some(Act::Call(Hostcall::raw(name, args)?)))
}

fn raw_arg(word: &str) -> Result<Arg, Cause> {
    let number = || word.parse().map_err(|_| Cause::Bad("an argument of raw", word.to_owned()));
    match (word, word.split_once(':')) {
        ("out", _) => Ok(OUT_U32),
        ("out64", _) => Ok(OUT_U64),
        ("out-bytes", _) => Ok(OUT_BYTES),
        ("out-pairs", _) => Ok(OUT_PAIRS),
        (_, Some(("ptr", text))) => decoded(text).map(Arg::Bytes),
        (_, Some(("pairs", list))) => pairs(list),
        _ => number().map(Arg::Number),
    }
}

fn properties(command: &str, words: &mut Words<'_>) -> Read {
    match command {
        "property" => call("proxy_get_property", [Arg::Bytes(words.path()?), OUT_BYTES]),
        "set-property" => {
            let args = [Arg::Bytes(words.path()?), bytes(words, VALUE)?];
            call("proxy_set_property", args)
        }
        _ => Ok(None),
    }
}

fn metrics(command: &str, words: &mut Words<'_>) -> Read {
    if !matches!(command, "metric" | "metric-get") {
        return Ok(None);
    }
    let kind = words.kind()?;
    let define = [Arg::number(kind), bytes(words, NAME)?, OUT_U32];
    let then = match (command, kind) {
        ("metric-get", _) => Hostcall::new("proxy_get_metric", [Arg::Handle, OUT_U64]),
        (_, 0) => measured("proxy_increment_metric", words)?,
        _ => measured("proxy_record_metric", words)?,
    };
    on_handle(Hostcall::new("proxy_define_metric", define), then)
}

fn measured(name: &'static str, words: &mut Words<'_>) -> Result<Hostcall, Cause> {
    let value = Arg::Number(words.number("a number")?);
    Ok(Hostcall::new(name, [Arg::Handle, value]))
}

fn on_handle(open: Hostcall, then: Hostcall) -> Read {
    Ok(Some(Act::OnHandle { open, then }))
}

fn queues(command: &str, words: &mut Words<'_>) -> Read {
    match command {
        "queue-register" => call("proxy_register_shared_queue", [bytes(words, NAME)?, OUT_U32]),
        "queue-put" => {
            let (open, item) = (resolve(words)?, bytes(words, VALUE)?);
            on_handle(open, Hostcall::new("proxy_enqueue_shared_queue", [Arg::Handle, item]))
        }
        "queue-get" => {
            let then = Hostcall::new("proxy_dequeue_shared_queue", [Arg::Handle, OUT_BYTES]);
            on_handle(resolve(words)?, then)
        }
        _ => Ok(None),
    }
}

/// spec v0.2.1, proxy_resolve_shared_queue: no VM id is the caller's own.
fn resolve(words: &mut Words<'_>) -> Result<Hostcall, Cause> {
    let args = [Arg::Bytes(Vec::new()), bytes(words, NAME)?, OUT_U32];
    Ok(Hostcall::new("proxy_resolve_shared_queue", args))
}

fn shared(command: &str, words: &mut Words<'_>) -> Read {
    match command {
        "shared-get" => lookup(Answer::Result(0), words),
        "shared-cas" => lookup(Answer::Result(1), words),
        "shared-set" => {
            let (key, value) = (bytes(words, KEY)?, bytes(words, VALUE)?);
            // A sink without its arrow is two words, so of an odd number the first is no part of one.
            let given = words.len() % 2 == 1;
            let cas = if given { words.number("a compare-and-swap number")? } else { 0 };
            call("proxy_set_shared_data", [key, value, Arg::number(cas)])
        }
        _ => Ok(None),
    }
}

fn lookup(answer: Answer, words: &mut Words<'_>) -> Read {
    let args = [bytes(words, KEY)?, OUT_BYTES, OUT_U32];
    let get = Hostcall::new("proxy_get_shared_data", args).answering(answer);
    Ok(Some(Act::Call(get)))
}

fn faults(command: &str, words: &mut Words<'_>) -> Read {
    Ok(Some(match command {
        "refuse" => Act::Refuse,
        "trap" => Act::Fault(Fault::Trap),
        "panic" => {
            let text = String::from_utf8_lossy(&words.rest()?).into_owned();
            Act::Fault(Fault::Panic(text))
        }
        "loop" => Act::Fault(Fault::Loop),
        "recurse" => Act::Fault(Fault::Recurse),
        "exit" => Act::Fault(Fault::Exit(words.number("an exit code")?)),
        "grow" => Act::Fault(Fault::Grow(words.number("a number of bytes")?)),
        _ => return Ok(None),
    }))
}
