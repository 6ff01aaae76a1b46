//! A filter in Rust with the SDK of ABI 0.1.0, as filters of that age still are: names itself in a response header and
//! greets in another whoever the request header `x-name` names.
//!
//! The configuration is the greeting, as text. Built for wasm32-unknown-unknown, which has no `_initialize`: this SDK is
//! entered through `_start`.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

#[no_mangle]
pub fn _start() {
    proxy_wasm::set_root_context(|_| Box::new(Root { greeting: String::new() }));
}

/// One for each VM.
struct Root {
    greeting: String,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match String::from_utf8(self.get_configuration().unwrap_or_default()) {
            Ok(greeting) => self.greeting = greeting,
            Err(_) => return false, // refuses the configuration, and with it the start
        }
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Exchange { greeting: self.greeting.clone(), name: None }))
    }
}

/// One for each request and its response.
struct Exchange {
    greeting: String,
    name: Option<String>,
}

impl Context for Exchange {}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, _count: usize) -> Action {
        self.name = self.get_http_request_header("x-name");
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize) -> Action {
        self.set_http_response_header("x-guest", Some("rust_0_1"));
        if let Some(name) = &self.name {
            self.set_http_response_header("x-greeting", Some(&format!("{}, {name}", self.greeting)));
        }
        Action::Continue
    }
}
