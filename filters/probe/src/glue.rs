//! The contexts of the SDK: each callback runs its list and answers what the list made of it.
//! What a command means is in `policy`, how it is carried out in `run`.

mod ffi;
mod run;
mod shared;

use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MapType};

use crate::policy::{Callback, Plan, held_back};
use run::Run;
use shared::Shared;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|id| Box::new(Root { id, plan: Rc::default(), shared: Rc::default() }));
}}

struct Root {
    id: u32,
    plan: Rc<Plan>,
    shared: Rc<Shared>,
}

impl Root {
    /// Takes `configuration` as the plan and runs its list for `at`; false when either is refused.
    fn start(&mut self, at: Callback, configuration: Option<Vec<u8>>) -> bool {
        match Plan::parse(&configuration.unwrap_or_default()) {
            Ok(plan) => self.plan = Rc::new(plan),
            Err(error) => {
                let _ = hostcalls::log(LogLevel::Error, &format!("filter-probe: configuration refused: {error}"));
                return false;
            }
        }
        !self.run(at).refused
    }

    fn run(&self, at: Callback) -> Run<'_> {
        let mut run = Run::new(at, self.id, &self.shared);
        run.list(self.plan.at(at));
        run
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, _id: u32, _headers: usize, _body: usize, _trailers: usize) {
        self.run(Callback::CallResponse);
    }

    fn on_grpc_call_response(&mut self, _id: u32, status: u32, _size: usize) {
        self.run(if status == 0 { Callback::GrpcMessage } else { Callback::GrpcClose });
    }

    fn on_grpc_stream_initial_metadata(&mut self, _id: u32, _count: u32) {
        self.run(Callback::GrpcInitial);
    }

    fn on_grpc_stream_message(&mut self, _id: u32, _size: usize) {
        self.run(Callback::GrpcMessage);
    }

    fn on_grpc_stream_trailing_metadata(&mut self, _id: u32, _count: u32) {
        self.run(Callback::GrpcTrailers);
    }

    fn on_grpc_stream_close(&mut self, _id: u32, _status: u32) {
        self.run(Callback::GrpcClose);
    }

    fn on_foreign_function(&mut self, _function: u32, _size: usize) {
        self.run(Callback::ForeignFunction);
    }

    fn on_done(&mut self) -> bool {
        !self.run(Callback::RootDone).refused
    }
}

impl RootContext for Root {
    fn on_vm_start(&mut self, _size: usize) -> bool {
        self.start(Callback::VmStart, self.get_vm_configuration())
    }

    fn on_configure(&mut self, _size: usize) -> bool {
        self.start(Callback::Configure, self.get_plugin_configuration())
    }

    fn on_tick(&mut self) {
        self.run(Callback::Tick);
        self.shared.resume_due(self.id);
    }

    fn on_queue_ready(&mut self, _queue: u32) {
        self.run(Callback::QueueReady);
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let (plan, shared) = (Rc::clone(&self.plan), Rc::clone(&self.shared));
        Some(Box::new(Stream { id, plan, shared, held: false }))
    }
}

struct Stream {
    id: u32,
    /// The root's own, unless the request added to it.
    plan: Rc<Plan>,
    shared: Rc<Shared>,
    /// A body waits at its `body-buffer`; if trailers end it, they run the rest of its list.
    held: bool,
}

impl Stream {
    /// Takes the request's own commands into the plan; false when they are refused and the request is answered.
    fn read_request(&mut self) -> bool {
        let headers = hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default();
        let mut plan = (*self.plan).clone();
        let mut says = false;
        for (name, value) in headers {
            match plan.read_header(name.as_bytes(), &value) {
                Ok(said) => says |= said,
                Err(refusal) => {
                    self.send_http_response(400, vec![], Some(format!("{refusal}\n").as_bytes()));
                    return false;
                }
            }
        }
        if says {
            self.plan = Rc::new(plan);
        }
        true
    }

    fn run(&self, at: Callback) -> Run<'_> {
        let mut run = Run::new(at, self.id, &self.shared);
        run.list(self.plan.at(at));
        run
    }

    fn body(&mut self, at: Callback, end_of_stream: bool) -> Action {
        let mut run = Run::new(at, self.id, &self.shared);
        run.ended = end_of_stream;
        run.list(self.plan.at(at));
        let (held, action) = (run.held, run.action);
        self.held = held;
        action
    }

    fn trailers(&mut self, at: Callback, body: Callback) -> Action {
        let mut run = Run::new(at, self.id, &self.shared);
        if self.held {
            run.list(held_back(self.plan.at(body)));
        }
        run.list(self.plan.at(at));
        let action = run.action;
        self.held = false;
        action
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _id: u32, _headers: usize, _body: usize, _trailers: usize) {
        self.run(Callback::CallResponse);
    }

    fn on_grpc_call_response(&mut self, _id: u32, status: u32, _size: usize) {
        self.run(if status == 0 { Callback::GrpcMessage } else { Callback::GrpcClose });
    }

    fn on_grpc_stream_initial_metadata(&mut self, _id: u32, _count: u32) {
        self.run(Callback::GrpcInitial);
    }

    fn on_grpc_stream_message(&mut self, _id: u32, _size: usize) {
        self.run(Callback::GrpcMessage);
    }

    fn on_grpc_stream_trailing_metadata(&mut self, _id: u32, _count: u32) {
        self.run(Callback::GrpcTrailers);
    }

    fn on_grpc_stream_close(&mut self, _id: u32, _status: u32) {
        self.run(Callback::GrpcClose);
    }

    fn on_foreign_function(&mut self, _function: u32, _size: usize) {
        self.run(Callback::ForeignFunction);
    }

    fn on_done(&mut self) -> bool {
        !self.run(Callback::Done).refused
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        match self.read_request() {
            true => self.run(Callback::RequestHeaders).action,
            false => Action::Pause,
        }
    }

    fn on_http_request_body(&mut self, _size: usize, end_of_stream: bool) -> Action {
        self.body(Callback::RequestBody, end_of_stream)
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.trailers(Callback::RequestTrailers, Callback::RequestBody)
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.run(Callback::ResponseHeaders).action
    }

    fn on_http_response_body(&mut self, _size: usize, end_of_stream: bool) -> Action {
        self.body(Callback::ResponseBody, end_of_stream)
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        self.trailers(Callback::ResponseTrailers, Callback::ResponseBody)
    }

    fn on_log(&mut self) {
        self.run(Callback::Log);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.forget(self.id);
    }
}
