//! Listeners: sockets of this process, one per worker and address, and how connections reach a worker.

pub mod connection;
mod framing;
mod guard;
pub mod intercept;
pub mod io;
mod opening;
mod phase;
mod resting;
mod streams;
mod tcp;
mod told;

use std::io::Result;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tollgate_config::Balance;

use crate::closing;
use crate::listener::connection::Settings;
use crate::snapshot::{ListenerId, Local, LocalListener};
use crate::telemetry::metrics::Measure;
use crate::telemetry::panics::outlive;
use crate::worker::{Shared, Worker};

/// Connections that the kernel keeps for a worker that is busy.
const BACKLOG: i32 = 1024;
/// How long accepting rests when the process is out of file descriptors, rather than spinning.
const REST: Duration = Duration::from_millis(100);
/// How many connections more than another a worker may have before it hands one on.
const UNEVEN: usize = 1;

/// One worker's socket of one listener.
#[derive(Debug)]
pub struct Socket {
    /// The socket; every worker has its own at the same address.
    pub socket: StdListener,
    /// Its listener.
    pub listener: ListenerId,
}

/// What is known of a connection without asking the kernel.
#[derive(Clone, Copy)]
struct Ends {
    source: SocketAddr,
    /// The address that its listener is bound to; absent where that is every address.
    bound: Option<SocketAddr>,
}

/// A client's socket.
struct Accepted {
    stream: TcpStream,
    source: SocketAddr,
    /// What the connection was meant for.
    destination: SocketAddr,
    intercepted: bool,
}

/// A connection that another worker accepted.
pub struct Handed {
    stream: std::net::TcpStream,
    ends: Ends,
    listener: ListenerId,
    admission: Admission,
}

/// Binds one address for every worker. A second process at the same address is refused, although workers share it, unless
/// the port `is_ours`: then nobody can tell the process from itself.
pub fn bind(address: SocketAddr, workers: usize, is_ours: bool) -> Result<Vec<StdListener>> {
    if address.port() != 0 && !is_ours {
        // Without SO_REUSEPORT this fails while anybody else listens there.
        drop(socket(address, false)?);
    }
    let first = socket(address, true)?;
    let bound = first.local_addr()?;
    let others = (1..workers).map(|_| socket(bound, true));
    std::iter::once(Ok(first)).chain(others).collect()
}

/// Sockets that another process bound, with as many more at their address as workers lack. These do not listen yet: whom the
/// kernel leads to one is lost when this process does not come to serve.
pub fn complete(mut sockets: Vec<StdListener>, workers: usize) -> Result<Vec<StdListener>> {
    if let Some(bound) = sockets.first().map(StdListener::local_addr).transpose()? {
        while sockets.len() < workers {
            sockets.push(bind_one(bound, true)?.into());
        }
    }
    Ok(sockets)
}

/// Has sockets listen, those too that do not.
pub fn listen(sockets: &[StdListener]) -> Result<()> {
    sockets.iter().try_for_each(|socket| SockRef::from(socket).listen(BACKLOG))
}

