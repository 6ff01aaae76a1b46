//! Exchanges that change their connection to another protocol: who may, and what becomes of the connection.
//!
//! A request asks, its route allows, and the upstream agrees with a 101; until then both sides speak HTTP, and nothing that the
//! client sends behind its request goes on. From then on bytes go both ways as they come. Filters have seen both heads, see
//! none of the bytes, and are told of the end: until then the exchange is under way. Tunnels, which `connect` makes, go on in
//! the same way.

mod stream;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{StatusCode, response};
use hyper::upgrade::OnUpgrade;

use crate::client::{Client, Socket, Successor};
use crate::error::Reason;
use crate::exchange::head::ResponseHead;
use crate::exchange::hop::{self, Accepted, upgrade};
use crate::exchange::{Exchange, Half};
use crate::filter::chain::{Chain, Halt};
use crate::relay::{Relay, Side, Stop};
use crate::serve::account::Account;
use crate::snapshot::LocalRoute;
use crate::upstream::switched::Switched;
use crate::upstream::{Lease, tunnel};

/// How long a client may take to hear the end.
const FAREWELL: Duration = Duration::from_millis(500);

/// Keeps what a request asks for where its route allows it; elsewhere the request goes on as any other (RFC 9110 §7.8 lets a
/// server ignore it). A request with a body is one: where it ended, another protocol would begin.
pub(super) fn keep(accepted: &mut Accepted, route: &LocalRoute, bodiless: bool) {
    if let Some(token) = &accepted.upgrade {
        if bodiless && route.allows(token) {
            upgrade::put(&mut accepted.head.fields.map, HeaderValue::clone(token));
        } else {
            accepted.upgrade = None;
        }
    }
}

/// Says what is asked for to the upstream; filters may have changed the route, and they have no say about these fields.
pub(super) fn ask(exchange: &Exchange, route: &LocalRoute, headers: &mut http::HeaderMap) {
    let Some(token) = exchange.upgrade.take() else { return };
    if route.allows(&token) {
        upgrade::put(headers, HeaderValue::clone(&token));
        exchange.upgrade.set(Some(token));
    } else {
        upgrade::remove(headers);
    }
}

/// What an exchange goes on with past HTTP.
pub(crate) enum Agreed {
    /// The connection of an upstream that agreed to change its protocol.
    Switching {
        /// What holds it.
        lease: Lease,
    },
    /// A connection that was made for the exchange alone.
    Connected {
        /// The connection.
        far: tunnel::Tunnel,
        /// The client's stream in HTTP/2, once it is answered.
        near: Option<OnUpgrade>,
    },
}

impl Agreed {
    /// True for an answer that tells the client of it.
    fn is_told_by(&self, status: StatusCode) -> bool {
        match self {
            Self::Switching { .. } => status == StatusCode::SWITCHING_PROTOCOLS,
            Self::Connected { .. } => status.is_success(),
        }
    }

    fn take_near(&mut self) -> Option<OnUpgrade> {
        match self {
            Self::Switching { .. } => None,
            Self::Connected { near, .. } => near.take(),
        }
    }

    fn connection(self) -> io::Result<Switched> {
        match self {
            Self::Switching { lease } => Switched::new(lease),
            Self::Connected { far, .. } => Ok(far.into()),
        }
    }
}

/// Takes a 101 for what it says; the words tell why it may not be passed on.
pub(super) fn agree(
    exchange: &Exchange,
    parts: &mut response::Parts,
    lease: Lease,
) -> Result<Box<Agreed>, &'static str> {
    let asked = exchange.upgrade.take().ok_or("interim_answer_unasked")?;
    let agreed = hop::strip(&mut parts.headers, |name| name == "content-length").upgrade;
    let agreed = agreed.filter(|token| token.as_bytes().eq_ignore_ascii_case(asked.as_bytes()));
    upgrade::put(&mut parts.headers, agreed.ok_or("upgrade_unlike_asked")?);
    Ok(Box::new(Agreed::Switching { lease }))
}

