//! The watch over the process's memory: once a second what is resident is held against the bound of the configuration, and
//! every worker is told what to do about it.
//!
//! Only the process's own memory counts: to refuse requests frees nothing of what its neighbours hold, nor of the page cache,
//! which the system takes back by itself.

mod group;

use std::time::Duration;

use tollgate_config::{ByteSize, MemoryLimit};

use self::group::Groups;
use crate::pressure::{Memory, Pressure};
use crate::telemetry::metrics::resident_bytes;
use crate::worker::Shared;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);
const MIB: u64 = 1 << 20;

/// Watches until the task that runs this is aborted.
pub(super) async fn watch(shared: &Shared) {
    let groups = Groups::of_this_process();
    let mut worst = Pressure::default();
    loop {
        let limit = shared.snapshot.load().limits.memory;
        let before = shared.registry.memory().pressure;
        if let Some(memory) = look(limit, &groups, before) {
            shared.registry.set_memory(memory);
            tell(shared, memory.pressure);
            worst = report(worst, before, memory);
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// `None` where the system does not say how much is resident.
fn look(limit: MemoryLimit, groups: &Groups, before: Pressure) -> Option<Memory> {
    let (bound, resident) = (bound(limit, || groups.limit()), resident_bytes()?);
    let pressure = bound.map_or(Pressure::Calm, |bound| before.next(resident, bound));
    Some(Memory { resident, bound, pressure })
}

/// How much may be resident, where the control groups of the process allow so much.
fn bound(limit: MemoryLimit, allowed: impl Fn() -> Option<u64>) -> Option<u64> {
    match limit {
        MemoryLimit::Off => None,
        MemoryLimit::Size(size) => Some(size.bytes()),
        MemoryLimit::Share(share) => allowed().map(|all| share.of(all)),
    }
}

fn tell(shared: &Shared, pressure: Pressure) {
    // A line that workers write is not touched for no reason.
    let behind = shared.loads.iter().filter(|load| load.pressure.pressure() != pressure);
    behind.for_each(|load| load.pressure.set(pressure));
}

/// Says it once when things get worse than they were since all was calm, and once when they are calm again.
fn report(worst: Pressure, before: Pressure, memory: Memory) -> Pressure {
    let Memory { resident, bound, pressure } = memory;
    let (resident, bound) = (said(resident), said(bound.unwrap_or_default()));
    if pressure > worst {
        tracing::warn!(%resident, %bound, "memory is short: {}", pressure.measure());
    } else if pressure == Pressure::Calm && before != Pressure::Calm {
        tracing::info!(%resident, %bound, "memory is no longer short");
        return Pressure::Calm;
    }
    worst.max(pressure)
}

/// As people read it; small sizes whole, since tests and toys have such bounds.
pub(super) fn said(bytes: u64) -> ByteSize {
    ByteSize::new(if bytes < 10 * MIB { bytes } else { bytes / MIB * MIB })
}

#[cfg(test)]
mod tests {
    use tollgate_config::Ratio;

    use super::*;

    #[test]
    fn a_share_is_of_what_the_group_allows_and_nothing_where_it_allows_all() {
        let half = MemoryLimit::Share(Ratio::of_percent(50));

        assert_eq!(bound(half, || Some(1000)), Some(500));
        assert_eq!(bound(half, || None), None);
        assert_eq!(bound(MemoryLimit::Off, || Some(1000)), None);
        assert_eq!(bound(MemoryLimit::Size(ByteSize::kib(1)), || None), Some(1024));
    }

    #[test]
    fn a_spell_is_reported_as_it_gets_worse_and_when_it_is_over() {
        let mut worst = Pressure::Calm;
        let mut before = Pressure::Calm;
        let mut seen = Vec::new();
        for pressure in [Pressure::Over, Pressure::Tight, Pressure::Over, Pressure::FarOver, Pressure::Calm] {
            worst = report(worst, before, Memory { resident: 1, bound: Some(1), pressure });
            before = pressure;
            seen.push(worst);
        }

        assert_eq!(seen, [Pressure::Over, Pressure::Over, Pressure::Over, Pressure::FarOver, Pressure::Calm]);
    }

    #[test]
    fn sizes_are_said_in_whole_mebibytes_but_for_small_ones() {
        assert_eq!(said((450 << 20) + 5).to_string(), "450MiB");
        assert_eq!(said(1_000_000).to_string(), "1MB");
    }
}
