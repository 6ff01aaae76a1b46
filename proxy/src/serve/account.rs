//! The account of one exchange: opened when its route is known, closed once, however it ends.
//!
//! Closing tells filters that it is over, counts it, and writes the access log.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, Method, Version};

use crate::client::Client;
use crate::error::Reason;
use crate::exchange::Exchange;
use crate::exchange::forwarded::REQUEST_ID;
use crate::exchange::hop::Accepted;
use crate::exchange::properties::protocol;
use crate::filter::chain::Chain;
use crate::serve::answer;
use crate::snapshot::LocalRoute;
use crate::telemetry::access_log::Entry;
use crate::telemetry::metrics::class_index;

/// See the module.
pub(crate) struct Account {
    client: Rc<Client>,
    route: RefCell<Rc<LocalRoute>>,
    exchange: Rc<Exchange>,
    chain: Option<Rc<Chain>>,
    key: usize,
    /// True for HTTP/2.
    pub(crate) is_stream: bool,
    upstream: Cell<Option<SocketAddr>>,
    asked: Option<Box<Asked>>,
}

/// What the access log says of the request; kept only when there is one, since the head travels on.
struct Asked {
    method: String,
    path: String,
    authority: String,
    version: Version,
    client_address: Option<IpAddr>,
    user_agent: Option<Vec<u8>>,
    request_id: Option<Vec<u8>>,
}

impl Account {
    /// The exchange begins.
    pub(crate) fn open(
        client: &Rc<Client>,
        route: &Rc<LocalRoute>,
        exchange: &Rc<Exchange>,
        accepted: &Accepted,
    ) -> Self {
        let worker = &client.worker;
        client.begin();
        route.series.active.add(1);
        let is_stream = accepted.version == Version::HTTP_2;
        if is_stream {
            client.newest.set(Some(Rc::clone(exchange)));
        }
        exchange.lasts.set(lasts(route, &accepted.head.fields.map));
        client.lasting.set(client.lasting.get() + usize::from(exchange.lasts.get()));
        Self {
            key: worker.watch(exchange, client.listener),
            is_stream,
            client: Rc::clone(client),
            route: RefCell::new(Rc::clone(route)),
            exchange: Rc::clone(exchange),
            chain: None,
            upstream: Cell::new(None),
            asked: worker.shared.access_log.as_ref().map(|_| Box::new(Asked::new(accepted))),
        }
    }

    /// The filters that are told of the end.
    pub(crate) fn attach(&mut self, chain: &Rc<Chain>) {
        self.client.worker.watch_chain(self.key, chain);
        self.chain = Some(Rc::clone(chain));
    }

    /// The exchange goes another way than it was opened for, and counts there.
    pub(crate) fn reroute(&self, route: &Rc<LocalRoute>) {
        let before = self.route.replace(Rc::clone(route));
        before.series.active.add(-1);
        route.series.active.add(1);
        self.exchange.timeouts.set(route.timeouts);
        if route.stream {
            self.let_last();
        }
    }

    /// The client may be as slow as it likes from here on.
    fn let_last(&self) {
        if !self.exchange.lasts.replace(true) {
            self.client.lasting.set(self.client.lasting.get() + 1);
        }
    }

    /// What the configuration changes of the answer.
    pub(crate) fn edit(&self, fields: &mut http::HeaderMap) {
        if let Some(edits) = &self.route.borrow().edits {
            edits.response(fields);
        }
    }

    /// The connection is handed over to another protocol, and the exchange lasts as long as it does.
    pub(crate) fn pass_on(&self) {
        self.exchange.is_passage.set(true);
        if self.is_stream {
            self.let_last();
        }
        if let Some(chain) = &self.chain {
            chain.pass_on();
        }
        let route = self.route.borrow();
        route.series.upgrades.inc();
        route.series.upgraded.add(1);
    }

    /// Its filters, where there are any.
    pub(crate) fn chain(&self) -> Option<&Rc<Chain>> {
        self.chain.as_ref()
    }

