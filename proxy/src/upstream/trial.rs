//! Attempts at endpoints, and whose fault it is when one comes to nothing. How often an endpoint may fail is not known here.

use std::cell::Cell;

use http::Request;

use crate::error::Reason;
use crate::exchange::Exchange;
use crate::upstream::Answer;
use crate::upstream::body::RequestBody;
use crate::upstream::cluster::{Cluster, Endpoint};

/// One attempt at one endpoint, which is judged by what comes of it where that is asked for.
pub(super) async fn try_at(
    cluster: &Cluster,
    endpoint: &Endpoint,
    blame: Blame<'_>,
    request: &mut Request<RequestBody>,
) -> Result<Answer, Reason> {
    let trial = Trial { cluster, endpoint, blame, asked: Cell::new(false) };
    let outcome = match &endpoint.http2 {
        None => match endpoint.pool.permit().await {
            Ok(permit) => {
                trial.asked.set(true);
                endpoint.pool.send(permit, request).await
            }
            Err(reason) => Err(reason),
        },
        Some(http2) => http2.send(request, &trial.asked).await,
    };
    trial.asked.set(false);
    match &outcome {
        Ok(answer) => cluster.judge(endpoint, answer.response.status().is_server_error()),
        Err(reason) if is_its_fault(reason) => cluster.judge(endpoint, true),
        Err(_) => {}
    }
    outcome
}

/// True where an attempt failed for something that its endpoint did, or did not do.
pub(super) fn is_its_fault(reason: &Reason) -> bool {
    matches!(reason, Reason::UpstreamConnect | Reason::UpstreamTls { .. })
        || matches!(reason, Reason::UpstreamReset | Reason::UpstreamProtocol(_))
}

/// When an endpoint is to blame for an attempt at it that is given up.
#[derive(Clone, Copy)]
pub(super) struct Blame<'a> {
    pub(super) waits: Waits<'a>,
    /// True once the time of this attempt alone is over; absent where it has none.
    pub(super) late: Option<&'a Cell<bool>>,
}

impl<'a> Blame<'a> {
    /// For an attempt that has all the time that there is.
    pub(super) fn of(waits: Waits<'a>) -> Self {
        Self { waits, late: None }
    }

    /// True where it is the endpoint's fault that the attempt is given up now.
    fn is_due(self) -> bool {
        // While the request is coming, its sender may be what takes the time.
        let is_late = self.late.is_some_and(Cell::get) && self.waits.has_asked();
        is_late || self.waits.blames()
    }
}

/// An attempt under way.
struct Trial<'a> {
    cluster: &'a Cluster,
    endpoint: &'a Endpoint,
    blame: Blame<'a>,
    /// True while the endpoint is waited for. Before that, the attempt may wait for a connection that others have.
    asked: Cell<bool>,
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if self.asked.get() && self.blame.is_due() {
            self.cluster.judge(self.endpoint, true);
        }
    }
}

/// Who waits for an answer, and knows why an attempt is given up.
#[derive(Clone, Copy, Default)]
pub enum Waits<'a> {
    /// Somebody who gives it up for reasons of their own.
    #[default]
    Somebody,
    /// An exchange.
    Exchange(&'a Exchange),
    /// A callout; true once it has waited for long enough.
    Callout(&'a Cell<bool>),
}

impl Waits<'_> {
    /// True where it is the endpoint's fault that an attempt at it is given up now.
    fn blames(self) -> bool {
        match self {
            Self::Somebody => false,
            Self::Exchange(exchange) => {
                matches!(exchange.reason(), Some(Reason::UpstreamTimeout | Reason::UpstreamProtocol(_)))
            }
            Self::Callout(late) => late.get(),
        }
    }

    /// True once nobody but the endpoint is waited for: the request is complete.
    fn has_asked(self) -> bool {
        match self {
            Self::Somebody => false,
            Self::Exchange(exchange) => exchange.request_ended(),
            Self::Callout(_) => true,
        }
    }
}
