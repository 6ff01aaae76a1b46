//! What answers, continues or closes an exchange.

use tollgate_abi::testing::{RecordingStream, StreamEvent};
use tollgate_abi::{LocalResponse, Refusal, StreamType};

use super::plain;
use crate::common::{request, request_with, start, strict};

#[test]
fn continuing_and_closing_reach_the_stream_after_the_callback_in_order() {
    let ran = request(
        "",
        "(call $tell (call $proxy_continue_stream (i32.const 1)))
         (call $tell (call $proxy_continue_request))
         (call $tell (call $proxy_continue_response))
         (call $tell (call $proxy_close_stream (i32.const 0)))
         (call $tell (call $proxy_continue_stream (i32.const 4)))
         (call $tell (call $proxy_close_stream (i32.const 4)))",
        plain(),
    );

    assert_eq!(ran.told(), [0, 0, 0, 0, 2, 2]);
    assert_eq!(
        ran.stream.events,
        [
            StreamEvent::Resumed(StreamType::Response),
            StreamEvent::Resumed(StreamType::Request),
            StreamEvent::Resumed(StreamType::Response),
            StreamEvent::Closed(StreamType::Request),
        ]
    );
}

/// Details "why" at 4200, body "no" at 4210, one header at 4096.
const RESPONSE: &str = r#"(data (i32.const 4096) "\01\00\00\00\01\00\00\00\01\00\00\00k\00v\00")
    (data (i32.const 4200) "why") (data (i32.const 4210) "no")"#;

fn respond(code: u32, headers: u32, grpc: i32) -> String {
    format!(
        "(call $tell (call $proxy_send_local_response (i32.const {code}) (i32.const 4200) (i32.const 3)
            (i32.const 4210) (i32.const 2) (i32.const 4096) (i32.const {headers}) (i32.const {grpc})))"
    )
}

#[test]
fn a_local_response_reaches_the_stream_whole() {
    let ran = request(RESPONSE, &respond(403, 16, -1), plain());

    let expected = LocalResponse {
        status: 403,
        details: b"why".to_vec(),
        headers: vec![(b"k".to_vec(), b"v".to_vec())],
        body: b"no".to_vec(),
        grpc_status: None,
    };
    assert_eq!(ran.told(), [0]);
    assert_eq!(ran.stream.events, [StreamEvent::Responded(expected)]);
}

#[test]
fn a_grpc_status_is_kept_up_to_sixteen() {
    for (grpc, expected) in [(0, Some(0)), (16, Some(16)), (17, None), (-1, None)] {
        let ran = request(RESPONSE, &respond(200, 0, grpc), plain());

        let [StreamEvent::Responded(response)] = &ran.stream.events[..] else { panic!("no response") };
        assert_eq!(response.grpc_status, expected);
    }
}

#[test]
fn a_local_response_beats_continuing_and_the_first_beats_the_second() {
    let ran = request(
        RESPONSE,
        &format!(
            "(call $tell (call $proxy_continue_stream (i32.const 0))) {} {} (call $tell (call $proxy_continue_stream (i32.const 0)))",
            respond(403, 0, -1),
            respond(404, 0, -1)
        ),
        plain(),
    );

    let [StreamEvent::Responded(response)] = &ran.stream.events[..] else { panic!("{:?}", ran.stream.events) };
    assert_eq!(response.status, 403);
    assert_eq!(ran.told(), [0; 4]);
    assert_eq!(ran.refused(), ["proxy_send_local_response"]);
}

#[test]
fn a_local_response_with_an_impossible_status_or_bad_headers_is_refused() {
    for call in [respond(199, 0, -1), respond(600, 0, -1), respond(65736, 0, -1), respond(200, 15, -1)] {
        let lenient = request(RESPONSE, &call, plain());
        let exact = request_with(RESPONSE, &call, plain(), strict());

        assert_eq!((lenient.told(), exact.told()), (vec![0], vec![2]));
        assert_eq!(lenient.refused(), ["proxy_send_local_response"]);
        assert_eq!(lenient.stream.events, [StreamEvent::ResponseRefused]);
        assert_eq!(exact.stream.events, [StreamEvent::ResponseRefused]);
    }
}

#[test]
fn an_answer_that_can_be_sent_makes_up_for_one_that_cannot() {
    for calls in [[199, 403], [403, 199]] {
        let ran = request(RESPONSE, &calls.map(|code| respond(code, 0, -1)).concat(), plain());

        let [StreamEvent::Responded(response)] = &ran.stream.events[..] else { panic!("{:?}", ran.stream.events) };
        assert_eq!(response.status, 403);
    }
}

#[test]
fn two_answers_that_cannot_be_sent_are_told_once() {
    let ran = request(RESPONSE, &respond(199, 0, -1).repeat(2), plain());

    assert_eq!(ran.stream.events, [StreamEvent::ResponseRefused]);
    assert_eq!(ran.refused().len(), 2);
}

#[test]
fn an_answer_that_comes_too_late_is_refused_while_the_guest_can_hear_it() {
    let late = RecordingStream { unfit: Some(Refusal::ReadOnly), ..plain() };

    let lenient = request(RESPONSE, &respond(403, 0, -1), late.clone());
    let exact = request_with(RESPONSE, &respond(403, 0, -1), late, strict());

    assert_eq!((lenient.told(), exact.told()), (vec![0], vec![2]));
    assert_eq!(lenient.stream.events, [StreamEvent::ResponseRefused]);
    assert_eq!(exact.stream.events, [StreamEvent::ResponseRefused]);
}

#[test]
fn an_answer_with_a_field_that_cannot_be_sent_goes_without_it_unless_strict() {
    let odd = RecordingStream { unfit: Some(Refusal::Name("k".into())), ..plain() };

    let lenient = request(RESPONSE, &respond(403, 16, -1), odd.clone());
    let exact = request_with(RESPONSE, &respond(403, 16, -1), odd, strict());

    assert_eq!((lenient.told(), exact.told()), (vec![0], vec![2]));
    assert!(matches!(lenient.stream.events[..], [StreamEvent::Responded(_)]), "{:?}", lenient.stream.events);
    assert_eq!(lenient.refused(), ["proxy_send_local_response"]);
    assert_eq!(exact.stream.events, [StreamEvent::ResponseRefused]);
}

#[test]
fn an_answer_is_queued_whatever_else_a_callback_asks_for() {
    let ran = request(
        RESPONSE,
        &format!(
            "(local $i i32) (loop $again
                (drop (call $proxy_close_stream (i32.const 0)))
                (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2000))))
             {}",
            respond(403, 0, -1)
        ),
        plain(),
    );

    assert!(matches!(ran.stream.events.last(), Some(StreamEvent::Responded(_))));
}

#[test]
fn a_root_without_a_stream_has_nothing_to_answer_or_continue() {
    let tick = format!(
        r#"{RESPONSE} (func (export "proxy_on_tick") (param i32)
            {} (call $tell (call $proxy_continue_stream (i32.const 0))) (call $tell (call $proxy_close_stream (i32.const 0))))"#,
        respond(403, 0, -1)
    );
    let mut vm = start(&tick);

    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [0, 0, 0]);
    assert_eq!(vm.host().refused.len(), 3);
}
