//! Counters, gauges and histograms.

use super::plain;
use crate::common::{Ran, request};

/// Defines a metric of `kind` named "m"; its id is at 32.
fn define(kind: u32) -> String {
    format!("(call $tell (call $proxy_define_metric (i32.const {kind}) (i32.const 4096) (i32.const 1) (i32.const 32)))")
}

fn metric(body: &str) -> Ran {
    request(r#"(data (i32.const 4096) "m")"#, body, plain())
}

const READ: &str = "(call $tell (call $proxy_get_metric (i32.load (i32.const 32)) (i32.const 40)))
    (call $tell (i32.load (i32.const 40)))";

#[test]
fn a_counter_grows_and_never_shrinks() {
    let ran = metric(&format!(
        "{}
        (call $tell (call $proxy_increment_metric (i32.load (i32.const 32)) (i64.const 2)))
        (call $tell (call $proxy_record_metric (i32.load (i32.const 32)) (i64.const 3)))
        (call $tell (call $proxy_increment_metric (i32.load (i32.const 32)) (i64.const 0)))
        (call $tell (call $proxy_increment_metric (i32.load (i32.const 32)) (i64.const -1)))
        {READ}",
        define(0)
    ));

    assert_eq!(ran.told(), [0, 0, 0, 2, 2, 0, 5]);
}

#[test]
fn a_gauge_goes_both_ways() {
    let ran = metric(&format!(
        "{}
        (call $tell (call $proxy_record_metric (i32.load (i32.const 32)) (i64.const 7)))
        (call $tell (call $proxy_increment_metric (i32.load (i32.const 32)) (i64.const -3)))
        {READ}",
        define(1)
    ));

    assert_eq!(ran.told(), [0, 0, 0, 0, 4]);
}

#[test]
fn a_histogram_takes_samples_and_nothing_else() {
    let ran = metric(&format!(
        "{}
        (call $tell (call $proxy_record_metric (i32.load (i32.const 32)) (i64.const 7)))
        (call $tell (call $proxy_increment_metric (i32.load (i32.const 32)) (i64.const 1)))
        (call $tell (call $proxy_get_metric (i32.load (i32.const 32)) (i32.const 40)))",
        define(2)
    ));

    assert_eq!(ran.told(), [0, 0, 2, 2]);
}

#[test]
fn an_unknown_kind_is_a_bad_argument_and_an_unknown_metric_not_found() {
    let ran = metric(&format!(
        "{}
        (call $tell (call $proxy_increment_metric (i32.const 40) (i64.const 1)))
        (call $tell (call $proxy_record_metric (i32.const 43) (i64.const 1)))
        (call $tell (call $proxy_get_metric (i32.const 41) (i32.const 40)))",
        define(3)
    ));

    assert_eq!(ran.told(), [2, 1, 1, 1]);
}
