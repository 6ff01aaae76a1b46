//! For tests of tests: the one import or callback that is taken away, so that whoever claims to prove it must fail.
//!
//! The environment of the process names it, so that each try has a process of its own.

use std::env;
use std::sync::LazyLock;

/// The environment variable that names one import or callback. The import then answers UNIMPLEMENTED (WASI: ENOSYS, void:
/// nothing) to every guest of the process; the callback counts as one that no guest exports.
pub const SABOTAGE: &str = "TOLLGATE_ABI_SABOTAGE";

static NAMED: LazyLock<Option<String>> = LazyLock::new(|| env::var(SABOTAGE).ok());

/// True for the name that is taken away.
pub(crate) fn takes(name: &str) -> bool {
    NAMED.as_deref() == Some(name)
}
