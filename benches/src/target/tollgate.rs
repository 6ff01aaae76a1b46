//! Tollgate's targets: alone and with filters, each with one worker. In a comparison it marks requests as little as the
//! others do.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::BenchError;
use crate::target::filters::{self, Module};
use crate::target::{Chain, Door, Plan, Setting, free_address};

/// Its name in the table.
pub const NAME: &str = "tollgate";
/// Its name where nothing of it is turned off.
pub const AS_IT_COMES: &str = "tollgate as it comes";

/// What it writes into heads where nothing is turned off.
const MARKS: &[&str] = &["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id"];

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

    /// The target; its configuration is written to the setting's folder.
    pub fn plan(&self, chain: Chain, setting: &Setting<'_>) -> Result<Plan, BenchError> {
        let modules = filters::modules(chain, &self.filters, setting.folder)?;
        let text = config(chain, &modules, setting);
        let over = (chain != Chain::None).then(|| NAME.to_owned());
        let plan = self.plan_of(chain.of(NAME), &format!("{MARK_NOTHING}{text}"), setting)?;
        Ok(Plan { over, chain, ..plan })
    }

    /// The target without a filter, where nothing is turned off.
    pub fn as_it_comes(&self, setting: &Setting<'_>) -> Result<Plan, BenchError> {
        let text = door(setting, "") + &config(Chain::None, &[], setting);
        let plan = self.plan_with(AS_IT_COMES.to_owned(), 1, "", &text, setting)?;
        Ok(Plan { over: Some(NAME.to_owned()), marks: MARKS, ..plan })
    }

    /// A target with what is said of its only listener, each line indented by two. Sessions of TLS are not resumed.
    pub fn plan_of(&self, name: String, listener: &str, setting: &Setting<'_>) -> Result<Plan, BenchError> {
        self.plan_with(name, 1, "", &(quiet_door(setting) + listener), setting)
    }

    /// The same with so many workers, more to say beside the listener, and all that is to be said of TLS.
    pub fn plan_with(
        &self,
        name: String,
        workers: usize,
        beside: &str,
        listener: &str,
        setting: &Setting<'_>,
    ) -> Result<Plan, BenchError> {
        let address = free_address()?;
        let file = setting.folder.join(format!("tollgate-{}.yaml", address.port()));
        let cache = setting.folder.join("cache");
        let text = format!(
            "workers: {workers}\nadmin: off\nwatch: off\ncache: {{ dir: {cache:?} }}\n{beside}\
             listeners:\n- listen: {address}\n{listener}"
        );
        fs::write(&file, text).map_err(BenchError::while_doing("writing a configuration"))?;
        let arguments = vec!["run".into(), "--config".into(), file.into()];
        let program = self.program.clone();
        Ok(Plan { name, over: None, program, arguments, address, chain: Chain::None, marks: &[] })
    }
}

/// What a listener is told of TLS whose sessions are not resumed.
pub fn quiet_door(setting: &Setting<'_>) -> String {
    door(setting, ", tickets: off")
}

/// What a listener is told of TLS, with this behind it.
fn door(setting: &Setting<'_>, more: &str) -> String {
    match setting.door {
        Door::Plain | Door::H2c => String::new(),
        Door::Tls => format!("  {}\n", setting.identity.listener(more)),
    }
}

/// Neither who asked nor a number goes with a request.
pub const MARK_NOTHING: &str = "  http: { forwarded: { for: off }, request_id: off }\n";

/// A listener's chain and its route.
fn config(chain: Chain, modules: &[Module], setting: &Setting<'_>) -> String {
    let isolation = if chain == Chain::Isolated { ", isolation: request" } else { "" };
    let mut text = String::new();
    if !modules.is_empty() {
        text.push_str("  filters:\n");
    }
    for module in modules {
        let config = if module.config.is_empty() { String::new() } else { format!(", config: {}", module.config) };
        // A string takes every write.
        let _ = writeln!(text, "  - {{ wasm: {:?}{config}{isolation} }}", module.path);
    }
    text + &route(setting)
}

/// Everything goes to the origin.
pub fn route(setting: &Setting<'_>) -> String {
    format!("  routes: [{{ to: \"http://{}\" }}]\n", setting.origin)
}

/// A module's path in quotes that YAML understands.
pub fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}
