//! Clusters by name, and targets to clusters; a URL makes a cluster of one endpoint.
//! Clusters that no route names are kept, because filters may call them.

use std::collections::HashMap;
use std::path::Path;

use super::{cluster, tls};
use crate::cluster::{Cluster, ClusterId, Endpoint, Protocol};
use crate::dns::Dns;
use crate::error::Code;
use crate::file;
use crate::file::at::At;
use crate::file::read::Named;
use crate::interception::Original;
use crate::limits::Limits;
use crate::listener::TcpTarget;
use crate::report::Report;
use crate::route::{Target, TargetName};
use crate::scalar::{Name, Scalar};
use crate::suggest;
use crate::tls::ClientTls;

pub(super) struct Clusters<'l> {
    said: &'l Named<Name, file::Cluster>,
    /// A cluster that could not be read has its name here all the same.
    ids: HashMap<String, Option<ClusterId>>,
    /// Those made from URLs, with TLS or without.
    urls: HashMap<(Endpoint, bool), ClusterId>,
    /// What `original` is on the listener at hand, where connections are intercepted.
    original: Option<Origin>,
    list: Vec<Cluster>,
    limits: Limits,
    /// How names are looked up by clusters that say nothing of it.
    dns: Dns,
}

/// The target `original` of one listener.
struct Origin {
    listener: String,
    original: Original,
    mark: Option<u32>,
    /// Present once something leads there.
    id: Option<ClusterId>,
}

