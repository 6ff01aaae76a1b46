//! Telemetry: what the proxy tells about its exchanges.
//! The content of a log line is the proxy's matter.

use std::path::PathBuf;

use serde_json::Value;

use crate::scalar::{Scalar, Unfit, Word};

/// What is recorded besides metrics, which are always kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Telemetry {
    /// One line per exchange; none unless written.
    pub access_log: Option<AccessLog>,
}

/// One line per exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// How a line is written.
    pub format: LogFormat,
    /// Where the lines go.
    pub to: LogTarget,
    /// The properties set by filters that a line shows, in the order written; none twice.
    pub properties: Vec<String>,
}

/// How a line of the access log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One JSON object.
    #[default]
    Json,
    /// Words for people.
    Text,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogTarget {
    /// Standard output.
    #[default]
    Stdout,
    /// The end of a file; a relative path is joined to the folder of the configuration.
    File(PathBuf),
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, LogFormat)] = &[("json", LogFormat::Json), ("text", LogFormat::Text)];
    const EXPECTED: &'static str = "\"json\" or \"text\"";
}

impl Scalar for LogTarget {
    const EXPECTED: &'static str = "\"stdout\" or the path of a file";

    fn parse(text: &str) -> Result<LogTarget, Unfit> {
        match text {
            "stdout" => Ok(LogTarget::Stdout),
            _ if text.is_empty() || text.contains("://") || text.contains('\0') => {
                Err(Unfit::value("is not \"stdout\" or the path of a file"))
            }
            _ if text.starts_with("unix:") => Err(Unfit::not_supported()),
            path => Ok(LogTarget::File(path.into())),
        }
    }

    fn spell(&self) -> Value {
        match self {
            LogTarget::Stdout => "stdout".into(),
            LogTarget::File(path) => path.to_string_lossy().into(),
        }
    }
}
