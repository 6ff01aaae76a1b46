//! What listeners and clusters speak TLS with at the moment, and the files it was read from.
//!
//! Whatever is read is read whole before anything changes. Files that cannot be used leave what there was in place; those
//! that did not change since are no reason to refuse anything else.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tollgate_config::{ClientTls, Config, Protocol, ServerTls};

use crate::filter::digest::Digest;
use crate::filter::rollout::Followed;
use crate::telemetry::metrics::{CertificateInfo, Registry};
use crate::tls::Parties;
use crate::tls::client::{self, Client};
use crate::tls::fault::{Fault, FaultKind, Unfit};
use crate::tls::files::{Files, SystemRoots, Untimely};
use crate::tls::server::{self, Server};

/// See the module.
#[derive(Default)]
pub(in crate::app) struct Store {
    servers: Vec<Entry<ServerTls, Server>>,
    clients: Vec<Entry<(ClientTls, Protocol), Client>>,
}

/// The TLS of one listener or cluster.
struct Entry<D, P> {
    owner: String,
    definition: D,
    party: Arc<P>,
    /// As they were last read.
    files: Vec<Followed>,
    /// As they were when what is spoken with was read.
    spoken: Vec<Followed>,
    /// Why files that changed are not what is spoken with.
    refused: Option<Refusal>,
}

/// Files that cannot be used.
#[derive(Clone)]
struct Refusal {
    at: SystemTime,
    why: String,
    /// When they may be good as they are.
    until: Option<SystemTime>,
}

impl Refusal {
    fn new(fault: &Fault) -> Self {
        let until = match fault.kind {
            FaultKind::Early(until) => Some(until),
            _ => None,
        };
        Self { at: SystemTime::now(), why: fault.to_string(), until }
    }
}

/// How one party stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// `listener` or `cluster`.
    pub kind: &'static str,
    /// Its name.
    pub owner: String,
    /// Its certificates: a name of each, and when it ends to be good.
    pub shown: Vec<(String, SystemTime)>,
    /// When files were refused that changed, and why.
    pub refused: Option<(SystemTime, String)>,
}

/// What can be spoken with: a listener's side of TLS, or a cluster's.
trait Party: Sized {
    type Definition: Clone + PartialEq;
    type Terms;
    const KIND: &'static str;

    fn read(definition: &Self::Definition, before: Option<&Self>, files: &mut Files<'_>) -> Result<Self::Terms, Unfit>;
    fn new(definition: &Self::Definition, terms: Self::Terms) -> Self;
    /// True where terms that were read of the same files as the present ones are the same.
    fn has(&self, terms: &Self::Terms) -> bool;
    fn replace(&self, terms: Self::Terms);
    fn shown(&self) -> Vec<(String, SystemTime)>;
}

impl Party for Server {
    type Definition = ServerTls;
    type Terms = server::Terms;
    const KIND: &'static str = "listener";

    fn read(definition: &ServerTls, before: Option<&Self>, files: &mut Files<'_>) -> Result<server::Terms, Unfit> {
        let before = before.map(Server::terms);
        server::Terms::read(definition, before.as_deref(), files)
    }

    fn new(_: &ServerTls, terms: server::Terms) -> Self {
        Server::new(terms)
    }

    fn has(&self, _: &server::Terms) -> bool {
        true
    }

    fn replace(&self, terms: server::Terms) {
        Server::replace(self, terms);
    }

    fn shown(&self) -> Vec<(String, SystemTime)> {
        self.terms().shown.clone()
    }
}

impl Party for Client {
    type Definition = (ClientTls, Protocol);
    type Terms = client::Terms;
    const KIND: &'static str = "cluster";

    fn read(
        (definition, protocol): &(ClientTls, Protocol),
        _: Option<&Self>,
        files: &mut Files<'_>,
    ) -> Result<client::Terms, Unfit> {
        client::Terms::read(definition, *protocol, files)
    }

    fn new((definition, _): &(ClientTls, Protocol), terms: client::Terms) -> Self {
        Client::new(definition.clone(), terms)
    }

    fn has(&self, terms: &client::Terms) -> bool {
        Client::has(self, terms)
    }

    fn replace(&self, terms: client::Terms) {
        Client::replace(self, terms);
    }