fn socket(address: SocketAddr, shared: bool) -> Result<StdListener> {
    let socket = bind_one(address, shared)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_one(address: SocketAddr, shared: bool) -> Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Accepts connections until `closing`; those that the kernel has taken by then are let in.
pub async fn accept(
    worker: Rc<Worker>,
    socket: Socket,
    hand: Rc<[mpsc::UnboundedSender<Handed>]>,
    mut closing: oneshot::Receiver<()>,
) {
    let Socket { socket, listener } = socket;
    let door = match Door::new(socket, listener, hand) {
        Ok(door) => door,
        Err(error) => {
            tracing::error!(%error, "cannot accept connections");
            return;
        }
    };
    worker.open(listener);
    outlive(async || {
        tokio::select! {
            biased;
            // Whoever could say so is gone with the worker, which ends this too.
            _ = &mut closing => {}
            () = door.open(&worker) => {}
        }
    })
    .await;
    door.empty(&worker);
    worker.shut(listener);
}

/// A socket of the worker's runtime.
struct Door {
    socket: TcpListener,
    listener: ListenerId,
    /// The address that it is bound to; absent where that is every address.
    bound: Option<SocketAddr>,
    hand: Rc<[mpsc::UnboundedSender<Handed>]>,
}

impl Door {
    fn new(socket: StdListener, listener: ListenerId, hand: Rc<[mpsc::UnboundedSender<Handed>]>) -> Result<Self> {
        // Its connections have it from their beginning. Without it small answers wait for the client's acknowledgement; a
        // socket that refuses is still of use.
        let _ = SockRef::from(&socket).set_tcp_nodelay(true);
        let bound = Some(socket.local_addr()?).filter(|address| !address.ip().is_unspecified());
        Ok(Self { socket: TcpListener::from_std(socket)?, listener, bound, hand })
    }

    async fn open(&self, worker: &Rc<Worker>) {
        let mut failing = false;
        loop {
            self.rest(worker).await;
            match self.socket.accept().await {
                Ok((stream, source)) => {
                    failing = false;
                    self.let_in(worker, stream, source);
                }
                Err(error) => {
                    // One line for a bad spell, not one for each try.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "cannot accept connections, and tries on");
                    }
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    /// Lets nobody in while there is far too little memory.
    async fn rest(&self, worker: &Worker) {
        if !worker.is_shut() {
            return;
        }
        if let Some(known) = worker.local().listener(self.listener) {
            known.series.overload[Measure::Paused.index()].inc();
        }
        while worker.is_shut() {
            tokio::time::sleep(REST).await;
        }
    }

    /// Lets in who waits at the socket. The kernel is asked: the runtime knows what it saw when the worker last rested.
    fn empty(&self, worker: &Rc<Worker>) {
        while let Ok((stream, source)) = SockRef::from(&self.socket).accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream.into()));
            if let (Ok(stream), Some(source)) = (stream, source.as_socket()) {
                self.let_in(worker, stream, source);
            }
        }
    }

    /// Serves a connection here, or where there are fewer.
    fn let_in(&self, worker: &Rc<Worker>, stream: TcpStream, source: SocketAddr) {
        let local = worker.local();
        let Some(known) = local.listener(self.listener) else { return };
        if known.tcp.is_some() {
            // Whoever drops it: where the endpoint is to speak first, a mere end would look like a whole conversation.
            closing::by_reset(&stream);
        }
        let is_kept = worker.shared.room.keeps(stream.as_raw_fd());
        let admission = if is_kept { None } else { Admission::new(worker, &local, known) };
        let Some(mut admission) = admission else {
            known.series.refused.inc();
            return;
        };
        worker.note_let_in();
        #[cfg(test)]
        crate::telemetry::panics::sabotage::pass("accept");
        let index = if known.listener.balance == Balance::Even { lightest(worker) } else { worker.index };
        admission.settle(index);
        let (listener, ends) = (self.listener, Ends { source, bound: self.bound });
        if index == worker.index {
            begin(worker, stream, ends, listener, admission);
        } else if let (Ok(stream), Some(hand)) = (stream.into_std(), self.hand.get(index)) {
            // A worker that has ended drops it.
            let _ = hand.send(Handed { stream, ends, listener, admission });
        }
    }
}

/// A connection's place among those of the process, of its listener and of a worker; free again when it is dropped, whatever
/// became of the connection.
pub struct Admission {
    shared: Arc<Shared>,
    /// Those of its listener.
    siblings: Arc<AtomicUsize>,
    worker: Option<usize>,
}

impl Admission {
    /// `None` when the process has as many as it may, or as it has descriptors for, or the listener has as many as it may.
    fn new(worker: &Worker, local: &Local, known: &LocalListener) -> Option<Self> {
        let (shared, siblings) = (Arc::clone(&worker.shared), Arc::clone(&known.listener.connections));
        let before = (shared.connections.fetch_add(1, Relaxed), siblings.fetch_add(1, Relaxed));
        let admission = Self { shared, siblings, worker: None };
        let limit = local.snapshot.limits.connections.min(admission.shared.room.connections);
        (before.0 < limit && before.1 < known.listener.limits.connections).then_some(admission)
    }

    fn settle(&mut self, worker: usize) {
        self.worker = Some(worker);
        self.shared.count_connection(worker);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.siblings.fetch_sub(1, Relaxed);
        self.shared.discount_connection(self.worker);
    }
}

/// The worker with the fewest connections; this one unless another has noticeably fewer.
fn lightest(worker: &Worker) -> usize {
    let loads = worker.shared.loads.iter().map(|load| load.connections.load(Relaxed));
    let own = worker.load().connections.load(Relaxed);
    let least = loads.enumerate().min_by_key(|(_, load)| *load);
    least.filter(|(_, load)| load + UNEVEN < own + 1).map_or(worker.index, |(index, _)| index)
}

/// Takes up connections that other workers accepted.
pub async fn receive(worker: Rc<Worker>, mut handed: mpsc::UnboundedReceiver<Handed>) {
    outlive(async || take_up(&worker, &mut handed).await).await;
}

async fn take_up(worker: &Rc<Worker>, handed: &mut mpsc::UnboundedReceiver<Handed>) {
    while let Some(Handed { stream, ends, listener, admission }) = handed.recv().await {
        match TcpStream::from_std(stream) {
            Ok(stream) => begin(worker, stream, ends, listener, admission),
            Err(error) => tracing::warn!(%error, "cannot take up a connection"),
        }
    }
}

fn begin(worker: &Rc<Worker>, stream: TcpStream, ends: Ends, listener: ListenerId, admission: Admission) {
    let Ends { source, bound } = ends;
    let local = worker.local();
    let Some(known) = local.listener(listener) else { return };
    let Some(due) = told::due(known.listener.senders.as_ref(), source.ip()) else {
        known.series.protocol_errors.inc();
        return;
    };
    let Ok(destination) = intercept::destination(&stream, bound, known.listener.intercept) else { return };
    if known.tcp.is_some() && worker.sheds() {
        known.series.overload[Measure::Shed.index()].inc();
        return;
    }
    let intercepted = known.listener.intercept.is_some();
    let since = worker.clock.look();
    let (worker, accepted) = (Rc::clone(worker), Accepted { stream, source, destination, intercepted });
    match &known.tcp {
        None => {
            let serving = connection::serve(worker, listener, Settings::of(known, due, since), accepted, admission);
            drop(tokio::task::spawn_local(serving));
        }
        Some(tcp) => {
            let serving = tcp::serve(worker, (Rc::clone(known), Rc::clone(tcp)), (accepted, due, since), admission);
            drop(tokio::task::spawn_local(serving));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream as StdStream;

    use super::*;

    #[test]
    fn every_worker_gets_a_socket_at_one_address() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3, false).unwrap();

        let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        assert_eq!(addresses.len(), 3);
        assert!(addresses.iter().all(|address| *address == addresses[0]));
    }

    #[tokio::test]
    async fn connections_have_what_their_socket_was_told() {
        let socket = bind("127.0.0.1:0".parse().unwrap(), 1, false).unwrap().remove(0);
        let address = socket.local_addr().unwrap();
        let door = Door::new(socket, ListenerId(1), Rc::new([])).unwrap();
        let _client = StdStream::connect(address).unwrap();

        let (accepted, _) = door.socket.accept().await.unwrap();

        assert!(accepted.nodelay().unwrap());
        assert_eq!((door.bound, accepted.local_addr().unwrap()), (Some(address), address));
        let every = bind("0.0.0.0:0".parse().unwrap(), 1, false).unwrap().remove(0);
        assert_eq!(Door::new(every, ListenerId(1), Rc::new([])).unwrap().bound, None);
    }

    #[test]
    fn sockets_beside_those_of_another_process_get_nobody_before_they_are_told_to_listen() {
        let sockets = complete(bind("127.0.0.1:0".parse().unwrap(), 1, false).unwrap(), 3).unwrap();
        let kinds = || sockets.iter().map(|socket| socket.accept().unwrap_err().kind()).collect::<Vec<_>>();
        use std::io::ErrorKind::{InvalidInput, WouldBlock};
        assert_eq!(kinds(), [WouldBlock, InvalidInput, InvalidInput]);

        listen(&sockets).unwrap();

        assert_eq!(kinds(), [WouldBlock; 3]);
    }

    #[test]
    fn a_second_process_at_the_same_address_is_refused() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 2, false).unwrap();

        let second = bind(first[0].local_addr().unwrap(), 2, false);

        assert_eq!(second.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    }
}
