//! Filters that are measured, and what the command says of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tollgate_abi::testing::guest;

/// Adds `x-toll: paid` to the request.
pub(crate) const ADD: &str = "(drop (call $proxy_add_header_map_value (i32.const 0)
    (i32.const 4096) (i32.const 6) (i32.const 4104) (i32.const 4)))";

/// A folder with files that commands name.
pub(crate) struct Bench(pub(crate) TempDir);

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench(tempfile::tempdir().unwrap())
    }

    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A filter of this text.
    pub(crate) fn guest(&self, text: impl AsRef<str>) -> PathBuf {
        self.file("guest.wasm", guest(text.as_ref()))
    }

    /// A filter with this body of its callback for the head of a request.
    pub(crate) fn filter(&self, body: &str) -> PathBuf {
        self.file("guest.wasm", on_request(body))
    }
}

pub(crate) fn on_request(body: &str) -> Vec<u8> {
    guest(&format!(
        r#"(data (i32.const 4096) "x-toll") (data (i32.const 4104) "paid")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {body})"#
    ))
}

/// The exit code, and what was printed on either side.
pub(crate) fn toll(arguments: &[&str], files: &[&Path]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.arg("toll").args(arguments).args(files).stdin(Stdio::null());
    if !arguments.contains(&"--requests") {
        command.args(["--requests", "100"]);
    }
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

pub(crate) fn json(arguments: &[&str], files: &[&Path]) -> (i32, Value, String) {
    let (code, out, error) = toll(&[arguments, &["--json"]].concat(), files);
    (code, serde_json::from_str(&out).unwrap_or_else(|why| panic!("{why}: {out}{error}")), error)
}

pub(crate) fn report(arguments: &[&str], files: &[&Path]) -> Value {
    let (code, report, error) = json(arguments, files);
    assert_eq!((code, error.as_str()), (0, ""));
    report
}

/// What stands under these keys of each entry of a list.
pub(crate) fn columns<'v>(list: &'v Value, keys: &[&str]) -> Vec<Vec<&'v Value>> {
    list.as_array().unwrap().iter().map(|entry| keys.iter().map(|key| &entry[*key]).collect()).collect()
}
