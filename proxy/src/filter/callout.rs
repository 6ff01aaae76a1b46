//! What filters ask of others and what takes time: requests to clusters, look-ups, one-shot timers.
//!
//! A question is checked here while the guest waits, carried out by the `desk` of the VM in tasks of the worker, and
//! answered with an [`Event`] to the VM that asked, never to its successor. What is asked while a VM starts waits until it
//! settles on its worker; a VM that never does takes its questions with it.

pub mod desk;
pub mod dns;
pub mod grpc;
pub mod hops;
pub mod http;
mod late;
pub mod ledger;
pub mod mailbox;

use std::time::Duration;

use tollgate_abi::{CalloutFailure, CalloutId, CalloutRefusal, DnsRecord, Failure, GrpcEvent, HttpReply};
use tollgate_config::{self as config, ClusterId, HostMatch, Protocol};

use crate::filter::callout::grpc::GrpcQuestion;
use crate::filter::callout::http::HttpQuestion;
use crate::filter::generation::ReadyVm;

/// What a plugin may reach; nothing unless its configuration says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The clusters it may call.
    pub calls: Vec<Callee>,
    /// The host names it may look up.
    pub resolve: Vec<HostMatch>,
    /// How it looks them up; the usual way where there are none.
    pub dns: config::Dns,
    /// The longest a look-up may take.
    pub patience: Duration,
    /// The most bytes of an answer's body, of a message, and of messages that wait to be sent.
    pub body: usize,
}

/// A cluster that a plugin may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callee {
    /// Its name, which is what the guest calls it.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
}

/// The place of a cluster in [`Reach::calls`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalleeId(pub usize);

impl Reach {
    /// What the configuration lets a plugin reach, with the clusters and the way of looking names up that it has.
    pub fn new(plugin: &config::Plugin, (clusters, dns): (&[config::Cluster], &config::Dns)) -> Self {
        let callee = |id: &ClusterId| {
            let cluster = clusters.get(id.0)?;
            Some(Callee { name: cluster.name.clone(), protocol: cluster.protocol })
        };
        Self {
            calls: plugin.allow.calls.iter().filter_map(callee).collect(),
            resolve: plugin.allow.resolve.clone(),
            // A change is of no concern to a plugin that looks nothing up.
            dns: if plugin.allow.resolve.is_empty() { config::Dns::default() } else { dns.clone() },
            patience: plugin.quota.callout_timeout,
            body: usize::try_from(plugin.quota.callout_body).unwrap_or(usize::MAX),
        }
    }

    /// The cluster that the guest names.
    pub fn callee(&self, name: &[u8]) -> Result<CalleeId, CalloutRefusal> {
        let found = self.calls.iter().position(|callee| callee.name.as_bytes() == name);
        found.map(CalleeId).ok_or_else(|| CalloutRefusal::UnknownUpstream {
            name: String::from_utf8_lossy(name).into_owned(),
            known: self.calls.iter().map(|callee| callee.name.clone()).collect(),
        })
    }

    /// True when the plugin may look this name up; case and a dot at the end mean nothing.
    pub fn resolves(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        self.resolve.iter().any(|allowed| match allowed {
            HostMatch::Any => true,
            HostMatch::Exact(host) => *host == name,
            HostMatch::Suffix(domain) => name.len() > domain.len() && name.ends_with(domain.as_str()),
        })
    }
}

/// Something asked, checked, and not yet begun.
#[derive(Debug)]
pub enum Question {
    /// An HTTP request.
    Http(CalloutId, Box<HttpQuestion>),
    /// A gRPC call or stream.
    Grpc(CalloutId, Box<GrpcQuestion>),
    /// The addresses of a host name.
    Resolve(u32, String),
    /// One ring after this time.
    Timer(u32, Duration),
}

impl Question {
    /// What it becomes when it is begun.
    pub fn task(&self) -> Task {
        match self {
            Self::Http(id, _) | Self::Grpc(id, _) => Task::Callout(*id),
            Self::Resolve(token, _) => Task::Resolve(*token),
            Self::Timer(timer, _) => Task::Timer(*timer),
        }
    }
}

/// Names something under way for a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// A callout.
    Callout(CalloutId),
    /// A look-up.
    Resolve(u32),
    /// A one-shot timer.
    Timer(u32),
}

/// Something that a VM is told of.
#[derive(Debug)]
pub enum Event {
    /// An HTTP callout ended.
    HttpEnded(CalloutId, Result<HttpReply, CalloutFailure>),
    /// Something happened to a gRPC callout.
    Grpc(CalloutId, GrpcEvent),
    /// A one-shot timer is over.
    TimerFired(u32),
    /// A look-up ended; no records say that it failed.
    Resolved(u32, Vec<DnsRecord>),
}

impl Event {
    /// Tells the guest.
    pub fn tell(self, vm: &mut ReadyVm) -> Result<(), Failure> {
        match self {
            Self::HttpEnded(id, outcome) => vm.http_call_ended(id, outcome),
            Self::Grpc(id, event) => vm.grpc_event(id, event),
            Self::TimerFired(timer) => vm.timer_fired(timer),
            Self::Resolved(token, records) => vm.dns_resolved(token, &records),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach() -> Reach {
        let hosts = [HostMatch::Exact("api.local".to_owned()), HostMatch::Suffix(".example.com".to_owned())];
        let callee = |name: &str| Callee { name: name.to_owned(), protocol: Protocol::Http1 };
        Reach { calls: vec![callee("auth"), callee("audit")], resolve: hosts.to_vec(), ..Reach::default() }
    }

    #[test]
    fn a_cluster_that_is_not_listed_is_refused_with_those_that_are() {
        assert_eq!(reach().callee(b"audit"), Ok(CalleeId(1)));
        for name in [&b"Auth"[..], b"", b"auth ", b"\xff"] {
            let refusal = reach().callee(name).unwrap_err();
            assert!(refusal.to_string().ends_with("this filter may call: auth, audit"), "{refusal}");
        }
        assert!(Reach::default().callee(b"auth").is_err());
    }

    #[test]
    fn a_host_is_matched_as_in_routes() {
        for name in ["api.local", "API.local", "api.local.", "a.example.com", "a.b.EXAMPLE.com"] {
            assert!(reach().resolves(name), "{name}");
        }
        for name in ["example.com", ".example.com", "xapi.local", "api.local.evil", "notexample.com", "", "."] {
            assert!(!reach().resolves(name), "{name}");
        }
        assert!(!Reach::default().resolves("api.local"));
    }
}
