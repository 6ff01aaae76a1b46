//! Routes on which CONNECT makes tunnels: what they may ask of a request, and where they may lead.
//! What else a client may change its connection to is said in `routes`.

use crate::error::Code;
use crate::expand;
use crate::file::Match;
use crate::report::{Report, Spot};
use crate::route::Target;

use super::clusters::Clusters;

/// True where a route makes tunnels; what does not go with them is reported.
pub(super) fn connect(
    said: &expand::Route,
    target: &Target,
    (clusters, whose): (&Clusters<'_>, &str),
    report: &mut Report<'_>,
) -> bool {
    let Some(word) = said.upgrade.iter().flatten().find(|word| word.value.is_connect()) else { return false };
    if let Some(why) = clusters.cannot_connect(target) {
        report.fault(Code::Conflict, word.spot, format!("{whose}: {why}; leave \"connect\" out"));
    }
    if let Some(matcher) = &said.matcher {
        check_match(matcher, whose, report);
    }
    true
}

/// RFC 9110, section 9.3.6: the target of CONNECT is a host with a port, and nothing else.
fn check_match(said: &Match, whose: &str, report: &mut Report<'_>) {
    if let Some((key, spot)) = beyond_host(said) {
        let message = format!(
            "{whose}: a CONNECT has neither path nor query that {key:?} could match; leave it out, or give \"connect\" a \
             route of its own"
        );
        report.fault(Code::Conflict, spot, message);
    }
    let methods = said.method.as_ref().map_or(&[][..], |methods| &methods.0);
    if let Some(first) = methods.first().filter(|_| methods.iter().all(|method| method.value.0 != "CONNECT")) {
        let message = format!("{whose}: no CONNECT has a method of these; add CONNECT, or leave \"connect\" out");
        report.fault(Code::Conflict, first.spot, message);
    }
}

/// The first key that asks for a part of a request that CONNECT does not have.
fn beyond_host(said: &Match) -> Option<(&'static str, Spot)> {
    let path = said.path.as_ref().map(|path| ("path", path.spot));
    let exact = said.exact.as_ref().map(|path| ("exact", path.spot));
    let regex = said.regex.as_ref().map(|path| ("regex", path.spot));
    let query = said.query.as_ref().and_then(|query| query.entries.first()).map(|(name, _)| ("query", name.spot));
    path.or(exact).or(regex).or(query)
}
