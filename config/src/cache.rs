//! The cache: where compiled modules are kept from one run to the next.
//! Keeping them is the proxy's work.

use std::path::PathBuf;

/// Where compiled modules are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Cache {
    /// Nowhere.
    Off,
    /// In the folder that the system has for such things, when there is one.
    #[default]
    Default,
    /// In this folder; a relative path is joined to the folder of the configuration.
    Dir(PathBuf),
}
