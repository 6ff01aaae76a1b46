//! Where a module exports its callbacks, found once per module, and their handles in one instance, found when first called.

use std::cell::OnceCell;
use std::sync::Arc;

use wasmtime::{AsContext, AsContextMut, Func, Instance, Module, ModuleExport, TypedFunc, WasmParams, WasmResults};

use super::CallbackKind;

/// The places, among the exports of one module, of what the host uses of each instance.
pub(crate) struct Places {
    callbacks: [Option<ModuleExport>; CallbackKind::ALL.len()],
    pub(crate) allocator: Option<ModuleExport>,
    pub(crate) memory: Option<ModuleExport>,
}

impl Places {
    /// Looks everything up. Types are checked before a module is compiled, so what is found can be called.
    pub(crate) fn of(module: &Module) -> Places {
        let mut callbacks = [None; CallbackKind::ALL.len()];
        for kind in CallbackKind::ALL {
            // What `Init` stands for is the module's to answer, and is called by its own names.
            if kind != CallbackKind::Init {
                callbacks[kind as usize] = kind.exports().find_map(|name| place(module, name));
            }
        }
        // spec v0.2.1: malloc is for guests without proxy_on_memory_allocate. TinyGo exports both, and
        // its collector never takes back what malloc gave.
        let mut allocators = ["proxy_on_memory_allocate", "malloc"].into_iter();
        let allocator = allocators.find_map(|name| place(module, name));
        Places { callbacks, allocator, memory: place(module, "memory") }
    }

    fn at(&self, kind: CallbackKind) -> Option<&ModuleExport> {
        self.callbacks[kind as usize].as_ref()
    }
}

/// The place of this export, unless a test of tests takes it away.
fn place(module: &Module, name: &str) -> Option<ModuleExport> {
    #[cfg(feature = "testing")]
    if crate::sabotage::takes(name) {
        return None;
    }
    module.get_export_index(name)
}

/// The export of this name, when it is a function of this type.
pub(crate) fn function<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut impl AsContextMut,
    name: &str,
) -> Option<TypedFunc<P, R>> {
    #[cfg(feature = "testing")]
    if crate::sabotage::takes(name) {
        return None;
    }
    instance.get_typed_func(store, name).ok()
}

/// A header callback in either of its two shapes.
pub(crate) enum HeadersFn {
    WithEnd(TypedFunc<(u32, u32, u32), u32>),
    CountOnly(TypedFunc<(u32, u32), u32>),
}

impl HeadersFn {
    pub(crate) fn call(
        &self,
        store: impl AsContextMut,
        context: u32,
        fields: u32,
        end_of_stream: bool,
    ) -> wasmtime::Result<u32> {
        match self {
            HeadersFn::WithEnd(function) => function.call(store, (context, fields, u32::from(end_of_stream))),
            HeadersFn::CountOnly(function) => function.call(store, (context, fields)),
        }
    }
}

/// What a function becomes once its type is known.
trait Handle: Sized {
    fn of(function: Func, store: impl AsContext) -> Option<Self>;
}

impl<P: WasmParams, R: WasmResults> Handle for TypedFunc<P, R> {
    fn of(function: Func, store: impl AsContext) -> Option<Self> {
        function.typed(store).ok()
    }
}

impl Handle for HeadersFn {
    fn of(function: Func, store: impl AsContext) -> Option<Self> {
        let with_end = function.typed(&store).map(HeadersFn::WithEnd).ok();
        with_end.or_else(|| function.typed(&store).map(HeadersFn::CountOnly).ok())
    }
}

/// Writes the handles: `name: Kind => type;`
macro_rules! handles {
    ($($name:ident: $kind:ident => $handle:ty;)*) => {
        /// The callbacks of one instance. Each handle is made at the first call, which costs more than the call itself:
        /// an instance that serves one exchange needs a quarter of them.
        pub(crate) struct Exports {
            instance: Instance,
            places: Arc<Places>,
            $($name: OnceCell<Option<$handle>>,)*
        }

        impl Exports {
            pub(crate) fn of(instance: Instance, places: Arc<Places>) -> Box<Exports> {
                Box::new(Exports { instance, places, $($name: OnceCell::new(),)* })
            }

            $(pub(crate) fn $name(&self, store: impl AsContextMut) -> Option<&$handle> {
                self.$name.get_or_init(|| self.find(CallbackKind::$kind, store)).as_ref()
            })*
        }
    };
}

handles! {
    vm_start: VmStart => TypedFunc<(u32, u32), u32>;
    configure: Configure => TypedFunc<(u32, u32), u32>;
    tick: Tick => TypedFunc<u32, ()>;
    context_create: ContextCreate => TypedFunc<(u32, u32), ()>;
    request_headers: RequestHeaders => HeadersFn;
    request_body: RequestBody => TypedFunc<(u32, u32, u32), u32>;
    request_trailers: RequestTrailers => TypedFunc<(u32, u32), u32>;
    response_headers: ResponseHeaders => HeadersFn;
    response_body: ResponseBody => TypedFunc<(u32, u32, u32), u32>;
    response_trailers: ResponseTrailers => TypedFunc<(u32, u32), u32>;
    new_connection: NewConnection => TypedFunc<u32, u32>;
    downstream_data: DownstreamData => TypedFunc<(u32, u32, u32), u32>;
    upstream_data: UpstreamData => TypedFunc<(u32, u32, u32), u32>;
    downstream_close: DownstreamConnectionClose => TypedFunc<(u32, u32), ()>;
    upstream_close: UpstreamConnectionClose => TypedFunc<(u32, u32), ()>;
    http_call_response: HttpCallResponse => TypedFunc<(u32, u32, u32, u32, u32), ()>;
    grpc_initial_metadata: GrpcReceiveInitialMetadata => TypedFunc<(u32, u32, u32), ()>;
    grpc_receive: GrpcReceive => TypedFunc<(u32, u32, u32), ()>;
    grpc_trailing_metadata: GrpcReceiveTrailingMetadata => TypedFunc<(u32, u32, u32), ()>;
    grpc_close: GrpcClose => TypedFunc<(u32, u32, u32), ()>;
    queue_ready: QueueReady => TypedFunc<(u32, u32), ()>;
    foreign_function: ForeignFunction => TypedFunc<(u32, u32, u32), ()>;
    resolve_dns: ResolveDns => TypedFunc<(u32, u32, u32), ()>;
    done: Done => TypedFunc<u32, u32>;
    log: Log => TypedFunc<u32, ()>;
    delete: Delete => TypedFunc<u32, ()>;
}

impl Exports {
    pub(crate) fn instance(&self) -> Instance {
        self.instance
    }

    /// True when this callback would enter the guest; `Init` is the module's to answer.
    pub(crate) fn has(&self, kind: CallbackKind) -> bool {
        self.places.at(kind).is_some()
    }

    #[cold]
    fn find<T: Handle>(&self, kind: CallbackKind, mut store: impl AsContextMut) -> Option<T> {
        let export = self.instance.get_module_export(&mut store, self.places.at(kind)?)?;
        T::of(export.into_func()?, store)
    }
}
