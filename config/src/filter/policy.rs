//! Policies: what becomes of an exchange, and of what a plugin keeps, when the plugin fails or is replaced.
//! Applying them is the proxy's work.

use crate::scalar::Word;

/// What happens where a plugin cannot do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The exchange is refused.
    #[default]
    Deny,
    /// The exchange goes on without the plugin.
    Skip,
}

/// The policies of a plugin, by what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OnError {
    /// The plugin cannot be loaded; `None` when nothing is written, then the proxy does not start with it.
    pub load: Option<Policy>,
    /// A call failed for any reason that has no policy of its own, or there is no VM.
    pub trap: Policy,
    /// A call took longer than its budget, or a pause longer than `pause_timeout`.
    pub deadline: Policy,
    /// A call needed more memory than the plugin may have.
    pub memory: Policy,
}

impl OnError {
    /// One policy for every failure of a call; the policy for loading is never set along.
    pub const fn all(policy: Policy) -> OnError {
        OnError { load: None, trap: policy, deadline: policy, memory: policy }
    }

    /// Whether an exchange may go on without the plugin after some failure of a call.
    pub fn may_skip(self) -> bool {
        [self.trap, self.deadline, self.memory].contains(&Policy::Skip)
    }
}

/// What becomes of shared data, queues and metrics of a `vm_id` when its plugin is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keeping {
    /// They go over to the new generation.
    #[default]
    Keep,
    /// The new generation begins with none.
    Reset,
}

/// Which exchanges share a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Those of one worker.
    #[default]
    Worker,
    /// None: every exchange has an instance of its own.
    Request,
}

impl Word for Policy {
    const WORDS: &'static [(&'static str, Policy)] = &[("deny", Policy::Deny), ("skip", Policy::Skip)];
    const EXPECTED: &'static str = "\"deny\" or \"skip\"";
}

impl Word for Keeping {
    const WORDS: &'static [(&'static str, Keeping)] = &[("keep", Keeping::Keep), ("reset", Keeping::Reset)];
    const EXPECTED: &'static str = "\"keep\" or \"reset\"";
}

impl Word for Isolation {
    const WORDS: &'static [(&'static str, Isolation)] =
        &[("worker", Isolation::Worker), ("request", Isolation::Request)];
    const EXPECTED: &'static str = "\"worker\" or \"request\"";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_policy_for_all_failures_says_nothing_about_loading() {
        let all = OnError::all(Policy::Skip);

        assert_eq!((all.load, all.trap, all.deadline, all.memory), (None, Policy::Skip, Policy::Skip, Policy::Skip));
        assert_eq!(OnError::default(), OnError::all(Policy::Deny));
    }

    #[test]
    fn an_exchange_may_go_on_when_one_failure_of_a_call_lets_it() {
        let deny = OnError { load: Some(Policy::Skip), ..OnError::default() };

        assert!(!deny.may_skip());
        assert!(OnError { trap: Policy::Skip, ..deny }.may_skip());
        assert!(OnError { deadline: Policy::Skip, ..deny }.may_skip());
        assert!(OnError { memory: Policy::Skip, ..deny }.may_skip());
    }
}
