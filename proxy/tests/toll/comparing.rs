//! What changed since another measurement is named, and nothing else.

use serde_json::json;

use crate::bench::{ADD, Bench, columns, json, on_request, report, toll};

#[test]
fn what_changed_since_another_measurement_is_named() {
    let bench = Bench::new();
    let filter = bench.filter(&format!("{ADD} (i32.const 0)"));
    let other = bench.file("other.wasm", on_request("(i32.const 0)"));
    let old = bench.file("old.json", report(&["--config", "1"], &[&filter, &other]).to_string());
    bench.filter(&format!("{ADD} {ADD} (i32.const 0)"));

    let compare = ["--compare", old.to_str().unwrap()];
    let (code, words, _) = toll(&compare, &[&filter]);
    let figures = report(&compare, &[&filter]);

    assert_eq!(code, 0);
    for line in [
        "guest: hostcalls of one exchange 1 → 2, 100 % more",
        "guest: bytes copied in one exchange 10 → 20, 100 % more",
        "guest: it had another configuration.",
        "other: it was measured before, and is not now.",
        "guest: there were too few turns to compare the slowest hundredth of exchanges",
    ] {
        assert!(words.lines().any(|known| known == line), "{line}\n{words}");
    }
    let changes = columns(&figures["comparison"]["changes"], &["figure", "after"]);
    assert!(changes.contains(&vec![&json!("hostcalls"), &json!(2.0)]), "{changes:?}");
}

#[test]
fn a_filter_that_ends_exchanges_in_another_way_is_named() {
    let bench = Bench::new();
    let filter = bench.filter("(i32.const 0)");
    let old = bench.file("old.json", report(&[], &[&filter]).to_string());
    bench.filter("(i32.const 1)");

    let comparison = &report(&["--compare", old.to_str().unwrap()], &[&filter])["comparison"];

    assert_eq!(comparison["differences"], json!([{ "outcome": "guest" }]));
    assert_eq!((&comparison["changes"], &comparison["untold"]), (&json!([]), &json!([])));
}

#[test]
fn figures_are_kept_where_there_is_nothing_left_to_compare_them_with() {
    let bench = Bench::new();
    let filter = bench.filter("(i32.const 0)");
    let good = bench.file("good.wasm", on_request("(i32.const 0)"));
    let old = bench.file("old.json", report(&[], &[&filter]).to_string());
    bench.filter("(unreachable)");

    let (code, report, _) = json(&["--compare", old.to_str().unwrap()], &[&filter, &good]);

    assert_eq!((code, &report["filters"][0]["name"]), (1, &json!("good")));
    assert_eq!(report["comparison"]["differences"], json!([{ "new": "good" }, { "gone": "guest" }]));
}

#[test]
fn the_same_module_five_times_has_not_changed() {
    let bench = Bench::new();
    let filter = bench.filter(&format!("{ADD} (i32.const 0)"));
    let five = [&*filter; 5];
    let old = bench.file("old.json", report(&["--requests", "1000"], &five).to_string());

    let again = report(&["--requests", "1000", "--compare", old.to_str().unwrap()], &five);

    // What there was no time to measure often enough is no change either.
    let comparison = &again["comparison"];
    assert_eq!((&comparison["differences"], &comparison["changes"]), (&json!([]), &json!([])));
}
