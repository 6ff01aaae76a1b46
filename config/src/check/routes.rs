//! What routes do with exchanges, from the long form: targets, answers of their own, redirects, rewrites and edits.
//! Which route a request takes is decided by the proxy.

use crate::bound::Count;
use crate::error::Code;
use crate::expand;
use crate::file::action::{
    Edits, HeaderEdits as SaidEdits, Redirect as SaidRedirect, Respond as SaidRespond, Rewrite as SaidRewrite,
};
use crate::file::at::At;
use crate::file::choice::{Condition, To};
use crate::file::http::{Forwarded as SaidForwarded, Http as SaidHttp};
use crate::file::read::Named;
use crate::filter::FieldValue;
use crate::forwarding::{Forwarded, Http, Switch, Trust};
use crate::report::{Report, Spot};
use crate::route::{
    EditedName, FieldEdits, HeaderEdits, Moved, PathChange, PathMatch, PathRewrite, Redirect, Respond, Rewrite,
    SentPath, Target, TargetName, ValueMatch, unknown_group,
};
use crate::scalar::Scalar;

use super::clusters::Clusters;

/// Statuses without a body. RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5.
const BODILESS: [u16; 3] = [204, 205, 304];

/// Where the exchanges of a route go; `None` when that is nowhere, which is reported.
pub(super) fn target(
    said: &expand::Route,
    path: &PathMatch,
    (clusters, whose): (&mut Clusters<'_>, &str),
    report: &mut Report<'_>,
) -> Option<Target> {
    if let Some(said) = &said.respond {
        return Some(Target::Respond(Box::new(respond(said, report))));
    }
    if let Some(said) = &said.redirect {
        return Some(Target::Redirect(Box::new(redirect(said, path, report))));
    }
    match said.to.as_ref()? {
        To::One(to) => clusters.target(to, whose, report),
        To::Split(spot, named) => split((*spot, named), clusters, whose, report),
    }
}

/// Targets with their weights; those that get nothing lead somewhere, too.
fn split(
    (spot, said): (Spot, &Named<TargetName, At<Count<0, 1_000_000>>>),
    clusters: &mut Clusters<'_>,
    whose: &str,
    report: &mut Report<'_>,
) -> Option<Target> {
    let mut ways = Vec::new();
    for (name, weight) in said.read_entries() {
        match clusters.target(name, whose, report) {
            Some(Target::Cluster(id)) => ways.push((id, u32::try_from(weight.value.0).unwrap_or(u32::MAX))),
            Some(_) => {
                let message =
                    format!("{whose}: {:?} cannot share exchanges with clusters; name clusters alone", name.shown());
                report.fault(Code::BadValue, name.spot, message);
            }
            None => {}
        }
    }
    ways.retain(|(_, weight)| *weight > 0);
    match ways.as_slice() {
        // What could not be read was reported then.
        [] if said.entries.iter().any(|(_, weight)| weight.is_none()) => None,
        [] => {
            let message = format!("{whose}: no target gets anything; give one of them a weight above 0");
            report.fault(Code::BadValue, spot, message);
            None
        }
        [(id, _)] => Some(Target::Cluster(*id)),
        _ => Some(Target::Split(ways)),
    }
}

fn respond(said: &SaidRespond, report: &mut Report<'_>) -> Respond {
    let status = u16::try_from(said.status.value.0).unwrap_or(u16::MAX);
    if let Some(body) = said.body.as_ref().filter(|body| BODILESS.contains(&status) && !body.value.is_empty()) {
        report.fault(
            Code::Conflict,
            body.spot,
            format!("an answer with the status {status} has no body; leave it out"),
        );
    }
    Respond {
        status,
        headers: fields(said.headers.as_ref(), report),
        body: said.body.as_ref().map(|body| body.value.clone()).unwrap_or_default(),
    }
}

fn redirect(said: &SaidRedirect, matched: &PathMatch, report: &mut Report<'_>) -> Redirect {
    let whole = said.path.as_ref().map(|path| PathChange::Whole(path.value.0.clone()));
    let prefix = || said.prefix.as_ref().and_then(|prefix| in_place("prefix", prefix, matched, report));
    Redirect {
        path: whole.or_else(prefix),
        status: said.status.as_ref().map_or(Moved::DEFAULT.0, |status| status.value.0),
        scheme: said.scheme.as_ref().map(|scheme| scheme.value),
        host: said.host.as_ref().map(|host| host.value.0.clone()),
        port: said.port.as_ref().and_then(|port| u16::try_from(port.value.0).ok()),
    }
}

/// What a rewrite comes to on a route with this match.
pub(super) fn rewrite(said: &SaidRewrite, matched: &PathMatch, report: &mut Report<'_>) -> Rewrite {
    let regex = said.regex.as_ref().map(|said| {
        let (pattern, with) = (&said.pattern.value, &said.with);
        if let Some(name) = unknown_group(pattern, &with.value) {
            let message =
                format!("the expression has no group {name:?}; before a letter or a digit write one as in $${{1}}");
            report.fault(Code::BadValue, with.spot, message);
        }
        PathRewrite::Regex { pattern: pattern.clone(), with: with.value.clone() }
    });
    let change = said.path.as_ref().and_then(|path| in_place("path", path, matched, report)).map(PathRewrite::Change);
    Rewrite { path: regex.or(change), host: said.host.as_ref().map(|host| host.value.0.clone()) }
}

/// A path in place of what a route matches; `None` for an expression, of which nobody knows what it matches.
fn in_place(key: &str, with: &At<SentPath>, matched: &PathMatch, report: &mut Report<'_>) -> Option<PathChange> {
    let prefix = |matched: &str| PathChange::Prefix { matched: matched.to_owned(), with: with.value.prefix() };
    match matched {
        PathMatch::Exact(_) => Some(PathChange::Whole(with.value.0.clone())),
        PathMatch::Prefix(matched) => Some(prefix(matched)),
        PathMatch::Any => Some(prefix("")),
        PathMatch::Regex(_) => {
            let other = if key == "path" { "\"regex\" inside \"rewrite\"" } else { "\"path\"" };
            let message = format!("{key:?} needs a match by \"path\" or \"exact\"; beside \"regex\" write {other}");
            report.fault(Code::Conflict, with.spot, message);
            None
        }
    }
}

/// The protocols that exchanges of a route may change their connection to, which only HTTP/1.1 can do.
pub(super) fn upgrade(
    said: &expand::Route,
    target: &Target,
    (clusters, whose): (&Clusters<'_>, &str),
    report: &mut Report<'_>,
) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    for token in said.upgrade.iter().flatten() {
        if tokens.contains(&token.value.0) {
            report.fault(Code::DuplicateName, token.spot, format!("the protocol {:?} is written twice", token.shown()));
        }
        tokens.push(token.value.0.clone());
    }
    let first = said.upgrade.iter().flatten().find(|token| !token.value.is_connect());
    if let (Some(token), Some(why)) = (first, clusters.cannot_upgrade(target)) {
        report.fault(Code::Conflict, token.spot, format!("{whose}: {why}; leave \"upgrade\" out"));
    }
    // Tunnels are another matter, see `connect`.
    tokens.retain(|token| *token != "connect");
    tokens
}

/// Bounds of a route that exclude one another are reported.
pub(super) fn bounds(said: &expand::Route, report: &mut Report<'_>) {
    if let (Some(timeout), Some(stream)) = (&said.request_timeout, &said.stream)
        && stream.value
    {
        let message = "\"stream: true\" lets a request take as long as it likes; leave \"request_timeout\" out";
        report.fault(Code::Conflict, timeout.spot, message);
    }
}

/// What is asked of a header or a parameter; `None` when it could not be read.
pub(super) fn condition(said: &Condition) -> Option<ValueMatch> {
    match said {
        Condition::Equal(value) => Some(ValueMatch::Equal(value.value.clone())),
        Condition::Test(test) => match (&test.regex, &test.present) {
            (Some(regex), _) => Some(ValueMatch::Regex(regex.value.clone())),
            (None, Some(present)) => Some(if present.value { ValueMatch::Present } else { ValueMatch::Absent }),
            (None, None) => None,
        },
    }
}

/// Edits of fields; `None` where there are none.
pub(super) fn edits(said: Option<&SaidEdits>, report: &mut Report<'_>) -> Option<Box<HeaderEdits>> {
    let said = said?;
    let mut half = |said: Option<&Edits>| said.map(|said| half(said, report)).unwrap_or_default();
    let edits = HeaderEdits { request: half(said.request.as_ref()), response: half(said.response.as_ref()) };
    (edits != HeaderEdits::default()).then(|| Box::new(edits))
}

fn half(said: &Edits, report: &mut Report<'_>) -> FieldEdits {
    FieldEdits {
        remove: said.remove.iter().flatten().map(|name| name.value.0.clone()).collect(),
        set: fields(said.set.as_ref(), report),
        add: fields(said.add.as_ref(), report),
    }
}

fn fields(said: Option<&Named<EditedName, At<FieldValue>>>, report: &mut Report<'_>) -> Vec<(String, String)> {
    super::headers(said, |name| &name.0, |value| Some(value.value.0.clone()), report)
}

/// How the requests of a listener are marked.
pub(super) fn http(said: &SaidHttp) -> Http {
    let default = Http::default();
    Http {
        forwarded: said.forwarded.as_ref().map(forwarded).unwrap_or_default(),
        request_ids: on(&said.request_id, default.request_ids),
        via: on(&said.via, default.via),
        underscores: or(&said.underscores, default.underscores),
        path: or(&said.path, default.path),
    }
}

fn forwarded(said: &SaidForwarded) -> Forwarded {
    let networks: Vec<_> = said.trusted.iter().flatten().map(|network| network.value).collect();
    let trust = match &said.hops {
        Some(hops) => Trust::Hops(hops.value.0),
        None if networks.is_empty() => Trust::Nobody,
        None => Trust::Networks(networks),
    };
    Forwarded { fields: or(&said.fields, Default::default()), standard: on(&said.standard, false), trust }
}

fn on(said: &Option<At<Switch>>, default: bool) -> bool {
    said.as_ref().map_or(default, |said| said.value == Switch::On)
}

fn or<T: Scalar + Copy>(said: &Option<At<T>>, default: T) -> T {
    said.as_ref().map_or(default, |said| said.value)
}
