//! An address where connections are neither taken nor refused.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// A listener whose queue is full, so that the kernel answers no further connection, and what fills it.
pub(crate) struct BlackHole {
    listener: Socket,
    _queue: Vec<Socket>,
}

impl BlackHole {
    pub(crate) fn dig() -> BlackHole {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        for _ in 0..16 {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let full = socket.connect_timeout(&address, Duration::from_millis(200)).is_err();
            queue.push(socket);
            if full {
                return BlackHole { listener, _queue: queue };
            }
        }
        panic!("the queue of a listener does not fill");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap().as_socket().unwrap()
    }
}
