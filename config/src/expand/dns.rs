//! How names are looked up, with every default spelled: a cluster has those of the whole configuration.

use crate::dns::{Dns, Family, RefreshWait, ResolverWord};
use crate::file;
use crate::file::at::At;
use crate::report::Spot;

use super::or;

/// For clusters that say nothing of their own, and for filters.
pub(super) fn global(said: Option<file::dns::Dns>, spot: Spot) -> file::dns::Dns {
    of_cluster(said, None, spot)
}

/// What a cluster says, else what `global`, which need not be in its long form, does.
pub(super) fn of_cluster(said: Option<file::dns::Dns>, global: Option<&file::dns::Dns>, spot: Spot) -> file::dns::Dns {
    let nothing = file::dns::Dns { spot, resolver: None, servers: None, family: None, refresh: None, keep: None };
    let (said, global) = (said.unwrap_or_else(|| nothing.clone()), global.unwrap_or(&nothing));
    let resolver = resolver(&said).or_else(|| resolver(global)).unwrap_or_default();
    let inherited = || global.servers.clone().filter(|_| resolver == ResolverWord::Dns);
    file::dns::Dns {
        spot: said.spot,
        servers: said.servers.clone().or_else(inherited),
        family: or(said.family.or_else(|| global.family.clone()), Family::default(), spot),
        refresh: or(said.refresh.or_else(|| global.refresh.clone()), RefreshWait(resolver.refresh()), spot),
        keep: or(said.keep.or_else(|| global.keep.clone()), Dns::KEEP, spot),
        resolver: said.resolver.or_else(|| Some(At::new(resolver, spot))),
    }
}

/// Who asks, where that is said or follows from whom.
fn resolver(said: &file::dns::Dns) -> Option<ResolverWord> {
    let written = said.resolver.as_ref().map(|resolver| resolver.value);
    written.or_else(|| said.servers.as_ref().map(|_| ResolverWord::Dns))
}
