//! Chains: every filter written in place gets a name, and equal ones get the same.
//! The order of names is the order of appearance, so that expanding twice changes nothing.

use std::collections::HashMap;

use crate::file::at::At;
use crate::file::choice::Entry;
use crate::file::read::Named;
use crate::file::write::{View, Write};
use crate::file::{Filter, Use};
use crate::filter::ModuleRef;
use crate::scalar::Name;

use super::filter::filled;
use super::or;

/// The filters known so far, with what is needed to name the next one.
pub(super) struct Chains {
    filters: Vec<(At<Name>, Option<Filter>)>,
    /// Where a name is in `filters`.
    positions: HashMap<String, usize>,
    /// The names of those written in place, by what they are.
    brought: HashMap<Origin, Name>,
    /// The last number put after a name.
    numbers: HashMap<String, usize>,
}

/// What makes two filters written in place the same: where they come from, and their settings.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Origin {
    /// The name of the filter used; absent for one written in full.
    used: Option<Name>,
    settings: String,
}

impl Chains {
    /// Chains over the filters that the user named.
    pub(super) fn new(named: Named<Name, Filter>) -> Chains {
        let filters: Vec<_> = named.entries.into_iter().map(|(name, said)| (name, said.map(filled))).collect();
        let positions = filters.iter().enumerate().map(|(index, (name, _))| (name.value.0.clone(), index)).collect();
        Chains { filters, positions, brought: HashMap::new(), numbers: HashMap::new() }
    }

    /// The names of a chain's steps.
    pub(super) fn names(&mut self, said: Option<Vec<Entry>>) -> Vec<At<Name>> {
        said.into_iter().flatten().map(|entry| self.name(entry)).collect()
    }

    /// Every filter under its name.
    pub(super) fn into_filters(self) -> Named<Name, Filter> {
        let with_vm_id = |(name, filter): (At<Name>, Option<Filter>)| {
            let filter =
                filter.map(|filter| Filter { vm_id: or(filter.vm_id, name.value.0.clone(), filter.spot), ..filter });
            (name, filter)
        };
        Named { entries: self.filters.into_iter().map(with_vm_id).collect() }
    }

    fn name(&mut self, entry: Entry) -> At<Name> {
        match entry {
            Entry::Name(name) => name,
            Entry::Use(said) => self.used(said),
            Entry::Filter(said) => {
                let stem = ModuleRef::stem(&said.wasm.stable().shown());
                self.bring(None, &stem, filled(*said))
            }
        }
    }

    /// The filter named, or its sibling with another configuration.
    fn used(&mut self, said: Use) -> At<Name> {
        let position = self.positions.get(&said.name.value.0);
        let base = position.and_then(|&position| self.filters.get(position)?.1.as_ref());
        let (Some(base), Some(config)) = (base, said.config) else {
            return said.name;
        };
        let sibling = Filter { spot: said.spot, config: Some(config), ..base.clone() };
        if settings(base) == settings(&sibling) {
            return said.name;
        }
        let stem = said.name.value.0.clone();
        self.bring(Some(said.name.value), &stem, sibling)
    }

    fn bring(&mut self, used: Option<Name>, stem: &str, filter: Filter) -> At<Name> {
        let spot = filter.spot;
        let origin = Origin { used, settings: settings(&filter) };
        if let Some(name) = self.brought.get(&origin) {
            return At::new(name.clone(), spot);
        }
        let name = self.free(stem);
        self.positions.insert(name.0.clone(), self.filters.len());
        self.filters.push((At::new(name.clone(), spot), Some(filter)));
        self.brought.insert(origin, name.clone());
        At::new(name, spot)
    }

    /// The stem itself, else the stem with the first free number.
    fn free(&mut self, stem: &str) -> Name {
        if !self.positions.contains_key(stem) {
            return Name(stem.to_owned());
        }
        let number = self.numbers.entry(stem.to_owned()).or_insert(1);
        loop {
            *number += 1;
            let name = format!("{stem}-{number}");
            if !self.positions.contains_key(&name) {
                return Name(name);
            }
        }
    }
}

/// Everything a filter comes to, in one text to compare.
fn settings(filter: &Filter) -> String {
    filter.write(View::Resolved).unwrap_or_default().to_string()
}
