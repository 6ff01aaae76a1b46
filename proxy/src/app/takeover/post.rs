//! A Unix socket at a path that only this user may use: where a process attends to successors.
//!
//! The path is one process's at a time, which is whose socket file is there. What is said over connections is not its business.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::{Uid, geteuid};

/// A Unix socket at a path that only this user may use. The path goes with it, unless a successor has it.
pub(super) struct Post {
    listener: tokio::net::UnixListener,
    path: PathBuf,
    file: (u64, u64),
}

impl Post {
    /// Takes the path from whoever has it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let fresh = aside(path)?;
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

    fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|found| identity(&found) == self.file)
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        if !self.is_at(&self.path) {
            return;
        }
        // Looked at once more out of everybody's reach: a successor may have taken the path in between, and gets it back. A
        // path that stays leads to nobody, which is told from a process that attends.
        let Ok(aside) = aside(&self.path) else { return };
        if fs::rename(&self.path, &aside).is_ok() {
            let _ = if self.is_at(&aside) { fs::remove_file(&aside) } else { fs::rename(&aside, &self.path) };
        }
    }
}

/// A name beside the path that nobody else uses. The number of the process would be another's in another container, and a
/// later one's in the same.
fn aside(path: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 4];
    getrandom::fill(&mut random)?;
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{:08x}", u32::from_le_bytes(random)));
    Ok(PathBuf::from(aside))
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Refuses processes of others: who gets the sockets, or leaves them, answers for this process's clients. What the file's
/// mode forbids is looked at when somebody connects, and a moment passes before it is set.
pub(super) fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let peer = socket_peercred(stream)?.uid;
    if is_trusted(peer, geteuid()) {
        return Ok(());
    }
    let who = format!("the other process belongs to user {}, not to the one of this process or root", peer.as_raw());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, who))
}

fn is_trusted(peer: Uid, own: Uid) -> bool {
    peer == own || peer.is_root()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_path_that_somebody_took_is_not_taken_along() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let first = Post::open(&path).unwrap();
        let second = Post::open(&path).unwrap();

        drop(first);
        assert!(second.is_at(&path) && UnixStream::connect(&path).is_ok());
        drop(second);

        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_a_process_of_the_same_number_left_beside_the_path_is_in_nobody_s_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(UnixListener::bind(folder.path().join(format!("socket.{}", std::process::id()))).unwrap());

        assert!(Post::open(&path).unwrap().is_at(&path));
    }

    #[test]
    fn processes_of_this_user_and_of_root_are_trusted() {
        let [own, other] = [7, 8].map(Uid::from_raw);

        assert!(is_trusted(own, own) && is_trusted(Uid::ROOT, own));
        assert!(!is_trusted(other, own) && !is_trusted(other, Uid::ROOT));
        check_peer(&UnixStream::pair().unwrap().0).unwrap();
    }
}
