//! nginx as a peer: a reverse proxy of one worker that keeps its connections on both sides and logs no access.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::error::BenchError;
use crate::target::program::Program;
use crate::target::{Headers, Kind, Plan, free_address};

/// Its name in the table.
pub const NAME: &str = "nginx";

/// nginx where it is installed.
#[derive(Clone, Debug)]
pub struct Nginx(Program);

impl Nginx {
    /// Looks for the program; `Err` says why it cannot take part.
    pub fn find(program: &Path) -> Result<Nginx, String> {
        Program::find(program, "-v", "Debian has it in nginx-light").map(Nginx)
    }

    /// What it says of its version.
    pub fn version(&self) -> &str {
        self.0.version.trim_start_matches("nginx version: ")
    }

    /// The target; its configuration is written to `folder`, which also becomes its prefix.
    pub fn plan(&self, folder: &Path, origin: SocketAddr, connections: usize) -> Result<Plan, BenchError> {
        let address = free_address()?;
        let file = folder.join("nginx.conf");
        let writing = BenchError::while_doing("writing a configuration");
        fs::write(&file, config(folder, address, origin, connections)).map_err(writing)?;
        let arguments = vec!["-p".into(), folder.into(), "-e".into(), "stderr".into(), "-c".into(), file.into()];
        let (name, program) = (NAME.to_owned(), self.0.path.clone());
        Ok(Plan { name, kind: Kind::Peer, over: None, program, arguments, address, headers: Headers::Untouched })
    }
}

/// The defaults close a connection after 1000 requests on either side; here none is closed.
fn config(folder: &Path, address: SocketAddr, origin: SocketAddr, connections: usize) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/client;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    upstream origin {{
        server {origin};
        keepalive {connections};
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection \"\";
        }}
    }}
}}
"
    )
}