    /// The worker's coarse clock.
    pub(crate) fn now(&self) -> Instant {
        self.client.worker.clock.now()
    }

    /// The exchange.
    pub(crate) fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }

    /// An endpoint answered.
    pub(crate) fn answered(&self, address: Option<SocketAddr>) {
        self.upstream.set(address);
    }

    /// Bytes of the answer go to the client. HTTP/1.1 takes them ahead of the client, so only HTTP/2 tells how it keeps up.
    pub(crate) fn hand(&self, length: u64) {
        let sent = &self.exchange.response_bytes;
        sent.set(sent.get().saturating_add(length));
        if self.is_stream {
            self.exchange.pace.hand(self.client.worker.clock.now());
        }
    }

    fn log(&self, access_log: &crate::telemetry::access_log::AccessLog, asked: &Asked, duration: std::time::Duration) {
        let reason = self.exchange.reason().map(|reason| reason.to_string());
        let stream = self.exchange.stream.take();
        let properties = access_log.pick(|path| stream.as_ref().and_then(|stream| stream.set_by_filter(path)));
        let names = Arc::clone(&self.route.borrow().names);
        access_log.write(&Entry {
            time: SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
            method: &asked.method,
            path: &asked.path,
            authority: &asked.authority,
            protocol: protocol(asked.version),
            status: self.exchange.status.get(),
            request_bytes: self.exchange.request_bytes.get(),
            response_bytes: self.exchange.response_bytes.get(),
            duration,
            filters: self.exchange.in_filters.get(),
            listener: &names.listener,
            route: Some(&names.route),
            cluster: Some(&names.cluster),
            upstream: self.upstream.get(),
            client: self.client.source,
            client_address: asked.client_address,
            user_agent: asked.user_agent.as_deref(),
            request_id: asked.request_id.as_deref(),
            reason: reason.as_deref(),
            properties: &properties,
        });
        drop(properties);
        self.exchange.stream.set(stream);
    }
}

/// True for an exchange that is meant to last: its client may be as slow as it likes.
fn lasts(route: &LocalRoute, fields: &HeaderMap) -> bool {
    route.stream || answer::is_grpc(fields)
}

impl Drop for Account {
    fn drop(&mut self) {
        let worker = &self.client.worker;
        let exchange = &self.exchange;
        if exchange.status.get().is_none() {
            exchange.note(Reason::ClientGone);
        }
        let ended = worker.clock.look();
        if let Some(chain) = &self.chain {
            chain.end(ended, &worker.lingering);
        }
        let duration = ended.saturating_duration_since(exchange.started);
        let route = self.route.borrow();
        let series = &route.series;
        series.active.add(-1);
        if exchange.is_passage.get() {
            series.upgraded.add(-1);
        }
        series.requests[class_index(exchange.status.get())].inc();
        series.duration.observe(duration);
        series.request_bytes.add(exchange.request_bytes.get());
        series.response_bytes.add(exchange.response_bytes.get());
        if let (Some(access_log), Some(asked)) = (&worker.shared.access_log, &self.asked) {
            self.log(access_log, asked, duration);
        }
        worker.forget(self.key);
        let lasting = &self.client.lasting;
        lasting.set(lasting.get().saturating_sub(usize::from(self.exchange.lasts.get())));
        self.client.end();
    }
}

impl Asked {
    fn new(accepted: &Accepted) -> Self {
        let head = &accepted.head;
        let field = |name| head.fields.map.get(name).map(|value| value.as_bytes().to_vec());
        Self {
            method: head.method.to_string(),
            // What the request line asks for.
            path: if head.method == Method::CONNECT { head.authority.to_string() } else { head.path.to_string() },
            authority: head.authority.to_string(),
            version: accepted.version,
            client_address: accepted.client,
            user_agent: field(http::header::USER_AGENT),
            request_id: field(REQUEST_ID),
        }
    }
}
