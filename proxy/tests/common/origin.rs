//! An origin that does exactly what its script says, and remembers what it was asked.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use socket2::{Domain, SockRef, Socket, Type};

use crate::common::PATIENCE;
use crate::common::wire::{self, Kind, Message};

/// A listening origin; each connection is served by a thread of its own.
pub(crate) struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    closing: AtomicBool,
    connections: AtomicUsize,
    requests: Mutex<Vec<Message>>,
    streams: Mutex<Vec<TcpStream>>,
}

/// A connection as its script sees it.
pub(crate) struct Peer {
    reader: BufReader<TcpStream>,
    /// Connections before this one.
    pub(crate) number: usize,
    shared: Arc<Shared>,
}

impl Origin {
    /// Runs `script` for every connection; it is closed when the script returns.
    pub(crate) fn scripted(script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Origin {
        Origin::listening(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// The same at an address that was bound already.
    pub(crate) fn listening(
        listener: TcpListener,
        script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static,
    ) -> Origin {
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let (known, script) = (Arc::clone(&shared), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if known.closing.load(SeqCst) {
                    return;
                }
                let (mut peer, script) = (Peer::new(stream, &known), Arc::clone(&script));
                thread::spawn(move || {
                    // A script that fails has lost its peer; what the peer got is what a test looks at.
                    let _ = script(&mut peer);
                    let _ = peer.reader.get_ref().shutdown(Shutdown::Both);
                });
            }
        });
        Origin { address, shared }
    }

    /// Gives the same answer to every request.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Origin {
        Origin::scripted(repeating(answer.into()))
    }

    /// Answers 200 with this body, at an address that was bound already.
    pub(crate) fn saying_at(listener: TcpListener, body: &str) -> Origin {
        Origin::listening(listener, repeating(ok(body).into_bytes()))
    }

    /// Answers 200 with this body.
    pub(crate) fn saying(body: &str) -> Origin {
        Origin::answering(ok(body))
    }

    /// Reads one head, then waits for the end of the connection without a word.
    pub(crate) fn silent() -> Origin {
        Origin::scripted(|peer| peer.request().and_then(|_| peer.wait_for_end()))
    }

    /// Reads each request, and gives this answer once there is a word for it: one word, one answer.
    pub(crate) fn held(body: &str) -> (Origin, Sender<()>) {
        Origin::holding(body, |_| true)
    }

    /// The same for `/held` alone; everything else is answered at once.
    pub(crate) fn held_there(body: &str) -> (Origin, Sender<()>) {
        Origin::holding(body, |request| request.target() == "/held")
    }

    fn holding(body: &str, is_held: fn(&Message) -> bool) -> (Origin, Sender<()>) {
        let (release, held) = channel();
        let (held, answer): (Mutex<Receiver<()>>, _) = (Mutex::new(held), ok(body));
        let origin = Origin::scripted(move |peer| {
            while let Some(request) = peer.request()? {
                if is_held(&request) {
                    let released = held.lock().unwrap().recv_timeout(PATIENCE);
                    released.map_err(|_| io::Error::from(ErrorKind::TimedOut))?;
                }
                peer.send(&answer)?;
            }
            Ok(())
        });
        (origin, release)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a route names it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests that were read, oldest first.
    pub(crate) fn requests(&self) -> Vec<Message> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The requests that were read, oldest first, and forgotten with this.
    pub(crate) fn take_requests(&self) -> Vec<Message> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }

    /// The only request that was read.
    pub(crate) fn request(&self) -> Message {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.into_iter().next().unwrap()
    }

    /// Connections that were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }
}

fn repeating(answer: Vec<u8>) -> impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static {
    move |peer| {
        while peer.request()?.is_some() {
            peer.send(&answer)?;
        }
        Ok(())
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.closing.store(true, SeqCst);
        // Ends the wait for the next connection.
        let _ = TcpStream::connect(self.address);
        for stream in self.shared.streams.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Peer {
    fn new(stream: TcpStream, shared: &Arc<Shared>) -> Peer {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        shared.streams.lock().unwrap().push(stream.try_clone().unwrap());
        let number = shared.connections.fetch_add(1, SeqCst);
        Peer { reader: BufReader::with_capacity(1 << 16, stream), number, shared: Arc::clone(shared) }
    }

    /// Reads and remembers a whole request; `None` when the proxy closed.
    pub(crate) fn request(&mut self) -> io::Result<Option<Message>> {
        let request = wire::read(&mut self.reader, Kind::Request)?;
        self.shared.requests.lock().unwrap().extend(request.clone());
        Ok(request)
    }

    /// Reads and remembers the head of a request.
    pub(crate) fn head(&mut self) -> io::Result<Message> {
        let head = wire::read_head(&mut self.reader)?.ok_or(ErrorKind::UnexpectedEof)?;
        self.shared.requests.lock().unwrap().push(head.clone());
        Ok(head)
    }

    /// Reads bytes as they come.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reader.read(into)
    }

    /// Writes all of it.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream().write_all(bytes.as_ref())
    }

    /// The socket itself.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.reader.get_mut()
    }

    /// The bytes as they come.
    pub(crate) fn reader(&mut self) -> &mut impl BufRead {
        &mut self.reader
    }

    /// Reads and forgets until the proxy closes.
    pub(crate) fn wait_for_end(&mut self) -> io::Result<()> {
        io::copy(&mut self.reader, &mut io::sink()).map(drop)
    }

    /// Closes with RST in place of FIN.
    pub(crate) fn reset(&mut self) -> io::Result<()> {
        SockRef::from(self.reader.get_ref()).set_linger(Some(std::time::Duration::ZERO))?;
        // The kernel sends it when the last descriptor goes, so ours is put in place of another one.
        let elsewhere = TcpStream::connect(TcpListener::bind("127.0.0.1:0")?.local_addr()?)?;
        self.shared.streams.lock().unwrap().clear();
        *self.reader.get_mut() = elsewhere;
        Ok(())
    }
}

/// An answer with a body of a declared length.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A body as one chunk and the end.
pub(crate) fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// An address that nobody listens on, to be listened on.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An address that refuses connections, for as long as the test runs.
pub(crate) fn refusing() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // Bound and not listening, so that no neighbour listens there either.
    std::mem::forget(socket);
    address
}
