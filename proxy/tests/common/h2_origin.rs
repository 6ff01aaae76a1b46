//! An origin that speaks HTTP/2 with prior knowledge, and counts what it is asked.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::common::h2;
use crate::common::proxy::TestProxy;

/// What an origin answers with.
pub(crate) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// A request, whole.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

/// A listening origin on a thread of its own.
pub(crate) struct H2Origin {
    address: SocketAddr,
    counts: Arc<Counts>,
    _end: oneshot::Sender<()>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: AtomicUsize,
    /// The most requests that one connection carried at a time.
    most: AtomicUsize,
}

impl H2Origin {
    /// Answers every request with what `handler` makes of it; `streams` is how many a connection may carry at a time.
    pub(crate) fn serving<A, F>(streams: u32, handler: A) -> H2Origin
    where
        A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::<Counts>::default();
        let (end, ended) = oneshot::channel();
        let (known, handler) = (Arc::clone(&counts), Arc::new(handler));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, streams, known, handler) => {}
                    // The test has ended, by either way.
                    _ = ended => {}
                }
            });
        });
        H2Origin { address, counts, _end: end }
    }

    /// Answers 200 with this body.
    pub(crate) fn saying(body: &'static str) -> H2Origin {
        H2Origin::serving(100, move |_| async move { Response::new(whole(&[body], &[])) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(SeqCst)
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.counts.open.load(SeqCst)
    }

    /// Requests whose head came.
    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(SeqCst)
    }

    /// The most requests that one connection carried at a time.
    pub(crate) fn most(&self) -> usize {
        self.counts.most.load(SeqCst)
    }
}

async fn accept<A, F>(listener: TcpListener, streams: u32, counts: Arc<Counts>, handler: Arc<A>)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        counts.connections.fetch_add(1, SeqCst);
        counts.open.fetch_add(1, SeqCst);
        let (counts, handler) = (Arc::clone(&counts), Arc::clone(&handler));
        tokio::spawn(async move {
            let (known, here) = (Arc::clone(&counts), Arc::<AtomicUsize>::default());
            let service = service_fn(move |request| {
                known.requests.fetch_add(1, SeqCst);
                known.most.fetch_max(here.fetch_add(1, SeqCst) + 1, SeqCst);
                let (answer, here) = (handler(request), Arc::clone(&here));
                async move {
                    let answer = answer.await;
                    here.fetch_sub(1, SeqCst);
                    Ok::<_, Infallible>(answer)
                }
            });
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(streams);
            // What becomes of the connection shows in its exchanges.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            counts.open.fetch_sub(1, SeqCst);
        });
    }
}

/// Reads a request to its end.
pub(crate) async fn seen(request: Request<Incoming>) -> Seen {
    let (parts, body) = request.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let body = collected.to_bytes().to_vec();
    Seen { method: parts.method, uri: parts.uri, headers: parts.headers, body, trailers }
}

/// A body of these frames.
pub(crate) fn whole(chunks: &[&str], trailers: &[(&'static str, &'static str)]) -> Body {
    h2::body(chunks, trailers).map_err(|never| match never {}).boxed_unsync()
}

/// A cluster `app` of these hosts, which speak HTTP/2, behind the only route.
pub(crate) fn cluster(limits: &str, hosts: &[SocketAddr]) -> TestProxy {
    let hosts: Vec<_> = hosts.iter().map(|host| format!("{:?}", host.to_string())).collect();
    TestProxy::with(&format!(
        "limits: {{ {limits} }}\nclusters: {{ app: {{ hosts: [{}], protocol: h2 }} }}\nroutes: [{{ to: app, timeout: 2s }}]",
        hosts.join(", ")
    ))
}

/// Attempts at the cluster that brought no answer for that reason.
pub(crate) fn failures(proxy: &TestProxy, reason: &str) -> f64 {
    proxy.metric("tollgate_upstream_failures_total", &["cluster=\"app\"", &format!("reason=\"{reason}\"")])
}
