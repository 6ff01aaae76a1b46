//! `/filters`: every plugin, and all about one. What a plugin is configured with is never part of it.

mod screen;

use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value, json};

pub(super) use self::screen::short;
use super::AdminState;
use super::reply::Reply;
use crate::app::reload::Refused;
use crate::filter::rollout::{Brief, Event, Incident, View};
use crate::telemetry::metrics::{Registry, Track};
use crate::telemetry::timestamp::Timestamp;

/// What a worker has of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Resident {
    worker: usize,
    track: Track,
    /// VMs, of replaced generations too.
    instances: i64,
    /// Their linear memories together.
    memory_bytes: i64,
}

/// `GET /filters`.
pub(super) fn all(state: &AdminState) -> Reply {
    let sight = state.orders.sight();
    let json = sight.plugins.iter().map(|view| Value::Object(summary(view))).collect();
    Reply { status: StatusCode::OK, json, text: screen::table(&sight.plugins) }
}

/// `GET /filters/NAME`.
pub(super) fn one(state: &AdminState, name: &str) -> Reply {
    let sight = state.orders.sight();
    let Some(view) = sight.plugins.iter().find(|view| view.name == name) else {
        let known = sight.plugins.iter().map(|view| view.name.clone()).collect();
        let unknown = Refused::Unknown { name: name.to_owned(), known };
        return Reply::error(StatusCode::NOT_FOUND, &unknown.to_string());
    };
    let residents = residents(&state.registry, name);
    let text = screen::page(view, &residents);
    Reply { status: StatusCode::OK, json: Value::Object(whole(view, &residents)), text }
}

/// How a plugin stands, in a word: what its exchanges notice, not what was tried in vain.
fn state(view: &View) -> &'static str {
    match view {
        View { serving: None, .. } => "failed",
        View { waiting: Some(_), .. } => "waiting",
        View { canary: Some(_), .. } => "canary",
        _ => "serving",
    }
}

fn summary(view: &View) -> Map<String, Value> {
    let serving = view.serving.as_ref();
    let canary = view.canary.as_ref().map(|(canary, share)| {
        let Brief { number, digest, .. } = canary;
        json!({ "generation": number, "digest": digest.to_string(), "share": share.to_string() })
    });
    let failed = view.last_error.as_ref().map(|incident| {
        let Incident { at, step, code, message, .. } = incident;
        json!({ "time": time(*at), "step": step, "code": code, "message": message })
    });
    fields([
        ("name", json!(view.name)),
        ("state", json!(state(view))),
        ("generation", json!(serving.map(|brief| brief.number))),
        ("digest", json!(serving.map(|brief| brief.digest.to_string()))),
        ("source", json!(serving.map(|brief| &brief.origin))),
        ("abi", json!(serving.map(|brief| &brief.abi))),
        ("canary", json!(canary)),
        ("staged", json!(view.staged.as_ref().map(brief))),
        ("last_error", json!(failed)),
    ])
}

/// The summary, with all that is left out there.
fn whole(view: &View, residents: &[Resident]) -> Map<String, Value> {
    let mut whole = summary(view);
    let canary = view.canary.as_ref().map(|(canary, share)| {
        let mut canary = brief(canary);
        canary["share"] = json!(share.to_string());
        canary
    });
    whole.extend(fields([
        ("canary", json!(canary)),
        ("workers", residents.iter().map(resident).collect()),
        ("waiting", json!(view.waiting.as_ref().map(brief))),
        ("draining", view.draining.iter().map(brief).collect()),
        ("previous", view.previous.iter().map(brief).collect()),
        ("last_error", json!(view.last_error.as_ref().map(incident))),
        ("history", view.history.iter().map(event).collect()),
    ]));
    whole
}

fn fields<const N: usize>(list: [(&str, Value); N]) -> Map<String, Value> {
    list.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn brief(brief: &Brief) -> Value {
    let (Brief { number, digest, origin, abi, .. }, workers) = (brief, brief.workers());
    json!({ "generation": number, "digest": digest.to_string(), "source": origin, "abi": abi, "workers": workers })
}

fn resident(resident: &Resident) -> Value {
    let Resident { worker, track, instances, memory_bytes } = resident;
    json!({ "worker": worker, "track": track.as_str(), "instances": instances, "memory_bytes": memory_bytes })
}

/// Why a module did not take over, for machines.
pub(super) fn incident(incident: &Incident) -> Value {
    let Incident { at, step, code, digest, origin, message, lines, backtrace } = incident;
    json!({
        "time": time(*at), "step": step, "code": code, "digest": digest.map(|digest| digest.to_string()),
        "source": origin, "message": message, "lines": lines, "backtrace": backtrace,
    })
}

fn event(event: &Event) -> Value {
    let Event { at, trigger, what, generation, digest, took } = event;
    json!({
        "time": time(*at), "trigger": trigger.as_str(), "what": what, "generation": generation,
        "digest": digest.map(|digest| digest.to_string()), "took_ms": millis(*took),
    })
}

fn time(at: std::time::SystemTime) -> String {
    Timestamp(at).to_string()
}

/// Milliseconds down to the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// What each worker has of a plugin. Having nothing of a canary goes without saying, having nothing that serves does not.
fn residents(registry: &Registry, plugin: &str) -> Vec<Resident> {
    let of_track = |track| {
        let rows = registry.plugin_by_worker(plugin, track).into_iter();
        rows.map(move |(worker, series)| {
            let (instances, memory_bytes) = (series.vms.get(), series.memory_bytes.get());
            Resident { worker, track, instances, memory_bytes }
        })
    };
    // The control side counts under a number of its own and serves nobody.
    let tells = |row: &Resident| row.worker != registry.control() && (row.instances > 0 || row.track == Track::Stable);
    [Track::Stable, Track::Canary].into_iter().flat_map(of_track).filter(tells).collect()
}

#[cfg(test)]
mod tests;
