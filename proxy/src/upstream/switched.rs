//! A connection to an endpoint whose bytes are no longer HTTP's, or never were: no other exchange has it, and it counts against
//! the bounds of its pool until it ends.

use std::io;

use bytes::Bytes;

use crate::closing;
use crate::upstream::Lease;
use crate::upstream::connect::{Open, socket};
use crate::upstream::pool::Transport;
use crate::upstream::tunnel::{self, Tunnel};

/// See the module.
pub struct Switched {
    /// The connection.
    pub transport: Transport,
    /// What was read of it behind the answer.
    pub early: Bytes,
    _share: Share,
}

/// What has it count.
enum Share {
    Pooled { _open: Option<Open>, _lease: Lease },
    Own { _share: tunnel::Share },
}

impl Switched {
    /// Takes a connection out of HTTP that answered 101.
    pub fn new(lease: Lease) -> io::Result<Self> {
        let (transport, early, open) = lease.hand_over().ok_or(io::ErrorKind::NotConnected)?;
        Ok(Self { transport, early, _share: Share::Pooled { _open: open, _lease: lease } })
    }

    /// Has it closed with a reset when it is dropped, so that the endpoint takes nothing for a whole conversation.
    pub fn close_by_reset(&self) {
        closing::by_reset(socket(&self.transport));
    }

    /// Has it closed with an end behind all that was written.
    pub fn close_by_end(&self) {
        closing::by_end(socket(&self.transport));
    }
}

impl From<Tunnel> for Switched {
    fn from(tunnel: Tunnel) -> Self {
        let Tunnel { transport, share, .. } = tunnel;
        Self { transport, early: Bytes::new(), _share: Share::Own { _share: share } }
    }
}
