//! What came out, as a table for people and as JSON for the next comparison.

use std::fmt;

use serde::Serialize;

use crate::rounds::Sample;
use crate::stats::Spread;
use crate::target::{Kind, Target};

/// Figures of one target over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub target: String,
    /// Its part in the comparison.
    pub kind: Kind,
    /// Requests of all rounds.
    pub requests: u64,
    /// Microseconds of CPU time for one request.
    pub cpu_micros: Spread,
    /// That over the first target's, both of the same round.
    pub ratio: Spread,
    /// That less the same proxy's without filters, both of the same round: what filters add. None for targets without.
    pub added_micros: Option<Spread>,
    /// Requests in one second.
    pub rate: Spread,
    /// The part of one core that the target used; well under 1 means that the load, not the target, was the limit.
    pub share: Spread,
}

/// Tollgate without a filter over one peer.
#[derive(Clone, Debug, Serialize)]
pub struct OverPeer {
    /// The peer's name.
    pub peer: String,
    /// CPU time of a request over the peer's, both of the same round.
    pub ratio: Spread,
}

/// A target that could not take part.
#[derive(Clone, Debug, Serialize)]
pub struct Absent {
    /// Its name.
    pub target: String,
    /// Why.
    pub why: String,
}

/// See the module.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Programs with their versions.
    pub versions: Vec<String>,
    /// How it was measured, in words.
    pub method: String,
    /// What was measured; the first is what the others are compared with.
    pub rows: Vec<Row>,
    /// Tollgate without a filter over each peer.
    pub over_peers: Vec<OverPeer>,
    /// What was not.
    pub absent: Vec<Absent>,
}

impl Row {
    fn of(target: &Target, samples: &[Sample], first: &[Sample], bare: Option<&[Sample]>) -> Row {
        let added = |bare| Spread::of(paired(samples, bare).map(|(own, bare)| own - bare));
        Row {
            target: target.name.clone(),
            kind: target.kind,
            requests: samples.iter().map(|sample| sample.requests).sum(),
            cpu_micros: Spread::of(samples.iter().map(Sample::cpu_micros)),
            ratio: Spread::of(paired(samples, first).map(|(own, first)| own / first)),
            added_micros: bare.map(added),
            rate: Spread::of(samples.iter().map(Sample::rate)),
            share: Spread::of(samples.iter().map(Sample::share)),
        }
    }
}

impl Report {
    /// What these targets' samples come to; `samples` are in the order of `targets`.
    pub fn of(targets: &[Target], samples: &[Vec<Sample>]) -> Report {
        let first = samples.first().map(Vec::as_slice).unwrap_or_default();
        let named = |name: &str| targets.iter().zip(samples).find(|(target, _)| target.name == name);
        let bare = |target: &Target| target.over.as_deref().and_then(named).map(|(_, samples)| samples.as_slice());
        let rows = targets.iter().zip(samples).map(|(target, own)| Row::of(target, own, first, bare(target))).collect();
        let peers = targets.iter().zip(samples).filter(|(target, _)| target.kind == Kind::Peer);
        let alone = targets.first().is_some_and(|target| target.kind == Kind::Alone);
        let over = peers.filter(|_| alone).map(|(target, own)| OverPeer {
            peer: target.name.clone(),
            ratio: Spread::of(paired(first, own).map(|(tollgate, peer)| tollgate / peer)),
        });
        Report { versions: Vec::new(), method: String::new(), rows, over_peers: over.collect(), absent: Vec::new() }
    }
}

/// CPU time of a request of two targets, round by round.
fn paired(one: &[Sample], other: &[Sample]) -> impl Iterator<Item = (f64, f64)> {
    one.iter().zip(other).map(|(one, other)| (one.cpu_micros(), other.cpu_micros()))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n", self.versions.join(", "), self.method)?;
        writeln!(
            f,
            "| target | requests | CPU µs/request min / median / max | spread | to first | added µs | req/s | core |"
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|---:|")?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        for absent in &self.absent {
            writeln!(f, "| {} | not measured: {} | | | | | | |", absent.target, absent.why)?;
        }
        for OverPeer { peer, ratio: Spread { min, median, max } } in &self.over_peers {
            writeln!(f, "\nTollgate without a filter over {peer}: {median:.2} [{min:.2} .. {max:.2}]")?;
        }
        Ok(())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { min, median, max } = self.cpu_micros;
        let added = self
            .added_micros
            .map_or_else(String::new, |added| format!("{:+.2} [{:+.2} .. {:+.2}]", added.median, added.min, added.max));
        write!(
            f,
            "| {} | {} | {min:.2} / {median:.2} / {max:.2} | {:.0}% | {:.2} [{:.2} .. {:.2}] | {added} | {:.0} | {:.0}% |",
            self.target,
            self.requests,
            self.cpu_micros.percent(),
            self.ratio.median,
            self.ratio.min,
            self.ratio.max,
            self.rate.median,
            self.share.median * 100.0,
        )
    }
}
