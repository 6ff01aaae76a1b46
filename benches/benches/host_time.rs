//! Wall-clock time of each piece of the host set, with guests compiled for this processor. `make bench-host` runs it.

#![allow(missing_docs, reason = "what lacks documentation here is what the macros make")]

use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use tollgate_benches::host::{Folders, Ground, HostError, Setting, Work};

fn host(criterion: &mut Criterion) {
    let setting = Setting { folders: Folders::default(), ground: Ground::This };
    let mut group = criterion.benchmark_group("host");
    for work in Work::all() {
        let mut prepared = ended(work.prepare(&setting));
        group.bench_function(work.name, |bencher| {
            bencher.iter_custom(|times| {
                let started = Instant::now();
                ended(in_parts(times, |part| prepared.run(part)));
                started.elapsed()
            });
        });
    }
    group.finish();
}

/// Criterion asks for more turns than a guest can count in one entry.
fn in_parts(times: u64, mut run: impl FnMut(u32) -> Result<(), HostError>) -> Result<(), HostError> {
    const MOST: u32 = 1 << 20;
    let mut left = times;
    while left > 0 {
        let part = u32::try_from(left).unwrap_or(MOST).min(MOST);
        run(part)?;
        left -= u64::from(part);
    }
    Ok(())
}

#[expect(clippy::panic, reason = "a benchmark has no other way to fail")]
fn ended<T>(outcome: Result<T, HostError>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

criterion_group!(set, host);
criterion_main!(set);
