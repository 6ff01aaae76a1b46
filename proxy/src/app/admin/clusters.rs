//! `/clusters`: every endpoint, whether it is worth a request, and what is under way on it.

use std::fmt::Write;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use tollgate_config::Pick;

use super::reply::Reply;
use crate::upstream::fleet::Fleet;
use crate::upstream::fleet::member::Member;

/// All of them, in the order of the configuration. What is under way is as workers last said, about once a second.
pub(super) fn all(fleets: &[Arc<Fleet>]) -> Reply {
    let clusters: Vec<Value> = fleets.iter().map(|fleet| cluster(fleet)).collect();
    let text = fleets.iter().fold(String::new(), |text, fleet| text + &lines(fleet));
    Reply { status: StatusCode::OK, json: json!({ "clusters": clusters }), text }
}

fn cluster(fleet: &Fleet) -> Value {
    let roster = fleet.roster();
    let endpoints: Vec<Value> = roster.members.iter().map(|member| endpoint(member)).collect();
    json!({
        "name": fleet.config.name,
        "balance": balance(&fleet.config.pick),
        "resolved": roster.settled,
        "endpoints": endpoints,
    })
}

fn endpoint(member: &Member) -> Value {
    let vitals = &member.vitals;
    json!({
        "address": member.address.to_string(),
        "host": member.host,
        "health": health(member),
        "weight": member.weight,
        "priority": member.priority,
        "active": vitals.active(),
    })
}

fn lines(fleet: &Fleet) -> String {
    let mut text = String::new();
    // A string takes every write.
    let _ = writeln!(text, "{} ({})", fleet.config.name, balance(&fleet.config.pick));
    for member in &fleet.roster().members {
        let Member { host, address, weight, priority, vitals } = &**member;
        let health = health(member);
        let named = if *host == address.ip().to_string() { String::new() } else { format!(" of {host}") };
        let active = vitals.active();
        let _ = writeln!(text, "  {address}{named}: {health}, weight {weight}, priority {priority}, active {active}");
    }
    text
}

/// The word for why an endpoint gets no requests, or that it does.
fn health(member: &Member) -> &'static str {
    match (member.vitals.is_healthy(), member.vitals.is_ejected()) {
        (true, false) => "healthy",
        (true, true) => "ejected",
        (false, _) => "unhealthy",
    }
}

fn balance(pick: &Pick) -> &'static str {
    match pick {
        Pick::RoundRobin => "round_robin",
        Pick::LeastRequest => "least_request",
        Pick::Random => "random",
        Pick::RingHash(_) => "ring_hash",
        Pick::Maglev(_) => "maglev",
    }
}
