//! The addresses of the process: which are bound, which a configuration adds, and which it leaves.
//!
//! A listener is known by its address as it is written; its name, limits and routes may change while it is bound.

use std::net::{SocketAddr, TcpListener};

use tollgate_config as config;

use crate::app::AppError;
use crate::listener::{self, Socket};
use crate::snapshot::ListenerId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    known: Vec<Known>,
    last: u64,
}

#[derive(Debug)]
struct Known {
    id: ListenerId,
    /// As it is written, perhaps with port 0.
    written: SocketAddr,
    bound: SocketAddr,
}

/// What a configuration changes, bound and not yet served.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// In the order of the configuration's listeners.
    ids: Vec<ListenerId>,
    opened: Vec<(Known, Vec<TcpListener>)>,
    closed: Vec<ListenerId>,
}

impl Changes {
    /// The listeners, in the order of the configuration.
    pub(super) fn ids(&self) -> &[ListenerId] {
        &self.ids
    }
}

impl Listeners {
    /// Binds what the configuration has and this does not, for so many workers. Nothing else changes.
    pub(super) fn plan(&self, wanted: &[config::Listener], workers: usize) -> Result<Changes, AppError> {
        let mut left: Vec<&Known> = self.known.iter().collect();
        let mut changes = Changes::default();
        let mut last = self.last;
        for listener in wanted {
            if let Some(place) = left.iter().position(|known| known.written == listener.address) {
                changes.ids.push(left.remove(place).id);
                continue;
            }
            last += 1;
            let id = ListenerId(last);
            // The same port at another address: our own sockets are there.
            let is_ours = self.known.iter().any(|known| known.bound.port() == listener.address.port());
            changes.opened.push(open(id, listener, workers, is_ours)?);
            changes.ids.push(id);
        }
        changes.closed = left.iter().map(|known| known.id).collect();
        Ok(changes)
    }

    /// Takes the changes over: sockets for each worker, and the listeners that are no more.
    pub(super) fn commit(&mut self, changes: Changes, workers: usize) -> (Vec<Vec<Socket>>, Vec<ListenerId>) {
        let mut sockets: Vec<Vec<Socket>> = (0..workers).map(|_| Vec::new()).collect();
        self.known.retain(|known| !changes.closed.contains(&known.id));
        for (known, bound) in changes.opened {
            for (worker, socket) in sockets.iter_mut().zip(bound) {
                worker.push(Socket { socket, listener: known.id });
            }
            self.last = self.last.max(known.id.0);
            self.known.push(known);
        }
        (sockets, changes.closed)
    }

    /// Where a listener really listens.
    pub(super) fn address(&self, id: ListenerId) -> Option<SocketAddr> {
        self.known.iter().find(|known| known.id == id).map(|known| known.bound)
    }
}

fn open(
    id: ListenerId,
    listener: &config::Listener,
    workers: usize,
    is_ours: bool,
) -> Result<(Known, Vec<TcpListener>), AppError> {
    let written = listener.address;
    let bound = listener::bind(written, workers, is_ours).map_err(|source| AppError::Bind {
        what: format!("listener {:?}", listener.name),
        address: written,
        source,
    })?;
    let address = bound.first().map_or(Ok(written), TcpListener::local_addr)?;
    Ok((Known { id, written, bound: address }, bound))
}
