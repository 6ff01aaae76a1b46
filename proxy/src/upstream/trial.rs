//! Attempts at endpoints, and whose fault it is when one comes to nothing. How often an endpoint may fail is not known here.

use std::cell::Cell;

use http::Request;

use crate::error::Reason;
use crate::exchange::Exchange;
use crate::upstream::Answer;
use crate::upstream::body::RequestBody;
use crate::upstream::cluster::{Cluster, Endpoint};
use crate::upstream::h1::Hints;

/// One attempt at one endpoint, which is judged by what comes of it where that is asked for.
pub(super) async fn try_at(
    cluster: &Cluster,
    endpoint: &Endpoint,
    blame: Blame<'_>,
    request: &mut Request<RequestBody>,
) -> Result<Answer, Reason> {
    let trial = Trial { cluster, endpoint, blame, way: Way::default() };
    let outcome = match &endpoint.http2 {
        None => match endpoint.pool.permit().await {
            Ok(permit) => {
                trial.way.came(permit.1.is_zero());
                endpoint.pool.send(permit, request, blame.waits.hints()).await
            }
            Err(reason) => Err(reason),
        },
        Some(http2) => http2.send(request, &trial.way).await,
    };
    trial.way.ended();
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
    /// True where no attempt before it took its part of the time that all have together.
    pub(super) is_first: bool,
    /// True once the time of this attempt alone is over; absent where it has none.
    pub(super) late: Option<&'a Cell<bool>>,
}

impl<'a> Blame<'a> {
    /// For an attempt that has no time of its own.
    pub(super) fn of(waits: Waits<'a>, is_first: bool) -> Self {
        Self { waits, is_first, late: None }
    }

    /// True where it is the fault of an endpoint, which was waited for all the time, that the attempt is given up now.
    fn is_late(self) -> bool {
        // While the request is coming, its sender may be what takes the time.
        let is_late = self.late.is_some_and(Cell::get) && self.waits.has_asked();
        is_late || (self.is_first && self.waits.is_late())
    }
}

/// Whom an attempt has waited for.
#[derive(Debug, Default)]
pub(super) struct Way(Cell<Whom>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Whom {
    #[default]
    Nobody,
    /// The endpoint alone.
    Endpoint,
    /// Other exchanges, for a while, whatever came then: their time is not the endpoint's.
    Others,
}

impl Way {
    /// The endpoint is asked from here on; `at_once`: without a wait for others.
    pub(super) fn came(&self, at_once: bool) {
        if !at_once {
            self.0.set(Whom::Others);
        } else if self.0.get() == Whom::Nobody {
            self.0.set(Whom::Endpoint);
        }
    }

    /// Nobody is waited for any more.
    fn ended(&self) {
        self.0.set(Whom::Nobody);
    }
}

/// An attempt under way.
struct Trial<'a> {
    cluster: &'a Cluster,
    endpoint: &'a Endpoint,
    blame: Blame<'a>,
    way: Way,
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if self.way.0.get() == Whom::Endpoint && self.blame.is_late() {
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
    /// An exchange, and who hears of interim answers for it.
    Exchange(&'a Exchange, Option<&'a dyn Hints>),
    /// A callout; true once it has waited for long enough.
    Callout(&'a Cell<bool>),
}

impl<'a> Waits<'a> {
    /// Who hears of interim answers.
    pub(super) fn hints(self) -> Option<&'a dyn Hints> {
        match self {
            Self::Exchange(_, hints) => hints,
            Self::Somebody | Self::Callout(_) => None,
        }
    }

    /// True once the time for all attempts is over, as far as endpoints are waited for.
    fn is_late(self) -> bool {
        match self {
            Self::Somebody => false,
            Self::Exchange(exchange, _) => matches!(exchange.reason(), Some(Reason::UpstreamTimeout)),
            Self::Callout(late) => late.get(),
        }
    }

    /// True once nobody but the endpoint is waited for: the request is complete.
    fn has_asked(self) -> bool {
        match self {
            Self::Somebody => false,
            Self::Exchange(exchange, _) => exchange.request_ended(),
            Self::Callout(_) => true,
        }
    }
}
