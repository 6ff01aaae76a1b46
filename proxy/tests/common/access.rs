//! Access logs of proxies, in JSON.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::until;

/// An access log in a folder of its own, which goes with it.
pub(crate) struct AccessLog {
    folder: TempDir,
}

impl AccessLog {
    /// One with no lines.
    pub(crate) fn new() -> AccessLog {
        AccessLog { folder: tempfile::tempdir().unwrap() }
    }

    /// The line of a configuration that has it written.
    pub(crate) fn yaml(&self) -> String {
        format!("telemetry: {{ access_log: {{ format: json, to: {:?} }} }}\n", self.folder.path().join("access.log"))
    }

    /// Its lines, once there are so many or more.
    pub(crate) fn lines(&self, count: usize) -> Vec<Value> {
        let text = || fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
        until(&format!("{count} exchanges are in the access log"), || text().matches('\n').count() >= count);
        text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
            .collect()
    }

    /// The only line, once it is there.
    pub(crate) fn line(&self) -> Value {
        let mut lines = self.lines(1);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }
}
