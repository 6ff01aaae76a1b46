//! The life of the process: prepare everything, bind everything, then run until told to end.
//!
//! What can fail for reasons that an operator must know fails in `prepare` or `bind`, before the first request.

pub mod admin;
mod build;
pub mod drain;
mod thread;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tollgate_config::{Admin, Config, OnError};

use crate::app::admin::{AdminState, Readiness, Stage};
use crate::app::drain::{Order, Phase};
use crate::app::thread::Assignment;
use crate::filter::generation::{Fault, Generation};
use crate::filter::spares;
use crate::listener::Socket;
use crate::snapshot::Snapshot;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Registry;
use crate::worker::{Load, Shared};

/// What the command line may say about a run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Workers, over what the configuration says.
    pub workers: Option<NonZeroUsize>,
    /// The program that compiles modules in a process of its own; `None` compiles them in this one, without bounds.
    pub compiler: Option<PathBuf>,
}

/// Why the process does not run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Plugins that cannot run, all of them.
    #[error("{}", lines(.0))]
    Modules(Vec<Fault>),
    /// The wasm engine does not work on this machine.
    #[error("error[TG0206]: {0}")]
    Engine(#[from] tollgate_abi::EngineError),
    /// An address cannot be bound.
    #[error("error[TG0301]: {what} cannot listen on {address}: {source}")]
    Bind {
        /// Who wants the address.
        what: String,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The access log cannot be written.
    #[error("error[TG0302]: {0}")]
    AccessLog(#[from] crate::telemetry::access_log::OpenError),
    /// Threads or runtimes could not be started.
    #[error("error[TG0303]: cannot start: {0}")]
    Runtime(#[from] std::io::Error),
}

impl AppError {
    /// What the process exits with: 1 for what the configuration names, 3 for a machine that does not let us run.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Modules(_) | Self::AccessLog(_)) { 1 } else { 3 }
    }
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// A plugin that is ready to run.
#[derive(Clone, Debug)]
pub struct PluginSummary {
    /// Its name.
    pub name: String,
    /// Its module's file.
    pub module: PathBuf,
    /// SHA-256 of the module, as hex.
    pub digest: String,
    /// The version of proxy-wasm that the module speaks.
    pub abi: String,
    /// What happens to an exchange that it cannot serve.
    pub on_error: OnError,
}

/// A configuration whose plugins are compiled, started and configured.
pub struct App {
    config: Config,
    workers: usize,
    registry: Arc<Registry>,
    generations: Vec<Arc<Generation>>,
    plugins: Vec<PluginSummary>,
    access_log: Option<AccessLog>,
}

impl App {
    /// Compiles, starts and configures every plugin: one VM for each worker and one to spare. Reports all faults.
    /// Opens the access log, so that a bad path is known too.
    pub fn prepare(config: Config, options: &RunOptions) -> Result<Self, AppError> {
        let workers = options.workers.or(config.workers).map_or_else(cores, NonZeroUsize::get);
        let registry = Registry::new(workers);
        let generations = build::generations(&config, options, workers, &registry)?;
        let plugins = generations.iter().map(|generation| PluginSummary {
            name: generation.identity.name.to_string(),
            module: generation.source.clone(),
            digest: generation.digest.to_string(),
            abi: generation.abi(),
            on_error: generation.on_error,
        });
        let access_log = match &config.telemetry.access_log {
            Some(settings) => Some(AccessLog::open(settings, registry.access_log())?),
            None => None,
        };
        Ok(Self { plugins: plugins.collect(), config, workers, registry, generations, access_log })
    }

    /// Every plugin.
    pub fn plugins(&self) -> impl Iterator<Item = &PluginSummary> {
        self.plugins.iter()
    }

    /// Binds every address.
    pub fn bind(self) -> Result<Bound, AppError> {
        let mut sockets: Vec<Vec<Socket>> = (0..self.workers).map(|_| Vec::new()).collect();
        let mut listeners = Vec::new();
        for (place, listener) in self.config.listeners.iter().enumerate() {
            let bound = crate::listener::bind(listener.address, self.workers).map_err(|source| AppError::Bind {
                what: format!("listener {:?}", listener.name),
                address: listener.address,
                source,
            })?;
            let address = bound.first().map_or(Ok(listener.address), std::net::TcpListener::local_addr)?;
            listeners.push((listener.name.clone(), address));
            for (worker, socket) in sockets.iter_mut().zip(bound) {
                let connections = listener.limits.connections;
                worker.push(Socket { socket, listener: place, balance: listener.balance, connections });
            }
        }
        let admin = bind_admin(self.config.admin)?;
        Ok(Bound { app: self, sockets, listeners, admin })
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// A written address must be free; the default one may be taken by another Tollgate.
fn bind_admin(admin: Admin) -> Result<Option<std::net::TcpListener>, AppError> {
    let (address, written) = match admin {
        Admin::Off => return Ok(None),
        Admin::Default(address) => (address, false),
        Admin::Listen(address) => (address, true),
    };
    let bound = std::net::TcpListener::bind(address).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    match bound {
        Ok(socket) => Ok(Some(socket)),
        Err(source) if written => Err(AppError::Bind { what: "admin".to_owned(), address, source }),
        Err(error) => {
            tracing::warn!(%address, %error, "no admin endpoints: the default address is busy; set admin.listen to have them");
            Ok(None)
        }
    }
}

/// Everything bound, nothing served yet.
pub struct Bound {
    app: App,
    sockets: Vec<Vec<Socket>>,
    listeners: Vec<(String, SocketAddr)>,
    admin: Option<std::net::TcpListener>,
}

impl Bound {
    /// The listeners' names and real addresses.
    pub fn listeners(&self) -> &[(String, SocketAddr)] {
        &self.listeners
    }

    /// The admin endpoints' real address.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|socket| socket.local_addr().ok())
    }

    /// Serves until SIGTERM or SIGINT, drains, and returns.
    pub fn run(self) -> Result<(), AppError> {
        let running = self.start(true)?;
        running.wait();
        Ok(())
    }

    /// Serves on threads of its own; with `signals`, SIGTERM and SIGINT drain it.
    pub fn start(self, signals: bool) -> Result<Running, AppError> {
        let Self { app, sockets, listeners, admin } = self;
        let App { config, workers, registry, generations, access_log, .. } = app;
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(Snapshot::new(1, &config, generations.clone())),
            registry: Arc::clone(&registry),
            access_log,
            loads: (0..workers).map(|_| Load::default()).collect(),
            serving: Default::default(),
            connections: Default::default(),
            connection_ids: Default::default(),
        });
        let (phase, phases) = watch::channel(Phase::Serving);
        let mut threads = start_workers(&shared, sockets, &phases)?;
        let (orders, ordered) = mpsc::unbounded_channel();
        let readiness = Arc::new(Readiness::default());
        let state = AdminState { readiness: Arc::clone(&readiness), registry, config_dump: config.expanded.clone() };
        let control = Control {
            drain_timeout: config.limits.drain_timeout,
            shared: Arc::clone(&shared),
            generations,
            admin,
            state: Arc::new(state),
            readiness,
            phase,
            ordered,
            signals,
        };
        threads.push(control.start()?);
        Ok(Running { shared, listeners, orders, threads })
    }
}

fn start_workers(
    shared: &Arc<Shared>,
    sockets: Vec<Vec<Socket>>,
    phases: &watch::Receiver<Phase>,
) -> Result<Vec<JoinHandle<()>>, AppError> {
    let (hand, handed): (Vec<_>, Vec<_>) = sockets.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let mut threads = Vec::new();
    for (index, (sockets, handed)) in sockets.into_iter().zip(handed).enumerate() {
        let assignment = Assignment {
            index,
            shared: Arc::clone(shared),
            sockets,
            handed,
            hand: hand.clone(),
            phase: phases.clone(),
        };
        let runtime =
            move || tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
        let body = move || match runtime() {
            Ok(runtime) => runtime.block_on(thread::run(assignment)),
            Err(error) => tracing::error!(%error, worker = index, "a worker cannot start"),
        };
        threads.push(std::thread::Builder::new().name(format!("worker-{index}")).spawn(body)?);
    }
    Ok(threads)
}

/// What the control thread needs.
struct Control {
    drain_timeout: Duration,
    shared: Arc<Shared>,
    generations: Vec<Arc<Generation>>,
    admin: Option<std::net::TcpListener>,
    state: Arc<AdminState>,
    readiness: Arc<Readiness>,
    phase: watch::Sender<Phase>,
    ordered: mpsc::UnboundedReceiver<Order>,
    signals: bool,
}

impl Control {
    fn start(self) -> Result<JoinHandle<()>, AppError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Signals are taken over before anybody is told that the process is ready.
        let signals = runtime.block_on(async { self.signals.then(drain::Signals::new).transpose() })?;
        let thread = std::thread::Builder::new().name("control".to_owned());
        Ok(thread.spawn(move || runtime.block_on(self.run(signals)))?)
    }

    async fn run(self, signals: Option<drain::Signals>) {
        let mut tasks = tokio::task::JoinSet::new();
        for generation in self.generations {
            tasks.spawn(spares::keep(generation));
        }
        match self.admin.map(tokio::net::TcpListener::from_std) {
            Some(Ok(listener)) => drop(tasks.spawn(admin::serve(listener, self.state))),
            Some(Err(error)) => tracing::error!(%error, "no admin endpoints"),
            None => {}
        }
        let mut bells = drain::Bells { signals, ordered: self.ordered };
        tokio::select! {
            () = bells.ring() => {}
            () = welcome(&self.shared, &self.readiness) => bells.ring().await,
        }
        self.readiness.set(Stage::Draining);
        drain::drain(&self.shared, &self.phase, self.drain_timeout, &mut bells).await;
        // The admin endpoints and the starters of VMs end with the process.
        tasks.shutdown().await;
    }
}

/// Says that traffic is welcome once every worker has its sockets.
async fn welcome(shared: &Shared, readiness: &Readiness) {
    while shared.serving.load(Relaxed) < shared.loads.len() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    readiness.set(Stage::Ready);
}

/// A proxy that serves.
pub struct Running {
    shared: Arc<Shared>,
    listeners: Vec<(String, SocketAddr)>,
    orders: mpsc::UnboundedSender<Order>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// The listeners' names and addresses.
    pub fn listeners(&self) -> &[(String, SocketAddr)] {
        &self.listeners
    }

    /// Where counters are.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.shared.registry
    }

    /// Ends as SIGTERM would: exchanges in flight are finished. A second call hurries.
    pub fn drain(&self) {
        // A control thread that ended has nothing left to drain.
        let _ = self.orders.send(Order::Drain);
    }

    /// Returns when every thread has ended and what was to be logged is written.
    pub fn wait(self) {
        for thread in self.threads {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!(thread = name, "a thread panicked");
            }
        }
        if let Some(access_log) = &self.shared.access_log {
            access_log.close();
        }
    }
}
