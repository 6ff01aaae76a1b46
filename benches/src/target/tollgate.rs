//! Tollgate's targets: alone and with filters, each with one worker and everything else as it comes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::BenchError;
use crate::http::{ANSWERED, ASKED};
use crate::target::{Headers, Kind, Plan, free_address};

/// Its name in the table.
pub const NAME: &str = "tollgate";

/// What the header filter is told, by whichever proxy.
pub(super) fn header_config() -> serde_json::Value {
    serde_json::json!({ "request": { "add": { ASKED.0: ASKED.1 } }, "response": { "add": { ANSWERED.0: ANSWERED.1 } } })
}

/// Where the program and its filters are.
#[derive(Clone, Debug)]
pub struct Tollgate {
    /// The program.
    pub program: PathBuf,
    /// The folder of the filters' modules.
    pub filters: PathBuf,
}

impl Tollgate {
    /// What it says of its version.
    pub fn version(&self) -> Result<String, BenchError> {
        let hint = "cargo build --profile dist -p tollgate";
        let missing = |_| BenchError::Missing { path: self.program.clone(), hint };
        let output = Command::new(&self.program).arg("--version").output().map_err(missing)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The targets in the order of the table; their configurations are written to `folder`.
    pub fn plans(&self, folder: &Path, origin: SocketAddr) -> Result<Vec<Plan>, BenchError> {
        let noop = format!("- wasm: {}\n", self.module("filter_noop.wasm")?);
        let headers = format!("- wasm: {}\n  config: {}\n", self.module("filter_headers.wasm")?, header_config());
        let plan = |name: &str, chain: &str| self.plan(name, chain, folder, origin);
        Ok(vec![
            plan(NAME, "")?,
            plan("tollgate, 1 noop filter", &noop)?,
            Plan { headers: Headers::Added, ..plan("tollgate, 1 header filter", &headers)? },
            plan("tollgate, 5 noop filters", &noop.repeat(5))?,
        ])
    }

    /// One SDK filter with a VM for all exchanges, which comes first, and with an instance for each.
    pub fn isolation_plans(&self, folder: &Path, origin: SocketAddr) -> Result<Vec<Plan>, BenchError> {
        let module = self.module("filter_noop.wasm")?;
        let plan = |isolation: &str| {
            let chain = format!("- wasm: {module}\n  isolation: {isolation}\n");
            self.plan(&format!("isolation: {isolation}"), &chain, folder, origin)
        };
        Ok(vec![plan("worker")?, plan("request")?])
    }

    fn plan(&self, name: &str, chain: &str, folder: &Path, origin: SocketAddr) -> Result<Plan, BenchError> {
        let address = free_address()?;
        let file = folder.join(format!("tollgate-{}.yaml", address.port()));
        let writing = BenchError::while_doing("writing a configuration");
        fs::write(&file, config(address, origin, chain)).map_err(writing)?;
        let (kind, over) = match chain.is_empty() {
            true => (Kind::Alone, None),
            false => (Kind::Filtered, Some(NAME.to_owned())),
        };
        let arguments = vec!["run".into(), "--config".into(), file.into()];
        let program = self.program.clone();
        Ok(Plan { name: name.to_owned(), kind, over, program, arguments, address, headers: Headers::Untouched })
    }

    /// A module's path in quotes that YAML understands.
    fn module(&self, file: &str) -> Result<String, BenchError> {
        let path = self.filters.join(file);
        let hint = "cargo build --profile filter --target wasm32-wasip1 -p filter-noop -p filter-headers";
        let path = path.canonicalize().map_err(|_| BenchError::Missing { path, hint })?;
        Ok(format!("{:?}", path.to_string_lossy()))
    }
}

fn config(address: SocketAddr, origin: SocketAddr, chain: &str) -> String {
    let filters = if chain.is_empty() { String::new() } else { format!("filters:\n{chain}") };
    format!("workers: 1\nadmin: off\nlisten: {address}\n{filters}routes:\n- to: http://{origin}\n")
}
