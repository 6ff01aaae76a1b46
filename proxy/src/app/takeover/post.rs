//! A Unix socket at a path that only this user may use: where a process attends to successors.
//!
//! The path is one process's at a time, which is whose socket file is there. What is said over connections is not its business.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A Unix socket at a path that only this user may use. The path goes with it, unless a successor has it.
pub(super) struct Post {
    listener: tokio::net::UnixListener,
    path: PathBuf,
    file: (u64, u64),
}

impl Post {
    /// Takes the path from whoever has it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(format!(".{}", std::process::id()));
        let fresh = PathBuf::from(fresh);
        let listener = UnixListener::bind(&fresh)?;
        let prepared = fs::set_permissions(&fresh, Permissions::from_mode(0o600)).and_then(|()| {
            let file = identity(&fs::symlink_metadata(&fresh)?);
            fs::rename(&fresh, path)?;
            listener.set_nonblocking(true)?;
            Ok(Self { listener: tokio::net::UnixListener::from_std(listener)?, path: path.to_owned(), file })
        });
        if prepared.is_err() {
            // What is in the way is said by the first error.
            let _ = fs::remove_file(&fresh);
        }
        prepared
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        let stream = self.listener.accept().await?.0.into_std()?;
        stream.set_nonblocking(false)?;
        Ok(stream)
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.file);
        if is_ours {
            // A path that stays leads to nobody, which is told from a process that attends.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Whether somebody attends at a path. Who is just ending takes a connection, and says nothing before it closes.
pub(super) fn is_attended(path: &Path, patience: Duration) -> bool {
    let connected =
        UnixStream::connect(path).and_then(|stream| stream.set_read_timeout(Some(patience)).map(|()| stream));
    let Ok(mut stream) = connected else { return false };
    match stream.read(&mut [0]) {
        Ok(read) => read > 0,
        // One that was stopped goes on some day.
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
