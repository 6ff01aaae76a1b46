//! Opening the files that a configuration names: at once, or not at all.
//!
//! Pipes and devices have names too, and whoever opens or reads one may wait for ever. What a file holds is not looked at.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Opens the regular file that a path leads to, through links. Anything else that has the name is refused without a wait.
pub fn open(path: &Path) -> io::Result<File> {
    // Without waiting, so that a pipe is refused below; nothing that is read of a regular file takes note of it.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    match () {
        () if metadata.is_file() => Ok(file),
        () if metadata.is_dir() => Err(Errno::ISDIR.into()),
        () => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_file_is_opened_through_links_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, pipe] = ["file", "link", "pipe"].map(|name| folder.path().join(name));
        std::fs::write(&file, "text").unwrap();
        symlink(&file, &link).unwrap();
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let said = |path: &Path| open(path).map(drop).map_err(|error| error.to_string());

        assert_eq!([said(&file), said(&link)], [Ok(()), Ok(())]);
        assert_eq!(said(&pipe), Err("it is no regular file".to_owned()));
        assert_eq!(said(Path::new("/dev/zero")), Err("it is no regular file".to_owned()));
        assert_eq!(said(folder.path()), Err("Is a directory (os error 21)".to_owned()));
    }
}
