//! Plugins on a screen, for people. Machines read the same as JSON.

use super::{Resident, millis, state};
use crate::filter::digest::Digest;
use crate::filter::rollout::{Brief, Event, Incident, View};
use crate::telemetry::timestamp::Timestamp;

/// Letters of a digest that tell modules apart where there is little room.
const SHORT: usize = 12;

/// Every plugin on a line of its own, under headings.
pub(super) fn table(views: &[View]) -> String {
    if views.is_empty() {
        return "there are no filters\n".to_owned();
    }
    let headings = ["NAME", "STATE", "GENERATION", "SHA256", "ABI", "SOURCE", "NOTES"];
    columns(headings, views.iter().map(row))
}

/// Rows under their headings, each column as wide as its widest cell; nothing where there are no rows.
fn columns<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = std::iter::once(headings.map(str::to_owned)).chain(rows).collect();
    if rows.len() == 1 {
        return String::new();
    }
    let mut widths = [0; N];
    for row in &rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = cell.chars().count().max(*width));
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(view: &View) -> [String; 7] {
    let cell = |text: &dyn Fn(&Brief) -> String| view.serving.as_ref().map_or("-".to_owned(), text);
    [
        view.name.clone(),
        state(view).to_owned(),
        cell(&|brief| brief.number.to_string()),
        cell(&|brief| short(brief.digest)),
        cell(&|brief| brief.abi.clone()),
        cell(&|brief| brief.origin.clone()),
        notes(view),
    ]
}

fn notes(view: &View) -> String {
    let canary = view.canary.as_ref().map(|(canary, share)| format!("canary {share} generation {}", canary.number));
    let waiting = view.waiting.as_ref().map(|waiting| format!("waiting generation {}", waiting.number));
    let staged = view.staged.as_ref().map(|staged| format!("staged generation {}", staged.number));
    let failed = view.last_error.as_ref().map(|incident| format!("last error {} {}", incident.step, incident.code));
    [canary, waiting, staged, failed].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The first letters of a digest.
pub(in crate::app::admin) fn short(digest: Digest) -> String {
    digest.to_string().chars().take(SHORT).collect()
}

/// All about one plugin, in parts with an empty line between them.
pub(super) fn page(view: &View, residents: &[Resident]) -> String {
    let parts = [
        format!("filter {}: {}\n", view.name, state(view)),
        generations(view),
        columns(["WORKER", "TRACK", "VMS", "MEMORY"], residents.iter().map(resident)),
        view.last_error.as_ref().map(incident).unwrap_or_default(),
        columns(["TIME", "BY", "WHAT", "GENERATION", "SHA256", "TOOK"], view.history.iter().map(event)),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n")
}

fn generations(view: &View) -> String {
    let one = |what: &str, brief: &Brief| {
        let Brief { number, digest, origin, abi, .. } = brief;
        let (number, workers) = (number.to_string(), brief.workers().to_string());
        [number, what.to_owned(), workers, abi.clone(), origin.clone(), digest.to_string()]
    };
    let serving = view.serving.iter().map(|brief| one("serving", brief));
    let canary = view.canary.iter().map(|(brief, share)| one(&format!("canary {share}"), brief));
    let waiting = view.waiting.iter().map(|brief| one("waiting", brief));
    let staged = view.staged.iter().map(|brief| one("staged", brief));
    // A generation that was replaced a moment ago is both, and one line says so.
    let is_in = |list: &[Brief], brief: &Brief| list.iter().any(|other| other.number == brief.number);
    let draining = view.draining.iter().filter(|brief| !is_in(&view.previous, brief));
    let draining = draining.map(|brief| one("draining", brief));
    let word = |brief| if is_in(&view.draining, brief) { "previous, draining" } else { "previous" };
    let previous = view.previous.iter().map(|brief| one(word(brief), brief));
    let headings = ["GENERATION", "STATE", "WORKERS", "ABI", "SOURCE", "SHA256"];
    columns(headings, serving.chain(canary).chain(waiting).chain(staged).chain(draining).chain(previous))
}

fn resident(resident: &Resident) -> [String; 4] {
    let Resident { worker, track, instances, memory_bytes } = resident;
    let memory = format!("{} KiB", memory_bytes / 1024);
    [worker.to_string(), track.as_str().to_owned(), instances.to_string(), memory]
}

fn incident(incident: &Incident) -> String {
    let Incident { at, step, code, digest, origin, message, lines, backtrace } = incident;
    let mut out = format!("last error at {} in step {step}\n", Timestamp(*at));
    out.extend(digest.map(|digest| format!("  sha256 {digest}\n")));
    out.push_str(&format!("  error[{code}]: {origin}: {message}\n"));
    out.extend(backtrace.iter().map(|frame| format!("    at {frame}\n")));
    out.extend(lines.iter().map(|line| format!("    filter: {line}\n")));
    out
}

fn event(event: &Event) -> [String; 6] {
    let Event { at, trigger, what, generation, digest, took } = event;
    let number = generation.map_or("-".to_owned(), |number| number.to_string());
    let digest = digest.map_or("-".to_owned(), short);
    let took = format!("{:.1} ms", millis(*took));
    [Timestamp(*at).to_string(), trigger.as_str().to_owned(), (*what).to_owned(), number, digest, took]
}
