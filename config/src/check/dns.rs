//! What is said of looking names up, in its long form, and what it means.

use crate::dns::{Dns, Resolver, ResolverWord};
use crate::error::Code;
use crate::file;
use crate::report::Report;

/// Whoever's it is.
pub(super) fn dns(said: &file::dns::Dns, report: &mut Report<'_>) -> Dns {
    let default = Dns::default();
    Dns {
        resolver: resolver(said, report),
        family: said.family.as_ref().map(|family| family.value).unwrap_or_default(),
        refresh: said.refresh.as_ref().map_or(default.refresh, |wait| wait.value.0),
        keep: said.keep.as_ref().map_or(default.keep, |wait| wait.value),
    }
}

fn resolver(said: &file::dns::Dns, report: &mut Report<'_>) -> Resolver {
    let word = said.resolver.as_ref().map(|resolver| resolver.value).unwrap_or_default();
    let servers = said.servers.as_ref().map_or(&[][..], |servers| &servers.0);
    match (word, servers) {
        (ResolverWord::System, []) => Resolver::System,
        (ResolverWord::Dns, []) => Resolver::Dns,
        (ResolverWord::System, [first, ..]) => {
            let message = "\"resolver: system\" asks whom the system says and not \"servers\"; leave one of them out";
            report.fault(Code::Conflict, first.spot, message);
            Resolver::System
        }
        (ResolverWord::Dns, servers) => Resolver::Servers(servers.iter().map(|server| server.value.0).collect()),
    }
}
