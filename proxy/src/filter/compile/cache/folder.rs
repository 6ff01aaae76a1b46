//! A folder that is the owner's alone: files in it are read within a bound, written whole or not at all, and removed.
//!
//! It is held open, so that it stays the folder that was looked at. What the files mean is not known here.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::process::geteuid;

use crate::filter::blob::Blob;

/// What the names of files begin with that are not finished.
pub(super) const UNFINISHED: &str = ".tmp-";

/// How bytes get into a file; another one than [`whole`] is for tests of full disks.
pub(super) type Writer = fn(&mut File, &[u8]) -> io::Result<()>;

/// Writes everything and waits until it is on the disk.
pub(super) fn whole(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The open folder.
pub(super) struct Folder {
    directory: OwnedFd,
    pub(super) writer: Writer,
}

/// One file of it.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

impl Folder {
    /// Opens it, and makes it where it is missing. Refused is one that another user owns or may write to.
    pub(super) fn open(path: &Path) -> io::Result<Folder> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let directory = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let metadata = File::from(directory.try_clone()?).metadata()?;
        if metadata.uid() != geteuid().as_raw() {
            return Err(refused("it belongs to another user"));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(refused("others may write to it: chmod go-w makes it fit"));
        }
        Ok(Folder { directory, writer: whole })
    }

    /// The bytes of a file of at most `limit` bytes, and the open file. Links are not followed. `InvalidData` says that the
    /// file is not fit, whenever it is read; any other error may pass.
    pub(super) fn read(&self, name: &str, limit: usize) -> io::Result<(File, Bytes)> {
        // Without waiting, so that a pipe of that name is refused below and not waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.directory, name, flags, Mode::empty()) {
            Err(rustix::io::Errno::LOOP) => return Err(refused("it is a link")),
            opened => File::from(opened?),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
            return Err(refused("it is no file of this user's alone"));
        }
        let blob = Blob::read(&file, usize::try_from(metadata.len()).unwrap_or(limit), limit)?;
        if blob.len() > limit {
            return Err(refused("it is larger than it may be"));
        }
        Ok((file, blob.into()))
    }

    /// Puts a file in place of whatever has the name, whole; on an error the name stands for what it stood for.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with_unfinished(bytes, |unfinished| {
            rustix::fs::renameat(&self.directory, unfinished, &self.directory, name)
        })
    }

    /// Puts a file where there is none of the name, whole. Of several who try at once one wins, and none fails.
    pub(super) fn establish(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with_unfinished(bytes, |unfinished| {
            match rustix::fs::linkat(&self.directory, unfinished, &self.directory, name, AtFlags::empty()) {
                Err(rustix::io::Errno::EXIST) => Ok(()),
                result => result,
            }
        })
    }

    /// Writes a file under a name that nobody looks for, gives it to `finish`, and leaves nothing under that name.
    fn with_unfinished(&self, bytes: &[u8], finish: impl Fn(&str) -> rustix::io::Result<()>) -> io::Result<()> {
        let name = unfinished_name()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file = File::from(rustix::fs::openat(&self.directory, name.as_str(), flags, mode)?);
        let written = (self.writer)(&mut file, bytes).and_then(|()| finish(&name).map_err(io::Error::from));
        // Gone already where it was renamed.
        let _ = self.remove(&name);
        written
    }

    /// Removes a file, or the link of that name.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.directory, name, AtFlags::empty())?)
    }

    /// Every regular file that can be looked at, in no order.
    pub(super) fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for found in Dir::read_from(&self.directory)? {
            let found = found?;
            let Ok(name) = found.file_name().to_str() else { continue };
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            // Another process may have removed it since.
            let Ok(file) = rustix::fs::openat(&self.directory, name, flags, Mode::empty()) else { continue };
            let Ok(metadata) = File::from(file).metadata() else { continue };
            if metadata.is_file() {
                let modified = metadata.modified()?;
                entries.push(Entry { name: name.to_owned(), size: metadata.len(), modified });
            }
        }
        Ok(entries)
    }
}

fn unfinished_name() -> io::Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)?;
    Ok(format!("{UNFINISHED}{:016x}", u64::from_le_bytes(random)))
}

fn refused(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let path = tempfile::tempdir().unwrap();
        let folder = Folder::open(path.path()).unwrap();
        (path, folder)
    }

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_missing_folder_is_made_for_its_owner_alone() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("a/b");

        Folder::open(&path).unwrap();

        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let path = tempfile::tempdir().unwrap();
        for mode in [0o720, 0o702] {
            chmod(path.path(), mode);

            assert!(Folder::open(path.path()).is_err(), "{mode:o}");
        }
        chmod(path.path(), 0o755);
        assert!(Folder::open(path.path()).is_ok());
    }

    #[test]
    fn a_file_is_its_owners_alone_and_nothing_is_left_beside_it() {
        let (path, folder) = folder();

        folder.replace("a", b"one").unwrap();
        folder.replace("a", b"two").unwrap();

        assert_eq!(folder.read("a", 3).unwrap().1, b"two"[..]);
        assert_eq!(path.path().join("a").metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(folder.entries().unwrap().len(), 1);
    }

    #[test]
    fn what_is_established_first_stays() {
        let (_path, folder) = folder();

        folder.establish("a", b"one").unwrap();
        folder.establish("a", b"two").unwrap();

        assert_eq!(folder.read("a", 3).unwrap().1, b"one"[..]);
        assert_eq!(folder.entries().unwrap().len(), 1);
    }

    #[test]
    fn links_large_files_and_files_open_to_others_are_not_read() {
        let (path, folder) = folder();
        folder.replace("a", b"four").unwrap();
        symlink("a", path.path().join("link")).unwrap();

        assert!(folder.read("link", 4).is_err());
        assert!(folder.read("a", 3).is_err());
        assert!(folder.read("a", 4).is_ok());
        chmod(&path.path().join("a"), 0o640);
        assert!(folder.read("a", 4).is_err());
    }
}
