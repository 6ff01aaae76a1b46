//! One process takes the place of another: the listening sockets go over as they are, so that nobody who knocks meanwhile is
//! refused.
//!
//! Who serves attends at a Unix socket (`tollgate run --takeover SOCKET`). A successor that is ready asks there for the
//! sockets, accepts on them too, says so, and has the path for itself; then its predecessor stops accepting and drains.
//! A successor that fails before that changes nothing. Connections stay where they are: only sockets that listen move.

mod kept;
mod post;
mod wire;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

pub(super) use self::kept::Kept;
use self::post::Post;
use crate::app::reload::Change;

/// How long either side waits for the other's words, and for a place in a full socket.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a successor may take from its sockets to the word that it serves.
const START: Duration = Duration::from_secs(60);
/// Pause after a failed `accept`.
const REST: Duration = Duration::from_millis(100);
/// What a successor says once it serves.
const SERVING: u8 = b'S';

/// The sockets at one address.
#[derive(Debug)]
pub(super) struct Left {
    /// The address as it is written, perhaps with port 0.
    pub(super) written: SocketAddr,
    /// One for each worker there was.
    pub(super) sockets: Vec<TcpListener>,
}

impl Left {
    fn copy(&self) -> io::Result<Self> {
        let sockets = self.sockets.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        Ok(Self { written: self.written, sockets })
    }
}

/// What a process leaves.
#[derive(Debug, Default)]
pub(super) struct Estate {
    /// Those of its listeners.
    pub(super) listeners: Vec<Left>,
    /// That of its admin endpoints.
    pub(super) admin: Option<Left>,
}

impl Estate {
    /// The sockets of a listener that is written like this, if there are any.
    pub(super) fn take(&mut self, written: SocketAddr) -> Option<Vec<TcpListener>> {
        let place = self.listeners.iter().position(|left| left.written == written)?;
        Some(self.listeners.remove(place).sockets)
    }

    /// The socket of admin endpoints that are written like this.
    pub(super) fn take_admin(&mut self, written: SocketAddr) -> Option<TcpListener> {
        self.admin.take_if(|left| left.written == written)?.sockets.pop()
    }
}

/// A predecessor that waits for the word that its successor serves.
#[derive(Debug)]
pub(super) struct Predecessor(UnixStream);

impl Predecessor {
    /// Asks whoever attends at a path for its sockets. `None` where nobody does.
    pub(super) fn ask(path: &Path) -> io::Result<Option<(Self, Estate)>> {
        let stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&error.kind()) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let estate = wire::receive(&stream)?;
        Ok(Some((Self(stream), estate)))
    }

    /// Tells it to go.
    fn succeed(mut self) -> io::Result<()> {
        self.0.write_all(&[SERVING])
    }
}

/// What a run with `--takeover` needs.
#[derive(Debug)]
pub(super) struct Takeover {
    /// Where to attend.
    pub(super) path: PathBuf,
    /// Whose place is taken, if anybody's.
    pub(super) predecessor: Option<Predecessor>,
    /// What is left to a successor.
    pub(super) kept: Kept,
}

/// Who is told when a successor serves.
pub(super) struct Told {
    /// Workers, which stop accepting.
    pub(super) hands: Vec<mpsc::UnboundedSender<Change>>,
    /// Whoever drains the process.
    pub(super) succeeded: Arc<Notify>,
}

impl Takeover {
    /// To be awaited once every worker serves: the predecessor is told, and successors are attended until one serves. False
    /// when none can be.
    pub(super) async fn run(self, told: Told) -> bool {
        let Self { path, predecessor, kept } = self;
        let post = Post::open(&path);
        if let Some(Err(error)) = predecessor.map(Predecessor::succeed) {
            tracing::warn!(%error, "the process before this one does not hear that it may go");
        }
        match post {
            Ok(post) => {
                attend(&post, &kept, &told).await;
                true
            }
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "no successor can take this process's place");
                false
            }
        }
    }
}

async fn attend(post: &Post, kept: &Kept, told: &Told) {
    loop {
        let stream = match post.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a successor cannot be attended");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let copies = kept.clone();
        let handing = tokio::task::spawn_blocking(move || hand_over(&stream, &copies));
        match handing.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => break,
            Err(error) => tracing::warn!(%error, "a successor did not come to serve, this process stays"),
        }
    }
    tracing::info!("a successor serves: draining");
    for id in kept.clear() {
        // A worker that has ended accepts nothing.
        told.hands.iter().for_each(|hand| drop(hand.send(Change::Close(id))));
    }
    told.succeeded.notify_one();
}

/// Returns once the successor serves.
fn hand_over(mut stream: &UnixStream, kept: &Kept) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(START))?;
    wire::send(stream, &kept.estate()?)?;
    let mut word = [0];
    stream.read_exact(&mut word)?;
    if word == [SERVING] { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}
