//! Plugins on a screen, for people. Machines read the same as JSON.

use std::fmt::{self, Write};

use super::{Resident, millis, state};
use crate::filter::digest::Digest;
use crate::filter::rollout::{Brief, Event, Incident, View};
use crate::telemetry::metrics::Track;
use crate::telemetry::timestamp::Timestamp;

/// Letters of a digest that tell modules apart where there is little room.
const SHORT: usize = 12;

/// Every plugin on a line of its own, under headings.
pub(super) fn table(views: &[View]) -> String {
    if views.is_empty() {
        return "there are no filters\n".to_owned();
    }
    let headings = ["NAME", "STATE", "GENERATION", "SHA256", "ABI", "SOURCE", "NOTES"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(headings).chain(views.iter().map(row)).collect();
    let mut widths = [0; 7];
    for row in &rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = cell.chars().count().max(*width));
    }
    let line = |row: &[String; 7]| {
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
fn short(digest: Digest) -> String {
    digest.to_string().chars().take(SHORT).collect()
}

/// All about one plugin.
pub(super) fn page(view: &View, residents: &[Resident]) -> String {
    let mut page = String::new();
    // A string takes every write.
    let _ = write_page(&mut page, view, residents);
    page
}

fn write_page(out: &mut String, view: &View, residents: &[Resident]) -> fmt::Result {
    writeln!(out, "filter {}: {}", view.name, state(view))?;
    view.serving.iter().try_for_each(|brief| write_brief(out, "serving", brief))?;
    view.canary.iter().try_for_each(|(brief, share)| write_brief(out, &format!("canary {share}"), brief))?;
    view.waiting.iter().try_for_each(|brief| write_brief(out, "waiting", brief))?;
    view.staged.iter().try_for_each(|brief| write_brief(out, "staged", brief))?;
    view.draining.iter().try_for_each(|brief| write_brief(out, "draining", brief))?;
    view.previous.iter().try_for_each(|brief| write_brief(out, "previous", brief))?;
    write_residents(out, residents)?;
    view.last_error.iter().try_for_each(|incident| write_incident(out, incident))?;
    if !view.history.is_empty() {
        writeln!(out, "\nhistory")?;
    }
    view.history.iter().try_for_each(|event| write_event(out, event))
}

fn write_brief(out: &mut String, what: &str, brief: &Brief) -> fmt::Result {
    let Brief { number, digest, origin, abi, workers } = brief;
    writeln!(out, "  {what}: generation {number}, abi {abi}, on {workers} workers, from {origin}")?;
    writeln!(out, "    sha256 {digest}")
}

fn write_residents(out: &mut String, residents: &[Resident]) -> fmt::Result {
    if !residents.is_empty() {
        writeln!(out, "\nworkers")?;
    }
    residents.iter().try_for_each(|resident| {
        let Resident { worker, track, instances, memory_bytes } = resident;
        let of_canary = if *track == Track::Canary { " of the canary" } else { "" };
        writeln!(out, "  worker {worker}: {instances} VMs{of_canary}, {} KiB of memory", memory_bytes / 1024)
    })
}

fn write_incident(out: &mut String, incident: &Incident) -> fmt::Result {
    let Incident { at, step, code, digest, origin, message, lines, backtrace } = incident;
    writeln!(out, "\nlast error at {}, step {step}", Timestamp(*at))?;
    writeln!(out, "  error[{code}]: {origin}: {message}")?;
    digest.iter().try_for_each(|digest| writeln!(out, "  sha256 {digest}"))?;
    backtrace.iter().try_for_each(|frame| writeln!(out, "    at {frame}"))?;
    lines.iter().try_for_each(|line| writeln!(out, "    filter: {line}"))
}

fn write_event(out: &mut String, event: &Event) -> fmt::Result {
    let Event { at, trigger, what, generation, digest, took } = event;
    write!(out, "  {} by {}: {what}", Timestamp(*at), trigger.as_str())?;
    generation.iter().try_for_each(|number| write!(out, ", generation {number}"))?;
    digest.iter().try_for_each(|digest| write!(out, ", sha256 {}", short(*digest)))?;
    writeln!(out, ", took {:.1} ms", millis(*took))
}