impl<'l> Clusters<'l> {
    /// The clusters with a name.
    pub(super) fn of(
        said: &'l Named<Name, file::Cluster>,
        (limits, dns, folder): (Limits, Dns, &Path),
        report: &mut Report<'_>,
    ) -> Clusters<'l> {
        let (ids, urls, list) = (HashMap::new(), HashMap::new(), Vec::new());
        let mut clusters = Clusters { said, ids, urls, original: None, list, limits, dns };
        for (name, written) in &said.entries {
            if ["echo", "original"].contains(&name.value.0.as_str()) {
                let word = &name.value.0;
                let message =
                    format!("a cluster cannot be called {word:?}, that is a target of its own; choose another name");
                report.fault(Code::DuplicateName, name.spot, message);
            }
            let id = written.as_ref().map(|said| {
                let tls = said.tls.as_ref().map(|said| tls::of_cluster(said, folder, report));
                let cluster = cluster::cluster(&name.value.0, said, clusters.defaults(), report);
                clusters.add(Cluster { tls, ..cluster })
            });
            clusters.ids.insert(name.value.0.clone(), id);
        }
        clusters
    }

    /// What a cluster has that says nothing of its own.
    fn defaults(&self) -> (Limits, &Dns) {
        (self.limits, &self.dns)
    }

    fn add(&mut self, cluster: Cluster) -> ClusterId {
        let id = ClusterId(self.list.len());
        self.list.push(cluster);
        id
    }

    /// What a target written by `whose` leads to; `None` when that is nowhere.
    pub(super) fn target(&mut self, to: &At<TargetName>, whose: &str, report: &mut Report<'_>) -> Option<Target> {
        match &to.value {
            TargetName::Echo => Some(Target::Echo),
            TargetName::Url(endpoint) => Some(Target::Cluster(self.of_url(endpoint, None))),
            TargetName::Tls(endpoint) => Some(Target::Cluster(self.of_url(endpoint, Some(ClientTls::default())))),
            TargetName::Cluster(name) => self.named(name, to, (whose, "write http://"), report).map(Target::Cluster),
            TargetName::Original => self.original(to, whose, report).map(Target::Cluster),
        }
    }

    /// The cluster that connections on the listener `whose` go to; `None` when there is none.
    pub(super) fn of_tcp(&mut self, to: &At<TcpTarget>, whose: &str, report: &mut Report<'_>) -> Option<ClusterId> {
        let id = match &to.value {
            TcpTarget::Url(endpoint) => self.of_url(endpoint, None),
            TcpTarget::Cluster(name) => self.named(name, to, (whose, "write tcp://"), report)?,
            TcpTarget::Original => self.original(to, whose, report)?,
        };
        if self.list.get(id.0).is_some_and(|cluster| cluster.protocol == Protocol::H2) {
            let message = format!(
                "{whose}: cluster {:?} has \"protocol: h2\", but \"tcp\" passes bytes on as they come; \
                 name a cluster without it",
                to.shown()
            );
            report.fault(Code::Conflict, to.spot, message);
        }
        Some(id)
    }

    /// Why connections to a target stay with HTTP; `None` where they need not.
    pub(super) fn cannot_upgrade(&self, target: &Target) -> Option<String> {
        if *target == Target::Echo {
            return Some("the built-in echo speaks nothing but HTTP".to_owned());
        }
        let shared = self.behind(target).find(|known| known.protocol == Protocol::H2)?;
        Some(format!("cluster {:?} has \"protocol: h2\", whose connections are shared and stay so", shared.name))
    }

    /// Why CONNECT cannot make tunnels to a target; `None` where it can.
    pub(super) fn cannot_connect(&self, target: &Target) -> Option<String> {
        if *target == Target::Echo {
            return Some("the built-in echo has no endpoint".to_owned());
        }
        let shared = self.behind(target).find(|known| known.protocol == Protocol::H2)?;
        Some(format!("cluster {:?} has \"protocol: h2\", but a tunnel passes bytes on as they come", shared.name))
    }

    /// The clusters that a target leads to.
    fn behind<'s>(&'s self, target: &Target) -> impl Iterator<Item = &'s Cluster> {
        let ids: Vec<ClusterId> = match target {
            Target::Cluster(id) => vec![*id],
            Target::Split(ways) => ways.iter().map(|(id, _)| *id).collect(),
            Target::Echo | Target::Respond(_) | Target::Redirect(_) => Vec::new(),
        };
        ids.into_iter().filter_map(|id| self.list.get(id.0))
    }

    /// The clusters that a filter may call; those that do not exist are reported.
    pub(super) fn callable(&self, said: &[At<Name>], report: &mut Report<'_>) -> Vec<ClusterId> {
        let advice = ("\"allow\"", "define a cluster with the host ");
        said.iter().filter_map(|name| self.named(&name.value, name, advice, report)).collect()
    }

    /// The cluster of a name that stands `at` a place; `None` when it could not be read or does not exist, which is
    /// reported with `whose` it is and what to do where a host was meant.
    fn named<T: Scalar>(
        &self,
        name: &Name,
        at: &At<T>,
        (whose, host): (&str, &str),
        report: &mut Report<'_>,
    ) -> Option<ClusterId> {
        let Some(id) = self.ids.get(&name.0) else {
            let advice = self.advice(&name.0, host);
            let message = format!("{whose}: cluster {:?} is not defined; {advice}", at.shown());
            report.fault(Code::Undefined, at.spot, message);
            return None;
        };
        *id
    }

    /// From here on `original` means the destinations of the connections of this listener, where they are intercepted.
    pub(super) fn enter(&mut self, listener: &str, original: Option<(Original, Option<u32>)>) {
        let listener = listener.to_owned();
        self.original = original.map(|(original, mark)| Origin { listener, original, mark, id: None });
    }

    /// The cluster of the original destinations of the listener at hand; `None` where there are none, which is reported.
    fn original<T: Scalar>(&mut self, at: &At<T>, whose: &str, report: &mut Report<'_>) -> Option<ClusterId> {
        let Some(Origin { listener, original, mark, id }) = &self.original else {
            let message = format!(
                "{whose}: \"original\" leads nowhere, because the listener does not intercept connections; \
                 give it \"intercept: redirect\" or \"intercept: tproxy\""
            );
            report.fault(Code::Undefined, at.spot, message);
            return None;
        };
        if id.is_some() {
            return *id;
        }
        // Listeners at port 0 may have one name.
        let several = self.list.iter().filter(|known| known.original.is_some()).count();
        let name = format!("{listener}/original");
        let is_new = !self.list.iter().any(|known| known.name == name);
        let name = self.free(&if is_new { name } else { format!("{name}-{several}") });
        let (original, mark) = (Some(*original), *mark);
        let id = self.add(Cluster { original, mark, ..cluster::plain(name, Vec::new(), self.defaults()) });
        if let Some(origin) = &mut self.original {
            origin.id = Some(id);
        }
        Some(id)
    }

    fn advice(&self, name: &str, host: &str) -> String {
        if Endpoint::parse(name).is_ok() {
            return format!("to mean a host, {host}{name}");
        }
        let known: Vec<&str> = self.said.entries.iter().map(|(name, _)| name.value.0.as_str()).collect();
        suggest::hint(name, "clusters", &known)
    }

    fn of_url(&mut self, endpoint: &Endpoint, tls: Option<ClientTls>) -> ClusterId {
        let key = (endpoint.clone(), tls.is_some());
        if let Some(id) = self.urls.get(&key) {
            return *id;
        }
        let name = self.free(&endpoint.to_string());
        let cluster = cluster::plain(name.clone(), vec![endpoint.clone()], self.defaults());
        let id = self.add(Cluster { tls, ..cluster });
        self.ids.insert(name, Some(id));
        self.urls.insert(key, id);
        id
    }

    /// A name; with a number behind it where the user has that name, or a URL with or without TLS.
    fn free(&self, name: &str) -> String {
        let numbered = (2u64..).map(|number| format!("{name}-{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        names.find(|name| !self.ids.contains_key(name)).unwrap_or_else(|| name.to_owned())
    }

    /// Every cluster, [`ClusterId`] counting in it.
    pub(super) fn into_list(self) -> Vec<Cluster> {
        self.list
    }
}
