//! The long form as a value: top-level keys in the order in which one reads a configuration.
//! Values of filters and results of references are shown or not as the view says.

use serde_json::Value;

use crate::file::write::{View, Write, object};

use super::{Listener, Long, Route, Tcp};

impl Long {
    /// The whole configuration.
    pub(crate) fn value(&self, view: View) -> Value {
        let named = |value: Option<Value>| value.filter(|value| value != &Value::Object(Default::default()));
        object([
            ("workers", self.workers.write(view)),
            ("admin", self.admin.write(view)),
            ("limits", self.limits.write(view)),
            ("dns", self.dns.write(view)),
            ("listeners", self.listeners.write(view)),
            ("filters", named(self.filters.write(view))),
            ("clusters", named(self.clusters.write(view))),
            ("telemetry", self.telemetry.write(view)),
            ("watch", self.watch.write(view)),
            ("cache", self.cache.write(view)),
            ("node", self.node.write(view)),
        ])
    }
}

impl Write for Listener {
    fn write(&self, view: View) -> Option<Value> {
        // Even empty ones may not stand beside `tcp`.
        let http = |part: Option<Value>| part.filter(|_| self.tcp.is_none());
        Some(object([
            ("name", self.name.write(view)),
            ("listen", self.address.write(view)),
            ("tls", self.tls.write(view)),
            ("balance", self.balance.write(view)),
            ("intercept", self.intercept.write(view)),
            ("direction", self.direction.write(view)),
            ("proxy_protocol", self.proxy_protocol.write(view)),
            ("filters", http(self.chain.write(view))),
            ("limits", self.limits.write(view)),
            ("http", self.http.write(view)),
            ("headers", self.headers.write(view)),
            ("routes", http(self.routes.write(view))),
            ("tcp", self.tcp.write(view)),
        ]))
    }
}

impl Write for Tcp {
    fn write(&self, view: View) -> Option<Value> {
        Some(object([("to", self.to.write(view)), ("filters", self.chain.write(view))]))
    }
}

impl Write for Route {
    fn write(&self, view: View) -> Option<Value> {
        Some(object([
            ("name", self.name.write(view)),
            ("match", self.matcher.write(view)),
            ("to", self.to.write(view)),
            ("respond", self.respond.write(view)),
            ("redirect", self.redirect.write(view)),
            ("rewrite", self.rewrite.write(view)),
            ("headers", self.headers.write(view)),
            ("timeout", self.timeout.write(view)),
            ("retry", self.retry.write(view)),
            ("idle_timeout", self.idle_timeout.write(view)),
            ("request_timeout", self.request_timeout.write(view)),
            ("stream", self.stream.write(view)),
            ("upgrade", self.upgrade.write(view)),
            ("filters", self.chain.write(view)),
        ]))
    }
}
