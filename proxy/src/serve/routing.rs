//! Which route an exchange takes, at first and once filters have changed what routes ask for.
//! The table answers with a place; whose turn it is among the targets of a route is told here.

use std::rc::Rc;
use std::sync::Arc;

use http::Method;

use crate::error::Reason;
use crate::exchange::head::RequestHead;
use crate::exchange::hop;
use crate::filter::chain::Halt;
use crate::route::{Asked, RouteTable};
use crate::serve::answer;
use crate::snapshot::{LocalListener, LocalRoute};

/// The route that serves a request, if there is one. CONNECT has routes of its own.
pub(super) fn route(listener: &LocalListener, head: &RequestHead) -> Option<Rc<LocalRoute>> {
    route_at(listener, find_place(&listener.listener.table, head)?)
}

/// The route that makes a tunnel for a CONNECT, if there is one.
pub(super) fn tunnel(listener: &LocalListener, head: &RequestHead) -> Option<Rc<LocalRoute>> {
    route_at(listener, find_place(listener.listener.tunnels.as_deref()?, head)?)
}

/// The place in the table of the route that serves a request.
fn find_place(table: &RouteTable, head: &RequestHead) -> Option<usize> {
    let asked = Asked {
        host: head.authority.host(),
        path: head.path.path(),
        query: head.path.query().unwrap_or_default(),
        method: head.method.as_str(),
        headers: &head.fields.map,
    };
    table.best(&asked)
}

/// The same once filters have changed the request, of which they make no CONNECT and no other of one.
fn find_place_again(listener: &LocalListener, head: &RequestHead) -> Option<usize> {
    let listener = &listener.listener;
    let table = if head.method == Method::CONNECT { listener.tunnels.as_deref()? } else { &listener.table };
    find_place(table, head)
}

/// The route at a place; of one with several targets, the way whose turn it is.
fn route_at(listener: &LocalListener, place: usize) -> Option<Rc<LocalRoute>> {
    let route = listener.routes.get(place)?;
    route.split.as_ref().and_then(|split| split.next()).or(Some(route)).map(Rc::clone)
}

/// Chooses the route again where filters changed what routes ask for. Cluster, timeout and names are the new route's;
/// the filters stay, because they have seen the request.
pub(super) fn reroute(
    replying: &answer::Replying,
    listener: &LocalListener,
    route: Rc<LocalRoute>,
) -> Result<Rc<LocalRoute>, Halt> {
    let answer::Replying { account, chain, .. } = replying;
    let asks_fields = listener.listener.table.asks_fields();
    let spelling = listener.listener.http.path;
    let found = chain.with_stream(|stream| -> Result<_, Halt> {
        let edited = std::mem::take(&mut stream.request.edited);
        if edited.target {
            // A filter writes no path that a client may not.
            stream.request.path = hop::spelled(stream.request.path.clone(), spelling).map_err(Halt::Fail)?;
        }
        let concerns = edited.target || (edited.fields && asks_fields);
        Ok(concerns.then(|| find_place_again(listener, &stream.request)))
    })??;
    // An exchange that stays on its route stays with the target whose turn it was, too.
    let Some(found) = found.filter(|found| *found != Some(route.place)) else { return Ok(route) };
    let found = found.and_then(|place| route_at(listener, place));
    let next = found.as_ref().unwrap_or(&listener.unrouted);
    account.reroute(next);
    chain.with_stream(|stream| stream.facts.names = Arc::clone(&next.names))?;
    found.ok_or(Halt::Fail(Reason::NoRoute))
}
