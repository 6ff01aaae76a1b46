//! Upstreams that lie, break off, stall or talk out of turn: a table, each row with exactly what the client gets and what the
//! access log says. An answer that is not whole never looks whole, and the request behind each fault is served well.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "upstream_faults/body.rs"]
mod body;
#[path = "common/common.rs"]
mod common;
#[path = "upstream_faults/ends.rs"]
mod ends;
#[path = "upstream_faults/fault.rs"]
mod fault;
#[path = "upstream_faults/head.rs"]
mod head;
#[path = "upstream_faults/turn.rs"]
mod turn;

use std::collections::HashSet;

use fault::{Fault, Scene};

fn table() -> Vec<Fault> {
    [head::faults(), body::faults(), ends::faults(), turn::faults()].into_iter().flatten().collect()
}

#[test]
fn every_fault_has_its_outcome_and_harms_nobody_else() {
    let scene = Scene::of(table());

    let wrong = scene.play();

    assert!(wrong.is_empty(), "{} faults are dealt with wrongly:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_has_sixty_faults_and_none_is_there_twice() {
    let faults = table();
    let names: HashSet<_> = faults.iter().map(|fault| fault.name).collect();

    assert_eq!(names.len(), faults.len());
    assert!(names.len() >= 60, "{}", names.len());
}
