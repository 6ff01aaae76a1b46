//! What a Tollgate configuration may say, and what it means.
//!
//! A configuration is YAML 1.2, of which JSON is a part. [`load`] reads one from a file and
//! answers with a [`Config`], in which every name was followed, every unit read and every default
//! filled in, so that nothing has to be checked again; or with all its [`Faults`], each with a
//! code, its place, the source line and a caret. Nothing here opens a socket or reads a module.
//!
//! ```
//! use std::path::Path;
//!
//! let text = "
//! listen: 127.0.0.1:8000
//! routes:
//! - to: http://127.0.0.1:8080
//!   filters:
//!   - wasm: addh.wasm
//!     config: { header: x }
//! ";
//! let config = tollgate_config::parse(text, Path::new("proxy.yaml"))?;
//! assert_eq!(config.plugins[0].name, "addh");
//! assert_eq!(config.plugins[0].config, br#"{"header":"x"}"#);
//!
//! let typo = text.replace("listen", "lisen");
//! let faults = tollgate_config::parse(&typo, Path::new("proxy.yaml")).unwrap_err();
//! assert!(faults.to_string().contains(r#"did you mean "listen"?"#));
//! # Ok::<(), tollgate_config::Faults>(())
//! ```
//!
//! # How a text becomes a `Config`
//!
//! 1. `file`: YAML to a tree whose keys and values know their places, and the tree to *what was
//!    said*. The keys are declared once, in `file.rs`; reader, writer and [`schema`] come from
//!    that declaration. `${env:NAME}` and `${file:path}` are replaced here.
//! 2. `expand`: short forms to the one long form. One listener at the top level becomes a list of
//!    one; filters written inside a chain move to `filters` under names of their own; defaults are
//!    spelled. The long form is its own long form.
//! 3. `check`: names to what they name, and everything that must be unique.
//!
//! Each step reports what it finds and goes on with the rest, so one run shows all faults.

#![cfg_attr(test, allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking"))]

mod admin;
mod bound;
mod cache;
mod check;
mod cluster;
mod dns;
mod error;
mod expand;
mod file;
mod filter;
mod forwarding;
mod interception;
mod limits;
mod listener;
mod node;
mod proxy_protocol;
mod quota;
mod ratio;
mod regular;
mod report;
mod route;
mod scalar;
mod spelling;
mod suggest;
mod telemetry;
mod tls;
mod unit;

use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::path::Path;

use expand::Long;
use file::write::View;
use file::yaml;
use report::Report;

pub use admin::{Admin, Token};
pub use cache::Cache;
pub use cluster::{
    Cluster, ClusterId, Endpoint, HashKey, Health, Initial, Outliers, Pick, Probe, Protocol, Retry, RetryOn, Statuses,
};
pub use dns::{Dns, Family, Resolver};
pub use error::{Code, Fault, Faults, Place};
pub use filter::{
    AbiVersion, Budget, Canary, EmptyBody, Expectation, GuestErrors, HeaderPause, Isolation, Keeping, OnError, Plugin,
    PluginId, Policy, Rollout, SelfTest, TestRequest,
};
pub use forwarding::{ForwardFor, Forwarded, Http, Network, Trust, Underscores};
pub use interception::{Direction, Intercept, Original, Reach};
pub use limits::{Limits, MemoryLimit};
pub use listener::{Balance, Listener, Tcp};
pub use node::Node;
pub use proxy_protocol::{ProxyProtocol, Senders};
pub use quota::{Allow, Quota};
pub use ratio::{NotRatio, Ratio};
pub use regular::open;
pub use route::{
    FieldEdits, HeaderEdits, HostMatch, PathChange, PathMatch, PathRewrite, Redirect, Respond, Rewrite, Route,
    RouteMatch, Scheme, Target, ValueMatch,
};
pub use spelling::PathSpelling;
pub use telemetry::{AccessLog, LogFormat, LogTarget, Telemetry};
pub use tls::{Alpn, Certificate, ClientTls, Clients, PeerName, ServerTls, TlsVersion};
pub use unit::ByteSize;

