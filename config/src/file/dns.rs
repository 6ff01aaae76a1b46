//! What may be said about looking names up, of the whole configuration and of one cluster.
//! What the keys come to is decided in `expand` and `check`.

use std::time::Duration;

use crate::dns::{Family, NameServer, RefreshWait, ResolverWord};
use crate::file::at::At;
use crate::file::read::{SomeOf, mapping};

mapping! {
    /// How names are looked up.
    Dns, "dns" {
        /// Who asks: `dns`, which reads `/etc/hosts` and asks name servers, or `system`, the resolver of the system's library.
        "resolver" => resolver: Option<At<ResolverWord>>,
        /// The name servers that are asked in place of those of the system, in this order.
        "servers" => servers: Option<SomeOf<At<NameServer>>>,
        /// Which of a name's addresses count.
        "family" => family: Option<At<Family>>,
        /// The longest that an answer is used before the name is looked up again.
        "refresh" => refresh: Option<At<RefreshWait>>,
        /// How long the last answer is used while a name cannot be looked up.
        "keep" => keep: Option<At<Duration>>,
    }
    later []
}
