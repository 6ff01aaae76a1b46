//! One process takes the place of another: the listening sockets go over as they are, so that nobody who knocks meanwhile is
//! refused.
//!
//! Who serves attends at a Unix socket (`tollgate run --takeover SOCKET`). A successor that is ready asks there for the
//! sockets, accepts on them too, and says so; its predecessor answers, stops accepting and drains, and the path is the
//! successor's. One that fails before that changes nothing, and one that is not answered gives way. Connections stay where
//! they are: only sockets that listen move.

mod kept;
mod post;
mod wire;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
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
/// What its predecessor says to that, once.
const GOING: u8 = b'G';

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

    /// The ports of the sockets of listeners.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        let sockets = self.listeners.iter().flat_map(|left| left.sockets.first());
        sockets.filter_map(|socket| Some(socket.local_addr().ok()?.port()))
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
        post::check_peer(&stream)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let estate = wire::receive(&stream)?;
        Ok(Some((Self(stream), estate)))
    }

    /// Has it go. After an error it stays, if it lives.
    fn succeed(self) -> io::Result<()> {
        let Self(mut stream) = self;
        stream.write_all(&[SERVING])?;
        let mut word = [0];
        stream.read_exact(&mut word).or_else(|late| {
            // What it has said by now counts, and it can say nothing after this: it knows what its successor knows.
            stream.shutdown(Shutdown::Both)?;
            stream.read_exact(&mut word).map_err(|_| late)
        })?;
        if word == [GOING] { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// False where a predecessor serves on: it took this process for lost.
async fn makes_way(predecessor: Predecessor, path: &Path) -> bool {
    let path = path.to_owned();
    let asking = tokio::task::spawn_blocking(move || match predecessor.succeed() {
        Ok(()) => true,
        Err(error) if post::is_attended(&path, PATIENCE) => {
            tracing::error!(%error, "the process before this one does not go, so this one ends");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "the process before this one ended by itself");
            true
        }
    });
    // A bug here leaves two that serve rather than none.
    asking.await.unwrap_or(true)
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

/// Who is told when another process serves.
pub(super) struct Told {
    /// Workers, which stop accepting.
    pub(super) hands: Vec<mpsc::UnboundedSender<Change>>,
    /// Whoever drains the process.
    pub(super) succeeded: Arc<Notify>,
}

impl Told {
    fn give_way(&self, kept: &Kept) {
        for id in kept.clear() {
            // A worker that has ended accepts nothing.
            self.hands.iter().for_each(|hand| drop(hand.send(Change::Close(id))));
        }
        self.succeeded.notify_one();
    }
}

impl Takeover {
    /// To be awaited once every worker serves: the predecessor is told, and successors are attended until one serves. True
    /// when this process is to end, because another serves; false when no successor can be attended.
    pub(super) async fn run(self, told: Told) -> bool {
        let Self { path, predecessor, kept } = self;
        if let Some(predecessor) = predecessor
            && !makes_way(predecessor, &path).await
        {
            told.give_way(&kept);
            return true;
        }
        match Post::open(&path) {
            Ok(post) => {
                attend(&post, &kept).await;
                tracing::info!("a successor serves: draining");
                told.give_way(&kept);
                true
            }
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "no successor can take this process's place");
                false
            }
        }
    }
}

/// Completes once a successor serves.
async fn attend(post: &Post, kept: &Kept) {
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
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "a successor did not come to serve, this process stays"),
        }
    }
}

/// Returns once the successor serves and knows that this process goes.
fn hand_over(stream: &UnixStream, kept: &Kept) -> io::Result<()> {
    post::check_peer(stream)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(START))?;
    wire::send(stream, &kept.estate()?)?;
    hear(stream)
}

fn hear(mut stream: &UnixStream) -> io::Result<()> {
    let mut word = [0];
    stream.read_exact(&mut word)?;
    if word != [SERVING] {
        return Err(io::ErrorKind::InvalidData.into());
    }
    stream.write_all(&[GOING])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_says_so_and_who_serves_hears_it() {
        let (here, there) = UnixStream::pair().unwrap();

        std::thread::scope(|scope| {
            let handing = scope.spawn(|| hand_over(&there, &Kept::default()));
            wire::receive(&here).unwrap();
            Predecessor(here).succeed().unwrap();
            handing.join().unwrap().unwrap();
        });
    }

    #[test]
    fn who_is_not_answered_in_time_takes_no_answer_later() {
        let (here, there) = UnixStream::pair().unwrap();
        here.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let kept_open = here.try_clone().unwrap();

        let late = Predecessor(here).succeed();

        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(hear(&there).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        drop(kept_open);
    }
}
