//! The commands that ask a running proxy: `filters`, `swap`, `rollback`, `reload`.
//!
//! What they print is what the proxy says; nothing is decided here.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use tollgate_abi::ModuleLimits;
use tollgate_config::Ratio;

use super::remote::Remote;
use super::{Failure, print};
use crate::filter::digest::Digest;
use crate::percent;

/// What `tollgate swap` is told.
#[derive(Debug, Args)]
pub(super) struct SwapArguments {
    /// The filter
    name: String,
    /// The module
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Try it with a share of the exchanges first, such as 5%
    #[arg(long, value_name = "SHARE", conflicts_with = "stage_only")]
    canary: Option<Ratio>,
    /// Make it ready only; it serves when it is promoted
    #[arg(long)]
    stage_only: bool,
    #[command(flatten)]
    remote: Remote,
}

/// `tollgate filters [NAME]`.
pub(super) fn filters(name: Option<&str>, remote: &Remote) -> Result<(), Failure> {
    let page = name.map_or("/filters".to_owned(), |name| filter(name, ""));
    print(remote.ask("GET", &page, &[])?.as_bytes())
}

/// `tollgate swap NAME FILE`.
pub(super) fn swap(arguments: &SwapArguments) -> Result<(), Failure> {
    let SwapArguments { name, file, canary, stage_only, remote } = arguments;
    let module = module(file)?;
    let staged = remote.ask("PUT", &filter(name, "/module"), &module)?;
    // Whoever else uploads meanwhile is not to have their module promoted.
    let digest = Digest::of(&module);
    let said = match canary {
        _ if *stage_only => staged,
        Some(share) => {
            let share = percent::encoded(&share.to_string());
            remote.ask("POST", &filter(name, &format!("/canary?share={share}&sha256={digest}")), &[])?
        }
        None => remote.ask("POST", &filter(name, &format!("/promote?sha256={digest}")), &[])?,
    };
    print(said.as_bytes())
}

/// `tollgate rollback NAME`.
pub(super) fn rollback(name: &str, remote: &Remote) -> Result<(), Failure> {
    print(remote.ask("POST", &filter(name, "/rollback"), &[])?.as_bytes())
}

/// `tollgate reload`.
pub(super) fn reload(remote: &Remote) -> Result<(), Failure> {
    print(remote.ask("POST", "/reload", &[])?.as_bytes())
}

fn filter(name: &str, rest: &str) -> String {
    format!("/filters/{}{rest}", percent::encoded(name))
}

/// The bytes of a file that may be a module.
fn module(file: &Path) -> Result<Vec<u8>, Failure> {
    let limit = ModuleLimits::default().bytes;
    let read = || -> io::Result<Vec<u8>> {
        let mut module = Vec::new();
        // One byte more shows that there is more.
        File::open(file)?.take(u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut module)?;
        Ok(module)
    };
    let path = file.display();
    let module = read().map_err(|error| Failure::Refused(format!("error[TG0201]: cannot read {path}: {error}")))?;
    if module.len() > limit {
        return Err(Failure::Refused(format!("error[TG0202]: {path} is larger than the limit of {limit} bytes")));
    }
    Ok(module)
}
