//! How a plugin's exchanges are treated, as its configuration says: pauses, empty bodies, properties.

use std::time::Duration;

use tollgate_abi::Cause;
use tollgate_config::{EmptyBody, HeaderPause, OnError, Plugin, Policy};

use crate::error::Reason;
use crate::exchange::kept::PropertyQuota;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// The longest that the plugin may hold a half of an exchange.
    pub pause_timeout: Duration,
    /// What a pause in a callback for headers holds back.
    pub header_pause: HeaderPause,
    /// Whether a message without a body gets a callback for it.
    pub empty_body: EmptyBody,
    /// What the plugin may set on one exchange.
    pub properties: PropertyQuota,
}

impl Manners {
    /// What the configuration of a plugin says.
    pub fn new(plugin: &Plugin) -> Self {
        let quota = &plugin.quota;
        let bytes = usize::try_from(quota.property).unwrap_or(usize::MAX);
        Self {
            pause_timeout: plugin.pause_timeout,
            header_pause: plugin.header_pause,
            empty_body: plugin.empty_body,
            properties: PropertyQuota { count: quota.properties, bytes },
        }
    }
}

/// What `on_error` says about an exchange that a filter cannot serve for this reason.
pub fn policy(on_error: OnError, reason: &Reason) -> Policy {
    match reason {
        Reason::FilterPaused(_) | Reason::FilterOverShare(_) => on_error.deadline,
        Reason::FilterFailed { cause: Cause::Deadline, .. } => on_error.deadline,
        Reason::FilterFailed { cause: Cause::Memory, .. } => on_error.memory,
        _ => on_error.trap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_policy_and_what_has_none_is_a_trap() {
        use Policy::{Deny, Skip};
        let failed = |cause| Reason::FilterFailed { plugin: "a".to_owned(), cause };
        let of_each = |reason: &Reason| {
            let deny = OnError { load: Some(Skip), ..OnError::all(Deny) };
            let only =
                [OnError { trap: Skip, ..deny }, OnError { deadline: Skip, ..deny }, OnError { memory: Skip, ..deny }];
            only.map(|on_error| policy(on_error, reason))
        };

        for cause in [Cause::Trap, Cause::Exit(1), Cause::Refused, Cause::Host, Cause::Poisoned] {
            assert_eq!(of_each(&failed(cause)), [Skip, Deny, Deny], "{cause:?}");
        }
        assert_eq!(of_each(&Reason::FilterPausesTooMany("a".to_owned())), [Skip, Deny, Deny]);
        assert_eq!(of_each(&failed(Cause::Deadline)), [Deny, Skip, Deny]);
        assert_eq!(of_each(&Reason::FilterPaused("a".to_owned())), [Deny, Skip, Deny]);
        assert_eq!(of_each(&Reason::FilterOverShare("a".to_owned())), [Deny, Skip, Deny]);
        assert_eq!(of_each(&failed(Cause::Memory)), [Deny, Deny, Skip]);
    }
}
