//! The addresses of the process: which are bound, which a configuration adds, and which it leaves.
//!
//! A listener is known by its address as it is written; its name, limits and routes may change while it is bound.

use std::net::{SocketAddr, TcpListener};

use tollgate_config::{self as config, Intercept};

use crate::app::AppError;
use crate::app::takeover::{Estate, Kept, Left};
use crate::listener::{self, Socket, intercept};
use crate::snapshot::ListenerId;
use crate::upstream::outgoing;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    known: Vec<Known>,
    admin: Option<SocketAddr>,
    last: u64,
    /// What a predecessor left, until the first plan is carried out.
    estate: Estate,
    /// Where copies are kept for a successor, if there may be one.
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Known {
    id: ListenerId,
    /// As it is written, perhaps with port 0.
    written: SocketAddr,
    bound: SocketAddr,
    /// True where its sockets have connections at other addresses than theirs.
    transparent: bool,
}

/// What a configuration changes, bound and not yet served.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// In the order of the configuration's listeners.
    ids: Vec<ListenerId>,
    opened: Vec<Opened>,
    closed: Vec<ListenerId>,
}

#[derive(Debug)]
struct Opened {
    known: Known,
    sockets: Vec<TcpListener>,
    intercept: Option<Intercept>,
    /// True where a predecessor has them too, until it goes.
    inherited: bool,
}

impl Changes {
    /// The listeners, in the order of the configuration.
    pub(super) fn ids(&self) -> &[ListenerId] {
        &self.ids
    }

    /// Makes what was inherited ready for this process, and has it listen. To be done last: a predecessor that stays is not to
    /// notice.
    pub(super) fn begin(&self) -> Result<(), AppError> {
        self.opened.iter().filter(|opened| opened.inherited).try_for_each(
            |Opened { known, sockets, intercept, .. }| {
                let failed = |source| AppError::Bind { what: "a listener".to_owned(), address: known.written, source };
                intercept::adapt(sockets, *intercept).and_then(|()| listener::listen(sockets)).map_err(failed)
            },
        )
    }
}

/// What workers are to be told of.
#[derive(Debug)]
pub(super) struct Committed {
    /// Sockets for each worker.
    pub(super) sockets: Vec<Vec<Socket>>,
    /// The listeners that are no more.
    pub(super) closed: Vec<ListenerId>,
    /// Copies to be kept once the workers have the sockets.
    pub(super) copies: Vec<(ListenerId, Left)>,
}

impl Listeners {
    /// Begins with what a predecessor left, and keeps copies for a successor.
    pub(super) fn inherit(&mut self, estate: Estate, kept: Kept) {
        self.estate = estate;
        self.kept = Some(kept);
    }

    /// Binds what the configuration has and this does not, for so many workers. Nothing else changes.
    pub(super) fn plan(&mut self, wanted: &[config::Listener], workers: usize) -> Result<Changes, AppError> {
        let mut estate = std::mem::take(&mut self.estate);
        let mut left: Vec<&Known> = self.known.iter().collect();
        let mut changes = Changes::default();
        let mut last = self.last;
        // The same port at another address: our own sockets are there, or those of a predecessor, which are ours as well.
        let ours: Vec<u16> = self.known.iter().map(|known| known.bound.port()).chain(estate.ports()).collect();
        for listener in wanted {
            if listener.intercept.is_some() {
                outgoing::watch();
            }
            let transparent = listener.intercept == Some(Intercept::Tproxy);
            let is_same = |known: &&Known| known.written == listener.address && known.transparent == transparent;
            if let Some(place) = left.iter().position(is_same) {
                changes.ids.push(left.remove(place).id);
                continue;
            }
            last += 1;
            let id = ListenerId(last);
            let is_ours = ours.contains(&listener.address.port());
            let (sockets, inherited) = match estate.take(listener.address) {
                Some(sockets) => (listener::complete(sockets, workers), true),
                None => (listener::bind(listener.address, workers, is_ours), false),
            };
            // What is inherited is a predecessor's until nothing can fail any more.
            let ready = if inherited { intercept::may_adapt } else { intercept::prepare };
            let sockets = sockets.and_then(|sockets| ready(&sockets, listener.intercept).map(|()| sockets));
            let (known, sockets) = open(id, listener, sockets)?;
            changes.opened.push(Opened { known, sockets, intercept: listener.intercept, inherited });
            changes.ids.push(id);
        }
        changes.closed = left.iter().map(|known| known.id).collect();
        Ok(changes)
    }

    /// Takes the changes over.
    pub(super) fn commit(&mut self, changes: Changes, workers: usize) -> Committed {
        let mut sockets: Vec<Vec<Socket>> = (0..workers).map(|_| Vec::new()).collect();
        let mut copies = Vec::new();
        self.known.retain(|known| !changes.closed.contains(&known.id));
        if let Some(kept) = &self.kept {
            changes.closed.iter().for_each(|id| kept.forget(*id));
        }
        for Opened { known, sockets: opened, .. } in changes.opened {
            if self.kept.is_some() {
                copies.push((known.id, copy(&known, &opened)));
            }
            // A predecessor may have had more workers: each of its sockets has connections of its own waiting.
            for (place, socket) in opened.into_iter().enumerate() {
                sockets[place % workers].push(Socket { socket, listener: known.id });
            }
            self.last = self.last.max(known.id.0);
            self.known.push(known);
        }
        Committed { sockets, closed: changes.closed, copies }
    }

    /// Keeps copies for a successor. Answers with the listeners that workers are to close again, because one serves already.
    pub(super) fn keep(&self, copies: Vec<(ListenerId, Left)>) -> Vec<ListenerId> {
        self.kept.as_ref().map_or_else(Vec::new, |kept| kept.keep(copies))
    }

    /// True once a successor serves: addresses are its own to open.
    pub(super) fn are_left(&self) -> bool {
        self.kept.as_ref().is_some_and(Kept::is_over)
    }

    /// Notes where the admin endpoints are.
    pub(super) fn set_admin(&mut self, address: Option<SocketAddr>) {
        self.admin = address;
    }

    /// Every address of this process.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.known.iter().map(|known| known.bound).chain(self.admin).collect()
    }

    /// Where a listener really listens.
    pub(super) fn address(&self, id: ListenerId) -> Option<SocketAddr> {
        self.known.iter().find(|known| known.id == id).map(|known| known.bound)
    }
}

/// None where descriptors are scarce: the listener is to be closed for a successor all the same.
fn copy(known: &Known, bound: &[TcpListener]) -> Left {
    let sockets = bound.iter().map(TcpListener::try_clone).collect::<std::io::Result<_>>();
    let sockets = sockets.unwrap_or_else(|error| {
        tracing::warn!(address = %known.bound, %error, "no successor can have this address while this process listens there");
        Vec::new()
    });
    Left { written: known.written, sockets }
}

fn open(
    id: ListenerId,
    listener: &config::Listener,
    sockets: std::io::Result<Vec<TcpListener>>,
) -> Result<(Known, Vec<TcpListener>), AppError> {
    let written = listener.address;
    let bound = sockets.map_err(|source| AppError::Bind {
        what: format!("listener {:?}", listener.name),
        address: written,
        source,
    })?;
    let address = bound.first().map_or(Ok(written), TcpListener::local_addr)?;
    let transparent = listener.intercept == Some(Intercept::Tproxy);
    Ok((Known { id, written, bound: address, transparent }, bound))
}
