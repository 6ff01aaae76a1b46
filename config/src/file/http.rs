//! How requests of a listener are marked on their way, as it is said.
//! Which fields that comes to is decided by the proxy.

use crate::bound::Count;
use crate::file::at::At;
use crate::file::read::mapping;
use crate::file::rule;
use crate::forwarding::{ForwardFor, Network, Switch, Underscores};
use crate::spelling::PathSpelling;

mapping! {
    /// How requests are marked on their way.
    Http, "http" {
        /// What upstreams are told about clients.
        "forwarded" => forwarded: Option<Forwarded>,
        /// Whether every request has an `x-request-id`; one of a trusted peer is kept.
        "request_id" => request_id: Option<At<Switch>>,
        /// Whether messages say in `via` that they passed here.
        "via" => via: Option<At<Switch>>,
        /// What becomes of header names with `_` from peers that are not trusted.
        "underscores" => underscores: Option<At<Underscores>>,
        /// What becomes of paths: one spelling for each, or as the client wrote it.
        "path" => path: Option<At<PathSpelling>>,
    }
    later []
}

mapping! {
    /// What upstreams are told about clients.
    Forwarded, "forwarded" {
        /// `x-forwarded-for`, with `x-forwarded-proto` and `x-forwarded-host`.
        "for" => fields: Option<At<ForwardFor>>,
        /// The header `forwarded` of RFC 7239.
        "standard" => standard: Option<At<Switch>>,
        /// Proxies that are believed about their clients.
        "trusted" => trusted: Option<Vec<At<Network>>>,
        /// How many proxies there are in front of this one, in place of their addresses.
        "hops" => hops: Option<At<Count<1, 16>>>,
    }
    later []
    rule rule::of_forwarded
}
