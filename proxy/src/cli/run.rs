//! `tollgate run`: load, prepare, bind, serve, say where.
//!
//! What is said for people goes to standard error, because the access log may own standard output.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::hints::Hint;
use super::{DEFAULT_CONFIG, Failure, RunArguments, own_program};
use crate::app::{App, RunOptions, descriptors};
use crate::filter::compile;
use crate::filter::digest::Digest;
use crate::filter::rollout::Followed;
use crate::telemetry::log::{self, LogFormat};
use crate::telemetry::panics;

/// Serves until told to stop; returns when everything under way has ended.
pub(super) fn run(arguments: &RunArguments) -> Result<(), Failure> {
    log::init(arguments.log_format);
    panics::install();
    descriptors::raise_limit();
    let file = config_file(arguments.config.as_deref())?;
    let text = tollgate_config::text(&file).map_err(Failure::Config)?;
    let config = tollgate_config::parse(&text, &file).map_err(Failure::Config)?;
    let options = RunOptions {
        workers: arguments.workers,
        file: Some(Followed { path: file.clone(), read: Some(Digest::of(text.as_bytes())) }),
        compiler: own_program(),
        cache: compile::default_cache(),
        resolver: None,
        takeover: arguments.takeover.clone(),
    };
    let schemes: Vec<_> = config.listeners.iter().map(|listener| scheme(listener.tls.is_some())).collect();
    let bound = App::prepare(config, &options).and_then(App::bind).map_err(Failure::App)?;
    let admin = bound.admin();
    let running = bound.start(true).map_err(Failure::App)?;
    // Said last, so that whoever waits for it may send requests and signals at once.
    let listeners: Vec<_> = schemes.into_iter().zip(running.listeners()).collect();
    announce(&listeners, admin, &file, arguments.log_format);
    running.wait();
    Ok(())
}

fn scheme(is_tls: bool) -> &'static str {
    if is_tls { "https" } else { "http" }
}

/// A listener with the scheme of its URL.
type Reached<'a> = (&'static str, &'a (String, SocketAddr));

/// The file named, or the default one where it exists.
fn config_file(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let default = PathBuf::from(DEFAULT_CONFIG);
    // An unreadable file is for the loader to report; only its absence needs other words.
    match default.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::NoConfig),
        _ => Ok(default),
    }
}

/// Says where to connect: as log lines to machines, as a short block to people.
fn announce(listeners: &[Reached<'_>], admin: Option<SocketAddr>, file: &Path, format: LogFormat) {
    if format == LogFormat::Json {
        for (_, (name, address)) in listeners {
            tracing::info!(listener = name, %address, "listening");
        }
        if let Some(address) = admin {
            tracing::info!(%address, "admin");
        }
        return;
    }
    let block = block(listeners, admin, &Hint::of_file(file));
    // Serving matters more than the greeting.
    let _ = io::stderr().lock().write_all(block.as_bytes());
}

fn block(listeners: &[Reached<'_>], admin: Option<SocketAddr>, hints: &[Hint]) -> String {
    let mut lines: Vec<String> = listeners
        .iter()
        .map(|(scheme, (name, address))| format!("listening on {scheme}://{} (listener {name})", reachable(*address)))
        .collect();
    lines.extend(admin.map(|address| format!("admin on http://{address}")));
    lines.extend(hints.iter().map(Hint::to_string));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// An address a client on this machine can connect to.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_names_every_address_and_what_to_try() {
        let listeners =
            [("edge".to_owned(), ([0, 0, 0, 0], 8000).into()), ("tls".to_owned(), ([10, 0, 0, 1], 443).into())];
        let listeners = [(scheme(false), &listeners[0]), (scheme(true), &listeners[1])];
        let admin = Some(([127, 0, 0, 1], 9901).into());

        let block = block(&listeners, admin, &Hint::of_text("# try: curl http://127.0.0.1:8000/\n# shows: hello\n"));

        assert_eq!(
            block,
            "listening on http://127.0.0.1:8000 (listener edge)\nlistening on https://10.0.0.1:443 (listener tls)\nadmin on http://127.0.0.1:9901\n\
             try:   curl http://127.0.0.1:8000/\nshows: hello\n"
        );
    }
}
