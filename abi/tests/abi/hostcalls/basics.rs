//! Log lines, clocks, the timer, and the end of the root.

use std::time::Duration;

use tollgate_abi::LogLevel;

use super::plain;
use crate::common::{on_request, request, start};

#[test]
fn a_line_reaches_the_host_with_its_level_and_every_byte() {
    let ran = request(
        r#"(data (i32.const 4096) "a\00\ff\nb")"#,
        "(call $tell (call $proxy_log (i32.const 5) (i32.const 4096) (i32.const 5)))",
        plain(),
    );

    assert_eq!(ran.vm.host().lines[0], (LogLevel::Critical, b"a\0\xff\nb".to_vec()));
    assert_eq!(ran.told(), [0]);
}

#[test]
fn an_unknown_log_level_is_a_bad_argument() {
    let ran = request("", "(call $tell (call $proxy_log (i32.const 6) (i32.const 0) (i32.const 1)))", plain());

    assert_eq!(ran.told(), [2]);
}

#[test]
fn a_line_longer_than_64_kib_is_cut() {
    let ran = request("", "(drop (call $proxy_log (i32.const 2) (i32.const 0) (i32.const 65537)))", plain());

    assert_eq!(ran.vm.host().lines[0].1.len(), 65536);
}

#[test]
fn the_guest_reads_the_log_level_of_the_host() {
    let body = on_request(
        "",
        "(call $tell (call $proxy_get_log_level (i32.const 32))) (call $tell (i32.load (i32.const 32)))",
    );
    let mut vm = start(&body);
    vm.host_mut().level = Some(LogLevel::Error);

    vm.begin_stream(plain(), 0, true).1.unwrap();

    assert_eq!(vm.host().told(), [0, 4]);
}

#[test]
fn the_guest_reads_the_wall_clock() {
    let ran = request(
        "",
        "(call $tell (call $proxy_get_current_time_nanoseconds (i32.const 32)))
         (call $tell (i32.wrap_i64 (i64.div_u (i64.load (i32.const 32)) (i64.const 1000000000))))",
        plain(),
    );

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let told = u64::from(ran.told()[1]);
    assert_eq!(ran.told()[0], 0);
    assert!(now - told < 60, "{told} is not about {now}");
}

#[test]
fn a_tick_period_reaches_the_host_and_zero_stops_it() {
    let ran = request("", "(call $tell (call $proxy_set_tick_period_milliseconds (i32.const 250)))", plain());
    assert_eq!(ran.vm.host().tick_period, Some(Duration::from_millis(250)));

    let ran = request(
        "",
        "(drop (call $proxy_set_tick_period_milliseconds (i32.const 250)))
         (call $tell (call $proxy_set_tick_period_milliseconds (i32.const 0)))",
        plain(),
    );
    assert_eq!(ran.vm.host().tick_period, None);
    assert_eq!(ran.told(), [0]);
}

#[test]
fn done_without_a_pending_end_is_not_found() {
    assert_eq!(request("", "(call $tell (call $proxy_done))", plain()).told(), [1]);
}
