//! From a compiled module to a configured root context, in the order of the specification.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::{Instance, Memory, Store, Trap};

use super::calls::{create_context, wire};
use super::ending::Ended;
use crate::callback::{CallbackKind, Exports, Places, function};
use crate::context::Contexts;
use crate::fault::Exit;
use crate::host::Host;
use crate::hostcall;
use crate::instrument;
use crate::module::Module;
use crate::state::{Allocator, CalloutStatus, Stage, State};

/// Starts the guest. An `Err` leaves a store that must not be entered again.
pub(super) fn boot<H: Host>(store: &mut Store<State<H>>, module: &Module) -> Result<(Box<Exports>, Memory), Ended> {
    let imports = hostcall::link(store, module.imports())?;
    let (instance, memory) = timed(store, CallbackKind::Init, |store| {
        let instance = Instance::new(&mut *store, module.wasmtime(), &imports);
        let instance = instance.map_err(|error| unplaced(store, error))?;
        let memory = adopt(store, instance, module)?;
        initialise(store, &instance)?;
        Ok((instance, memory))
    })?;
    store.data_mut().stage = Stage::Open;
    let exports = Exports::of(instance, Arc::clone(module.places()));
    configure(store, &exports)?;
    Ok((exports, memory))
}

/// Why an instance could not be made: the guest's own data does not fit into its memory, its memory not into its limits, or
/// the host has no room.
pub(super) fn unplaced<H: Host>(store: &Store<State<H>>, error: wasmtime::Error) -> Ended {
    if error.is::<Trap>() || store.data().caps.refused {
        return Ended::Guest(error);
    }
    Ended::Host(format!("there is no room for an instance: {error:#}"))
}

/// Keeps the handles that hostcalls need.
pub(super) fn adopt<H: Host>(
    store: &mut Store<State<H>>,
    instance: Instance,
    module: &Module,
) -> Result<Memory, Ended> {
    let Places { memory, allocator, .. } = &**module.places();
    let memory = memory.and_then(|memory| instance.get_module_export(&mut *store, &memory)?.into_memory());
    let memory = memory.ok_or_else(|| Ended::Host("the checked memory is gone".to_owned()))?;
    let state = store.data_mut();
    state.memory = Some(memory);
    state.allocator = allocator.map_or(Allocator::Out, |export| Allocator::Unused(instance, export));
    Ok(memory)
}

/// The start section comes first. A reactor has `_initialize` and perhaps `main`; a command has `_start`.
fn initialise<H: Host>(store: &mut Store<State<H>>, instance: &Instance) -> Result<(), Ended> {
    if let Some(start) = function::<(), ()>(instance, store, instrument::START) {
        start.call(&mut *store, ())?;
    }
    if let Some(initialize) = function::<(), ()>(instance, store, "_initialize") {
        initialize.call(&mut *store, ())?;
        return main(store, instance);
    }
    match function::<(), ()>(instance, store, "_start") {
        Some(start) => unless_exited(start.call(&mut *store, ())),
        None => Ok(()),
    }
}

fn main<H: Host>(store: &mut Store<State<H>>, instance: &Instance) -> Result<(), Ended> {
    if let Some(main) = function::<(u32, u32), u32>(instance, store, "main") {
        return unless_exited(main.call(&mut *store, (0, 0)).map(drop));
    }
    for name in ["main", "__main_void"] {
        if let Some(main) = function::<(), u32>(instance, store, name) {
            return unless_exited(main.call(&mut *store, ()).map(drop));
        }
    }
    Ok(())
}

/// Takes `proc_exit(0)` for the normal end of a program.
fn unless_exited(outcome: wasmtime::Result<()>) -> Result<(), Ended> {
    match outcome {
        Err(error) if error.downcast_ref() == Some(&Exit(0)) => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// Makes the root context and shows it both configurations.
fn configure<H: Host>(store: &mut Store<State<H>>, exports: &Exports) -> Result<(), Ended> {
    let root = Contexts::<H::Stream>::ROOT;
    let settings = store.data().settings.clone();
    if exports.has(CallbackKind::ContextCreate) {
        timed(store, CallbackKind::ContextCreate, |store| create_context(store, exports, root, 0))?;
    }
    if let Some(vm_start) = exports.vm_start(&mut *store) {
        let accepted = timed(store, CallbackKind::VmStart, |store| {
            Ok(vm_start.call(store, (root.get(), wire(settings.vm_config.len())))?)
        })?;
        accept(accepted, "proxy_on_vm_start answered false")?;
    }
    if let Some(configure) = exports.configure(&mut *store) {
        let accepted = timed(store, CallbackKind::Configure, |store| {
            Ok(configure.call(store, (root.get(), wire(settings.config.len())))?)
        })?;
        accept(accepted, "proxy_on_configure answered false")?;
    }
    Ok(())
}

fn accept(answer: u32, otherwise: &'static str) -> Result<(), Ended> {
    if answer == 0 { Err(Ended::Refused(otherwise)) } else { Ok(()) }
}

/// Runs one step of the start and tells the embedder how long it took. The deadline is that of the whole start.
fn timed<H: Host, T>(
    store: &mut Store<State<H>>,
    kind: CallbackKind,
    step: impl FnOnce(&mut Store<State<H>>) -> Result<T, Ended>,
) -> Result<T, Ended> {
    let started = Instant::now();
    let state = store.data_mut();
    state.running = kind;
    state.callouts.of_entry = 0;
    state.contexts.enter(Contexts::<H::Stream>::ROOT, None);
    let outcome = step(store);
    store.data_mut().status = CalloutStatus::default();
    store.data_mut().host.callback_ended(kind, started.elapsed());
    outcome
}
