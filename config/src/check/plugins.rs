//! Plugins by name, and chains to plugins. A filter that no chain names is no plugin.
//! Which filters there are was settled when short forms were expanded.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::error::Code;
use crate::expand::Long;
use crate::file::Filter;
use crate::file::at::At;
use crate::file::choice;
use crate::file::data::Data;
use crate::filter::{Budget, Keeping, OnError, Plugin, PluginId, Policy};
use crate::quota::Allow;
use crate::ratio::Part;
use crate::report::Report;
use crate::scalar::Name;
use crate::suggest;
use crate::unit::ByteSize;

use super::clusters::Clusters;
use super::quota::quota;
use super::{rollout, selftest};

pub(super) struct Plugins<'l> {
    long: &'l Long,
    /// A filter that could not be read has its name here all the same.
    ids: HashMap<&'l str, Option<PluginId>>,
}

impl<'l> Plugins<'l> {
    /// The filters that some chain names, in the order in which they are defined.
    pub(super) fn of(long: &'l Long) -> Plugins<'l> {
        let routes = long.listeners.iter().flat_map(|listener| &listener.routes);
        let tcp = long.listeners.iter().filter_map(|listener| listener.tcp.as_ref());
        let chains = long.listeners.iter().map(|listener| &listener.chain);
        let chains = chains.chain(routes.map(|route| &route.chain)).chain(tcp.map(|tcp| &tcp.chain));
        let used: HashSet<&Name> = chains.flatten().map(|name| &name.value).collect();
        let mut ids = (0..).map(PluginId);
        let entries = long.filters.entries.iter();
        let ids = entries.map(|(name, filter)| {
            let filter = filter.as_ref().filter(|_| used.contains(&name.value));
            (name.value.0.as_str(), filter.and_then(|_| ids.next()))
        });
        Plugins { long, ids: ids.collect() }
    }

    /// The plugins of a chain written by `whose`; those that do not exist are reported.
    pub(super) fn chain(&self, said: &[At<Name>], whose: &str, report: &mut Report<'_>) -> Vec<PluginId> {
        let mut chain = Vec::new();
        for name in said {
            match self.ids.get(name.value.0.as_str()) {
                Some(id) => chain.extend(*id),
                None => {
                    let names = self.long.filters.entries.iter().map(|(name, _)| name.value.0.as_str());
                    let known: Vec<&str> = names.collect();
                    let hint = suggest::hint(&name.value.0, "filters", &known);
                    let message = format!("{whose}: filter {:?} is not defined; {hint}", name.shown());
                    report.fault(Code::Undefined, name.spot, message);
                }
            }
        }
        chain
    }

    /// Every plugin, [`PluginId`] counting in it. What other filters say has to be right all the same.
    pub(super) fn into_list(self, folder: &Path, clusters: &Clusters<'_>, report: &mut Report<'_>) -> Vec<Plugin> {
        self.agree(report);
        let mut list = Vec::new();
        for (name, said) in self.long.filters.read_entries() {
            let allow = allow(said, clusters, report);
            let plugin = plugin(name, said, allow, folder, report);
            if self.ids.get(name.value.0.as_str()).is_some_and(Option::is_some) {
                list.push(plugin);
            }
        }
        list
    }

    /// Reports filters of one `vm_id` that disagree about what becomes of what they share.
    fn agree(&self, report: &mut Report<'_>) {
        let mut first: HashMap<&str, (&At<Name>, &At<Keeping>)> = HashMap::new();
        for (name, said) in self.long.filters.read_entries() {
            let (Some(vm_id), Some(state)) = (&said.vm_id, &said.state) else { continue };
            let (other, kept) = *first.entry(&vm_id.value).or_insert((name, state));
            if kept.value != state.value {
                let message = format!(
                    "filter {:?} has \"state: {}\", but {:?} of the same \"vm_id\" has \"state: {}\", see line {}; \
                     they share what it is about, so write the same for both",
                    name.shown(),
                    state.shown(),
                    other.shown(),
                    kept.shown(),
                    kept.spot.line
                );
                report.fault(Code::Conflict, state.spot, message);
            }
        }
    }
}

fn allow(said: &Filter, clusters: &Clusters<'_>, report: &mut Report<'_>) -> Allow {
    let Some(said) = &said.allow else {
        return Allow::default();
    };
    let resolve = said.resolve.iter().flatten().map(|host| host.value.clone());
    Allow { calls: clusters.callable(said.calls.as_deref().unwrap_or_default(), report), resolve: resolve.collect() }
}

fn plugin(name: &At<Name>, said: &Filter, allow: Allow, folder: &Path, report: &mut Report<'_>) -> Plugin {
    let name = name.value.0.clone();
    let bytes = |data: &Option<Data>| data.as_ref().map(Data::bytes).unwrap_or_default();
    let env = said.env.iter().flat_map(|named| named.read_entries());
    Plugin {
        module: folder.join(&said.wasm.stable().value.path),
        sha256: rollout::sha256(said, report),
        root_id: said.root_id.as_ref().map(|id| id.value.clone()).unwrap_or_default(),
        vm_id: said.vm_id.as_ref().map_or_else(|| name.clone(), |id| id.value.clone()),
        config: bytes(&said.config),
        vm_config: bytes(&said.vm_config),
        env: env.map(|(name, value)| (name.value.0.clone(), value.0.value.0.clone())).collect(),
        rollout: rollout::rollout(&said.wasm, folder),
        state: said.state.as_ref().map(|state| state.value).unwrap_or_default(),
        isolation: said.isolation.as_ref().map(|isolation| isolation.value).unwrap_or_default(),
        selftest: selftest::selftests(said, report),
        on_error: said.on_error.as_ref().map(on_error).unwrap_or_default(),
        budget: budget(said, report),
        guest_errors: said.guest_errors.as_ref().map(|errors| errors.value).unwrap_or_default(),
        abi: said.abi.as_ref().map(|abi| abi.value),
        pause_timeout: said.pause_timeout.as_ref().map_or(Plugin::PAUSE_TIMEOUT, |timeout| timeout.value),
        header_pause: said.header_pause.as_ref().map(|pause| pause.value).unwrap_or_default(),
        empty_body: said.empty_body.as_ref().map(|body| body.value).unwrap_or_default(),
        allow,
        quota: quota(said.quota.as_ref()),
        place: report.place(said.spot),
        name,
    }
}

fn on_error(said: &choice::OnError) -> OnError {
    let said = match said {
        choice::OnError::All(policy) => return OnError::all(policy.value),
        choice::OnError::Each(said) => said,
    };
    let call = |said: &Option<At<Policy>>| said.as_ref().map(|policy| policy.value).unwrap_or_default();
    OnError {
        load: said.load.as_ref().map(|policy| policy.value),
        trap: call(&said.trap),
        deadline: call(&said.deadline),
        memory: call(&said.memory),
    }
}

fn budget(said: &Filter, report: &mut Report<'_>) -> Budget {
    let default = Budget::default();
    let Some(said) = &said.budget else {
        return default;
    };
    let memory = said.memory.as_ref().map_or(default.memory, |memory| memory.value.0.bytes());
    let recycle = said.recycle.as_ref().map_or(Some(Budget::RECYCLE.of(memory)), |recycle| recycle.value.bytes(memory));
    if let Some(said) = said.recycle.as_ref().filter(|_| recycle.is_some_and(|recycle| recycle > memory)) {
        let most = ByteSize::new(memory);
        let message =
            format!("{:?} is more than the {most} of \"memory\", so nothing would ever be replaced", said.shown());
        report.fault(Code::Conflict, said.spot, message);
    }
    Budget {
        time: said.time.as_ref().map_or(default.time, |time| time.value),
        start: said.start.as_ref().map_or(default.start, |start| start.value),
        memory,
        share: said.share.as_ref().and_then(|share| share.value.0).map(|Part(ratio)| ratio),
        recycle,
    }
}
