//! The life of the process: prepare everything, bind everything, then run until told to end.
//!
//! What can fail for reasons that an operator must know fails in `prepare` or `bind`, before the first request.

pub mod admin;
mod build;
pub(crate) mod descriptors;
pub mod drain;
mod ending;
mod listeners;
mod marks;
mod memory;
pub mod reload;
mod takeover;
mod thread;
pub mod watch;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tollgate_config::{Admin, Config, OnError};

use crate::app::admin::{AdminState, Readiness, Stage};
use crate::app::drain::{Order, Phase};
use crate::app::listeners::Committed;
use crate::app::reload::{Change, Live, Orders, Reloader, Surroundings};
use crate::app::takeover::{Kept, Predecessor, Takeover, Told};
use crate::app::thread::Assignment;
use crate::filter::fault::Fault;
use crate::filter::rollout::{Followed, Trigger};
use crate::listener::Socket;
use crate::room::Room;
use crate::snapshot::ListenerId;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Registry;
use crate::telemetry::panics::{contained, outlive};
use crate::tls;
use crate::upstream::resolve::{Resolve, Resolvers};
use crate::worker::{Load, Shared};

/// What the command line may say about a run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Workers, over what the configuration says.
    pub workers: Option<NonZeroUsize>,
    /// The file that the configuration was read from, to be read again. Without one, a reload reads the modules alone.
    pub file: Option<Followed>,
    /// The program that compiles modules in a process of its own; `None` compiles them in this one, without bounds.
    pub compiler: Option<PathBuf>,
    /// Where compiled modules are kept, unless the configuration says otherwise.
    pub cache: Option<PathBuf>,
    /// Who looks names up, in place of whatever the configuration says.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// A Unix socket where the sockets of a process that serves are had, and where a successor has this one's.
    pub takeover: Option<PathBuf>,
}

/// Why the process does not run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Plugins that cannot run, all of them.
    #[error("{}", lines(.0))]
    Modules(Vec<Fault>),
    /// Files of TLS that cannot be used, all of them.
    #[error("{}", .0.iter().map(tls::fault::Fault::to_string).collect::<Vec<_>>().join("\n"))]
    Tls(Vec<tls::fault::Fault>),
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
    /// Sockets cannot be marked.
    #[error("error[TG0305]: cluster {cluster:?}: sockets cannot have the mark {mark:#x}: {source}")]
    Mark {
        /// Whose sockets they are.
        cluster: String,
        /// The mark.
        mark: u32,
        /// What the system says.
        source: std::io::Error,
    },
    /// The sockets of the process that serves cannot be had.
    #[error("error[TG0304]: the sockets of the process at {path} cannot be taken over: {source}")]
    Takeover {
        /// Where it attends.
        path: PathBuf,
        /// What it or the system says.
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
        if matches!(self, Self::Modules(_) | Self::Tls(_) | Self::AccessLog(_)) { 1 } else { 3 }
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
    /// Where its module came from.
    pub module: String,
    /// SHA-256 of the module, as hex.
    pub digest: String,
    /// The version of proxy-wasm that the module speaks.
    pub abi: String,
    /// What happens to an exchange that it cannot serve.
    pub on_error: OnError,
}

/// A configuration whose plugins are compiled, started and configured.
pub struct App {
    reloader: Reloader,
    workers: usize,
    registry: Arc<Registry>,
    access_log: Option<AccessLog>,
    resolver: Option<Arc<dyn Resolve>>,
    takeover: Option<PathBuf>,
    untimely: Vec<tls::fault::Fault>,
}

impl App {
    /// Compiles, starts and configures every plugin: one VM for each worker and one to spare. Reports all faults.
    /// Opens the access log, so that a bad path is known too.
    pub fn prepare(config: Config, options: &RunOptions) -> Result<Self, AppError> {
        let workers = options.workers.or(config.workers).map_or_else(cores, NonZeroUsize::get);
        let registry = Registry::new(workers);
        let telemetry = config.telemetry.clone();
        let (reloader, untimely) = build::reloader(config, options, workers, &registry)?;
        for fault in &untimely {
            tracing::warn!("{}, and is shown all the same", fault.words());
        }
        let access_log = match &telemetry.access_log {
            Some(settings) => Some(AccessLog::open(settings, registry.access_log())?),
            None => None,
        };
        let (resolver, takeover) = (options.resolver.clone(), options.takeover.clone());
        Ok(Self { reloader, workers, registry, access_log, resolver, takeover, untimely })
    }

