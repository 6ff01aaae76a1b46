//! What becomes of the path of a request, for filters, routes and upstreams alike.
//! How a path is spelled is the proxy's work.

use crate::scalar::Word;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathSpelling {
    /// It gets its one spelling; a path that two readers may read differently is refused.
    #[default]
    Normalize,
    /// It stays as the client wrote it.
    Keep,
}

impl Word for PathSpelling {
    const WORDS: &'static [(&'static str, PathSpelling)] =
        &[("normalize", PathSpelling::Normalize), ("keep", PathSpelling::Keep)];
    const EXPECTED: &'static str = "\"normalize\" or \"keep\"";
}
