//! How an endpoint of a cluster is picked, and what of a request decides where the same client always goes.
//! The picking itself is the proxy's work.

use std::time::Duration;

use crate::scalar::Word;

/// How an endpoint of a cluster is picked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Pick {
    /// In turn, as often as weights say.
    #[default]
    RoundRobin,
    /// The less busy of two that were drawn.
    LeastRequest,
    /// Drawn.
    Random,
    /// By a place on a ring.
    RingHash(HashKey),
    /// By a place in a table that is filled evenly.
    Maglev(HashKey),
}

/// What of a request is hashed; requests that lack it go to an endpoint that is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The value of this header, its name in lower case.
    Header(String),
    /// The value of a cookie.
    Cookie {
        /// Its name.
        name: String,
        /// How long clients that lack it are told to keep a fresh one; `None`: they are given none.
        ttl: Option<Duration>,
    },
    /// The address of the client, without its port.
    Source,
}

/// The ways of picking that need no more than their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PickWord {
    #[default]
    RoundRobin,
    LeastRequest,
    Random,
}

impl Word for PickWord {
    const WORDS: &'static [(&'static str, PickWord)] = &[
        ("round_robin", PickWord::RoundRobin),
        ("least_request", PickWord::LeastRequest),
        ("random", PickWord::Random),
    ];
    const EXPECTED: &'static str =
        "\"round_robin\", \"least_request\", \"random\", or a mapping with \"ring_hash\" or \"maglev\"";
}

impl From<PickWord> for Pick {
    fn from(word: PickWord) -> Pick {
        match word {
            PickWord::RoundRobin => Pick::RoundRobin,
            PickWord::LeastRequest => Pick::LeastRequest,
            PickWord::Random => Pick::Random,
        }
    }
}
