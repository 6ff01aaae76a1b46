//! Copies of this process's sockets, kept for a successor until one serves.
//!
//! It also says which listeners there are to be closed then. It hands nothing over itself.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Estate, Left};
use crate::snapshot::ListenerId;

/// See the module. Clones share it; only control threads look at it.
#[derive(Clone, Debug, Default)]
pub(in crate::app) struct Kept(Arc<Mutex<Copies>>);

#[derive(Debug, Default)]
struct Copies {
    /// Without sockets where they could not be copied.
    listeners: Vec<(ListenerId, Left)>,
    admin: Option<Left>,
    /// True once a successor serves.
    over: bool,
}

impl Kept {
    /// Keeps copies of sockets that workers have been told of. Answers with the listeners that are to be closed again: all
    /// of them where a successor serves already, because nobody else will close them.
    pub(in crate::app) fn keep(&self, fresh: Vec<(ListenerId, Left)>) -> Vec<ListenerId> {
        self.with(|copies| {
            if copies.over {
                return fresh.iter().map(|(id, _)| *id).collect();
            }
            copies.listeners.extend(fresh);
            Vec::new()
        })
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

    /// True once a successor serves: this process opens nothing more.
    pub(in crate::app) fn is_over(&self) -> bool {
        self.with(|copies| copies.over)
    }

    /// What a successor gets.
    pub(super) fn estate(&self) -> io::Result<Estate> {
        self.with(|copies| {
            let listeners = copies.listeners.iter().map(|(_, left)| left).filter(|left| !left.sockets.is_empty());
            let listeners = listeners.map(Left::copy).collect::<io::Result<_>>()?;
            Ok(Estate { listeners, admin: copies.admin.as_ref().map(Left::copy).transpose()? })
        })
    }

    /// Lets go of everything, and answers with the listeners that there were.
    pub(super) fn clear(&self) -> Vec<ListenerId> {
        let over = Copies { over: true, ..Copies::default() };
        let Copies { listeners, .. } = self.with(|copies| std::mem::replace(copies, over));
        listeners.into_iter().map(|(id, _)| id).collect()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Copies) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(sockets: usize) -> Left {
        let sockets = (0..sockets).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        Left { written: ([127, 0, 0, 1], 80).into(), sockets }
    }

    #[test]
    fn what_is_opened_once_a_successor_serves_is_to_be_closed_again() {
        let kept = Kept::default();
        assert_eq!(kept.keep(vec![(ListenerId(1), left(1))]), []);

        assert_eq!(kept.clear(), [ListenerId(1)]);

        assert!(kept.is_over());
        assert_eq!(kept.keep(vec![(ListenerId(2), left(1))]), [ListenerId(2)]);
        assert!(kept.estate().unwrap().listeners.is_empty() && kept.clear().is_empty());
    }

    #[test]
    fn a_listener_without_copies_is_left_to_nobody_and_closed_all_the_same() {
        let kept = Kept::default();
        kept.keep(vec![(ListenerId(1), left(0)), (ListenerId(2), left(2))]);

        let estate = kept.estate().unwrap();

        assert_eq!(estate.listeners.iter().map(|left| left.sockets.len()).collect::<Vec<_>>(), [2]);
        assert_eq!(kept.clear(), [ListenerId(1), ListenerId(2)]);
    }
}
