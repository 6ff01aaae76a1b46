//! Copies of this process's sockets, kept for a successor until one serves.
//!
//! It also says which listeners there are to be closed then. It hands nothing over itself.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Estate, Left};
use crate::snapshot::ListenerId;

/// Copies of this process's sockets, kept for a successor. Only control threads look at it.
#[derive(Clone, Debug, Default)]
pub(in crate::app) struct Kept(Arc<Mutex<Copies>>);

#[derive(Debug, Default)]
struct Copies {
    listeners: Vec<(ListenerId, Left)>,
    admin: Option<Left>,
}

impl Kept {
    /// Keeps copies of a listener's sockets.
    pub(in crate::app) fn keep(&self, id: ListenerId, written: SocketAddr, sockets: &[TcpListener]) -> io::Result<()> {
        let sockets = sockets.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        self.with(|copies| copies.listeners.push((id, Left { written, sockets })));
        Ok(())
    }

    /// Keeps a copy of the admin endpoints' socket.
    pub(in crate::app) fn keep_admin(&self, written: SocketAddr, socket: &TcpListener) -> io::Result<()> {
        let sockets = vec![socket.try_clone()?];
        self.with(|copies| copies.admin = Some(Left { written, sockets }));
        Ok(())
    }

    /// Lets go of the sockets of a listener that is no more.
    pub(in crate::app) fn forget(&self, id: ListenerId) {
        self.with(|copies| copies.listeners.retain(|(kept, _)| *kept != id));
    }

    pub(super) fn estate(&self) -> io::Result<Estate> {
        let copy = |left: &Left| -> io::Result<Left> {
            let sockets = left.sockets.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
            Ok(Left { written: left.written, sockets })
        };
        self.with(|copies| {
            let listeners = copies.listeners.iter().map(|(_, left)| copy(left)).collect::<io::Result<_>>()?;
            Ok(Estate { listeners, admin: copies.admin.as_ref().map(copy).transpose()? })
        })
    }

    /// Lets go of everything.
    pub(super) fn clear(&self) -> Vec<ListenerId> {
        let Copies { listeners, .. } = self.with(std::mem::take);
        listeners.into_iter().map(|(id, _)| id).collect()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Copies) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
