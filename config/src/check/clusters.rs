//! Clusters by name, and targets to clusters; a URL makes a cluster of one endpoint.
//! Clusters that no route names are kept, because filters may call them.

use std::collections::HashMap;

use crate::cluster::{Cluster, ClusterId, Endpoint};
use crate::error::Code;
use crate::file;
use crate::file::at::At;
use crate::file::read::Named;
use crate::limits::Limits;
use crate::report::Report;
use crate::route::{Target, TargetName};
use crate::scalar::{Name, Scalar as _};
use crate::suggest;

pub(super) struct Clusters<'l> {
    said: &'l Named<Name, file::Cluster>,
    /// A cluster that could not be read has its name here all the same.
    ids: HashMap<String, Option<ClusterId>>,
    urls: HashMap<Endpoint, ClusterId>,
    list: Vec<Cluster>,
    limits: Limits,
}

impl<'l> Clusters<'l> {
    /// The clusters with a name.
    pub(super) fn of(said: &'l Named<Name, file::Cluster>, limits: Limits, report: &mut Report<'_>) -> Clusters<'l> {
        let mut clusters = Clusters { said, ids: HashMap::new(), urls: HashMap::new(), list: Vec::new(), limits };
        for (name, cluster) in &said.entries {
            if name.value.0 == "echo" {
                let message = "a cluster cannot be called \"echo\", that is a target of its own; choose another name";
                report.fault(Code::DuplicateName, name.spot, message);
            }
            let id = cluster.as_ref().map(|cluster| {
                let endpoints = cluster.hosts.0.iter().map(|host| host.value.clone()).collect();
                clusters.add(name.value.0.clone(), endpoints)
            });
            clusters.ids.insert(name.value.0.clone(), id);
        }
        clusters
    }

    fn add(&mut self, name: String, endpoints: Vec<Endpoint>) -> ClusterId {
        let id = ClusterId(self.list.len());
        self.list.push(Cluster {
            name,
            endpoints,
            connect_timeout: self.limits.connect_timeout,
            upstream_idle_timeout: self.limits.upstream_idle_timeout,
            upstream_connections: self.limits.upstream_connections,
            pending: self.limits.pending,
        });
        id
    }

    /// What a target written by `whose` leads to; `None` when that is nowhere.
    pub(super) fn target(&mut self, to: &At<TargetName>, whose: &str, report: &mut Report<'_>) -> Option<Target> {
        match &to.value {
            TargetName::Echo => Some(Target::Echo),
            TargetName::Url(endpoint) => Some(Target::Cluster(self.of_url(endpoint))),
            TargetName::Cluster(Name(name)) => match self.ids.get(name) {
                Some(id) => id.map(Target::Cluster),
                None => {
                    let message = format!("{whose}: cluster {:?} is not defined; {}", to.shown(), self.advice(name));
                    report.fault(Code::Undefined, to.spot, message);
                    None
                }
            },
        }
    }

    fn advice(&self, name: &str) -> String {
        if Endpoint::parse(name).is_ok() {
            return format!("to mean a host, write http://{name}");
        }
        let known: Vec<&str> = self.said.entries.iter().map(|(name, _)| name.value.0.as_str()).collect();
        suggest::hint(name, "clusters", &known)
    }

    fn of_url(&mut self, endpoint: &Endpoint) -> ClusterId {
        if let Some(id) = self.urls.get(endpoint) {
            return *id;
        }
        let id = self.add(self.free(endpoint), vec![endpoint.clone()]);
        self.urls.insert(endpoint.clone(), id);
        id
    }

    /// The endpoint as a name; with a number behind it where the user has that name.
    fn free(&self, endpoint: &Endpoint) -> String {
        let name = endpoint.to_string();
        let numbered = (2u64..).map(|number| format!("{name}-{number}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        names.find(|name| !self.ids.contains_key(name)).unwrap_or(name)
    }

    /// Every cluster, [`ClusterId`] counting in it.
    pub(super) fn into_list(self) -> Vec<Cluster> {
        self.list
    }
}
