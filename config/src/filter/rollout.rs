//! Rollouts: a second module beside the first, for a share of the exchanges, until it takes over or goes.
//! Choosing the exchanges and counting failures is the proxy's work.

use std::path::PathBuf;
use std::time::Duration;

use crate::ratio::Ratio;

/// How a plugin's next module is tried; its rules hold for a canary of the configuration and for one that is uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// The module that is tried; `None` unless written.
    pub canary: Option<Canary>,
    /// The share of the exchanges that it gets; never zero.
    pub share: Ratio,
    /// After how long it takes over; `None`: only when told to.
    pub promote_after: Option<Duration>,
    /// The share of failed exchanges above which it goes; `None`: only when told to.
    pub rollback_on: Option<Ratio>,
}

impl Rollout {
    /// [`Rollout::share`] when none is written.
    pub const SHARE: Ratio = Ratio::of_percent(5);
}

impl Default for Rollout {
    fn default() -> Rollout {
        Rollout { canary: None, share: Rollout::SHARE, promote_after: None, rollback_on: None }
    }
}

/// The module that is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The module's file; a relative path is joined to the folder of the configuration.
    pub module: PathBuf,
    /// What the module's bytes must hash to, when written.
    pub sha256: Option<[u8; 32]>,
}
