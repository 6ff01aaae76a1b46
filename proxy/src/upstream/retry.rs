//! Requests that are sent more than once because a route or a cluster says so: after what, and within which budget.
//!
//! What is repeated without being asked for, because it costs nothing and harms nobody, is in `upstream`, `pool` and `h2`.

use std::cell::Cell;
use std::time::Duration;

use http::Request;
use http_body::Body;
use http_body_util::BodyExt;
use tollgate_config::{Ratio, Retry, RetryOn};

use crate::error::Reason;
use crate::telemetry::metrics::RetryCause;
use crate::upstream::body::RequestBody;
use crate::upstream::cluster::place::Place;
use crate::upstream::cluster::{Cluster, Endpoint};
use crate::upstream::late::in_time;
use crate::upstream::replay::{Part, Replay};
use crate::upstream::trial::{Blame, try_at};
use crate::upstream::{Aim, Answer, STORM, Unseen, await_endpoint, failed_after, is_idempotent, unreached};

/// Repetitions that the whole process may have under way in a cluster, however few requests there are.
const FEW: usize = 3;
/// How many times longer than the first the last wait may be.
const LONGEST: u32 = 10;
/// The most bytes that are read of an answer which is not passed on: more would cost more than another connection.
const REST: u64 = 16 * 1024;
/// The longest wait for them.
const REST_TIME: Duration = Duration::from_millis(100);

impl Cluster {
    /// The right to one repetition, if there is one at this moment.
    pub(super) fn repeat(&self, budget: Ratio, cause: RetryCause) -> Option<Place> {
        let most = self.retries.unwrap_or_else(|| share(self.active(), budget, self.workers));
        if self.repeating.get() >= most {
            self.series.retries_refused.inc();
            return None;
        }
        self.series.retries[cause.index()].inc();
        Some(Place::new(&self.repeating))
    }
}

/// This worker's share of the repetitions: a part of what is under way on it, or its share of a few.
fn share(active: usize, budget: Ratio, workers: usize) -> usize {
    let part = budget.of(u64::try_from(active).unwrap_or(u64::MAX));
    usize::try_from(part).unwrap_or(usize::MAX).max(FEW.div_ceil(workers.max(1)))
}

/// What an attempt came to, and whether another may follow.
struct Tried {
    outcome: Result<Answer, Reason>,
    cause: Option<RetryCause>,
}

/// Sends a request as often as it may be until an answer is one to be passed on. On failure nothing of it is left but word of
/// why.
pub(super) async fn send(
    cluster: &Cluster,
    aim: &Aim<'_>,
    retry: &Retry,
    request: &mut Request<RequestBody>,
) -> Result<Answer, Reason> {
    let (head, body) = std::mem::replace(request, Request::new(RequestBody::Empty)).into_parts();
    let harmless = retry.non_idempotent || is_idempotent(&head.method);
    let replay = Replay::new(body, retry.replay.as_usize());
    let (mut failed, mut tried, mut repeating) = (None, 0, None);
    // Nothing was read yet, so the beginning is there.
    let mut part = replay.part().ok().flatten();
    loop {
        tried += 1;
        let picked = match aim.pick(cluster, failed.as_ref()) {
            Some(endpoint) => Some(endpoint),
            None => await_endpoint(cluster, aim.hash()).await,
        };
        let Some(endpoint) = picked else {
            let reason = unreached(request);
            return Err(failed_after(tried, cluster, request, reason));
        };
        *request = Request::from_parts(head.clone(), of_part(part));
        let blame = Blame::of(aim.waits, tried == 1);
        let Tried { outcome, cause } = one(cluster, blame, retry, &endpoint, request).await;
        drop(repeating);
        let may = |cause: &RetryCause| {
            may_repeat(*cause, harmless, replay.is_whole())
                && usize::try_from(tried).is_ok_and(|tried| tried < retry.tries)
        };
        let cause = cause.filter(may);
        repeating = cause.and_then(|cause| cluster.repeat(retry.budget, cause));
        let is_taken = replay.is_taken();
        let next = repeating.as_ref().and_then(|_| replay.part().ok());
        let Some(next) = next else {
            replay.forget();
            return match outcome {
                Ok(answer) => Ok(Answer { attempts: tried - 1 + answer.attempts, ..answer }),
                Err(reason) => Err(failed_after(tried, cluster, request, reason)),
            };
        };
        // From here on what is left of the attempt before reads nothing more, and cannot use the kept body up.
        part = next;
        // An answer that is not passed on gives its connection up before another one is asked for.
        if let Ok(answer) = outcome {
            let_go(answer, is_taken).await;
        }
        tokio::time::sleep(backoff(retry.backoff, tried, cluster.random())).await;
        failed = Some(endpoint);
    }
}

/// Reads the rest of an answer that nobody gets where it is short, so that its connection serves on. One on which a part of
/// the request is still to be sent does not.
async fn let_go(answer: Answer, is_request_sent: bool) {
    let Answer { response, lease, .. } = answer;
    let mut rest = response.into_body();
    let is_short = rest.size_hint().exact().is_some_and(|bytes| bytes <= REST);
    if !is_short || !is_request_sent || lease.is_shared() {
        return;
    }
    let read = async {
        while let Some(frame) = rest.frame().await {
            frame.ok()?;
        }
        Some(())
    };
    if let Ok(Some(())) = tokio::time::timeout(REST_TIME, read).await {
        lease.give_back();
    }
}

