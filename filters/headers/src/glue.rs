//! Makes the plan's changes through the SDK; decides nothing.

use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MapType, Status};

use crate::policy::{Change, Plan};

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
                let line = format!("filter-headers: configuration refused: {refusal}");
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

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        apply(MapType::HttpRequestHeaders, &self.plan.request)
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        apply(MapType::HttpResponseHeaders, &self.plan.response)
    }
}

fn apply(map: MapType, changes: &[Change]) -> Action {
    for change in changes {
        // The SDK aborts on a refusal by the host, so an error never comes back here.
        let _: Result<(), Status> = match change {
            Change::Remove(name) => hostcalls::remove_map_value(map, name),
            Change::Replace(name, value) => hostcalls::set_map_value(map, name, Some(value)),
            Change::Add(name, value) => hostcalls::add_map_value(map, name, value),
            Change::Copy(name, source) => copy(map, name, source),
        };
    }
    Action::Continue
}

fn copy(map: MapType, name: &str, source: &str) -> Result<(), Status> {
    match hostcalls::get_map_value_bytes(map, source)? {
        Some(value) => hostcalls::add_map_value_bytes(map, name, &value),
        None => Ok(()),
    }
}
