//! The families that guests define, beside those of the proxy.
//!
//! No guest can make the page unreadable: names are clean already, and two kinds under one name become two families. The
//! kind that was defined first keeps the name (between filters: that of the filter whose name comes first); the other
//! is called after its kind, as `tollgate_guest_time_counter`.

use std::collections::HashMap;

use prometheus::proto::LabelPair;

use super::page::{self, Page};
use crate::telemetry::metrics::Row;
use crate::telemetry::metrics::families::{FamilyKind, METRICS_DROPPED};
use crate::telemetry::metrics::guest::{GuestValue, SeriesName};
use crate::telemetry::metrics::series::{PluginSeries, Track};

const PREFIX: &str = "tollgate_guest_";
const HELP: &str = "Defined by a filter.";

/// Adds what every plugin's guests defined, and how many definitions were dropped.
pub(super) fn add(page: &mut Page, plugins: &[Row<(String, Track), PluginSeries>]) {
    let mut names = FamilyNames::default();
    for ((plugin, track), workers) in plugins {
        // The workers of a plugin share one table.
        let Some(table) = workers.first().map(|worker| worker.custom.table()) else { continue };
        page.counter(&METRICS_DROPPED, &[plugin, track.as_str()], table.dropped() as f64);
        for (name, value) in table.values() {
            let labels = labels(plugin, *track, &name);
            let (kind, sample) = match value {
                GuestValue::Counter(count) => (FamilyKind::Counter, page::counter(labels, count as f64)),
                GuestValue::Gauge(level) => (FamilyKind::Gauge, page::gauge(labels, level as f64)),
                GuestValue::Histogram(spread) => (FamilyKind::Histogram, page::histogram(labels, &spread)),
            };
            page.family(&names.family(&name.family, kind), kind, HELP).push(sample);
        }
    }
}

/// Those of a canary are told from those of the generation that serves.
fn labels(plugin: &str, track: Track, name: &SeriesName) -> Vec<LabelPair> {
    let own = name.labels.iter().map(|(key, value)| page::label(key, value));
    let trial = (track == Track::Canary).then(|| page::label("track", track.as_str()));
    std::iter::once(page::label("filter", plugin)).chain(trial).chain(own).collect()
}

/// Which kind each name on the page has, with the names that a histogram's lines take.
#[derive(Default)]
struct FamilyNames(HashMap<String, (String, FamilyKind)>);

impl FamilyNames {
    /// A name for this family that no family of another kind has; the kind is appended until that is so.
    fn family(&mut self, name: &str, kind: FamilyKind) -> String {
        let mut family = format!("{PREFIX}{name}");
        while !self.claim(&family, kind) {
            family.push_str(match kind {
                FamilyKind::Counter => "_counter",
                FamilyKind::Gauge => "_gauge",
                FamilyKind::Histogram => "_histogram",
            });
        }
        family
    }

    fn claim(&mut self, family: &str, kind: FamilyKind) -> bool {
        let suffixes: &[&str] = match kind {
            FamilyKind::Histogram => &["", "_bucket", "_sum", "_count"],
            FamilyKind::Counter | FamilyKind::Gauge => &[""],
        };
        let owner = (family.to_owned(), kind);
        let lines = || suffixes.iter().map(|suffix| format!("{family}{suffix}"));
        if lines().any(|line| self.0.get(&line).is_some_and(|taken| *taken != owner)) {
            return false;
        }
        for line in lines() {
            self.0.entry(line).or_insert_with(|| owner.clone());
        }
        true
    }
}