    /// Certificates that would be shown although it is too late or too early for them, each in a line.
    pub fn untimely(&self) -> impl Iterator<Item = String> {
        self.untimely.iter().map(tls::fault::Fault::words)
    }

    /// Every plugin that serves.
    pub fn plugins(&self) -> impl Iterator<Item = PluginSummary> {
        self.reloader.rollouts().iter().filter_map(|rollout| rollout.serving()).map(|generation| PluginSummary {
            name: generation.identity.name.to_string(),
            module: generation.origin.to_string(),
            digest: generation.digest.to_string(),
            abi: generation.abi(),
            on_error: generation.plugin.on_error,
        })
    }

    /// Binds every address, or takes over the sockets that a process before this one has there.
    pub fn bind(mut self) -> Result<Bound, AppError> {
        marks::check(self.reloader.config())?;
        let (takeover, admin) = self.take_over()?;
        let wanted = self.reloader.config().listeners.clone();
        let changes = self.reloader.listeners().plan(&wanted, self.workers)?;
        let ids = changes.ids().to_vec();
        let admin = match admin {
            Some(socket) => Some(socket),
            None => bind_admin(self.reloader.config().admin)?,
        };
        let address = admin.as_ref().and_then(|socket| socket.local_addr().ok());
        self.reloader.listeners().set_admin(address);
        if let (Some(takeover), Some(address), Some(socket)) =
            (&takeover, written(self.reloader.config().admin), &admin)
        {
            takeover.kept.keep_admin(address, socket)?;
        }
        changes.begin()?;
        let Committed { sockets, copies, .. } = self.reloader.listeners().commit(changes, self.workers);
        // Nobody is attended yet.
        self.reloader.listeners().keep(copies);
        let names = wanted.iter().map(|listener| listener.name.clone());
        let addresses = ids.iter().filter_map(|id| self.reloader.listeners().address(*id));
        let listeners = names.zip(addresses.collect::<Vec<_>>()).collect();
        Ok(Bound { listeners, app: self, sockets, ids, admin, takeover })
    }

    /// Asks for what a process before this one leaves: to the listeners, and the socket of the admin endpoints.
    fn take_over(&mut self) -> Result<(Option<Takeover>, Option<std::net::TcpListener>), AppError> {
        let Some(path) = self.takeover.take() else { return Ok((None, None)) };
        let asked = Predecessor::ask(&path).map_err(|source| AppError::Takeover { path: path.clone(), source })?;
        let (predecessor, mut estate) = asked.map_or_else(Default::default, |(asked, estate)| (Some(asked), estate));
        let admin = written(self.reloader.config().admin).and_then(|address| estate.take_admin(address));
        let kept = Kept::default();
        self.reloader.listeners().inherit(estate, kept.clone());
        Ok((Some(Takeover { path, predecessor, kept }), admin))
    }
}