    fn shown(&self) -> Vec<(String, SystemTime)> {
        self.terms().shown.clone()
    }
}

/// What a configuration asks for, read and not yet in force.
#[derive(Default)]
pub(in crate::app) struct Plan {
    servers: Vec<Step<Server>>,
    clients: Vec<Step<Client>>,
    /// Certificates among it that it is too late or too early for.
    pub(in crate::app) untimely: Vec<Fault>,
}

enum Step<P: Party> {
    /// As it is: its files cannot be used, and are what they were when that was told.
    Same(Entry<P::Definition, P>),
    Fresh {
        owner: String,
        definition: P::Definition,
        terms: P::Terms,
        files: Vec<Followed>,
    },
}

/// What steps are read with, and what is found.
struct Reading<'a> {
    system: SystemRoots,
    may: &'a Untimely,
    untimely: Vec<Fault>,
    faults: Vec<Fault>,
}

impl Store {
    /// What a process starts with. One certificate that it is too late for keeps nothing else from being served.
    pub(in crate::app) fn first(config: &Config) -> Result<Plan, Vec<Fault>> {
        Self::default().read(config, &Untimely::Any)
    }

    /// Reads every file that a configuration names for TLS. All faults are reported.
    pub(in crate::app) fn plan(&self, config: &Config) -> Result<Plan, Vec<Fault>> {
        self.read(config, &self.untimely())
    }

    fn read(&self, config: &Config, may: &Untimely) -> Result<Plan, Vec<Fault>> {
        let mut reading = Reading { system: SystemRoots::default(), may, untimely: Vec::new(), faults: Vec::new() };
        let mut plan = Plan::default();
        for listener in &config.listeners {
            if let Some(tls) = &listener.tls {
                plan.servers.extend(reading.step(&self.servers, &listener.name, tls));
            }
        }
        for cluster in &config.clusters {
            if let Some(tls) = &cluster.tls {
                let definition = (tls.clone(), cluster.protocol);
                plan.clients.extend(reading.step(&self.clients, &cluster.name, &definition));
            }
        }
        plan.untimely = reading.untimely;
        if reading.faults.is_empty() { Ok(plan) } else { Err(reading.faults) }
    }

    /// What is shown is shown on, whatever the time is.
    fn untimely(&self) -> Untimely {
        let servers = self.servers.iter().flat_map(|entry| &entry.spoken);
        let spoken = servers.chain(self.clients.iter().flat_map(|entry| &entry.spoken));
        Untimely::Of(spoken.filter_map(|file| Some((file.path.clone(), file.read?.0))).collect())
    }

    /// Has the plan be in force for handshakes that begin from here on. Who was there before stays who it is, with its
    /// tickets.
    pub(in crate::app) fn adopt(&mut self, plan: Plan, registry: &Registry) {
        adopt(&mut self.servers, plan.servers);
        adopt(&mut self.clients, plan.clients);
        self.tell(registry);
    }

    /// Reads what these files concern again, and what may be good by its time, and has it be in force where it is good.
    pub(in crate::app) fn refresh(&mut self, changed: &[PathBuf], registry: &Registry) -> (bool, Vec<Fault>) {
        let (mut faults, mut fresh, may) = (Vec::new(), false, self.untimely());
        for entry in &mut self.servers {
            fresh |= entry.refresh(changed, &may, registry, &mut faults);
        }
        for entry in &mut self.clients {
            fresh |= entry.refresh(changed, &may, registry, &mut faults);
        }
        if fresh {
            self.tell(registry);
        }
        (fresh, faults)
    }

    /// When files that were refused may be good as they are; `refresh` then reads them again.
    pub(in crate::app) fn due(&self) -> Option<SystemTime> {
        self.servers.iter().filter_map(Entry::due).chain(self.clients.iter().filter_map(Entry::due)).min()
    }

    /// What a configuration speaks with that is in force.
    pub(in crate::app) fn parties(&self, config: &Config) -> Parties {
        let servers =
            config.listeners.iter().map(|listener| find(&self.servers, &listener.name, listener.tls.as_ref()?));
        let clients = config.clusters.iter().map(|cluster| {
            let definition = (cluster.tls.clone()?, cluster.protocol);
            find(&self.clients, &cluster.name, &definition)
        });
        Parties { servers: servers.collect(), clients: clients.collect() }
    }

    /// Every file, with what was last read of it.
    pub(in crate::app) fn files(&self) -> impl Iterator<Item = Followed> {
        let servers = self.servers.iter().flat_map(|entry| &entry.files);
        servers.chain(self.clients.iter().flat_map(|entry| &entry.files)).cloned()
    }

    /// How everything stands.
    pub(in crate::app) fn views(&self) -> Vec<View> {
        self.servers.iter().map(Entry::view).chain(self.clients.iter().map(Entry::view)).collect()
    }

    fn tell(&self, registry: &Registry) {
        let infos = self.views().into_iter().flat_map(|View { kind, owner, shown, .. }| {
            shown.into_iter().map(move |(name, not_after)| CertificateInfo {
                kind,
                owner: owner.clone(),
                name,
                not_after,
            })
        });
        registry.set_certificates(infos);
    }
}

