//! What changes the proxy: a request becomes an order, and what comes of the order becomes the answer.
//!
//! How an order is carried out is `app::reload`'s business. An order whose client leaves is carried out all the same.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde_json::{Value, json};
use tokio::time::timeout;
use tollgate_abi::ModuleLimits;
use tollgate_config::{self as config, Ratio};

use super::page::{Change, parameter};
use super::patience::Patience;
use super::reply::Reply;
use super::{AdminState, filters};
use crate::app::reload::{Done, Order, Refused, Sight};
use crate::filter::blob::Blob;
use crate::filter::fault::Fault;
use crate::filter::rollout::{Brief, Incident, Trigger, View};

/// How long a module may take to arrive.
const UPLOAD: Duration = Duration::from_secs(30);
/// How long a client waits for what comes of an order. Compiling one module may take a minute, and orders stand in line.
const ORDER: Duration = Duration::from_secs(300);
/// How long the client may take to read the answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Carries a change out, or says why not.
pub(super) async fn carry_out(
    change: Change,
    request: &Request<()>,
    body: &mut Incoming,
    state: &AdminState,
    patience: &Patience,
) -> Reply {
    // Held until the order is carried out, whether or not the client waits, so that modules do not pile up.
    let Ok(permit) = Arc::clone(&state.changes).try_acquire_owned() else {
        return Reply::error(StatusCode::SERVICE_UNAVAILABLE, "other changes are under way; try again in a moment");
    };
    let name = name(&change);
    let meant = meant(&change, request);
    let order = match order(change, request, body, patience).await {
        Ok(order) => order,
        Err(reply) => return reply,
    };
    patience.allow(ORDER + ANSWER);
    let (orders, turn) = (state.orders.clone(), Arc::clone(&state.turn));
    let answer = tokio::spawn(async move {
        let _permit = permit;
        // Whoever goes back or reads files again names nothing that may be another by then.
        let waits = !matches!(order, Order::Rollback(_) | Order::Reload(_));
        let _turn = if waits { Some(turn.acquire_owned().await) } else { None };
        meant.map_or(Ok(()), |(name, digest)| only(&orders.sight(), &name, &digest))?;
        orders.ask(order).await
    });
    let answer = match timeout(ORDER, answer).await {
        Ok(answer) => answer.unwrap_or(Err(Refused::Ending)),
        Err(_) => return Reply::error(StatusCode::GATEWAY_TIMEOUT, "it takes long and goes on; look at /filters"),
    };
    patience.allow(ANSWER);
    let sight = state.orders.sight();
    let view = name.and_then(|name| sight.plugins.iter().find(|view| view.name == name));
    match answer {
        Ok(done) => came(&done, view),
        Err(refused) => refusal(&refused),
    }
}

fn name(change: &Change) -> Option<String> {
    match change {
        Change::Upload(name) | Change::Promote(name) | Change::Canary(name) | Change::Rollback(name) => {
            Some(name.clone())
        }
        Change::Reload => None,
    }
}

/// The plugin and the digest of the only module that is to serve or be tried, where the client says one.
fn meant(change: &Change, request: &Request<()>) -> Option<(String, String)> {
    let (Change::Promote(name) | Change::Canary(name)) = change else { return None };
    Some((name.clone(), parameter(request.uri().query(), "sha256")?))
}

/// Refuses when another module than this one is ready: somebody uploaded it since.
fn only(sight: &Sight, name: &str, digest: &str) -> Result<(), Refused> {
    let view = sight.plugins.iter().find(|view| view.name == name);
    let ready = view.and_then(|view| view.staged.as_ref().or(view.canary.as_ref().map(|(brief, _)| brief)));
    match ready {
        Some(brief) if !brief.digest.to_string().eq_ignore_ascii_case(digest) => {
            let why = "another module was uploaded meanwhile; upload this one again";
            Err(Refused::Nothing(name.to_owned(), why))
        }
        _ => Ok(()),
    }
}

async fn order(
    change: Change,
    request: &Request<()>,
    body: &mut Incoming,
    patience: &Patience,
) -> Result<Order, Reply> {
    Ok(match change {
        Change::Upload(name) => {
            patience.allow(UPLOAD);
            Order::Stage(name, module(body).await?)
        }
        Change::Promote(name) => Order::Promote(name),
        Change::Canary(name) => Order::Canary(name, share(parameter(request.uri().query(), "share"))?),
        Change::Rollback(name) => Order::Rollback(name),
        Change::Reload => Order::Reload(Trigger::Admin),
    })
}

