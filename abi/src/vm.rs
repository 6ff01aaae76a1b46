//! One running filter: started once, entered for each callback, poisoned by its first failure.
//!
//! A VM is single-threaded and synchronous. It never waits; what a guest asks for that takes time is queued by the embedder.

use std::fmt;
use std::sync::Arc;

use wasmtime::{Memory, Store};

use crate::callback::{CallbackKind, Exports};
use crate::context::{Contexts, Rundown};
use crate::deadline::Deadline;
use crate::error::{Cause, Failure};
use crate::host::Host;
use crate::module::Module;
use crate::settings::PluginSettings;
use crate::state::{CalloutStatus, State};
use crate::types::{ContextId, LogLevel};

mod boot;
mod calls;
mod ending;
mod events;
mod image;
mod streams;

pub use image::Image;

use ending::{Ended, failure, guarded};

/// One instance of a module with its root context configured.
///
/// After any `Failure` it is poisoned: every later entry fails at once with `Cause::Poisoned` and no guest code runs.
pub struct Vm<H: Host> {
    store: Store<State<H>>,
    exports: Box<Exports>,
    memory: Memory,
    /// Keeps the engine's ticker alive, without which no deadline would ever be noticed.
    module: Module,
    /// What killed the guest. `None` while it lives.
    death: Option<String>,
    /// True once the guest was entered after its start.
    was_entered: bool,
    /// Where it comes from, unless it was started.
    image: Option<Image<H>>,
}

impl<H: Host> Vm<H> {
    /// Instantiates, runs the start section, `_initialize` (then `main`) or `_start`, and configures the root context.
    /// All of it shares the budget `Limits::start`. On failure the host comes back with the log lines it holds.
    pub fn start(module: &Module, settings: Arc<PluginSettings>, host: H) -> Result<Vm<H>, (Failure, H)> {
        let state = State::new(settings, module.abi_version(), module.engine().ceiling(), host);
        Self::open(module, state, |store| boot::boot(store, module))
    }

