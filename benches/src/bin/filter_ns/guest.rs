//! What one filter costs for one exchange in memory: no proxy, no socket, one VM and maps of vectors.
//!
//! An exchange here is what the proxy does with one that has no body: the request's head, the answer's head, the end.

use std::hint::black_box;
use std::sync::Arc;

use serde::Serialize;
use tollgate_abi::{
    Buffer, BufferType, Engine, EngineSettings, Failure, HeaderMap, Host, LogLevel, MapType, Module, ModuleLimits,
    PluginSettings, Stream, StreamCallback, VecHeaderMap, Vm,
};
use tollgate_benches::cpu;
use tollgate_benches::http::{ANSWERED, ASKED};
use tollgate_benches::stats::Spread;

/// Batches of each kind of exchange; the best and the spread of them are told.
const BATCHES: usize = 9;
/// Exchanges of one batch.
const EXCHANGES: u32 = 20_000;

/// Nanoseconds of one exchange over the batches.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cost {
    /// What was run.
    pub(crate) name: String,
    /// CPU time of one exchange, in nanoseconds.
    pub(crate) nanoseconds: Spread,
}

/// One exchange: two heads.
pub(crate) struct Exchange {
    request: VecHeaderMap,
    response: VecHeaderMap,
}

impl Exchange {
    /// The request and the answer of `proxy-cpu`.
    pub(crate) fn new() -> Exchange {
        let request = [
            (":method", "GET"),
            (":path", "/"),
            (":authority", "bench.test"),
            (":scheme", "http"),
            ("user-agent", "proxy-cpu"),
            ("accept", "*/*"),
        ];
        let response = [(":status", "200"), ("content-type", "text/plain"), ("content-length", "13")];
        Exchange { request: VecHeaderMap::new(request), response: VecHeaderMap::new(response) }
    }

    /// What the header filter does, done here.
    fn add_both(&mut self) {
        // A map of vectors refuses only what no field may carry.
        let _ = self.request.add(ASKED.0.as_bytes(), ASKED.1.as_bytes());
        let _ = self.response.add(ANSWERED.0.as_bytes(), ANSWERED.1.as_bytes());
    }

    /// Undoes it, so that maps do not grow over a batch.
    pub(crate) fn remove_both(&mut self) {
        let _ = self.request.remove(ASKED.0.as_bytes());
        let _ = self.response.remove(ANSWERED.0.as_bytes());
    }
}

impl Default for Exchange {
    fn default() -> Self {
        Exchange::new()
    }
}

impl Stream for Exchange {
    fn headers(&mut self, map: MapType) -> Option<&mut dyn HeaderMap> {
        match map {
            MapType::RequestHeaders => Some(&mut self.request),
            MapType::ResponseHeaders => Some(&mut self.response),
            _ => None,
        }
    }

    fn buffer(&mut self, _: BufferType) -> Option<&mut dyn Buffer> {
        None
    }
}

/// A host that hears nothing.
pub(crate) struct Deaf;

impl Host for Deaf {
    type Stream = Exchange;

    fn log(&mut self, _: LogLevel, _: &[u8]) {}
}

/// Why a filter could not be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuestError {
    /// There is no engine on this machine.
    #[error("{0}")]
    Engine(#[from] tollgate_abi::EngineError),
    /// The bytes are no filter.
    #[error("{0}")]
    Module(#[from] tollgate_abi::ModuleError),
    /// The filter failed.
    #[error("{0}")]
    Filter(#[from] Failure),
    /// The filter has no image.
    #[error("{0}")]
    Image(#[from] tollgate_abi::NoImage),
    /// An instance could not be used again.
    #[error("the filter's instance could not be rewound")]
    Rewind,
}

/// The least that any filter's cost can be compared with: the two additions, done natively.
pub(crate) fn native() -> Result<Cost, GuestError> {
    let mut exchange = Exchange::new();
    let nanoseconds = batches(|| {
        exchange.add_both();
        black_box(&mut exchange).remove_both();
        Ok(())
    })?;
    Ok(Cost { name: "no filter, the same two fields added natively".to_owned(), nanoseconds })
}

/// Cost of a filter, which runs with this configuration.
pub(crate) fn filter(name: &str, module: &[u8], config: &str) -> Result<Cost, GuestError> {
    let engine = Engine::new(&EngineSettings::default())?;
    let module = Module::compile(&engine, module, &ModuleLimits::default())?;
    let settings = PluginSettings { name: name.to_owned(), config: config.into(), ..PluginSettings::default() };
    let mut vm = Vm::start(&module, Arc::new(settings), Deaf).map_err(|(failure, _)| failure)?;
    let mut kept = Some(Exchange::new());
    let nanoseconds = batches(|| {
        let mut exchange = pass(&mut vm, kept.take().unwrap_or_default())?;
        exchange.remove_both();
        kept = Some(exchange);
        Ok(())
    })?;
    Ok(Cost { name: name.to_owned(), nanoseconds })
}

/// One exchange through one filter, from the request's head to its end.
pub(crate) fn pass(vm: &mut Vm<Deaf>, exchange: Exchange) -> Result<Exchange, Failure> {
    let fields = exchange.request.len();
    let (exchange, begun) = vm.begin_stream(exchange, fields, true);
    let (context, _) = begun?;
    let head = StreamCallback::ResponseHeaders { fields: exchange.response.len(), end_of_stream: false };
    let (exchange, answered) = vm.deliver(context, exchange, head);
    answered?;
    let (exchange, ended) = vm.end_stream(context, exchange);
    ended?;
    Ok(exchange)
}

/// CPU time of one exchange in each batch, after one batch that does not count.
pub(crate) fn batches(mut exchange: impl FnMut() -> Result<(), GuestError>) -> Result<Spread, GuestError> {
    let mut costs = Vec::with_capacity(BATCHES);
    for batch in 0..=BATCHES {
        let started = cpu::of_this_thread();
        for _ in 0..EXCHANGES {
            exchange()?;
        }
        let used = cpu::of_this_thread().saturating_sub(started);
        if batch > 0 {
            costs.push(used.as_secs_f64() * 1e9 / f64::from(EXCHANGES));
        }
    }
    Ok(Spread::of(costs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_passes_a_filter_that_exports_nothing() {
        let empty = br#"(module (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 1024)))"#;
        let engine = Engine::new(&EngineSettings::default()).unwrap();
        let module = Module::compile(&engine, &wat::parse_bytes(empty).unwrap(), &ModuleLimits::default()).unwrap();
        let mut vm = Vm::start(&module, Arc::default(), Deaf).map_err(|(failure, _)| failure).unwrap();

        let exchange = pass(&mut vm, Exchange::new()).unwrap();

        assert_eq!((exchange.request.len(), exchange.response.len()), (6, 3));
        assert_eq!(vm.stream_contexts(), 0);
    }

    #[test]
    fn what_is_added_is_removed_again() {
        let mut exchange = Exchange::new();

        exchange.add_both();
        assert_eq!((exchange.request.len(), exchange.response.len()), (7, 4));
        exchange.remove_both();

        assert_eq!((exchange.request.len(), exchange.response.len()), (6, 3));
    }
}
