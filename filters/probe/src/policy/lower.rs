//! The table of commands: from their words to what they do, family by family.
//! Most are one hostcall with its arguments in the order of the ABI.

mod exchange;
mod plugin;

use super::bytes::encode_pairs;
use super::command::Act;
use super::hostcall::{Arg, Hostcall, Out};
use super::refusal::Cause;
use super::words::{Words, pair_list};

/// `None` when the command belongs to another family.
type Read = Result<Option<Act>, Cause>;

const VALUE: &str = "a value";
const TEXT: &str = "a text";
const NAME: &str = "a name";
const KEY: &str = "a key";

const OUT_U32: Arg = Arg::Out(Out::U32);
const OUT_U64: Arg = Arg::Out(Out::U64);
const OUT_BYTES: Arg = Arg::Out(Out::Bytes);
const OUT_PAIRS: Arg = Arg::Out(Out::Pairs);

/// Reads one command; words it does not take are left.
pub(super) fn act(words: &mut Words<'_>) -> Result<Act, Cause> {
    let command = words.word("a command")?;
    for family in [exchange::FAMILIES, plugin::FAMILIES].concat() {
        if let Some(act) = family(command, words)? {
            return Ok(act);
        }
    }
    Err(Cause::NoCommand)
}

type Family = fn(&str, &mut Words<'_>) -> Read;

fn call(name: &'static str, args: impl Into<Vec<Arg>>) -> Read {
    Ok(Some(Act::Call(Hostcall::new(name, args))))
}

fn number(words: &mut Words<'_>, what: &'static str) -> Result<Arg, Cause> {
    words.number(what).map(Arg::number)
}

fn bytes(words: &mut Words<'_>, what: &'static str) -> Result<Arg, Cause> {
    words.bytes(what).map(Arg::Bytes)
}

fn pairs(word: &str) -> Result<Arg, Cause> {
    Ok(Arg::Bytes(encode_pairs(&pair_list(word)?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::command::Command;
    use super::super::command::Fault;
    use super::super::hostcall::IMPORTS;
    use super::*;

    fn read(text: &str) -> Act {
        Command::list(text).unwrap().remove(0).act
    }

    fn one_call(text: &str) -> Hostcall {
        match read(text) {
            Act::Call(call) => call,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn refusal(text: &str) -> String {
        Command::list(text).unwrap_err().to_string()
    }

    fn n(number: u32) -> Arg {
        Arg::number(number)
    }

    fn b(text: &str) -> Arg {
        Arg::Bytes(text.into())
    }

    #[test]
    fn commands_that_are_one_hostcall_have_its_arguments_in_order() {
        #[rustfmt::skip]
        let table: [(&str, &str, Vec<Arg>); 33] = [
            ("set request-headers a 1", "proxy_replace_header_map_value", vec![n(0), b("a"), b("1")]),
            ("add 9 a ''", "proxy_add_header_map_value", vec![n(9), b("a"), b("")]),
            ("remove response-trailers a", "proxy_remove_header_map_value", vec![n(3), b("a")]),
            ("get call-headers :status", "proxy_get_header_map_value", vec![n(6), b(":status"), OUT_BYTES]),
            ("size grpc-initial", "proxy_get_header_map_size", vec![n(4), OUT_U32]),
            ("pairs request-trailers", "proxy_get_header_map_pairs", vec![n(1), OUT_PAIRS]),
            ("set-pairs 2 ''", "proxy_set_header_map_pairs", vec![n(2), b("\0\0\0\0")]),
            ("body-set a%20b", "proxy_set_buffer_bytes", vec![Arg::Body, n(0), Arg::BodySize, b("a b")]),
            ("body-prepend a", "proxy_set_buffer_bytes", vec![Arg::Body, n(0), n(0), b("a")]),
            ("body-append a", "proxy_set_buffer_bytes", vec![Arg::Body, n(u32::MAX), n(0), b("a")]),
            ("body-insert 3 a", "proxy_set_buffer_bytes", vec![Arg::Body, n(3), n(0), b("a")]),
            ("body-get", "proxy_get_buffer_bytes", vec![Arg::Body, n(0), n(u32::MAX), OUT_BYTES]),
            ("body-len", "proxy_get_buffer_status", vec![Arg::Body, OUT_U32, OUT_U32]),
            ("continue response", "proxy_continue_stream", vec![n(1)]),
            ("close 7", "proxy_close_stream", vec![n(7)]),
            ("log warn a  b", "proxy_log", vec![n(3), b("a b")]),
            ("log-level", "proxy_get_log_level", vec![OUT_U32]),
            ("time", "proxy_get_current_time_nanoseconds", vec![OUT_U64]),
            ("tick 10", "proxy_set_tick_period_milliseconds", vec![n(10)]),
            ("effective 4", "proxy_set_effective_context", vec![n(4)]),
            ("done", "proxy_done", vec![]),
            ("property a.b%2Ec", "proxy_get_property", vec![b("a\0b.c"), OUT_BYTES]),
            ("set-property a.b 1", "proxy_set_property", vec![b("a\0b"), b("1")]),
            ("foreign f x", "proxy_call_foreign_function", vec![b("f"), b("x"), OUT_BYTES]),
            ("queue-register q", "proxy_register_shared_queue", vec![b("q"), OUT_U32]),
            ("shared-set k v", "proxy_set_shared_data", vec![b("k"), b("v"), n(0)]),
            ("shared-set k v 5", "proxy_set_shared_data", vec![b("k"), b("v"), n(5)]),
            ("shared-get k", "proxy_get_shared_data", vec![b("k"), OUT_BYTES, OUT_U32]),
            ("shared-cas k", "proxy_get_shared_data", vec![b("k"), OUT_BYTES, OUT_U32]),
            ("raw proxy_log 2 4294967295 -1", "proxy_log", vec![n(2), n(u32::MAX), Arg::Number(-1)]),
            ("raw proxy_set_property ptr:a%00 ptr:", "proxy_set_property", vec![b("a\0"), b("")]),
            ("raw proxy_set_header_map_pairs 0 pairs:", "proxy_set_header_map_pairs", vec![n(0), b("\0\0\0\0")]),
            ("raw proxy_get_metric 3 out64", "proxy_get_metric", vec![n(3), OUT_U64]),
        ];
        for (text, name, args) in table {
            let call = one_call(text);
            assert_eq!((call.name, call.args), (name, args), "{text}");
        }
    }

    #[test]
    fn every_hostcall_of_the_table_exists_with_these_many_words() {
        let texts = "set 0 a b; add 0 a b; remove 0 a; get 0 a; size 0; pairs 0; set-pairs 0 a=b; body-set a; \
            body-get; body-len; continue 0; close 0; reply 200 a b=c; log 0 a; log-level; time; tick 1; effective 1; done; \
            property a; set-property a b; foreign a b; metric 0 a 1; metric 1 a 1; metric-get 0 a; shared-set a b; \
            shared-get a; queue-register a; queue-put a b; queue-get a";
        for command in Command::list(texts).unwrap() {
            let calls = match command.act {
                Act::Call(call) => vec![call],
                Act::OnHandle { open, then } => vec![open, then],
                other => panic!("{other:?}"),
            };
            for call in calls {
                let words = call.args.iter().map(Arg::words).sum::<usize>();
                assert!(IMPORTS.contains(&(call.name, words)), "{}", command.text);
            }
        }
    }

    #[test]
    fn metrics_and_queues_are_opened_and_then_used() {
        let define = |kind| Hostcall::new("proxy_define_metric", [n(kind), b("m"), OUT_U32]);
        let resolve = Hostcall::new("proxy_resolve_shared_queue", [b(""), b("q"), OUT_U32]);
        let used = |open, name, arg| Act::OnHandle { open, then: Hostcall::new(name, [Arg::Handle, arg]) };

        assert_eq!(read("metric counter m 2"), used(define(0), "proxy_increment_metric", Arg::Number(2)));
        assert_eq!(read("metric gauge m -2"), used(define(1), "proxy_record_metric", Arg::Number(-2)));
        assert_eq!(read("metric histogram m 2"), used(define(2), "proxy_record_metric", Arg::Number(2)));
        assert_eq!(read("metric-get gauge m"), used(define(1), "proxy_get_metric", OUT_U64));
        assert_eq!(read("queue-put q v"), used(resolve.clone(), "proxy_enqueue_shared_queue", b("v")));
        assert_eq!(read("queue-get q"), used(resolve, "proxy_dequeue_shared_queue", OUT_BYTES));
    }

    #[test]
    fn a_reply_carries_body_and_headers_and_is_not_grpc() {
        let call = one_call("reply 418 short%20and%20stout x-pot=yes x-lid=");

        let headers = encode_pairs(&[("x-pot", "yes"), ("x-lid", "")]);
        assert_eq!(call.name, "proxy_send_local_response");
        let args = [n(418), b("probe"), b("short and stout"), Arg::Bytes(headers), Arg::Number(-1)];
        assert_eq!(call.args, args);
    }

    #[test]
    fn a_callout_has_headers_that_pairs_may_replace() {
        let Act::Callout(callout) = read("call idp 250 /check x :authority=id.local x-a=1") else {
            panic!("not a callout");
        };

        let headers = [(":method", "POST"), (":path", "/check"), (":authority", "id.local"), ("x-a", "1")];
        assert_eq!(callout.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!((callout.upstream.as_str(), callout.timeout_ms), ("idp", 250));
        assert_eq!(callout.body, b"x");
        assert!(matches!(read("call idp 0 / ''"), Act::Callout(get) if get.headers[0].1 == "GET"));
        let Act::Callout(callout) = read("call idp 0 / '' trailer:x-sum=1") else { panic!("not a callout") };
        assert_eq!(callout.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn grpc_commands_open_a_callout_and_then_name_it() {
        let Act::GrpcCallout(call) = read("grpc-call idp 250 pkg.S M a%00 x-a=1") else { panic!("not a callout") };
        let names = (call.upstream.as_slice(), call.service.as_str(), call.method.as_str());
        assert_eq!(names, (&b"idp"[..], "pkg.S", "M"));
        assert_eq!(call.metadata, [("x-a".to_owned(), b"1".to_vec())]);
        assert_eq!(call.message, Some((b"a\0".to_vec(), 250)));
        assert!(matches!(read("grpc-stream idp S M"), Act::GrpcCallout(stream) if stream.message.is_none()));
        let on = |name, args: Vec<Arg>| Act::OnGrpc(Hostcall::new(name, [vec![Arg::Handle], args].concat()));
        assert_eq!(read("grpc-send x"), on("proxy_grpc_send", vec![b("x"), n(0)]));
        assert_eq!(read("grpc-last x"), on("proxy_grpc_send", vec![b("x"), n(1)]));
        assert_eq!(read("grpc-close"), on("proxy_grpc_close", vec![]));
        assert_eq!(read("grpc-cancel"), on("proxy_grpc_cancel", vec![]));
    }

    #[test]
    fn commands_that_are_more_than_a_hostcall() {
        assert_eq!(read("pause"), Act::Pause);
        assert_eq!(read("resume-after-ticks 2"), Act::ResumeAfterTicks(2));
        assert_eq!(read("body-upper"), Act::BodyUpper);
        assert_eq!(read("body-buffer"), Act::BodyBuffer);
        assert_eq!(read("refuse"), Act::Refuse);
        assert_eq!(read("trap"), Act::Fault(Fault::Trap));
        assert_eq!(read("panic at%20the disco"), Act::Fault(Fault::Panic("at the disco".to_owned())));
        assert_eq!(read("loop"), Act::Fault(Fault::Loop));
        assert_eq!(read("recurse"), Act::Fault(Fault::Recurse));
        assert_eq!(read("exit -1"), Act::Fault(Fault::Exit(-1)));
        assert_eq!(read("grow 65536"), Act::Fault(Fault::Grow(65536)));
        assert!(matches!(read("copy 0 a -> 2 b"), Act::Copy(call) if call.name == "proxy_get_header_map_value"));
    }

    #[test]
    fn bad_commands_are_refused_with_the_command_and_the_reason() {
        for (text, reason) in [
            ("fly", "no such command"),
            ("set", "expected a header map, found the end"),
            ("set headers a b", r#"expected a header map, found "headers""#),
            ("set 0 a", "expected a value, found the end"),
            ("set 0 a %4", r#"expected two hexadecimal digits after each %, found "%4""#),
            ("log loud x", r#"expected a log level, found "loud""#),
            ("metric timer m 1", r#"expected a kind of metric, found "timer""#),
            ("metric counter m 1.5", r#"expected a number, found "1.5""#),
            ("tick -1", r#"expected milliseconds, found "-1""#),
            ("continue both", r#"expected a stream, found "both""#),
            ("reply 200", "expected a body, found the end"),
            ("reply 200 x y", r#"expected NAME=VALUE, found "y""#),
            ("set-pairs 0 a", r#"expected NAME=VALUE, found "a""#),
            ("call %ff 1 / ''", r#"expected UTF-8, found "%ff""#),
            ("raw proxy_fly 1", r#"expected the full name of a hostcall, found "proxy_fly""#),
            ("raw proxy_done 1", "the hostcall takes 0 words, given 1"),
            ("raw proxy_log 1 ptr:x y", r#"expected an argument of raw, found "y""#),
        ] {
            assert_eq!(refusal(text), format!("command {text:?}: {reason}"));
        }
    }
}
