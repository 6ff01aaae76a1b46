//! A filter in Rust with the SDK: greets the upstream in a request header, names itself in a response header and counts
//! the requests in a metric.
//!
//! The configuration is the greeting, as text.

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, MetricType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

/// One for each VM.
#[derive(Default)]
struct Root {
    greeting: String,
    requests: u32,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let Ok(greeting) = String::from_utf8(self.get_plugin_configuration().unwrap_or_default()) else {
            return false; // refuses the configuration, and with it the start
        };
        let Ok(requests) = hostcalls::define_metric(MetricType::Counter, "guest_rust_requests") else { return false };
        (self.greeting, self.requests) = (greeting, requests);
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Exchange { greeting: self.greeting.clone(), requests: self.requests }))
    }
}

/// One for each request and its response.
struct Exchange {
    greeting: String,
    requests: u32,
}

impl Context for Exchange {}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.set_http_request_header("x-greeting", Some(&self.greeting));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.set_http_response_header("x-guest", Some("rust"));
        Action::Continue
    }

    fn on_log(&mut self) {
        // A metric that cannot be counted is no reason to fail the exchange.
        let _ = hostcalls::increment_metric(self.requests, 1);
    }
}
