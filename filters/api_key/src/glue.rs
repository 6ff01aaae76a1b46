//! Fetches the key, asks the policy, carries out its verdict; decides nothing.

use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use crate::policy::{CLIENT_HEADER, Denial, Plan, Verdict};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

#[derive(Default)]
struct Root {
    plan: Rc<Plan>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match Plan::parse(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(plan) => {
                self.plan = Rc::new(plan);
                true
            }
            Err(refusal) => {
                let line = format!("filter-api-key: configuration refused: {refusal}");
                let _ = hostcalls::log(LogLevel::Error, &line);
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { plan: Rc::clone(&self.plan) }))
    }
}

struct Stream {
    plan: Rc<Plan>,
}

impl Stream {
    fn deny(&self, denial: &Denial) -> Action {
        let headers = denial.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.send_http_response(denial.status, headers, Some(denial.body.as_bytes()));
        Action::Pause
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let header = self.plan.header();
        // A key is bytes: the SDK's string getter aborts on one that is not UTF-8.
        let key = self.get_http_request_header_bytes(header);
        match self.plan.judge(key.as_deref()) {
            Verdict::Admit(client) => {
                self.remove_http_request_header(header);
                self.set_http_request_header(CLIENT_HEADER, Some(client));
                Action::Continue
            }
            Verdict::Deny(denial) => self.deny(&denial),
        }
    }
}
