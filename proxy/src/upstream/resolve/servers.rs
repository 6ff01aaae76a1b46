//! Looks names up in the way the C library does, without a thread for each: hosts of a file first, then name servers.
//! Other sources that a system may be set up with are the library's alone.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tollgate_config::Family;

use super::Found;
use super::asking::Asking;
use super::files::Files;
use super::setup::Setup;
use super::system::System;
use super::turns::Turns;

/// The longest look-up.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an address out of a file is used.
const OF_FILE: Duration = Duration::from_secs(5);
/// The most names that are asked for at a time.
const TURNS: usize = 64;
/// The most names besides that have taken long: each has a socket.
const LATE: usize = 448;
/// What is long: longer than an answer takes that comes.
const LONG: Duration = Duration::from_millis(250);

/// Turns for all who ask name servers.
pub(super) fn turns() -> Turns {
    Turns::new(TURNS, LATE, LONG)
}

/// See the module.
pub(super) struct Servers {
    /// Who is asked; nobody: whom the system says.
    listed: Vec<SocketAddr>,
    files: Files,
    /// Asked where no name server is known.
    system: Arc<System>,
    turns: Arc<Turns>,
    /// As the system last said. Held for a look.
    current: Mutex<Option<Arc<Asking>>>,
    /// True while the system's resolver takes the place of name servers.
    is_replaced: AtomicBool,
}

impl Servers {
    /// Those that are listed; where none is, those that the files name.
    pub(super) fn new(listed: Vec<SocketAddr>, files: Files, (system, turns): (&Arc<System>, &Arc<Turns>)) -> Self {
        let (system, turns) = (Arc::clone(system), Arc::clone(turns));
        Self { listed, files, system, turns, current: Mutex::default(), is_replaced: AtomicBool::new(false) }
    }

    /// The addresses of a name, within five seconds from its turn on. It ends when it is dropped.
    pub(super) async fn look_up(&self, name: &str, family: Family) -> io::Result<Found> {
        match self.turns.take(self.ask(name, family)).await? {
            Some(found) => Ok(found),
            // The system's resolver has turns of its own, and may take any time.
            None => self.system.look_up(name, family).await,
        }
    }

    /// What files and name servers know of a name; `None` where no name server is known.
    async fn ask(&self, name: &str, family: Family) -> io::Result<Option<Found>> {
        let wanted = name.to_owned();
        let addresses = self.read(move |files| files.addresses(&wanted)).await?;
        if let Some(found) = Found::among(addresses, family, Some(OF_FILE)) {
            return Ok(Some(found));
        }
        let Some(setup) = self.setup().await? else { return Ok(None) };
        let asking = self.asking(setup)?;
        let found = tokio::time::timeout(PATIENCE, asking.look_up(name, family)).await;
        found.unwrap_or_else(|_| Err(io::Error::other("no name server answers in time"))).map(Some)
    }

    async fn read<T: Send + 'static>(&self, what: impl FnOnce(Files) -> T + Send + 'static) -> io::Result<T> {
        let files = self.files.clone();
        tokio::task::spawn_blocking(move || what(files)).await.map_err(io::Error::other)
    }

    /// Whom to ask; `None` where nobody is known.
    async fn setup(&self) -> io::Result<Option<Setup>> {
        if !self.listed.is_empty() {
            return Ok(Some(Setup::listed(&self.listed)));
        }
        let setup = match self.read(|files| files.resolv()).await? {
            Ok(text) => Setup::read(&text).ok_or_else(|| "it names no server that can be asked".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let was_replaced = self.is_replaced.swap(setup.is_err(), Relaxed);
        if let (Err(why), false) = (&setup, was_replaced) {
            let file = self.files.resolv.display();
            tracing::warn!(%file, why, "name servers are not known, the system's resolver looks names up");
        }
        Ok(setup.ok())
    }

    /// Who asked before goes on as long as the system is set up in the same way.
    fn asking(&self, setup: Setup) -> io::Result<Arc<Asking>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asking) = current.as_ref().filter(|asking| *asking.setup() == setup) {
            return Ok(Arc::clone(asking));
        }
        let asking = Arc::new(Asking::new(setup)?);
        *current = Some(Arc::clone(&asking));
        Ok(asking)
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers").field("listed", &self.listed).field("files", &self.files).finish_non_exhaustive()
    }
}
