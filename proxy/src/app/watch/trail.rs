//! The directories in which something has to happen for a file to change, and the kernel's word that it did.
//!
//! A path that passes symlinks may come to another file wherever one of them is; each such directory is watched, and the one
//! where the path ends.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, INotifyWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// As many symlinks as the kernel passes on one path.
const LINKS: usize = 40;

/// What matters on the way to files.
#[derive(Debug, Default, PartialEq, Eq)]
struct Trail {
    directories: HashSet<PathBuf>,
    /// Names in those directories: symlinks, the files themselves, or what is missing.
    names: HashSet<PathBuf>,
}

/// The kernel's watches.
pub(super) struct Bells {
    watcher: INotifyWatcher,
    /// What is listened for; the watcher's thread reads it at every event.
    trail: Arc<Mutex<Trail>>,
    warned: bool,
}

impl Bells {
    /// Watches nothing yet, and rings when something that matters happened.
    pub(super) fn new(rung: Arc<Notify>) -> notify::Result<Bells> {
        let trail = Arc::<Mutex<Trail>>::default();
        let listened = Arc::clone(&trail);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let matters = event.is_ok_and(|event| {
                let trail = listened.lock().unwrap_or_else(PoisonError::into_inner);
                trail.is_touched_by(&event)
            });
            if matters {
                rung.notify_one();
            }
        })?;
        Ok(Bells { watcher, trail, warned: false })
    }

    /// Has the kernel watch what lies on the way to these files, and nothing else.
    pub(super) fn hang<'a>(&mut self, files: impl Iterator<Item = &'a Path>) {
        let mut fresh = Trail::default();
        files.for_each(|file| fresh.walk(file));
        let wanted = fresh.directories.clone();
        let old = std::mem::replace(&mut *self.trail.lock().unwrap_or_else(PoisonError::into_inner), fresh);
        for gone in old.directories.difference(&wanted) {
            // The kernel has dropped it already where the directory is no more.
            let _ = self.watcher.unwatch(gone);
        }
        for directory in &wanted {
            // Said again for a directory that is watched already, because another one may have come in its place.
            if let Err(error) = self.watcher.watch(directory, RecursiveMode::NonRecursive) {
                self.warn(directory, &error);
            }
        }
    }

    fn warn(&mut self, directory: &Path, error: &notify::Error) {
        // One that vanished just now is found by the next look.
        let vanished = matches!(error.kind, notify::ErrorKind::PathNotFound);
        if !vanished && !std::mem::replace(&mut self.warned, true) {
            let directory = directory.display();
            tracing::warn!(%directory, %error, "cannot be watched: changes there are noticed late; see fs.inotify");
        }
    }
}

impl Trail {
    /// Adds what lies on the way to `file`, as far as there is a way.
    fn walk(&mut self, file: &Path) {
        let Ok(file) = std::path::absolute(file) else { return };
        let mut place = PathBuf::from("/");
        let mut ahead = steps(&file);
        let mut links = LINKS;
        while let Some(step) = ahead.pop() {
            if step == ".." {
                place.pop();
                continue;
            }
            let next = place.join(&step);
            match std::fs::read_link(&next) {
                Ok(target) if links > 0 => {
                    links -= 1;
                    self.add(&place, next);
                    if target.is_absolute() {
                        place = PathBuf::from("/");
                    }
                    ahead.extend(steps(&target));
                }
                _ if ahead.is_empty() || next.symlink_metadata().is_err() => return self.add(&place, next),
                _ => place = next,
            }
        }
    }

    fn add(&mut self, directory: &Path, name: PathBuf) {
        self.directories.insert(directory.to_owned());
        self.names.insert(name);
    }

    /// True when the event may have changed a file. Reading does not, nor do other names in a busy directory.
    fn is_touched_by(&self, event: &Event) -> bool {
        if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)) {
            return false;
        }
        let touches = |path: &PathBuf| self.names.contains(path) || self.directories.contains(path);
        event.need_rescan() || event.paths.iter().any(touches)
    }
}

/// The names of a path, the first of them last.
fn steps(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, write};
    use std::os::unix::fs::symlink;

    use super::*;

    fn trail(file: &Path) -> Trail {
        let mut trail = Trail::default();
        trail.walk(file);
        trail
    }

    fn set(paths: &[PathBuf]) -> HashSet<PathBuf> {
        paths.iter().cloned().collect()
    }

    #[test]
    fn every_symlink_on_the_way_counts_where_it_is_and_the_file_where_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        create_dir(root.join("v1")).unwrap();
        write(root.join("v1/app.yaml"), "a").unwrap();
        symlink("v1", root.join("..data")).unwrap();
        symlink("..data/app.yaml", root.join("app.yaml")).unwrap();

        let trail = trail(&root.join("app.yaml"));

        assert_eq!(trail.directories, set(&[root.clone(), root.join("v1")]));
        assert_eq!(trail.names, set(&[root.join("app.yaml"), root.join("..data"), root.join("v1/app.yaml")]));
    }

    #[test]
    fn where_the_way_breaks_off_its_last_directory_is_watched_for_the_next_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();

        let trail = trail(&root.join("gone/sub/app.yaml"));

        assert_eq!((trail.directories, trail.names), (set(std::slice::from_ref(&root)), set(&[root.join("gone")])));
    }

    #[test]
    fn a_circle_of_symlinks_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        symlink("b", root.join("a")).unwrap();
        symlink("../../../../../../../../../../../../b", root.join("b")).unwrap();
        symlink(root.join("c"), root.join("c")).unwrap();

        assert_eq!(trail(&root.join("c")).names, set(&[root.join("c")]));
        trail(&root.join("a"));
    }

    #[test]
    fn reading_and_other_names_are_no_change() {
        let trail = Trail { directories: set(&["/d".into()]), names: set(&["/d/file".into()]) };
        let touched = |kind, path: &str| trail.is_touched_by(&Event::new(kind).add_path(path.into()));
        let (open, modify) = (AccessKind::Open(AccessMode::Any), EventKind::Modify(notify::event::ModifyKind::Any));

        assert!(touched(modify, "/d/file") && touched(modify, "/d"));
        assert!(touched(EventKind::Access(AccessKind::Close(AccessMode::Write)), "/d/file"));
        assert!(!touched(EventKind::Access(open), "/d/file") && !touched(modify, "/d/other"));
    }
}