fn of_part(part: Option<Part>) -> RequestBody {
    part.map_or(RequestBody::Empty, |part| RequestBody::Filtered(Box::new(part)))
}

async fn one(
    cluster: &Cluster,
    blame: Blame<'_>,
    retry: &Retry,
    endpoint: &Endpoint,
    request: &mut Request<RequestBody>,
) -> Tried {
    let outcome = match retry.try_timeout {
        None => try_at(cluster, endpoint, blame, request).await,
        Some(time) => {
            let trying = async |late: &Cell<bool>| {
                let blame = Blame { late: Some(late), ..blame };
                try_at(cluster, endpoint, blame, request).await
            };
            in_time(time, trying).await.unwrap_or(Err(Reason::UpstreamTimeout))
        }
    };
    let unseen = request.extensions().get::<Unseen>().is_some();
    let cause = match &outcome {
        Ok(answer) => of_answer(&retry.on, answer),
        Err(reason) => of_failure(&retry.on, reason, unseen),
    };
    Tried { outcome, cause }
}

fn of_answer(on: &RetryOn, answer: &Answer) -> Option<RetryCause> {
    if on.statuses.contains(answer.response.status().as_u16()) {
        return Some(RetryCause::Status);
    }
    if on.grpc.is_empty() {
        return None;
    }
    // Where an answer comes before it, the status of gRPC is in the trailers, and the answer was begun.
    let status = answer.response.headers().get("grpc-status")?.to_str().ok()?.parse().ok()?;
    on.grpc.contains(&status).then_some(RetryCause::Grpc)
}

fn of_failure(on: &RetryOn, reason: &Reason, unseen: bool) -> Option<RetryCause> {
    let (cause, wanted) = match reason {
        unreached if unreached.is_unreached() => (RetryCause::Connect, on.connect),
        Reason::UpstreamReset if unseen => (RetryCause::RefusedStream, on.refused_stream || on.reset),
        // Who floods with interim answers is not asked again.
        storm if *storm == STORM => return None,
        Reason::UpstreamReset | Reason::UpstreamProtocol(_) => (RetryCause::Reset, on.reset),
        Reason::UpstreamTimeout => (RetryCause::Timeout, on.timeout),
        // Fullness is nothing that more requests help against; the rest is not the upstream's.
        _ => return None,
    };
    wanted.then_some(cause)
}

/// True for a request of which nobody can have carried anything out, or whose repetition is harmless; `whole` while its body
/// can be sent again.
fn may_repeat(cause: RetryCause, harmless: bool, whole: bool) -> bool {
    let unbegun = matches!(cause, RetryCause::Connect | RetryCause::RefusedStream);
    whole && (unbegun || harmless)
}

/// The wait after so many attempts: anything up to twice the average, which doubles each time, within its bound.
fn backoff(base: Duration, tried: u32, random: u64) -> Duration {
    let doubled = 1_u32.checked_shl(tried).unwrap_or(u32::MAX);
    let most = base.saturating_mul(doubled).min(base.saturating_mul(LONGEST));
    let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random % most.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSES: [RetryCause; 6] = RetryCause::ALL;

    #[test]
    fn what_may_have_been_carried_out_is_repeated_only_where_that_does_no_harm() {
        let may = |harmless, whole| CAUSES.map(|cause| may_repeat(cause, harmless, whole));

        assert_eq!(may(true, true), [true; 6]);
        assert_eq!(may(false, true), [true, true, false, false, false, false]);
        assert_eq!(may(true, false), [false; 6]);
    }

    #[test]
    fn only_what_was_asked_for_is_a_cause() {
        let all = RetryOn { connect: true, refused_stream: true, reset: true, timeout: true, ..RetryOn::default() };
        let reasons = [
            Reason::UpstreamConnect,
            Reason::UpstreamReset,
            Reason::UpstreamProtocol("not_http"),
            Reason::UpstreamTimeout,
            Reason::UpstreamOverflow,
            Reason::ClientGone,
        ];

        let causes = |on: &RetryOn, unseen| reasons.each_ref().map(|reason| of_failure(on, reason, unseen));

        let (connect, reset, timeout) = (RetryCause::Connect, RetryCause::Reset, RetryCause::Timeout);
        assert_eq!(causes(&all, false), [Some(connect), Some(reset), Some(reset), Some(timeout), None, None]);
        assert_eq!(causes(&all, true)[1], Some(RetryCause::RefusedStream));
        assert_eq!(causes(&RetryOn::default(), true), [None; 6]);
    }

    #[test]
    fn a_wait_is_within_its_bound_and_longer_on_the_average_each_time() {
        let base = Duration::from_millis(10);
        let longest = |tried| (0..200_000).step_by(1000).map(|random| backoff(base, tried, random)).max().unwrap();

        let longest = [1, 2, 3, 4, 9, 200].map(|tried| longest(tried).as_millis());

        assert_eq!(longest, [20, 40, 80, 100, 100, 100]);
    }

    #[test]
    fn repetitions_are_a_part_of_what_is_under_way_and_a_few_always() {
        let fifth = Ratio::of_percent(20);

        assert_eq!([0, 10, 100, 1000].map(|active| share(active, fifth, 1)), [3, 3, 20, 200]);
        assert_eq!([2, 3, 64].map(|workers| share(0, fifth, workers)), [2, 1, 1]);
    }
}
