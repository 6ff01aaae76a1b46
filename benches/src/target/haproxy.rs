//! HAProxy as a peer: one thread that keeps its connections on both sides and logs nothing.

use std::fs;
use std::path::Path;

use crate::error::BenchError;
use crate::target::program::Program;
use crate::target::{Chain, Door, Plan, Setting, free_address};

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
        self.0.version.split(" - ").next().unwrap_or_default()
    }

    /// The target; its configuration is written to the setting's folder.
    pub fn plan(&self, setting: &Setting<'_>) -> Result<Plan, BenchError> {
        let address = free_address()?;
        let file = setting.folder.join(format!("haproxy-{}.cfg", address.port()));
        let door = door(setting, &file)?;
        let text = config(&format!("{address}{door}"), setting);
        fs::write(&file, text).map_err(BenchError::while_doing("writing a configuration"))?;
        let arguments = vec!["-db".into(), "-f".into(), file.into()];
        let (program, marks) = (self.0.path.clone(), &[][..]);
        Ok(Plan { name: NAME.to_owned(), over: None, program, arguments, address, chain: Chain::None, marks })
    }
}

/// What is said of a listener behind its address. Certificate and key are one file here.
fn door(setting: &Setting<'_>, file: &Path) -> Result<String, BenchError> {
    match setting.door {
        Door::Plain => Ok(String::new()),
        Door::H2c => Ok(" proto h2".to_owned()),
        Door::Tls => {
            let (cert, key) = setting.identity.files();
            let both = file.with_extension("pem");
            let read = |file| fs::read_to_string(file);
            let text = read(cert).and_then(|cert| Ok(cert + &read(key)?)).and_then(|text| fs::write(&both, text));
            text.map_err(BenchError::while_doing("writing a certificate"))?;
            Ok(format!(" ssl crt {} no-tls-tickets", both.display()))
        }
    }
}

/// By default a connection to the origin is for the client alone whose second request it has; here any request may use it, as
/// with the other targets.
fn config(listen: &str, setting: &Setting<'_>) -> String {
    let origin = setting.origin;
    format!(
        "global
    nbthread 1
    tune.ssl.cachesize 0
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend clients
    bind {listen}
    default_backend origin
backend origin
    server origin {origin}
"
    )
}
