//! A gRPC service that stands for all: each kind of call, with answers, statuses and metadata that a test can tell apart.
//!
//! It is written by hand for tonic, as generated code would have it, so that no compiler of protocol buffers is needed.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::client::Grpc as Caller;
use tonic::codegen::{Service, http};
use tonic::metadata::MetadataMap;
use tonic::server::Grpc as Answerer;
use tonic::transport::{Channel, Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// What is sent both ways.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Note {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(uint32, tag = "2")]
    pub(crate) count: u32,
}

/// A note.
pub(crate) fn note(text: &str, count: u32) -> Note {
    Note { text: text.to_owned(), count }
}

type Notes = Pin<Box<dyn Stream<Item = Result<Note, Status>> + Send>>;

/// A closure as a service, for which tonic has no form of its own.
#[derive(Clone)]
struct With<F>(F);

impl<F, R, Answer, T, E> Service<R> for With<F>
where
    F: FnMut(R) -> Answer,
    Answer: Future<Output = Result<T, E>>,
{
    type Response = T;
    type Error = E;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Answer {
        (self.0)(request)
    }
}

/// A running server, which ends with the test.
pub(crate) struct NoteServer {
    pub(crate) address: SocketAddr,
    /// How many calls are under way.
    pub(crate) under_way: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Drop for NoteServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Counts a call for as long as it is kept, which is until the call is answered or given up.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn new(count: &Arc<AtomicUsize>) -> UnderWay {
        count.fetch_add(1, Ordering::SeqCst);
        UnderWay(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl NoteServer {
    /// Serves on a port of its own, with TLS where there is an identity.
    pub(crate) async fn start(identity: Option<Identity>) -> NoteServer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, under_way) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let mut server = Server::builder();
        if let Some(identity) = identity {
            server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        }
        let counted = Arc::clone(&under_way);
        let service = With(move |request| {
            let under_way = Arc::clone(&counted);
            async move { Ok::<_, std::convert::Infallible>(answer(request, &under_way).await) }
        });
        let serving = tokio::spawn(async move {
            server.serve_with_incoming(service, TcpListenerStream::new(listener)).await.unwrap();
        });
        NoteServer { address, under_way, serving }
    }
}

/// Answers a call by the last part of its path.
async fn answer(request: http::Request<Body>, under_way: &Arc<AtomicUsize>) -> http::Response<Body> {
    let mut grpc = Answerer::new(ProstCodec::default());
    let guard = Arc::new(UnderWay::new(under_way));
    let path = request.uri().path().to_owned();
    match path.rsplit('/').next() {
        Some("One") => grpc.unary(With(|request| one(request, Arc::clone(&guard))), request).await,
        Some("Several") => grpc.server_streaming(With(|request| several(request, Arc::clone(&guard))), request).await,
        Some("Sum") => grpc.client_streaming(With(|request| sum(request, Arc::clone(&guard))), request).await,
        Some("Talk") => grpc.streaming(With(|request| talk(request, Arc::clone(&guard))), request).await,
        _ => Status::unimplemented(path).into_http(),
    }
}

/// The same note with what came beside it; or a status; or no answer at all.
async fn one(request: Request<Note>, guard: Arc<UnderWay>) -> Result<Response<Note>, Status> {
    let told = request.metadata().get("x-told").cloned();
    match request.get_ref().text.as_str() {
        "fail" => Err(refusal()),
        "hang" => {
            let _kept = guard;
            std::future::pending().await
        }
        _ => {
            let mut response = Response::new(request.into_inner());
            told.map(|told| response.metadata_mut().insert("x-told-back", told));
            Ok(response)
        }
    }
}

/// A status with a text that has to be escaped, details, and metadata of both kinds.
fn refusal() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("x-reason", "none".parse().unwrap());
    metadata.insert_bin("x-reason-bin", tonic::metadata::MetadataValue::from_bytes(&[0, 255, 7]));
    Status::with_details_and_metadata(Code::FailedPrecondition, "no: 50 % of ü", vec![1, 2, 3, 0].into(), metadata)
}

/// As many notes as are asked for, and then, where the text says so, a status in trailers; or one note and then nothing.
async fn several(request: Request<Note>, guard: Arc<UnderWay>) -> Result<Response<Notes>, Status> {
    let Note { text, count } = request.into_inner();
    let notes: Vec<_> = (0..count).map(|number| Ok(note(&text, number))).collect();
    let notes = tokio_stream::iter(notes);
    let stream: Notes = match text.as_str() {
        "fail" => Box::pin(notes.chain(tokio_stream::once(Err(refusal())))),
        "hang" => Box::pin(notes.chain(tokio_stream::pending()).map(move |note| {
            let _kept = &guard;
            note
        })),
        _ => Box::pin(notes),
    };
    Ok(Response::new(stream))
}

/// The sum of all that comes.
async fn sum(request: Request<Streaming<Note>>, _guard: Arc<UnderWay>) -> Result<Response<Note>, Status> {
    let (mut notes, mut bytes, mut total) = (request.into_inner(), 0, 0);
    while let Some(note) = notes.message().await? {
        bytes += note.text.len();
        total += note.count;
    }
    Ok(Response::new(note(&format!("{bytes} bytes"), total)))
}

/// Each note as it comes, with one added; a status once one says so.
async fn talk(request: Request<Streaming<Note>>, guard: Arc<UnderWay>) -> Result<Response<Notes>, Status> {
    let mut heard = request.into_inner();
    let (said, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        let _kept = guard;
        while let Some(Ok(next)) = heard.next().await {
            let answer = if next.text == "fail" { Err(refusal()) } else { Ok(note(&next.text, next.count + 1)) };
            if said.send(answer).await.is_err() {
                return;
            }
        }
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
}

/// A client of the service.
pub(crate) struct Client(Caller<Channel>);

impl Client {
    pub(crate) fn new(channel: Channel) -> Client {
        Client(Caller::new(channel))
    }

    /// The path of a method, for the caller once it may call.
    async fn path(&mut self, method: &'static str) -> http::uri::PathAndQuery {
        self.0.ready().await.unwrap();
        http::uri::PathAndQuery::from_static(method)
    }

    pub(crate) async fn one(&mut self, request: Request<Note>) -> Result<Response<Note>, Status> {
        let path = self.path("/tollgate.interop.Notes/One").await;
        self.0.unary(request, path, ProstCodec::default()).await
    }

    pub(crate) async fn several(&mut self, request: Note) -> Result<Streaming<Note>, Status> {
        let path = self.path("/tollgate.interop.Notes/Several").await;
        self.0.server_streaming(Request::new(request), path, ProstCodec::default()).await.map(Response::into_inner)
    }

    pub(crate) async fn sum(&mut self, notes: Vec<Note>) -> Result<Note, Status> {
        let path = self.path("/tollgate.interop.Notes/Sum").await;
        let request = Request::new(tokio_stream::iter(notes));
        self.0.client_streaming(request, path, ProstCodec::default()).await.map(Response::into_inner)
    }

    pub(crate) async fn talk(&mut self, notes: mpsc::Receiver<Note>) -> Result<Streaming<Note>, Status> {
        let path = self.path("/tollgate.interop.Notes/Talk").await;
        let request = Request::new(ReceiverStream::new(notes));
        self.0.streaming(request, path, ProstCodec::default()).await.map(Response::into_inner)
    }

    /// A method that the service has not.
    pub(crate) async fn unknown(&mut self) -> Result<Response<Note>, Status> {
        let path = self.path("/tollgate.interop.Notes/Unknown").await;
        self.0.unary(Request::new(note("", 0)), path, ProstCodec::<Note, Note>::default()).await
    }
}
