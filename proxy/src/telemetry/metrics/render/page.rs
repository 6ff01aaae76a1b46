//! Samples gathered by family, then written as text.
//!
//! It knows the crate `prometheus`, which writes and escapes the text; nothing else does.

use std::collections::BTreeMap;

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::telemetry::metrics::cell::Distribution;
use crate::telemetry::metrics::families::{Family, FamilyKind};

/// A page under way.
#[derive(Default)]
pub(super) struct Page {
    /// By name, so that two pages of one state are equal.
    families: BTreeMap<String, MetricFamily>,
}

impl Page {
    /// Adds a sample of a counter; `values` are in the order of the family's labels.
    pub(super) fn counter(&mut self, family: &Family, values: &[&str], count: f64) {
        self.family(family.name, family.kind, family.help).push(counter(labels(family, values), count));
    }

    /// Adds a sample of a gauge; `values` are in the order of the family's labels.
    pub(super) fn gauge(&mut self, family: &Family, values: &[&str], level: f64) {
        self.family(family.name, family.kind, family.help).push(gauge(labels(family, values), level));
    }

    /// Adds a distribution; `values` are in the order of the family's labels.
    pub(super) fn histogram(&mut self, family: &Family, values: &[&str], distribution: Distribution) {
        let metric = histogram(labels(family, values), &distribution);
        self.family(family.name, family.kind, family.help).push(metric);
    }

    /// The samples of a family, which must be of its kind.
    pub(super) fn family(&mut self, name: &str, kind: FamilyKind, help: &str) -> &mut Vec<Metric> {
        let family = self.families.entry(name.to_owned()).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(match kind {
                FamilyKind::Counter => MetricType::COUNTER,
                FamilyKind::Gauge => MetricType::GAUGE,
                FamilyKind::Histogram => MetricType::HISTOGRAM,
            });
            family
        });
        family.mut_metric()
    }

    /// The text of the page. No family is empty, so that nothing is left for the encoder to refuse.
    pub(super) fn into_text(self) -> String {
        let families: Vec<_> = self.families.into_values().collect();
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }
}

fn labels(family: &Family, values: &[&str]) -> Vec<LabelPair> {
    debug_assert_eq!(family.labels.len(), values.len(), "{}", family.name);
    family.labels.iter().zip(values).map(|(name, value)| label(name, value)).collect()
}

/// One label; the encoder escapes the value.
pub(super) fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

/// One sample of a counter.
pub(super) fn counter(labels: Vec<LabelPair>, count: f64) -> Metric {
    let mut value = Counter::default();
    value.set_value(count);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(value);
    metric
}

/// One sample of a gauge.
pub(super) fn gauge(labels: Vec<LabelPair>, level: f64) -> Metric {
    let mut value = Gauge::default();
    value.set_value(level);
    let mut metric = Metric::from_label(labels);
    metric.set_gauge(value);
    metric
}

/// One distribution.
pub(super) fn histogram(labels: Vec<LabelPair>, distribution: &Distribution) -> Metric {
    let buckets = distribution.cumulative().map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut value = Histogram::default();
    value.set_bucket(buckets.collect());
    value.set_sample_count(distribution.count());
    value.set_sample_sum(distribution.sum());
    let mut metric = Metric::from_label(labels);
    metric.set_histogram(value);
    metric
}
