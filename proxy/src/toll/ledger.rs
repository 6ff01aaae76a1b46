//! What callbacks and hostcalls came to: of the exchange under way, and of all that passed.
//!
//! An exchange whose filter fails never counts. Counts are of everything, times are kept of so many in each round.

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate_abi::CallbackKind;

use crate::toll::series::{Series, nanoseconds};

/// Times that are kept of one thing in one round: a filter may make millions of hostcalls in one exchange.
const TIMES: usize = 100_000;

/// One kind of callback or hostcall.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    /// How often it was entered.
    pub(super) count: u64,
    /// What each took.
    pub(super) times: Series,
    /// Of a callback: nanoseconds inside hostcalls, of each.
    pub(super) inside: Vec<u32>,
    /// Hostcalls within all of them; of a hostcall, itself.
    pub(super) hostcalls: u64,
    /// Bytes that all of them copied.
    pub(super) copied: usize,
}

/// What hostcalls came to within one callback.
#[derive(Clone, Copy, Debug, Default)]
struct Within {
    calls: u64,
    time: Duration,
    copied: usize,
}

impl Entries {
    fn note(&mut self, time: Duration, within: Within) {
        self.count += 1;
        self.hostcalls += within.calls;
        self.copied += within.copied;
        if self.times.of_round() < TIMES {
            self.times.add(time);
            self.inside.push(nanoseconds(within.time));
        }
    }

    fn join(&mut self, more: &Self) {
        self.count += more.count;
        self.hostcalls += more.hostcalls;
        self.copied += more.copied;
        let room = TIMES.saturating_sub(self.times.of_round());
        self.times.extend(more.times.samples().iter().take(room));
    }
}

/// What the exchange under way has come to.
#[derive(Debug, Default)]
pub(super) struct Account {
    entered: Vec<(CallbackKind, Duration, Within)>,
    called: BTreeMap<&'static str, Entries>,
    /// Hostcalls of the callback that runs.
    running: Within,
}

impl Account {
    /// A callback ended.
    pub(super) fn callback(&mut self, kind: CallbackKind, elapsed: Duration) {
        let within = std::mem::take(&mut self.running);
        self.entered.push((kind, elapsed, within));
    }

    /// A hostcall within a callback ended.
    pub(super) fn hostcall(&mut self, name: &'static str, time: Duration, copied: usize) {
        self.running.calls += 1;
        self.running.time += time;
        self.running.copied += copied;
        self.called.entry(name).or_default().note(time, Within { calls: 1, time, copied });
    }

    /// What callbacks took but `Init`, in which the instance is made, too.
    pub(super) fn within_callbacks(&self) -> Duration {
        let entered = self.entered.iter().filter(|(kind, ..)| *kind != CallbackKind::Init);
        entered.map(|(_, elapsed, _)| *elapsed).sum()
    }
}

/// What exchanges came to that passed.
#[derive(Default)]
pub(super) struct Ledger {
    /// The place of each callback is its kind's number.
    callbacks: Box<[Entries; CallbackKind::ALL.len()]>,
    /// By name.
    hostcalls: BTreeMap<&'static str, Entries>,
}

/// What a ledger has come to.
#[derive(Default)]
pub(super) struct Notes {
    /// By callback.
    pub(super) callbacks: Vec<(CallbackKind, Entries)>,
    /// By hostcall.
    pub(super) hostcalls: BTreeMap<&'static str, Entries>,
}

impl Ledger {
    /// An exchange has passed; its account is empty afterwards.
    pub(super) fn count(&mut self, account: &mut Account) {
        for (kind, time, within) in account.entered.drain(..) {
            if let Some(entries) = self.callbacks.get_mut(kind as usize) {
                entries.note(time, within);
            }
        }
        for (name, entries) in std::mem::take(&mut account.called) {
            self.hostcalls.entry(name).or_default().join(&entries);
        }
        account.running = Within::default();
    }

    /// Ends a round of callbacks.
    pub(super) fn close(&mut self) {
        self.callbacks.iter_mut().for_each(|entries| entries.times.close());
    }

    /// Hands over what was noted since the last call of this.
    pub(super) fn take_notes(&mut self) -> Notes {
        let mut callbacks = std::mem::take(&mut self.callbacks);
        let entered = CallbackKind::ALL.into_iter().filter_map(|kind| {
            let entries = std::mem::take(callbacks.get_mut(kind as usize)?);
            (entries.count > 0).then_some((kind, entries))
        });
        Notes { callbacks: entered.collect(), hostcalls: std::mem::take(&mut self.hostcalls) }
    }
}

impl Notes {
    /// What was noted of this callback.
    pub(super) fn callback(&self, kind: CallbackKind) -> Option<&Entries> {
        self.callbacks.iter().find(|(known, _)| *known == kind).map(|(_, entries)| entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(count: u64) -> Duration {
        Duration::from_nanos(count)
    }

    #[test]
    fn each_callback_is_found_under_its_own_name() {
        let (mut ledger, mut account) = (Ledger::default(), Account::default());
        for (kind, nanoseconds) in CallbackKind::ALL.into_iter().zip(1..) {
            account.callback(kind, nanos(nanoseconds));
        }

        ledger.count(&mut account);

        let found = ledger.take_notes().callbacks;
        let found = found.iter().map(|(kind, entries)| (*kind, entries.times.samples()[0]));
        assert_eq!(found.collect::<Vec<_>>(), CallbackKind::ALL.into_iter().zip(1..).collect::<Vec<_>>());
        assert!(ledger.take_notes().callbacks.is_empty());
    }

    #[test]
    fn what_was_called_before_an_exchange_is_none_of_its_own() {
        let (mut ledger, mut account) = (Ledger::default(), Account::default());
        account.hostcall("proxy_log", nanos(5), 7);
        // Whatever ran when it was called never ended.
        account = Account::default();

        account.callback(CallbackKind::RequestHeaders, nanos(9));
        ledger.count(&mut account);

        let notes = ledger.take_notes();
        let entries = notes.callback(CallbackKind::RequestHeaders).unwrap();
        assert_eq!((entries.hostcalls, entries.copied, notes.hostcalls.len()), (0, 0, 0));
    }

    #[test]
    fn counts_are_of_everything_and_times_of_so_many() {
        let (mut ledger, mut account) = (Ledger::default(), Account::default());
        for exchange in 0..3 {
            (0..TIMES - 1).for_each(|_| account.hostcall("proxy_log", nanos(exchange), 2));
            account.callback(CallbackKind::Log, nanos(1));
            ledger.count(&mut account);
        }

        let notes = ledger.take_notes();

        let all = 3 * (TIMES - 1);
        let log = &notes.hostcalls["proxy_log"];
        assert_eq!((log.count, log.copied, log.times.samples().len()), (all as u64, 2 * all, TIMES));
        let within = notes.callback(CallbackKind::Log).unwrap();
        assert_eq!((within.count, within.hostcalls, within.copied), (3, all as u64, 2 * all));
    }
}
