//! Who can take part: Tollgate, and the peers that are there.

use std::path::Path;

use crate::error::BenchError;
use crate::results::Absent;
use crate::target::envoy::{self, Envoy};
use crate::target::haproxy::{self, Haproxy};
use crate::target::nginx::{self, Nginx};
use crate::target::tollgate::{self, Tollgate};
use crate::target::{Chain, Plan, Setting};

/// A part in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Tollgate, marking requests as little as the others do.
    Tollgate(Chain),
    /// Tollgate without a filter, where nothing is turned off.
    AsItComes,
    /// See its module.
    Nginx,
    /// See its module.
    Haproxy,
    /// With filters or without.
    Envoy(Chain),
}

impl Who {
    /// Its name in tables.
    pub fn name(self) -> String {
        match self {
            Who::Tollgate(chain) => chain.of(tollgate::NAME),
            Who::AsItComes => tollgate::AS_IT_COMES.to_owned(),
            Who::Nginx => nginx::NAME.to_owned(),
            Who::Haproxy => haproxy::NAME.to_owned(),
            Who::Envoy(chain) => chain.of(envoy::NAME),
        }
    }

    /// Whether it is among these names, or nobody is named.
    pub fn is_meant(self, only: &[String]) -> bool {
        only.is_empty() || only.contains(&self.name())
    }
}

/// See the module. `Err` says why a peer is not there.
pub struct Cast {
    /// Always there.
    pub tollgate: Tollgate,
    nginx: Result<Nginx, String>,
    haproxy: Result<Haproxy, String>,
    envoy: Result<Envoy, String>,
}

impl Cast {
    /// Looks for the peers under these names.
    pub fn find(tollgate: Tollgate, nginx: &Path, haproxy: &Path, envoy: &Path) -> Cast {
        let envoy = Envoy::find(envoy, &tollgate.filters);
        Cast { tollgate, nginx: Nginx::find(nginx), haproxy: Haproxy::find(haproxy), envoy }
    }

    /// What those that are there say of their versions.
    pub fn versions(&self) -> Result<Vec<String>, BenchError> {
        let mut versions = vec![self.tollgate.version()?];
        versions.extend(self.nginx.iter().map(|nginx| nginx.version().to_owned()));
        versions.extend(self.haproxy.iter().map(|haproxy| haproxy.version().to_owned()));
        versions.extend(self.envoy.iter().map(Envoy::version));
        Ok(versions)
    }

    /// Those that are not there.
    pub fn absent(&self) -> Vec<Absent> {
        let of = |name: &str, why: Option<&String>| why.map(|why| Absent { target: name.to_owned(), why: why.clone() });
        let all = [
            of(nginx::NAME, self.nginx.as_ref().err()),
            of(haproxy::NAME, self.haproxy.as_ref().err()),
            of(envoy::NAME, self.envoy.as_ref().err()),
        ];
        all.into_iter().flatten().collect()
    }

    /// How to start it; `None` where it is not there.
    pub fn plan(&self, who: Who, setting: &Setting<'_>) -> Result<Option<Plan>, BenchError> {
        match who {
            Who::Tollgate(chain) => self.tollgate.plan(chain, setting).map(Some),
            Who::AsItComes => self.tollgate.as_it_comes(setting).map(Some),
            Who::Nginx => self.nginx.as_ref().ok().map(|nginx| nginx.plan(setting)).transpose(),
            Who::Haproxy => self.haproxy.as_ref().ok().map(|haproxy| haproxy.plan(setting)).transpose(),
            Who::Envoy(chain) => self.envoy.as_ref().ok().map(|envoy| envoy.plan(chain, setting)).transpose(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_meant_where_nobody_is_named() {
        let only = ["nginx".to_owned()];

        assert!(Who::Nginx.is_meant(&only) && !Who::Haproxy.is_meant(&only));
        assert!(Who::Haproxy.is_meant(&[]));
    }
}