/// Has the client's connection, or its stream, taken over once the answer is written, unless a filter made another one of it.
pub(super) fn hand_over(
    mut agreed: Box<Agreed>,
    head: &mut ResponseHead,
    account: Account,
    client: &Client,
) -> Option<Account> {
    if !agreed.is_told_by(head.status) {
        upgrade::remove(&mut head.fields.map);
        return Some(account);
    }
    account.pass_on();
    let near = agreed.take_near();
    let tunnel = Box::new(Tunnel(Some((agreed, account))));
    match near {
        None => client.upgraded.set(Some(tunnel)),
        Some(near) => client.tunnel.set(Some(Box::pin(stream::carry(near, tunnel)))),
    }
    None
}

/// An exchange whose connection is handed over. One that nobody takes over has lost its client.
struct Tunnel(Option<(Box<Agreed>, Account)>);

impl Drop for Tunnel {
    fn drop(&mut self) {
        if let Some((_, account)) = &self.0 {
            account.exchange().note(Reason::ClientGone);
        }
    }
}

impl Successor for Tunnel {
    fn go_on(mut self: Box<Self>, socket: Box<dyn Socket>, early: Bytes) -> Pin<Box<dyn Future<Output = ()>>> {
        let taken = self.0.take();
        Box::pin(async move {
            let Some((agreed, account)) = taken else { return };
            if let Some(reason) = pass(*agreed, &account, socket, early).await {
                account.exchange().note(reason);
            }
        })
    }
}

/// Passes bytes on until both sides said their end; otherwise answers why they do not.
async fn pass(agreed: Agreed, account: &Account, mut client: Box<dyn Socket>, early: Bytes) -> Option<Reason> {
    // A connection that is dropped on the way, as by a worker that ends, has come to no end.
    client.close_by_reset();
    let Ok(mut switched) = agreed.connection() else { return Some(Reason::UpstreamReset) };
    switched.close_by_reset();
    let late = std::mem::take(&mut switched.early);
    let mut relay = Relay::new(&mut *client, &mut switched.transport, None).with(early, late);
    let outcome = poll_fn(|cx| poll(&mut relay, account, cx)).await;
    let (is_talking, owes) = (relay.is_client_talking(), relay.owes());
    let (is_whole, reason) = match outcome {
        Ok(()) => (true, None),
        Err(Stop::Broken { side: Side::Client, was_whole }) => (was_whole, Some(Reason::ClientGone)),
        Err(Stop::Broken { side: Side::Upstream, was_whole }) => (was_whole, Some(Reason::UpstreamReset)),
        // Both are told of an end, as by whoever has nothing more to say; unless there is something that was not taken.
        Err(Stop::Failed(Reason::StreamIdle)) => (!owes, Some(Reason::StreamIdle)),
        Err(Stop::Failed(reason)) => (false, Some(reason)),
    };
    if is_whole {
        client.close_by_end();
        switched.close_by_end();
    }
    if reason.is_none() && is_talking {
        hear_out(&mut *client).await;
    }
    reason
}

/// To close while the client's bytes are on their way would reset the connection, and take the end of what it was sent along.
async fn hear_out(client: &mut dyn Socket) {
    // Whatever comes of it, the socket is closed next.
    let _ = tokio::time::timeout(FAREWELL, tokio::io::copy(client, &mut tokio::io::sink())).await;
}

fn poll(relay: &mut Relay<'_, dyn Socket>, account: &Account, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
    let exchange = account.exchange();
    exchange.register(Half::Response, cx.waker());
    if exchange.interrupted() {
        return Poll::Ready(Err(Stop::Failed(exchange.reason().unwrap_or(Reason::ClientGone))));
    }
    if let Some(chain) = account.chain() {
        stays(chain)?;
    }
    let (outcome, moved) = relay.poll(cx);
    if moved {
        exchange.touch(account.now());
    }
    let (sent, received) = relay.bytes();
    exchange.request_bytes.set(sent);
    exchange.response_bytes.set(received);
    // Whoever was told the end of what it hears is left with what it says.
    if relay.was_said() { Poll::Ready(Ok(())) } else { outcome }
}

/// Whether the filters let the connection go on.
fn stays(chain: &Rc<Chain>) -> Result<(), Stop> {
    chain.stays().map_err(|halt| match halt {
        Halt::Fail(reason) => Stop::Failed(reason),
        // Nobody is left who would read an answer.
        Halt::Respond(_) => Stop::Failed(Reason::Internal("an answer within another protocol")),
    })
}
