//! Plugins by name, and chains to plugins. A filter that no chain names is no plugin.
//! Which filters there are was settled when short forms were expanded.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::error::Code;
use crate::expand::Long;
use crate::file::Filter;
use crate::file::at::At;
use crate::file::data::Data;
use crate::filter::{Budget, Plugin, PluginId};
use crate::report::Report;
use crate::scalar::Name;
use crate::suggest;

pub(super) struct Plugins<'l> {
    long: &'l Long,
    /// A filter that could not be read has its name here all the same.
    ids: HashMap<&'l str, Option<PluginId>>,
    list: Vec<(&'l At<Name>, &'l Filter)>,
}

impl<'l> Plugins<'l> {
    /// The filters that some chain names, in the order in which they are defined.
    pub(super) fn of(long: &'l Long) -> Plugins<'l> {
        let routes = long.listeners.iter().flat_map(|listener| &listener.routes);
        let chains = long.listeners.iter().map(|listener| &listener.chain).chain(routes.map(|route| &route.chain));
        let used: HashSet<&Name> = chains.flatten().map(|name| &name.value).collect();
        let mut plugins = Plugins { long, ids: HashMap::new(), list: Vec::new() };
        for (name, filter) in &long.filters.entries {
            let filter = filter.as_ref().filter(|_| used.contains(&name.value));
            let id = filter.map(|filter| {
                plugins.list.push((name, filter));
                PluginId(plugins.list.len() - 1)
            });
            plugins.ids.insert(&name.value.0, id);
        }
        plugins
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

    /// Every plugin, [`PluginId`] counting in it.
    pub(super) fn into_list(self, folder: &Path, report: &Report<'_>) -> Vec<Plugin> {
        self.list.into_iter().map(|(name, said)| plugin(name, said, folder, report)).collect()
    }
}

fn plugin(name: &At<Name>, said: &Filter, folder: &Path, report: &Report<'_>) -> Plugin {
    let name = name.value.0.clone();
    let bytes = |data: &Option<Data>| data.as_ref().map(Data::bytes).unwrap_or_default();
    let env = said.env.iter().flat_map(|named| named.read_entries());
    Plugin {
        module: folder.join(&said.wasm.value.0),
        sha256: said.sha256.as_ref().map(|hash| hash.value.0),
        root_id: said.root_id.as_ref().map(|id| id.value.clone()).unwrap_or_default(),
        vm_id: said.vm_id.as_ref().map_or_else(|| name.clone(), |id| id.value.clone()),
        config: bytes(&said.config),
        vm_config: bytes(&said.vm_config),
        env: env.map(|(name, value)| (name.value.0.clone(), value.0.value.0.clone())).collect(),
        on_error: said.on_error.as_ref().map(|on_error| on_error.value).unwrap_or_default(),
        budget: budget(said),
        guest_errors: said.guest_errors.as_ref().map(|errors| errors.value).unwrap_or_default(),
        place: report.place(said.spot),
        name,
    }
}

fn budget(said: &Filter) -> Budget {
    let default = Budget::default();
    let Some(said) = &said.budget else {
        return default;
    };
    Budget {
        time: said.time.as_ref().map_or(default.time, |time| time.value),
        start: said.start.as_ref().map_or(default.start, |start| start.value),
        memory: said.memory.as_ref().map_or(default.memory, |memory| memory.value.0.bytes()),
    }
}
