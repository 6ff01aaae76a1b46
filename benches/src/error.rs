//! Why a measurement was not made, or does not count.

use std::io;
use std::path::PathBuf;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A file that a measurement needs is not there.
    #[error("{} is missing; build it first: {hint}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The command that makes it.
        hint: &'static str,
    },
    /// A target could not be started.
    #[error("{target}: cannot run {}: {source}", program.display())]
    Unstartable {
        /// Its name.
        target: String,
        /// What was to run.
        program: PathBuf,
        /// Why it does not.
        source: io::Error,
    },
    /// A target did not answer as it should before it was measured.
    #[error("{target}: {problem}\nits output:\n{output}")]
    Unfit {
        /// Its name.
        target: String,
        /// What is wrong with it.
        problem: String,
        /// The last lines it wrote.
        output: String,
    },
    /// Requests failed while a target was measured, so its figures would flatter it.
    #[error("{target}: {failed} of {sent} requests failed, first: {first}; the run does not count\n{fate}")]
    Failed {
        /// Its name.
        target: String,
        /// Requests without a good answer.
        failed: u64,
        /// All requests.
        sent: u64,
        /// What the first failure was.
        first: String,
        /// Whether the target still lives, and the last lines it wrote.
        fate: String,
    },
    /// A tool that counts was there, and did not count.
    #[error("{target}: not counted: {why}")]
    Uncounted {
        /// The target's name.
        target: String,
        /// What became of it.
        why: String,
    },
    /// The machine did not do what was asked.
    #[error("{doing}: {source}")]
    System {
        /// What was asked of it.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl BenchError {
    /// Says what was being done when the system refused; for `map_err`.
    pub fn while_doing(doing: &'static str) -> impl FnOnce(io::Error) -> BenchError {
        move |source| BenchError::System { doing, source }
    }
}
