//! Configurations out of text, for tests of what they mean.

#![allow(dead_code, reason = "each file of tests uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use tollgate_config::{Config, parse};

pub(crate) fn config(text: &str) -> Config {
    parse(text, Path::new("conf/proxy.yaml")).unwrap_or_else(|faults| panic!("{faults}"))
}

/// One of the configurations whose long form is kept.
pub(crate) fn good(name: &str) -> Config {
    config(&fs::read_to_string(format!("tests/good/{name}.yaml")).unwrap())
}