/// A configuration that was checked: every name in it leads somewhere.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many workers to run; absent means one per core.
    pub workers: Option<NonZeroUsize>,
    /// Where the admin endpoints are.
    pub admin: Admin,
    /// What a client of the admin endpoints has to say; `None`: nothing.
    pub admin_token: Option<Token>,
    /// Where compiled modules are kept.
    pub cache: Cache,
    /// Whether changes of the configuration and of modules are followed.
    pub watch: bool,
    /// The global limits.
    pub limits: Limits,
    /// How names are looked up, by filters and by clusters that say nothing of it.
    pub dns: Dns,
    /// At least one, in the order written.
    pub listeners: Vec<Listener>,
    /// Every plugin that some chain names; [`PluginId`] counts in it.
    pub plugins: Vec<Plugin>,
    /// Every cluster, those made from URLs last; [`ClusterId`] counts in it.
    pub clusters: Vec<Cluster>,
    /// What is recorded besides metrics.
    pub telemetry: Telemetry,
    /// What filters read about the proxy they run in.
    pub node: Node,
    /// The long form to show to people: what filters are configured with, and whatever came from
    /// the environment or from files, is replaced by `<redacted>`.
    pub expanded: serde_json::Value,
}

/// Reads, expands and checks the configuration in a file.
pub fn load(path: &Path) -> Result<Config, Faults> {
    parse(&text(path)?, path)
}

/// Expands and checks a configuration; `origin` is the file it came from, whose folder relative
/// paths start at.
pub fn parse(text: &str, origin: &Path) -> Result<Config, Faults> {
    understand(text, origin).map(|(_, config)| config)
}

/// Rewrites a configuration to its long form, as YAML; references stay as they are written.
/// The long form is its own long form.
pub fn expand(text: &str, origin: &Path) -> Result<String, Faults> {
    understand(text, origin).map(|(long, _)| expand::yaml(&long.value(View::Written)))
}

/// The JSON Schema of the language.
pub fn schema() -> serde_json::Value {
    file::schema()
}

/// The text of a configuration file; one that is too large is not read to its end. Where the path leads to a pipe, this
/// waits for whoever writes to it.
pub fn text(path: &Path) -> Result<String, Faults> {
    read(path, |path| File::open(path))
}

/// The same for a file that is read again: anything but a regular file is refused, and nothing is waited for.
pub fn text_again(path: &Path) -> Result<String, Faults> {
    read(path, open)
}

fn read(path: &Path, open: fn(&Path) -> io::Result<File>) -> Result<String, Faults> {
    let refuse = |code, why: String| Fault::of_file(code, format!("{}: {why}", path.display()));
    let unreadable = |error: io::Error| refuse(Code::Unreadable, error.to_string());
    let limit = yaml::TEXT as u64;
    let file = open(path).map_err(unreadable)?;
    let said = file.metadata().map_err(unreadable)?.len();
    if said > limit {
        return Err(refuse(Code::TooLarge, yaml::too_large(said)).into());
    }
    let mut bytes = Vec::new();
    // What is no regular file has no length beforehand.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        refuse(Code::NotYaml, format!("the text is not UTF-8 at byte {at}")).into()
    })
}

/// The long form and what it means, or everything that is wrong.
fn understand(text: &str, origin: &Path) -> Result<(Long, Config), Faults> {
    let mut report = Report::new(origin, text);
    let understood = file::read(&mut report, origin).map(|said| {
        let long = expand::expand(said, &mut report);
        let config = check::check(&long, origin, &mut report);
        (long, config)
    });
    report.verdict()?;
    // Nothing was reported, so there is something.
    understood.ok_or_else(|| Fault::of_file(Code::NotYaml, "the text is empty".into()).into())
}
