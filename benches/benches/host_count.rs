//! Instructions of each piece of the host set, as callgrind counts them. `make count` runs it, and compares.

#![allow(missing_docs, reason = "what lacks documentation here is what the macros make")]

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use tollgate_benches::host::counts::TIMES;
use tollgate_benches::host::{Folders, Ground, HostError, Prepared, Setting, Work};

#[library_benchmark]
#[benches::work(iter = Work::all().map(|work| work.name), setup = prepare)]
fn host(prepared: Prepared) -> Prepared {
    let mut prepared = prepared;
    // What fails is not to be counted as if it had been done.
    ended(black_box(&mut prepared).run(TIMES));
    // Dropping it is no part of the work.
    prepared
}

fn prepare(name: &str) -> Prepared {
    let setting = Setting { folders: Folders::default(), ground: Ground::Any };
    ended(Work::named(name).and_then(|work| work.prepare(&setting)))
}

#[expect(clippy::panic, reason = "a benchmark has no other way to fail")]
fn ended<T>(outcome: Result<T, HostError>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

library_benchmark_group!(name = set, benchmarks = host);
main!(library_benchmark_groups = set);
