//! Gives every exchange a stream context whose callbacks are the SDK's defaults.
//! The root context is the SDK's own too.

use proxy_wasm::traits::{Context, HttpContext};

proxy_wasm::main! {{
    proxy_wasm::set_http_context(|_, _| Box::new(Noop));
}}

struct Noop;

impl Context for Noop {}
impl HttpContext for Noop {}
