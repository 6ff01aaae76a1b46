//! What cannot be measured is said in a sentence.

use serde_json::json;
use tollgate_abi::testing::{guest, wat};

use crate::bench::{Bench, json, on_request, report, toll};

#[test]
fn what_cannot_be_measured_is_said_in_a_sentence() {
    let bench = Bench::new();
    let good = bench.filter("(i32.const 0)");
    let refuses = bench.file(
        "refuses.wasm",
        guest(
            r#"(data (i32.const 4096) "no such key")
            (func (export "proxy_on_configure") (param i32 i32) (result i32)
                (call $show (i32.const 4096) (i32.const 11)) (i32.const 0))"#,
        ),
    );
    let loops = bench.file("loops.wasm", on_request("(loop $for_ever (br $for_ever)) (i32.const 0)"));
    let imports = bench.file(
        "imports.wasm",
        wat(r#"(module (import "env" "proxy_brew_coffee" (func)) (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_1")))"#),
    );
    let text = bench.file("text.wasm", "no module");
    let large = bench.file("large", vec![b'x'; 2 << 20]);
    let (request, old) = (bench.file("request", "no request"), bench.file("old.json", "{}"));
    let (request, large) = (["--request", request.to_str().unwrap()], ["--request", large.to_str().unwrap()]);
    let old = ["--compare", old.to_str().unwrap()];
    let (older, strange) = (bench.file("older.json", "{ \"format\": 1 }"), report(&[], &[&good]));
    let (older, strange) = (older, bench.file("strange.json", strange.to_string()));
    let (older, strange) = (["--compare", older.to_str().unwrap()], ["--compare", strange.to_str().unwrap()]);

    for (arguments, file, said) in [
        (&[][..], &refuses, "error[TG0406]: refuses: refused in configure: "),
        (&[], &refuses, "\n    filter: info: no such key"),
        (&[], &loops, "error[TG0406]: loops: deadline in request_headers: "),
        (&[], &imports, "error[TG0406]: imports: "),
        (&[], &imports, "proxy_brew_coffee"),
        (&[], &text, "error[TG0406]: text: "),
        (&[], &bench.0.path().join("none.wasm"), "none.wasm: No such file or directory"),
        (&request, &good, "request: line 1: \"no request\" is no request line"),
        (&large, &good, "large: it is longer than 1110016 bytes"),
        (&old, &good, "old.json: it is no measurement: missing field"),
        (&older, &good, "older.json: it was written by an older version of this program"),
        (&strange, &refuses, "strange.json: it has none of these filters, only guest"),
        (&["--config", "", "--config", ""], &good, "error[TG0406]: 2 configurations for 1 filters"),
    ] {
        let (code, out, error) = toll(arguments, &[file]);

        assert_eq!((code, out.as_str()), (1, ""), "{error}");
        assert!(error.contains(said), "{said}\n{error}");
        assert_eq!(error.matches("error[").count(), 1, "{error}");
    }
}

#[test]
fn errors_are_json_where_figures_are() {
    let bench = Bench::new();
    let good = bench.filter("(i32.const 0)");
    let request = bench.file("request", "no request");

    let (code, out, error) = json(&["--request", request.to_str().unwrap()], &[&good]);

    assert_eq!(code, 1);
    assert_eq!(out, json!({ "error": error.trim_end() }));
    assert!(error.contains("line 1"), "{error}");
}
