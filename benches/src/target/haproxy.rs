//! HAProxy as a peer: one thread that keeps its connections on both sides and logs nothing.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::error::BenchError;
use crate::target::program::Program;
use crate::target::{Headers, Kind, Plan, free_address};

/// Its name in the table.
pub const NAME: &str = "haproxy";

/// HAProxy where it is installed.
#[derive(Clone, Debug)]
pub struct Haproxy(Program);

impl Haproxy {
    /// Looks for the program; `Err` says why it cannot take part.
    pub fn find(program: &Path) -> Result<Haproxy, String> {
        Program::find(program, "-v", "Debian has it in haproxy").map(Haproxy)
    }

    /// What it says of its version.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// The target; its configuration is written to `folder`.
    pub fn plan(&self, folder: &Path, origin: SocketAddr) -> Result<Plan, BenchError> {
        let address = free_address()?;
        let file = folder.join("haproxy.cfg");
        fs::write(&file, config(address, origin)).map_err(BenchError::while_doing("writing a configuration"))?;
        let arguments = vec!["-db".into(), "-f".into(), file.into()];
        let (name, program) = (NAME.to_owned(), self.0.path.clone());
        Ok(Plan { name, kind: Kind::Peer, over: None, program, arguments, address, headers: Headers::Untouched })
    }
}

/// By default a connection to the origin is for the client alone whose second request it has; here any request may use it, as
/// with the other targets.
fn config(address: SocketAddr, origin: SocketAddr) -> String {
    format!(
        "global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend clients
    bind {address}
    default_backend origin
backend origin
    server origin {origin}
"
    )
}
