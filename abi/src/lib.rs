//! A proxy-wasm host that any Rust proxy can embed: no HTTP crate, no async runtime, one seam.
//!
//! It speaks proxy-wasm 0.1.0, 0.2.0 and 0.2.1; `SUPPORTED.md` lists every callback, hostcall and WASI function with the
//! test that proves it. It does not listen, route or connect: that is the embedder's.
//!
//! # The seam
//! An embedder implements two traits. [`Host`] is what one VM may ask of it (log lines, metrics, timers, callouts); it moves
//! into the VM. [`Stream`] is one exchange or connection; it is *lent*: it goes in with each callback and comes back with the
//! answer, so one exchange can visit every filter of a chain in turn and nothing needs a lock. Maps and bodies are
//! [`HeaderMap`] and [`Buffer`], bytes in and bytes out. Every method has a default, so an embedder writes what it offers.
//!
//! # The life of a filter
//! [`Module::compile`] turns bytes into code, or says in one sentence why not; [`Module::precompile`] and
//! [`Module::from_artifact`] do it in two steps, for embedders that compile elsewhere or keep code. [`Vm::start`] makes an instance and
//! configures its root context. Then, for each exchange, [`Vm::begin_stream`], [`Vm::deliver`] as messages pass, and
//! [`Vm::end_stream`]; [`Vm::begin_connection`] begins a connection. What takes time is asked through [`Host`] and comes back
//! as another callback: [`Vm::http_call_ended`], [`Vm::grpc_event`], [`Vm::queue_ready`], [`Vm::timer_fired`],
//! [`Vm::dns_resolved`]. [`Vm::retire`] ends the root context.
//!
//! A callback is a bounded synchronous call. What has an effect outside the guest (a local response, continuing,
//! closing) is held back until the guest has returned. A [`Failure`] poisons the VM, which then refuses every call at
//! once; replace it with another from the same [`Module`] or from its image.
//!
//! # Images
//! [`Vm::image`] keeps what a start made of a VM: memory, globals, settings. [`Vm::from_image`] makes any number of VMs of
//! it, in microseconds and without running code of the guest: in the place of one that died, or for one exchange alone.
//! [`Vm::rewind`] makes such a VM what it was before its exchange, for less than another would cost. What the guest asked of
//! [`Host`] in its start is the embedder's, to be carried over.
//!
//! # What bounds a guest
//! CPU time of each entry, memory, table, stack, and the size of everything a hostcall reads: see [`Limits`]. Deadlines
//! are noticed by the [`Engine`]'s ticker thread, so a callback that is short costs two looks at the clock and nothing else.
//! Guest code may use 512 KiB of the stack of the thread that enters it; give such threads 2 MiB.
//!
//! # Features
//! `functions`, on by default, brings the foreign functions that compress, sign, verify and read protobuf, with their
//! dependencies. `testing` brings a recording host and guests from a few lines of WAT.
//!
//! # Panics
//! A panic of the embedder inside a hostcall, or while queued actions are delivered, is caught where the entry began and
//! becomes [`Cause::Host`]; the stream still comes back. One inside [`Host::callback_ended`] is not caught. That needs
//! unwinding: a binary built with `panic = "abort"` aborts instead.
//!
//! # Example
//! A filter that adds a header, run without any proxy around it. `examples/embed.rs` is the same as a program.
//!
//! ```
//! use std::sync::Arc;
//! use tollgate_abi::*;
//!
//! // What a VM may ask of us: here, to be heard.
//! struct Console;
//!
//! impl Host for Console {
//!     type Stream = Exchange;
//!
//!     fn log(&mut self, level: LogLevel, message: &[u8]) {
//!         eprintln!("{level:?}: {}", String::from_utf8_lossy(message));
//!     }
//! }
//!
//! // One exchange: here, nothing but request headers.
//! struct Exchange {
//!     request: VecHeaderMap,
//! }
//!
//! impl Stream for Exchange {
//!     fn headers(&mut self, map: MapType) -> Option<&mut dyn HeaderMap> {
//!         (map == MapType::RequestHeaders).then_some(&mut self.request as &mut dyn HeaderMap)
//!     }
//!
//!     fn buffer(&mut self, _: BufferType) -> Option<&mut dyn Buffer> {
//!         None
//!     }
//! }
//!
//! let filter = wat::parse_str(r#"
//!     (module
//!         (import "env" "proxy_add_header_map_value"
//!             (func $add (param i32 i32 i32 i32 i32) (result i32)))
//!         (memory (export "memory") 1)
//!         (data (i32.const 0) "x-tollgate")
//!         (data (i32.const 16) "paid")
//!         (func (export "proxy_abi_version_0_2_1"))
//!         (func (export "malloc") (param i32) (result i32) (i32.const 1024))
//!         (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
//!             (call $add (i32.const 0) (i32.const 0) (i32.const 10) (i32.const 16) (i32.const 4))))
//! "#)?;
//!
//! let engine = Engine::new(&EngineSettings::default())?;
//! let module = Module::compile(&engine, &filter, &ModuleLimits::default())?;
//! let settings = Arc::new(PluginSettings::default());
//! let mut vm = Vm::start(&module, settings, Console).map_err(|(failure, _)| failure)?;
//!
//! let exchange = Exchange { request: VecHeaderMap::new([(":path", "/pets")]) };
//! let (mut exchange, begun) = vm.begin_stream(exchange, 1, true);
//! let (context, action) = begun?;
//!
//! assert_eq!(action, Action::Continue);
//! assert_eq!(exchange.request.first(b"x-tollgate"), Some(&b"paid"[..]));
//!
//! (exchange, _) = vm.end_stream(context, exchange);
//! # let _ = exchange;
//! vm.retire();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod pairs;
#[cfg(feature = "testing")]
pub mod testing;

mod alloc;
mod artifact;
mod callback;
mod callout;
mod context;
mod deadline;
mod engine;
mod error;
mod fault;
mod foreign;
mod guest;
mod host;
mod hostcall;
mod instrument;
mod limits;
mod memory;
mod module;
mod outline;
mod page_map;
mod pages;
mod row;
#[cfg(feature = "testing")]
mod sabotage;
mod settings;
mod shared_data;
mod shared_queue;
mod signature;
mod state;
mod storage;
mod types;
mod vm;
mod wasi;

pub use artifact::{Artifact, Fingerprint};
pub use callback::{CallbackKind, StreamCallback};
pub use callout::{CalloutFailure, CalloutKind, CalloutRefusal, Fields, GrpcCall, GrpcEvent, HttpCall, HttpReply};
pub use engine::{Engine, EngineSettings, Instances, Instructions};
pub use error::{Cause, EngineError, Failure, ModuleError, NoImage, UnknownImport};
pub use foreign::DnsRecord;
pub use host::{Host, LocalResponse, Stream};
pub use limits::{CalloutLimits, Limits, ModuleLimits, QueueLimits, Quota, SharedDataLimits};
pub use module::Module;
pub use settings::{GuestErrors, PluginSettings};
pub use shared_data::{SharedData, SharedDataError, SharedValue};
pub use shared_queue::{QueueError, QueueWaker, SharedQueues};
pub use signature::{Signature, WireType};
pub use storage::{Buffer, HeaderMap, Refusal, VecHeaderMap};
pub use types::{
    AbiVersion, Action, BufferType, CalloutId, ContextId, LogLevel, MapType, MetricId, MetricKind, PeerType, QueueId,
    Status, StreamType, UnknownNumber,
};
pub use vm::{Image, Vm};
