//! A filter around a vector of headers: the least that an embedder writes. No network, no runtime.
//!
//! `cargo run --example embed` runs a filter of a few lines; `cargo run --example embed -- FILTER.wasm` runs one of yours
//! and `-- FILTER.wasm name=value …` shows it other headers. What the filter made of them is printed.

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::{env, fs};

use tollgate_abi::{
    Action, Buffer, BufferType, Engine, EngineSettings, HeaderMap, Host, LocalResponse, LogLevel, MapType, Module,
    ModuleLimits, PluginSettings, Refusal, Stream, VecHeaderMap, Vm,
};

/// Says "paid" to whoever comes.
pub const FILTER: &str = r#"(module
    (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "x-tollgate") (data (i32.const 16) "paid")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $add (i32.const 0) (i32.const 0) (i32.const 10) (i32.const 16) (i32.const 4))))"#;

/// What one VM may ask of us: to write its lines.
struct Console;

impl Host for Console {
    type Stream = Exchange;

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        eprintln!("{level:?}: {}", message.escape_ascii());
    }
}

/// One exchange, of which there is nothing but the head of the request, and perhaps an answer of the filter's own.
struct Exchange {
    request: VecHeaderMap,
    answer: Option<LocalResponse>,
}

impl Stream for Exchange {
    fn headers(&mut self, map: MapType) -> Option<&mut dyn HeaderMap> {
        (map == MapType::RequestHeaders).then_some(&mut self.request as &mut dyn HeaderMap)
    }

    fn buffer(&mut self, _: BufferType) -> Option<&mut dyn Buffer> {
        None
    }

    fn local_response(&mut self, response: LocalResponse) -> Result<(), Refusal> {
        self.answer = Some(response);
        Ok(())
    }
}

/// Shows `headers` to the filter in `bytes` and says what came of them, a line each.
pub fn filtered(bytes: &[u8], headers: Vec<(String, String)>) -> Result<Vec<String>, Box<dyn Error>> {
    // Once a process, once a module, once a worker: an engine, the compiled code, an instance of it.
    let engine = Engine::new(&EngineSettings::default())?;
    let module = Module::compile(&engine, bytes, &ModuleLimits::default())?;
    let mut vm = Vm::start(&module, Arc::new(PluginSettings::default()), Console).map_err(|(failure, _)| failure)?;

    // Once an exchange. It is lent to the VM and comes back with the verdict.
    let exchange = Exchange { request: VecHeaderMap::new(headers), answer: None };
    let fields = exchange.request.len();
    let (exchange, begun) = vm.begin_stream(exchange, fields, true);
    let (context, action) = begun?;
    let (exchange, ended) = vm.end_stream(context, exchange);
    ended?;
    vm.retire();

    let verdict = match (&exchange.answer, action) {
        (Some(answer), _) => format!("answered with {}", answer.status),
        (None, Action::Continue) => "goes on".to_owned(),
        (None, _) => "waits".to_owned(),
    };
    let shown = |(name, value): &(Vec<u8>, Vec<u8>)| format!("{}: {}", name.escape_ascii(), value.escape_ascii());
    Ok(exchange.request.fields().iter().map(shown).chain([verdict]).collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let bytes = match arguments.next() {
        Some(path) => fs::read(&path).map_err(|error| format!("{path}: {error}"))?,
        None => FILTER.as_bytes().to_vec(),
    };
    let given = arguments.filter_map(|field| field.split_once('=').map(|(name, value)| (name.into(), value.into())));
    let headers: Vec<_> = [(":path".to_owned(), "/pets".to_owned())].into_iter().chain(given).collect();
    let lines = filtered(&wat::parse_bytes(&bytes)?, headers)?;
    Ok(io::stdout().write_all((lines.join("\n") + "\n").as_bytes())?)
}
