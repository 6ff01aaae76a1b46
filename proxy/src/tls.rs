//! TLS: from files to what rustls speaks with, on both sides, and what is known of a peer afterwards.
//!
//! Whose socket it is, and how long anything may take, is for the listener and the upstream to say. What changes while the
//! proxy serves is published by one store of a pointer: a handshake reads it without a lock, and one that has begun keeps
//! what it read.

pub mod certificate;
pub mod client;
pub mod failure;
pub mod fault;
pub mod files;
mod names;
pub mod secured;
pub mod server;
pub mod stream;
mod tickets;

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

use self::client::Client;
use self::server::Server;

/// What the listeners and clusters of a configuration speak TLS with, each in its order; `None`: it does not.
#[derive(Clone, Debug, Default)]
pub struct Parties {
    /// The listeners.
    pub servers: Vec<Option<Arc<Server>>>,
    /// The clusters.
    pub clients: Vec<Option<Arc<Client>>>,
}

/// The cryptography of all of it: said here, so that nothing depends on what else is linked.
fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    &PROVIDER
}