    /// Makes the store and has `fill` make the instance in it.
    fn open(
        module: &Module,
        state: State<H>,
        fill: impl FnOnce(&mut Store<State<H>>) -> Result<(Box<Exports>, Memory), Ended>,
    ) -> Result<Vm<H>, (Failure, H)> {
        let mut store = Store::new(module.engine().wasmtime(), state);
        store.limiter(|state| &mut state.caps);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().tick()));
        store.set_epoch_deadline(1);
        match guarded(|| fill(&mut store)) {
            Ok((exports, memory)) => {
                Ok(Vm { store, exports, memory, module: module.clone(), death: None, was_entered: false, image: None })
            }
            Err(ended) => {
                let failure = failure(store.data(), ended);
                Err((failure, store.into_data().host))
            }
        }
    }

    /// The embedder's half.
    pub fn host(&self) -> &H {
        &self.store.data().host
    }

    /// The embedder's half, to be changed between entries.
    pub fn host_mut(&mut self) -> &mut H {
        &mut self.store.data_mut().host
    }

    /// What the VM was started with.
    pub fn settings(&self) -> &Arc<PluginSettings> {
        &self.store.data().settings
    }

    /// What it runs.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The context of the plugin itself.
    pub fn root(&self) -> ContextId {
        Contexts::<H::Stream>::ROOT
    }

    /// True when this callback would enter the guest.
    pub fn exports(&self, kind: CallbackKind) -> bool {
        match kind {
            CallbackKind::Init => self.module.exports(kind),
            kind => self.exports.has(kind),
        }
    }

    /// True after a failure: replace the VM.
    pub fn is_poisoned(&self) -> bool {
        self.death.is_some()
    }

    /// Bytes of linear memory.
    pub fn memory_bytes(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    /// Number of stream contexts that have begun and not ended.
    pub fn stream_contexts(&self) -> usize {
        self.store.data().contexts.streams()
    }

    /// The timer of the root context fired.
    pub fn tick(&mut self) -> Result<(), Failure> {
        if let Some(failure) = self.poisoned(CallbackKind::Tick) {
            return Err(failure);
        }
        if !self.exports.has(CallbackKind::Tick) || self.is_over() {
            return Ok(());
        }
        self.enter_root(CallbackKind::Tick, |store, exports| {
            if let Some(tick) = exports.tick(&mut *store) {
                tick.call(store, Contexts::<H::Stream>::ROOT.get())?;
            }
            Ok(())
        })
    }

    /// Tells the root context that its plugin goes away. False means that it asked to live until it calls `proxy_done`;
    /// ticks still reach it. Asks the guest once; later calls only look.
    pub fn finish(&mut self) -> Result<bool, Failure> {
        if let Some(failure) = self.poisoned(CallbackKind::Done) {
            return Err(failure);
        }
        if self.store.data().rundown == Rundown::Serving {
            self.enter_root(CallbackKind::Done, |store, exports| {
                // Pending before the call, so that a guest may call `proxy_done` from within it.
                store.data_mut().rundown = Rundown::Pending;
                let ready = match exports.done(&mut *store) {
                    Some(done) => done.call(&mut *store, Contexts::<H::Stream>::ROOT.get())? != 0,
                    None => true,
                };
                if ready {
                    store.data_mut().rundown = Rundown::Done;
                }
                Ok(())
            })?;
        }
        Ok(self.is_done())
    }

    /// True once the root context may be deleted: its `proxy_on_done` answered true, or `proxy_done` came since.
    pub fn is_done(&self) -> bool {
        self.store.data().rundown == Rundown::Done
    }

    /// True when the guest is ready to go and no exchange needs it: what may still come is not for it any more.
    fn is_over(&self) -> bool {
        self.is_done() && self.stream_contexts() == 0
    }

    /// Ends the root context (`finish`, unless done before, then delete) and drops the guest. A failure on the way is
    /// logged as a line of the guest: there is nobody left to act on it.
    pub fn retire(mut self) -> H {
        if self.death.is_none() {
            let outcome = self.finish().and_then(|_| self.delete_root());
            if let Err(failure) = outcome {
                self.host_mut().log(LogLevel::Error, failure.to_string().as_bytes());
            }
        }
        self.store.into_data().host
    }

    fn delete_root(&mut self) -> Result<(), Failure> {
        if !self.exports.has(CallbackKind::Delete) {
            return Ok(());
        }
        self.enter_root(CallbackKind::Delete, |store, exports| {
            if let Some(delete) = exports.delete(&mut *store) {
                delete.call(store, Contexts::<H::Stream>::ROOT.get())?;
            }
            Ok(())
        })
    }

    fn enter_root<T>(
        &mut self,
        kind: CallbackKind,
        call: impl FnOnce(&mut Store<State<H>>, &Exports) -> Result<T, Ended>,
    ) -> Result<T, Failure> {
        self.enter(kind, Contexts::<H::Stream>::ROOT, None, call).1
    }

    /// One guest entry: a look at the clock, the calls, the actions they queued, another look at the clock.
    fn enter<T>(
        &mut self,
        kind: CallbackKind,
        id: ContextId,
        stream: Option<H::Stream>,
        call: impl FnOnce(&mut Store<State<H>>, &Exports) -> Result<T, Ended>,
    ) -> (Option<H::Stream>, Result<T, Failure>) {
        let state = self.store.data_mut();
        let started = state.host.callback_begins();
        let limits = &state.settings.limits;
        state.deadline = Deadline::new(started, limits.callback, limits.wall_factor);
        state.running = kind;
        state.caps.refused = false;
        state.callouts.of_entry = 0;
        state.contexts.enter(id, stream);
        self.store.set_epoch_deadline(1);
        self.was_entered = true;

        let (store, exports) = (&mut self.store, &self.exports);
        let outcome = guarded(|| {
            let answer = call(store, exports)?;
            store.data_mut().settle();
            Ok(answer)
        });

        let outcome = outcome.map_err(|ended| self.bury(ended));
        let state = self.store.data_mut();
        let stream = state.contexts.leave();
        state.status = CalloutStatus::default();
        state.host.callback_ended(kind, started.elapsed());
        (stream, outcome)
    }

    /// Poisons the VM and says why.
    #[cold]
    fn bury(&mut self, ended: Ended) -> Failure {
        let failure = failure(self.store.data(), ended);
        self.death = Some(failure.to_string());
        // The embedder gets its borrowed exchanges back even from a dead VM; if it panics on them, it has lost them itself.
        let _ = guarded(|| {
            self.store.data_mut().abandon();
            Ok(())
        });
        failure
    }

    fn poisoned(&self, callback: CallbackKind) -> Option<Failure> {
        let death = self.death.as_ref()?;
        Some(Failure {
            callback,
            cause: Cause::Poisoned,
            message: format!("the filter died before: {death}"),
            backtrace: Vec::new(),
        })
    }
}

impl<H: Host> fmt::Debug for Vm<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm").field("module", &self.module).field("death", &self.death).finish_non_exhaustive()
    }
}
