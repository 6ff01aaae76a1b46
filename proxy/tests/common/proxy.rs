//! A real proxy of this process, on ports that the system chose.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};

use tollgate::app::reload::{Done, Order, Orders, Refused, Sight};
use tollgate::app::{App, AppError, RunOptions, Running};
use tollgate::filter::rollout::{Followed, View};
use tollgate::upstream::resolve::Resolve;
use tollgate_config::Config;

use crate::common::client::Client;
use crate::common::wire::Message;
use crate::common::{PATIENCE, until};

/// A proxy that serves until it is dropped.
pub(crate) struct TestProxy {
    /// `None` once it was told to end and waited for.
    running: Option<Running>,
    listeners: Vec<(String, SocketAddr)>,
    admin: Option<SocketAddr>,
}

/// What `yaml` comes to. One worker, no admin endpoints and one listener unless it says otherwise.
pub(crate) fn prepare(yaml: &str) -> Result<App, AppError> {
    prepare_with(yaml, &options())
}

/// What tests run with: code is kept between them.
fn options() -> RunOptions {
    RunOptions { cache: Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/modules").into()), ..RunOptions::default() }
}

/// The same with what a command line may say.
pub(crate) fn prepare_with(yaml: &str, options: &RunOptions) -> Result<App, AppError> {
    App::prepare(config(yaml), options)
}

pub(crate) fn config(yaml: &str) -> Config {
    let mut text = yaml.to_owned();
    let says = |key: &str| yaml.lines().any(|line| line.starts_with(key));
    for (key, default) in [("admin:", "admin: off"), ("workers:", "workers: 1"), ("listen", "listen: 127.0.0.1:0")] {
        if !says(key) {
            text.push_str(&format!("\n{default}"));
        }
    }
    tollgate_config::parse(&text, Path::new("test.yaml")).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

impl TestProxy {
    /// Starts one; see [`prepare`] for what need not be said.
    pub(crate) fn with(yaml: &str) -> TestProxy {
        TestProxy::of(prepare(yaml).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Starts one whose endpoints' names are looked up by somebody else than the system.
    pub(crate) fn resolving(yaml: &str, resolver: Arc<dyn Resolve>) -> TestProxy {
        let options = RunOptions { resolver: Some(resolver), ..options() };
        TestProxy::of(prepare_with(yaml, &options).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Starts one whose configuration is in a file, which may change. Everything has to be said.
    pub(crate) fn of_file(path: &Path) -> TestProxy {
        let config = tollgate_config::load(path).unwrap_or_else(|faults| panic!("{faults}"));
        let file = Some(Followed { path: path.to_owned(), read: None });
        let app = App::prepare(config, &RunOptions { file, ..options() });
        TestProxy::of(app.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Starts what was prepared.
    pub(crate) fn of(app: App) -> TestProxy {
        let bound = app.bind().unwrap_or_else(|error| panic!("{error}"));
        let (listeners, admin) = (bound.listeners().to_vec(), bound.admin());
        let running = bound.start(false).unwrap_or_else(|error| panic!("{error}"));
        TestProxy { running: Some(running), listeners, admin }
    }

    /// One that sends everything to `to`.
    pub(crate) fn to(to: &str) -> TestProxy {
        TestProxy::with(&format!("routes: [{{ to: \"{to}\" }}]"))
    }

    /// The address of the first listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listeners[0].1
    }

    /// The address of the listener of that name.
    pub(crate) fn address_of(&self, name: &str) -> SocketAddr {
        self.listeners.iter().find(|(known, _)| known == name).expect("a listener of that name").1
    }

    /// The address of the admin endpoints.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.expect("admin endpoints")
    }

    /// A new connection to the first listener.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// One exchange on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Message {
        self.ask(path, "")
    }

    /// One GET with further header lines, each with its line end.
    pub(crate) fn ask(&self, path: &str, lines: &str) -> Message {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{lines}\r\n"))
    }

    /// One POST whose body has a declared length.
    pub(crate) fn post(&self, path: &str, lines: &str, body: &str) -> Message {
        let length = body.len();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n{lines}\r\n{body}"
        ))
    }

    /// The answer to these bytes on a connection of their own.
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) -> Message {
        let mut client = self.client();
        client.send(bytes);
        client.answer()
    }

    /// The page of `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        self.running().registry().render()
    }

    /// The sum of the samples of that name which have all these labels, written as `name="value"`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.metrics();
        let samples = page.lines().filter_map(|line| line.rsplit_once(' '));
        let named = samples.filter(|(series, _)| series.split('{').next() == Some(name));
        let labelled = named.filter(|(series, _)| labels.iter().all(|label| series.contains(label)));
        labelled.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
    }

    /// Waits until the metric has that value.
    pub(crate) fn counts(&self, name: &str, labels: &[&str], value: f64) {
        let mut last = f64::NAN;
        until(&format!("{name} {labels:?} is {value}"), || {
            let now = self.metric(name, labels);
            // A failure shows in the test's output what it was in place of that.
            if now != last {
                eprintln!("{name} {labels:?} is {now}");
            }
            last = now;
            now == value
        });
    }

    /// Has something changed, and answers with what came of it.
    pub(crate) fn order(&self, order: Order) -> Result<Done, Refused> {
        self.running().orders().ask_blocking(order)
    }

    /// How things are.
    pub(crate) fn sight(&self) -> Arc<Sight> {
        self.running().orders().sight()
    }

    /// Where orders are given, for other threads.
    pub(crate) fn orders(&self) -> Orders {
        self.running().orders().clone()
    }

    /// How the plugin of that name stands.
    pub(crate) fn plugin(&self, name: &str) -> View {
        let sight = self.sight();
        sight.plugins.iter().find(|plugin| plugin.name == name).expect("a plugin of that name").clone()
    }

    /// Takes over another configuration.
    pub(crate) fn configure(&self, yaml: &str) -> Result<Done, Refused> {
        self.order(Order::Configure(Box::new(config(yaml))))
    }

    /// Tells it to end as SIGTERM would.
    pub(crate) fn drain(&self) {
        self.running().drain();
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) {
        let Some(running) = self.running.take() else { return };
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            running.wait();
            // Nobody listens once the test has failed for another reason.
            let _ = send.send(());
        });
        let ended = receive.recv_timeout(PATIENCE);
        assert!(ended.is_ok() || std::thread::panicking(), "the proxy did not end in {PATIENCE:?}");
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("a proxy that runs")
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            // The second call ends what is in flight.
            running.drain();
            running.drain();
        }
        self.ended();
    }
}
