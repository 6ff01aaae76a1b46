//! nginx as a peer: a reverse proxy of one worker that keeps its connections on both sides and logs no access.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::error::BenchError;
use crate::target::program::Program;
use crate::target::{Chain, Door, Plan, Setting, free_address};

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

    /// The target; its configuration is written to a folder in the setting's, which also becomes its prefix.
    pub fn plan(&self, setting: &Setting<'_>) -> Result<Plan, BenchError> {
        let address = free_address()?;
        let folder = setting.folder.join(format!("nginx-{}", address.port()));
        let file = folder.join("nginx.conf");
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, config(&folder, address, setting)));
        written.map_err(BenchError::while_doing("writing a configuration"))?;
        let arguments = vec!["-p".into(), folder.into(), "-e".into(), "stderr".into(), "-c".into(), file.into()];
        let program = self.0.path.clone();
        Ok(Plan { name: NAME.to_owned(), over: None, program, arguments, address, chain: Chain::None, marks: &[] })
    }
}

/// What is said of a listener behind its address, and beside it.
fn door(setting: &Setting<'_>) -> (&'static str, String) {
    match setting.door {
        Door::Plain => ("", String::new()),
        Door::H2c => (" http2", String::new()),
        Door::Tls => {
            let (cert, key) = setting.identity.files();
            let (cert, key) = (cert.display(), key.display());
            let words = format!("ssl_certificate {cert}; ssl_certificate_key {key}; ssl_session_tickets off;");
            (" ssl", format!("{words} ssl_session_cache off; ssl_protocols TLSv1.3;"))
        }
    }
}

/// The defaults close a connection after 1000 requests on either side; here none is closed. A body that is longer than its
/// buffers goes to a file by default, which here none does.
fn config(folder: &Path, address: SocketAddr, setting: &Setting<'_>) -> String {
    let (folder, origin, connections) = (folder.display(), setting.origin, setting.connections);
    let (flag, more) = door(setting);
    format!(
        "daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/client;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    proxy_max_temp_file_size 0;
    upstream origin {{
        server {origin};
        keepalive {connections};
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address}{flag};
        {more}
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