/// The body, which may be as large as a module.
async fn module(body: &mut Incoming) -> Result<Bytes, Reply> {
    let limit = ModuleLimits::default().bytes;
    let too_large = || {
        let error = format!("the module is larger than the limit of {limit} bytes");
        Reply::error(StatusCode::PAYLOAD_TOO_LARGE, &error)
    };
    if usize::try_from(body.size_hint().lower()).is_ok_and(|bytes| bytes > limit) {
        return Err(too_large());
    }
    let no_memory = |error| Reply::error(StatusCode::SERVICE_UNAVAILABLE, &format!("no room for the module: {error}"));
    let mut module = Blob::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Reply::error(StatusCode::BAD_REQUEST, "the body broke off"))?;
        let bytes = frame.into_data().unwrap_or_else(|_| Bytes::new());
        if module.as_ref().len() + bytes.len() > limit {
            return Err(too_large());
        }
        module.extend(&bytes).map_err(no_memory)?;
    }
    Ok(module.into())
}

/// The share that a canary is to get; what the configuration says where the client says nothing.
fn share(said: Option<String>) -> Result<Option<Ratio>, Reply> {
    let refused = |error: &str| Reply::error(StatusCode::BAD_REQUEST, &format!("share: {error}"));
    let Some(said) = said else { return Ok(None) };
    let share: Ratio = said.parse().map_err(|error: config::NotRatio| refused(&error.to_string()))?;
    if share.parts_per_million() == 0 {
        return Err(refused("a canary gets more than 0%"));
    }
    Ok(Some(share))
}

/// What came of an order.
fn came(done: &Done, view: Option<&View>) -> Reply {
    let Some(view) = view else {
        let (outcome, text) = match done {
            Done::Unchanged => ("unchanged", "nothing changed\n"),
            Done::Waiting => ("waiting", "the configuration is taken over when replaced generations have ended\n"),
            Done::Serving | Done::Staged | Done::Canary => ("serving", "the configuration was taken over\n"),
        };
        return Reply { status: StatusCode::OK, json: json!({ "outcome": outcome }), text: text.to_owned() };
    };
    let canary = view.canary.as_ref();
    let (outcome, brief, what) = match done {
        Done::Unchanged => ("unchanged", view.serving.as_ref(), "serves as before".to_owned()),
        Done::Serving => ("serving", view.serving.as_ref(), "serves".to_owned()),
        Done::Waiting => ("waiting", view.waiting.as_ref(), "serves when a replaced generation has ended".to_owned()),
        Done::Staged => ("staged", view.staged.as_ref(), "is ready and waits to be promoted".to_owned()),
        Done::Canary => {
            let share = canary.map_or(String::new(), |(_, share)| share.to_string());
            ("canary", canary.map(|(brief, _)| brief), format!("is tried with {share} of exchanges"))
        }
    };
    let mut json = json!({ "outcome": outcome, "filter": view.name });
    if let Some(Brief { number, digest, .. }) = brief {
        json["generation"] = json!(number);
        json["digest"] = json!(digest.to_string());
    }
    let which = brief.map(|brief| format!("generation {} (sha256 {})", brief.number, filters::short(brief.digest)));
    let text = format!("filter {}: {} {what}\n", view.name, which.unwrap_or_default());
    Reply { status: StatusCode::OK, json, text }
}

/// Why an order was not carried out. Lines of the configuration are left out, for they may hold secrets.
fn refusal(refused: &Refused) -> Reply {
    let status = match refused {
        Refused::Unknown { .. } => StatusCode::NOT_FOUND,
        Refused::Nothing(..) => StatusCode::CONFLICT,
        Refused::Modules(_) | Refused::Config(_) | Refused::Bind(_) | Refused::Tls(_) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Refused::Bug => StatusCode::INTERNAL_SERVER_ERROR,
        Refused::Ending => StatusCode::SERVICE_UNAVAILABLE,
    };
    let (error, faults) = match refused {
        Refused::Modules(faults) => (refused.to_string(), faults.iter().map(of_module).collect()),
        Refused::Config(faults) => {
            let lines: Vec<_> = faults.iter().map(line).collect();
            (lines.join("\n"), faults.iter().map(of_config).collect())
        }
        other => (other.to_string(), Vec::new()),
    };
    let mut reply = Reply::error(status, &error);
    if !faults.is_empty() {
        reply.json["faults"] = Value::Array(faults);
    }
    reply
}

fn of_module(fault: &Fault) -> Value {
    let mut value = filters::incident(&Incident::of(fault));
    value["filter"] = json!(fault.plugin);
    value
}

fn of_config(fault: &config::Fault) -> Value {
    let place = fault.place.as_ref().map(ToString::to_string);
    json!({ "code": fault.code.to_string(), "place": place, "message": fault.message })
}

fn line(fault: &config::Fault) -> String {
    let place = fault.place.as_ref().map(|place| format!("\n  --> {place}")).unwrap_or_default();
    format!("error[{}]: {}{place}", fault.code, fault.message)
}