/// The address of admin endpoints as it is written.
fn written(admin: Admin) -> Option<SocketAddr> {
    match admin {
        Admin::Off => None,
        Admin::Default(address) | Admin::Listen(address) => Some(address),
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
    /// In the order of the configuration.
    ids: Vec<ListenerId>,
    listeners: Vec<(String, SocketAddr)>,
    admin: Option<std::net::TcpListener>,
    takeover: Option<Takeover>,
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
        let Self { app, sockets, ids, listeners, admin, takeover } = self;
        let App { mut reloader, workers, registry, access_log, resolver, .. } = app;
        let (own, room) = (reloader.listeners().addresses(), Room::here());
        descriptors::beyond(reloader.config(), room).iter().for_each(|line| tracing::warn!("{line}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(reloader.snapshot(&ids)),
            registry: Arc::clone(&registry),
            access_log,
            loads: (0..workers).map(|_| Load::default()).collect(),
            serving: Default::default(),
            connections: Default::default(),
            room,
            own: ArcSwap::from_pointee(own),
            connection_ids: Default::default(),
            resolvers: Resolvers::new(runtime.handle(), resolver.clone()),
        });
        // Signals are taken over before anybody is told that the process is ready.
        let (signals, hang_ups) = runtime.block_on(async {
            let hang_ups = signals.then(|| signal(SignalKind::hangup())).transpose()?;
            Ok::<_, std::io::Error>((signals.then(drain::Signals::new).transpose()?, hang_ups))
        })?;
        let (phase, phases) = tokio::sync::watch::channel(Phase::Serving);
        let (hands, workers) = start_workers(&shared, sockets, &phases)?;
        let (follow, followed) = tokio::sync::watch::channel(Vec::new());
        let succeeded = Arc::<Notify>::default();
        let told = Told { hands: hands.clone(), succeeded: Arc::clone(&succeeded) };
        let control = runtime.handle().clone();
        let resolvers = Resolvers::new(&control, resolver);
        let around = Surroundings { shared: Arc::clone(&shared), control, hands, follow, resolvers };
        let token = reloader.config().admin_token.clone();
        let (live, orders) = Live::new(reloader, around);
        // It may be compiling when the process ends, so nobody waits for it.
        drop(std::thread::Builder::new().name("reload".to_owned()).spawn(move || live.run())?);
        let (ends, ended) = mpsc::unbounded_channel();
        let readiness = Arc::new(Readiness::default());
        let state = AdminState::new(Arc::clone(&readiness), registry, orders.clone(), token);
        let control = Control {
            shared: Arc::clone(&shared),
            admin,
            state: Arc::new(state),
            readiness,
            phase,
            bells: drain::Bells { signals, ordered: ended, succeeded, by_successor: false },
            takeover: takeover.map(|takeover| (takeover, told)),
            hang_ups,
            orders: orders.clone(),
            followed,
        };
        let control = control.start(runtime)?;
        Ok(Running { shared, listeners, ends, orders, control, workers })
    }
}

/// What a worker hears of its sockets, and the threads.
type Workers = (Vec<mpsc::UnboundedSender<Change>>, Vec<JoinHandle<()>>);

fn start_workers(
    shared: &Arc<Shared>,
    sockets: Vec<Vec<Socket>>,
    phases: &tokio::sync::watch::Receiver<Phase>,
) -> Result<Workers, AppError> {
    let (hand, handed): (Vec<_>, Vec<_>) = sockets.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let (mut hands, mut threads) = (Vec::new(), Vec::new());
    for (index, (sockets, handed)) in sockets.into_iter().zip(handed).enumerate() {
        let (change, changes) = mpsc::unbounded_channel();
        // The worker is there to read it.
        let _ = change.send(Change::Open(sockets));
        hands.push(change);
        let assignment = Assignment {
            index,
            shared: Arc::clone(shared),
            changes,
            handed,
            hand: hand.clone(),
            phase: phases.clone(),
        };
        let runtime =
            move || tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
        let body = move || match runtime() {
            Ok(runtime) => {
                runtime.block_on(thread::run(assignment));
                // Whoever still looks up a name on a blocking thread does so for nobody.
                runtime.shutdown_background();
            }
            Err(error) => tracing::error!(%error, worker = index, "a worker cannot start"),
        };
        threads.push(std::thread::Builder::new().name(format!("worker-{index}")).spawn(body)?);
    }
    Ok((hands, threads))
}

/// What the control thread needs.
struct Control {
    shared: Arc<Shared>,
    admin: Option<std::net::TcpListener>,
    state: Arc<AdminState>,
    readiness: Arc<Readiness>,
    phase: tokio::sync::watch::Sender<Phase>,
    bells: drain::Bells,
    takeover: Option<(Takeover, Told)>,
    hang_ups: Option<Signal>,
    orders: Orders,
    followed: tokio::sync::watch::Receiver<Vec<Followed>>,
}

