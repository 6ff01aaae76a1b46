//! How requests are marked, with every key spelled.

use crate::file::http::{Forwarded, Http};
use crate::forwarding::{self, ForwardFor, Switch, Underscores};
use crate::spelling::PathSpelling;

use super::or;

/// The settings said, and the defaults for the others.
pub(super) fn filled(said: Http) -> Http {
    let (spot, default) = (said.spot, forwarding::Http::default());
    let (fields, standard, trusted, hops) = Default::default();
    let forwarded = said.forwarded.unwrap_or(Forwarded { spot, fields, standard, trusted, hops });
    Http {
        spot,
        forwarded: Some(of_clients(forwarded)),
        request_id: or(said.request_id, switch(default.request_ids), spot),
        via: or(said.via, switch(default.via), spot),
        underscores: or(said.underscores, Underscores::default(), spot),
        path: or(said.path, PathSpelling::default(), spot),
    }
}

fn of_clients(said: Forwarded) -> Forwarded {
    let spot = said.spot;
    let trusted = said.trusted.or_else(|| said.hops.is_none().then(Vec::new));
    Forwarded {
        spot,
        fields: or(said.fields, ForwardFor::default(), spot),
        standard: or(said.standard, Switch::Off, spot),
        trusted,
        hops: said.hops,
    }
}

fn switch(on: bool) -> Switch {
    if on { Switch::On } else { Switch::Off }
}
