//! Follows files by what they hold, whichever way they change: in place, by a rename, by a symlink that turns elsewhere.
//!
//! It says which files changed and loads none of them. The kernel's word makes it quick, polling makes it certain.

mod sight;
mod trail;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use self::sight::{Content, Sight, Stamp};
use self::trail::Bells;
use crate::filter::digest::Digest;

/// How often files are looked at when nobody says that they changed: network and overlay file systems never say so. It
/// costs one `stat` a file.
const POLL: Duration = Duration::from_secs(2);
/// How long a file must be missing, empty or unreadable to count as changed: whoever replaces it takes less.
const ABSENCE: Duration = Duration::from_secs(1);

/// See the module.
pub struct Watch {
    files: Vec<Followed>,
    /// Rung when something happened to a followed file, or on the way to it.
    rung: Arc<Notify>,
    /// Guards what the kernel watches; only a look takes it, and there is one at a time. `None`: polling alone.
    bells: Option<Arc<Mutex<Bells>>>,
    period: Duration,
    poll: Instant,
    /// A look is owed.
    due: bool,
    looking: Option<JoinHandle<Vec<Sight>>>,
}

/// One file, and what of it is known.
#[derive(Debug)]
struct Followed {
    path: PathBuf,
    /// What was reported last, or what it held when it was first followed.
    accepted: Accepted,
    /// The last look, which need not have been reported.
    seen: Option<Sight>,
    absent_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepted {
    /// Nobody has read it yet; it was like this from outside.
    Stamp(Option<Stamp>),
    Content(Content),
}

impl Watch {
    /// Follows nothing yet. Where the kernel cannot watch directories, one warning says so and polling alone has to do.
    pub fn start() -> Watch {
        let rung = Arc::new(Notify::new());
        let bells = Bells::new(Arc::clone(&rung));
        let bells = bells.inspect_err(|error| {
            tracing::warn!(%error, "files are not watched, only looked at every {} s", POLL.as_secs());
        });
        Watch::with(rung, bells.ok(), POLL)
    }

    /// Follows nothing yet, and will look every two seconds only.
    pub fn polling() -> Watch {
        Watch::with(Arc::default(), None, POLL)
    }

    fn with(rung: Arc<Notify>, bells: Option<Bells>, period: Duration) -> Watch {
        let bells = bells.map(|bells| Arc::new(Mutex::new(bells)));
        Watch { files: Vec::new(), rung, bells, period, poll: Instant::now(), due: false, looking: None }
    }

    /// Follows these files and no others. Those that were followed already keep what was reported of them; what the others
    /// hold at this moment counts as known, unless [`Watch::accept`] says better.
    pub fn follow(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        let mut known = std::mem::take(&mut self.files);
        for path in files {
            let before = known.iter().position(|file| file.path == path).map(|at| known.swap_remove(at));
            if !self.files.iter().any(|file| file.path == path) {
                self.files.push(before.unwrap_or_else(|| Followed::new(path)));
            }
        }
        // A look at other files is of no use. The next one also has the kernel watch the right directories.
        self.looking = None;
        self.due = true;
    }

    /// This is what was read of a followed file, so that nothing is missed that happened to it since then.
    pub fn accept(&mut self, file: &Path, content: Digest) {
        for followed in self.files.iter_mut().filter(|followed| followed.path == file) {
            followed.accepted = Accepted::Content(Content::Hash(content));
        }
        self.due = true;
    }

    /// Completes when files hold something else than was reported last, with all of those. What is missing, empty or
    /// unreadable is reported only if it stays so for a second. Each change is reported once; nothing is lost when the future
    /// is dropped.
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            if self.due {
                let sights = self.look().await;
                let changed = self.compare(sights);
                if !changed.is_empty() {
                    return changed;
                }
            }
            tokio::select! {
                () = self.rung.notified() => {}
                () = sleep_until(self.poll) => {}
            }
            self.due = true;
        }
    }

    /// Looks on a blocking thread; a look that nobody waited for is waited for by the next caller.
    async fn look(&mut self) -> Vec<Sight> {
        if self.looking.is_none() {
            let files: Vec<_> = self.files.iter().map(|file| (file.path.clone(), file.seen)).collect();
            let bells = self.bells.clone();
            self.looking = Some(tokio::task::spawn_blocking(move || {
                if let Some(bells) = bells {
                    let paths = files.iter().map(|(path, _)| path.as_path());
                    bells.lock().unwrap_or_else(PoisonError::into_inner).hang(paths);
                }
                sight::all(&files)
            }));
        }
        let looked = match &mut self.looking {
            Some(looking) => looking.await,
            None => Ok(Vec::new()),
        };
        self.looking = None;
        self.due = false;
        self.poll = Instant::now() + self.period;
        // The watcher's thread is gone if a look panics; files are still files.
        looked.unwrap_or_else(|_| {
            self.bells = None;
            Vec::new()
        })
    }

    /// Takes up what was seen, and names the files that changed.
    fn compare(&mut self, sights: Vec<Sight>) -> Vec<PathBuf> {
        let now = Instant::now();
        let pairs = self.files.iter_mut().zip(sights);
        let changed = pairs.filter_map(|(file, sight)| file.differs(sight, now).then(|| file.path.clone())).collect();
        if self.files.iter().any(|file| file.absent_since.is_some()) {
            self.poll = self.poll.min(now + ABSENCE);
        }
        changed
    }
}

impl Followed {
    fn new(path: PathBuf) -> Followed {
        let accepted = Accepted::Stamp(Stamp::of(&path));
        Followed { path, accepted, seen: None, absent_since: None }
    }

    /// Takes up a look; true when it is to be reported, after which it counts as known.
    fn differs(&mut self, sight: Sight, now: Instant) -> bool {
        self.seen = Some(sight);
        let fresh = Accepted::Content(sight.content);
        if sight.content != Content::Nothing {
            self.absent_since = None;
        } else if self.accepted != fresh && now.duration_since(*self.absent_since.get_or_insert(now)) < ABSENCE {
            return false;
        }
        let same = match self.accepted {
            Accepted::Stamp(stamp) => stamp == sight.stamp,
            Accepted::Content(content) => content == sight.content,
        };
        self.accepted = fresh;
        !same
    }
}

#[cfg(test)]
mod tests;