impl Reading<'_> {
    fn step<P: Party>(
        &mut self,
        known: &[Entry<P::Definition, P>],
        owner: &str,
        definition: &P::Definition,
    ) -> Option<Step<P>> {
        let before = known.iter().find(|entry| entry.is_of(owner, definition));
        let mut files = Files::new(&self.system, self.may);
        let terms = P::read(definition, before.map(|entry| &*entry.party), &mut files);
        let read = followed(&files);
        match (terms, before) {
            (Ok(terms), _) => {
                let untimely = files.into_untimely().into_iter().map(|unfit| unfit.of(&whose::<P>(owner)));
                self.untimely.extend(untimely);
                Some(Step::Fresh { owner: owner.to_owned(), definition: definition.clone(), terms, files: read })
            }
            (Err(_), Some(entry)) if entry.files == read => Some(Step::Same(entry.same())),
            (Err(unfit), _) => {
                self.faults.push(unfit.of(&whose::<P>(owner)));
                None
            }
        }
    }
}

fn adopt<P: Party>(known: &mut Vec<Entry<P::Definition, P>>, steps: Vec<Step<P>>) {
    let entries = steps.into_iter().map(|step| match step {
        Step::Same(entry) => entry,
        Step::Fresh { owner, definition, terms, files } => {
            let party = match known.iter().find(|entry| entry.is_of(&owner, &definition)) {
                Some(entry) => {
                    // Terms that are the same would only end the sessions that began under these.
                    if entry.spoken != files || !entry.party.has(&terms) {
                        entry.party.replace(terms);
                    }
                    Arc::clone(&entry.party)
                }
                None => Arc::new(P::new(&definition, terms)),
            };
            Entry { owner, definition, party, spoken: files.clone(), files, refused: None }
        }
    });
    *known = entries.collect();
}

fn find<P: Party>(known: &[Entry<P::Definition, P>], owner: &str, definition: &P::Definition) -> Option<Arc<P>> {
    let found = known.iter().find(|entry| entry.is_of(owner, definition));
    found.map(|entry| Arc::clone(&entry.party))
}

fn whose<P: Party>(owner: &str) -> String {
    format!("{} {owner:?}", P::KIND)
}

fn followed(files: &Files<'_>) -> Vec<Followed> {
    files.read().map(|(path, held)| Followed { path: path.to_owned(), read: held.map(Digest) }).collect()
}

impl<P: Party> Entry<P::Definition, P> {
    fn is_of(&self, owner: &str, definition: &P::Definition) -> bool {
        self.owner == owner && self.definition == *definition
    }

    /// The same party, with what is known of it.
    fn same(&self) -> Self {
        Self {
            owner: self.owner.clone(),
            definition: self.definition.clone(),
            party: Arc::clone(&self.party),
            files: self.files.clone(),
            spoken: self.spoken.clone(),
            refused: self.refused.clone(),
        }
    }

    /// True when it changed.
    fn refresh(&mut self, changed: &[PathBuf], may: &Untimely, registry: &Registry, faults: &mut Vec<Fault>) -> bool {
        let is_changed = |path: &Path| changed.iter().any(|changed| changed == path);
        let is_due = self.due().is_some_and(|due| due <= SystemTime::now());
        if !is_due && !self.files.iter().any(|file| is_changed(&file.path)) {
            return false;
        }
        let system = SystemRoots::default();
        let mut files = Files::new(&system, may);
        let terms = P::read(&self.definition, Some(&self.party), &mut files);
        let fresh = followed(&files);
        // Two files that changed at once are looked at one after the other, and read both times.
        if fresh == self.files && !is_due {
            return false;
        }
        self.files = fresh;
        registry.tls_reloads().note(terms.is_ok());
        match terms {
            Ok(terms) => {
                self.party.replace(terms);
                self.spoken = self.files.clone();
                self.refused = None;
                tracing::info!(kind = P::KIND, name = self.owner, "certificates taken over");
                true
            }
            Err(unfit) => {
                let fault = unfit.of(&whose::<P>(&self.owner));
                self.refused = Some(Refusal::new(&fault));
                faults.push(fault);
                false
            }
        }
    }

    fn due(&self) -> Option<SystemTime> {
        self.refused.as_ref()?.until
    }

    fn view(&self) -> View {
        let refused = self.refused.as_ref().map(|refusal| (refusal.at, refusal.why.clone()));
        View { kind: P::KIND, owner: self.owner.clone(), shown: self.party.shown(), refused }
    }
}
