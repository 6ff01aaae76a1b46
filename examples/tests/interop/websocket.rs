//! tokio-tungstenite on both sides: messages of every length both ways, the words around them, and routes that allow none.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{accept_hdr_async, client_async};

use crate::peer::PATIENCE;
use crate::proxy::Tollgate;
use crate::scene::Scene;

/// A connection with or without TLS.
trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

type Socket = WebSocketStream<Pin<Box<dyn Transport>>>;

/// A running server that says every message again, and ends with the test.
struct Echo {
    address: SocketAddr,
    /// How many handshakes succeeded.
    met: Arc<AtomicUsize>,
    serving: JoinHandle<io::Result<()>>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Echo {
    async fn start() -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, met) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let counted = Arc::clone(&met);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(say_again(stream, Arc::clone(&counted)));
            }
        });
        Echo { address, met, serving }
    }
}

/// Serves one connection until either side ends it; a word as a message has the server end it.
async fn say_again(stream: TcpStream, met: Arc<AtomicUsize>) -> Result<(), Error> {
    #[expect(clippy::result_large_err, reason = "the signature is that of the library")]
    let agree = |request: &Request, mut response: Response| {
        let wanted = request.headers().get("sec-websocket-protocol").cloned();
        wanted.map(|wanted| response.headers_mut().insert("sec-websocket-protocol", wanted));
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, agree).await?;
    met.fetch_add(1, Ordering::SeqCst);
    while let Some(message) = socket.next().await {
        match message? {
            Message::Text(text) if text == "end" => {
                let reason = CloseFrame { code: CloseCode::Library(4000), reason: "as told".into() };
                socket.close(Some(reason)).await?;
            }
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).await?,
            // Answered by the library.
            _ => {}
        }
    }
    Ok(())
}

/// What is awaited; a failure where it never comes.
async fn soon<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, answer).await.expect("an end")
}

/// A proxy before the server, with routes that allow an upgrade with and without a filter, and one that allows none.
fn proxy(scene: &Scene, echo: &Echo) -> Tollgate {
    let routes = "[{ to: ws }, { match: { exact: /plain }, to: ws, upgrade: [websocket] }, \
         { match: { exact: /filter }, to: ws, upgrade: [websocket], filters: [noop] }]";
    scene.proxy(&format!("{{ ws: {{ hosts: [{}] }} }}", echo.address), routes)
}

/// A connection to either listener.
async fn connect(scene: &Scene, proxy: &Tollgate, tls: bool) -> Pin<Box<dyn Transport>> {
    let plain = proxy.plain();
    let address = if tls { proxy.tls().to_string() } else { plain.strip_prefix("http://").unwrap().to_owned() };
    let stream = TcpStream::connect(address).await.unwrap();
    if !tls {
        return Box::pin(stream);
    }
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&fs::read(scene.path("ca.pem")).unwrap()).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = "a.test".try_into().unwrap();
    Box::pin(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap())
}

/// A handshake for a path, with a protocol to agree on.
async fn open(scene: &Scene, proxy: &Tollgate, tls: bool, path: &str) -> Result<(Socket, Option<String>), Error> {
    let mut request = format!("ws://a.test{path}").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "notes.v1".parse().unwrap());
    let transport = connect(scene, proxy, tls).await;
    let (socket, response) = soon(client_async(request, transport)).await?;
    let agreed = response.headers().get("sec-websocket-protocol").map(|agreed| agreed.to_str().unwrap().to_owned());
    Ok((socket, agreed))
}

/// Every way there is to a server through a proxy.
const WAYS: [(bool, &str); 4] = [(false, "/plain"), (false, "/filter"), (true, "/plain"), (true, "/filter")];

#[tokio::test]
#[ignore = "`make interop` fetches the peers and runs this"]
async fn tungstenite_hears_every_message_again_as_it_was() {
    let (scene, echo) = (Scene::new(), Echo::start().await);
    let proxy = proxy(&scene, &echo);

    for (tls, path) in WAYS {
        let (mut socket, agreed) = open(&scene, &proxy, tls, path).await.unwrap();
        assert_eq!(agreed.as_deref(), Some("notes.v1"), "{tls} {path}");

        // Each length that a frame tells in another way, and several windows.
        for length in [0, 1, 125, 126, 65_535, 65_536, 4 << 20] {
            let bytes: Vec<u8> =
                (0..length).map(|place: u32| place.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
            for message in [Message::Binary(bytes.clone().into()), Message::Text("ü".repeat(bytes.len() / 2).into())] {
                soon(socket.send(message.clone())).await.unwrap();
                let heard = soon(socket.next()).await.unwrap().unwrap();

                assert!(heard == message, "{tls} {path}: a message of {length} bytes changed");
            }
        }
        soon(socket.send(Message::Ping(Bytes::from_static(b"there?")))).await.unwrap();
        assert_eq!(soon(socket.next()).await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
    }
}

#[tokio::test]
#[ignore = "`make interop` fetches the peers and runs this"]
async fn tungstenite_is_told_by_the_server_why_it_ends() {
    let (scene, echo) = (Scene::new(), Echo::start().await);
    let proxy = proxy(&scene, &echo);

    for (tls, path) in WAYS {
        let (mut socket, _) = open(&scene, &proxy, tls, path).await.unwrap();
        soon(socket.send(Message::Text("end".into()))).await.unwrap();

        let reason = CloseFrame { code: CloseCode::Library(4000), reason: "as told".into() };
        assert_eq!(soon(socket.next()).await.unwrap().unwrap(), Message::Close(Some(reason)), "{tls} {path}");
        // Its own part of the end is sent, and then the connection is over, without an error.
        assert!(
            soon(socket.next()).await.is_none_or(|end| matches!(end, Err(Error::ConnectionClosed))),
            "{tls} {path}"
        );
    }
}

#[tokio::test]
#[ignore = "`make interop` fetches the peers and runs this"]
async fn fifty_sockets_of_tungstenite_hear_their_own_messages() {
    let (scene, echo) = (Scene::new(), Echo::start().await);
    let proxy = proxy(&scene, &echo);
    let mut sockets = Vec::new();
    for number in 0..50_u32 {
        let (tls, path) = WAYS[number as usize % WAYS.len()];
        sockets.push((number, open(&scene, &proxy, tls, path).await.unwrap().0));
    }

    for round in 0..10 {
        for (number, socket) in &mut sockets {
            soon(socket.send(Message::Text(format!("{number} in {round}").into()))).await.unwrap();
        }
        for (number, socket) in &mut sockets {
            let heard = soon(socket.next()).await.unwrap().unwrap();
            assert_eq!(heard, Message::Text(format!("{number} in {round}").into()));
        }
    }

    assert_eq!(echo.met.load(Ordering::SeqCst), 50);
}

#[tokio::test]
#[ignore = "`make interop` fetches the peers and runs this"]
async fn tungstenite_gets_no_socket_where_the_route_allows_none() {
    let (scene, echo) = (Scene::new(), Echo::start().await);
    let proxy = proxy(&scene, &echo);

    for tls in [false, true] {
        let refused = open(&scene, &proxy, tls, "/elsewhere").await.map(|_| ()).unwrap_err();

        let Error::Http(answer) = &refused else { panic!("{refused:?}") };
        assert!(answer.status().is_client_error() || answer.status().is_server_error(), "{refused:?}");
    }
    assert_eq!(echo.met.load(Ordering::SeqCst), 0);
}