impl Control {
    fn start(self, runtime: tokio::runtime::Runtime) -> Result<JoinHandle<()>, AppError> {
        let thread = std::thread::Builder::new().name("control".to_owned());
        let body = move || {
            runtime.block_on(self.run());
            // A VM that is just starting may take its whole budget; nobody waits for it any more.
            runtime.shutdown_background();
        };
        Ok(thread.spawn(body)?)
    }

    async fn run(self) {
        let mut tasks = tokio::task::JoinSet::new();
        // What lets others change something.
        let mut doors: Vec<AbortHandle> = Vec::new();
        match self.admin.map(tokio::net::TcpListener::from_std) {
            Some(Ok(listener)) => {
                let state = Arc::clone(&self.state);
                let serving = async move { while !contained(admin::serve(&listener, &state)).await {} };
                doors.push(tasks.spawn(serving));
            }
            Some(Err(error)) => tracing::error!(%error, "no admin endpoints"),
            None => {}
        }
        if let Some(mut hang_ups) = self.hang_ups {
            let orders = self.orders.clone();
            doors.push(tasks.spawn(async move { while !contained(reload_at(&mut hang_ups, &orders)).await {} }));
        }
        let shared = Arc::clone(&self.shared);
        tasks.spawn(async move { while !contained(memory::watch(&shared)).await {} });
        let (orders, mut followed) = (self.orders, self.followed);
        doors.push(tasks.spawn(async move { while !contained(follow(&orders, &mut followed)).await {} }));
        let (mut bells, mut takeover) = (self.bells, self.takeover);
        outlive(async || {
            tokio::select! {
                () = bells.ring() => return,
                () = welcome(&self.shared, &self.readiness) => {}
            }
            if let Some((takeover, told)) = takeover.take() {
                let doors = std::mem::take(&mut doors);
                tasks.spawn(async move {
                    if takeover.run(told).await {
                        // A successor answers there, and what changes is its own to take over.
                        doors.iter().for_each(AbortHandle::abort);
                    }
                });
            }
            bells.ring().await;
        })
        .await;
        self.readiness.set(Stage::Draining);
        let timeout = self.shared.snapshot.load().limits.drain_timeout;
        outlive(async || drain::drain(&self.shared, &self.phase, timeout, &mut bells).await).await;
        // The admin endpoints and the starters of VMs end with the process.
        tasks.shutdown().await;
    }
}

/// Has everything read again at each SIGHUP.
async fn reload_at(hang_ups: &mut Signal, orders: &Orders) {
    while hang_ups.recv().await.is_some() {
        orders.give(reload::Order::Reload(Trigger::Signal));
    }
}

/// Has files looked at whose content changed.
async fn follow(orders: &Orders, followed: &mut tokio::sync::watch::Receiver<Vec<Followed>>) {
    let mut watch = watch::Watch::start();
    let mut known = Vec::new();
    loop {
        let files = followed.borrow_and_update().clone();
        watch.follow(files.iter().map(|file| file.path.clone()));
        // A change between the reading and this is one that nobody has seen. Of a file that was looked at in vain, what was
        // read before is no news.
        let news = files.iter().filter(|file| !known.contains(*file));
        let read = news.filter_map(|file| Some((&file.path, file.read?)));
        read.for_each(|(path, content)| watch.accept(path, content));
        known = files;
        tokio::select! {
            files = watch.changed() => orders.give(reload::Order::Look(files)),
            changed = followed.changed() => if changed.is_err() { return },
        }
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
    ends: mpsc::UnboundedSender<Order>,
    orders: Orders,
    control: JoinHandle<()>,
    workers: Vec<JoinHandle<()>>,
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
        let _ = self.ends.send(Order::Drain);
    }

    /// Where what it runs with can be changed.
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Returns when every thread has ended and what was to be logged is written. Once the drain is over, workers that do not
    /// end within two seconds, because a filter holds them, are left to end with the process.
    pub fn wait(self) {
        ending::wait(self.control, self.workers);
        if let Some(access_log) = &self.shared.access_log {
            access_log.close();
        }
    }
}

#[cfg(test)]
mod tests;
