//! The host set: what `tollgate-abi` and guests cost in memory, as pieces of work that can be done any number of times.
//!
//! Each piece is told by its name. Who runs it decides what is looked at: `benches/host_time.rs` looks at the clock,
//! `benches/host_count.rs` at instructions, `host-run` at nothing, for counters around it. Nothing here measures, and nothing
//! goes over a socket.
//!
//! | part | its pieces |
//! |---|---|
//! | `calls` | one entry of a guest; hostcalls of each family, made by guests in a few lines of WAT |
//! | `exchanges` | whole exchanges through filters, one or several in turn |
//! | `instances` | exchanges with an instance of their own, and a generation taken up for another |
//!
//! `bench` is the VM and exchange they are all made with, `code` compiles, `guests` writes the guests.

mod bench;
mod calls;
mod code;
pub mod counts;
mod exchanges;
mod guests;
mod instances;

use std::io;
use std::path::PathBuf;

use tollgate_abi::{EngineError, Failure, ModuleError, NoImage};

pub use self::code::Folders;

/// One piece of work.
#[derive(Clone, Copy)]
pub struct Work {
    /// What it is called everywhere: in lists, tables and baselines.
    pub name: &'static str,
    /// What is done once, in words.
    pub about: &'static str,
    make: fn(&Setting) -> Result<Prepared, HostError>,
}

/// What is there to be run: everything but the work itself has been done. It belongs to the thread that made it.
pub struct Prepared {
    run: Box<dyn FnMut(u32) -> Result<(), HostError>>,
}

/// What a piece of work is prepared with.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where modules and their code are.
    pub folders: Folders,
    /// Whether what is done is to be the same on every machine.
    pub ground: Ground,
}

/// Whose machine the work is done for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ground {
    /// Guests are compiled for this processor, and the epoch advances as in the proxy. For clocks.
    #[default]
    This,
    /// Guests are compiled for any processor of the architecture, and the epoch stands still. For counters.
    Any,
}

/// Why a piece of work could not be prepared or done.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Nothing is called like that.
    #[error("there is no work named {0:?}; `host-run --list` names all of it")]
    Unknown(String),
    /// A file cannot be read or written.
    #[error("{}: {source}{hint}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// There is no engine on this machine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A guest's text is no module.
    #[error("a guest of the set is no module: {0}")]
    Text(#[from] wat::Error),
    /// The bytes are no filter.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A filter failed; one whose hostcall was refused ends with a trap.
    #[error("{failure}{}", frames(failure))]
    Filter {
        /// How, with the guest's backtrace.
        #[from]
        failure: Failure,
    },
    /// The filter has no image.
    #[error(transparent)]
    Image(#[from] NoImage),
    /// An instance could not be used again.
    #[error("the filter's instance could not be rewound")]
    Rewind,
    /// The exchange is not what the work makes of it.
    #[error("{0}")]
    Unfit(String),
}

fn frames(failure: &Failure) -> String {
    failure.backtrace.iter().map(|frame| format!("\n  {frame}")).collect()
}

impl Work {
    /// All of it, in the order of tables.
    pub fn all() -> impl Iterator<Item = &'static Work> {
        calls::ALL.iter().chain(exchanges::ALL).chain(instances::ALL)
    }

    /// The one of this name.
    pub fn named(name: &str) -> Result<&'static Work, HostError> {
        Work::all().find(|work| work.name == name).ok_or_else(|| HostError::Unknown(name.to_owned()))
    }

    /// Does everything that comes before the work, and the work a few times, so that what is made once has been made.
    pub fn prepare(&self, setting: &Setting) -> Result<Prepared, HostError> {
        const REHEARSALS: u32 = 20;
        let mut prepared = (self.make)(setting)?;
        prepared.run(REHEARSALS)?;
        Ok(prepared)
    }
}

impl Prepared {
    fn new(run: impl FnMut(u32) -> Result<(), HostError> + 'static) -> Result<Prepared, HostError> {
        Ok(Prepared { run: Box::new(run) })
    }

    /// Does the work so many times.
    pub fn run(&mut self, times: u32) -> Result<(), HostError> {
        (self.run)(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(ground: Ground) -> Setting {
        Setting { folders: Folders::default(), ground }
    }

    #[test]
    fn all_work_can_be_done_on_either_ground() {
        for ground in [Ground::This, Ground::Any] {
            for work in Work::all() {
                let done = work.prepare(&setting(ground)).and_then(|mut prepared| prepared.run(2));

                assert!(done.is_ok(), "{}: {}", work.name, done.unwrap_err());
            }
        }
    }

    #[test]
    fn no_two_pieces_of_work_have_one_name() {
        let mut names: Vec<_> = Work::all().map(|work| work.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();

        assert_eq!(names.len(), all);
        assert!(matches!(Work::named("nothing"), Err(HostError::Unknown(_))));
    }

    #[test]
    fn a_missing_filter_is_told_with_what_builds_it() {
        let nowhere = tempfile::tempdir().unwrap();
        let setting = Setting { folders: Folders::within(nowhere.path()), ground: Ground::Any };

        let refused = Work::named("filter-noop").unwrap().prepare(&setting).err().unwrap().to_string();

        assert!(refused.contains("filter_noop.wasm") && refused.ends_with("`make filters` builds it"), "{refused}");
    }
}
