//! Images: what a start made of a VM, to make any number of VMs that have started without running a start.
//!
//! An image is data: it holds no instance and no host.

use std::fmt;
use std::sync::Arc;

use wasmtime::{Instance, InstancePre, Linker, Memory, ModuleExport, Store, Val};

use super::boot::{adopt, unplaced};
use super::ending::Ended;
use crate::callback::Exports;
use crate::error::{Failure, NoImage};
use crate::host::Host;
use crate::hostcall;
use crate::limits;
use crate::module::Module;
use crate::page_map::PageMap;
use crate::pages::Pages;
use crate::settings::PluginSettings;
use crate::state::{Kept, State};
use crate::vm::Vm;

/// A VM as it was after its start: memory, globals, and what the host knows of its guest. Clones share it.
///
/// Two VMs of one image begin as the same guest: what the guest drew by chance or read off a clock in its start is the same
/// in both. What it asked of `Host` in its start (ticks, metrics, queues) is the embedder's, to be carried to the host of
/// each VM if it is wanted there.
pub struct Image<H: Host> {
    inner: Arc<Configured<H>>,
}

struct Configured<H: Host> {
    module: Module,
    settings: Arc<PluginSettings>,
    linked: InstancePre<State<H>>,
    /// What the start changed in memory.
    changed: Pages,
    /// All of memory that is not zero.
    whole: Pages,
    globals: Vec<(ModuleExport, Val)>,
    kept: Kept,
}

impl<H: Host> Image<H> {
    /// True when nothing was under way that the guest began in its start: no callout, look-up or timer. Of what was, only
    /// the VM itself hears; a VM from the image waits for it in vain, so it can serve exchanges but not take the root's place.
    pub fn is_self_contained(&self) -> bool {
        self.inner.kept.is_self_contained
    }
}

impl<H: Host> Vm<H> {
    /// The image of this VM, which has to be taken before the first entry after its start. The VM stays as it is.
    /// Takes another instance for a moment, and time: it belongs on no thread that serves.
    pub fn image(&mut self) -> Result<Image<H>, NoImage> {
        if self.was_entered || self.is_poisoned() {
            return Err(NoImage::Entered);
        }
        let globals = self.global_values(self.module.globals()?.to_vec());
        let wasmtime = self.module.wasmtime();
        let linked = hostcall::prelink(self.store.engine(), wasmtime, self.module.imports());
        let memory = self.memory.data(&self.store);
        let inner = Configured {
            module: self.module.clone(),
            settings: Arc::clone(self.settings()),
            linked: linked.map_err(no_instance)?,
            changed: changed(wasmtime, &self.module, memory).map_err(no_instance)?,
            whole: Pages::between(&[], memory),
            globals,
            kept: self.store.data().keep(),
        };
        Ok(Image { inner: Arc::new(inner) })
    }

    fn global_values(&mut self, exports: Vec<ModuleExport>) -> Vec<(ModuleExport, Val)> {
        let (store, instance) = (&mut self.store, self.exports.instance());
        let value = |export: ModuleExport| {
            let global = instance.get_module_export(&mut *store, &export)?.into_global()?;
            Some((export, global.get(&mut *store)))
        };
        exports.into_iter().filter_map(value).collect()
    }

    /// A VM that has started: no code of the guest runs. On failure, which means that the host has no room for another
    /// instance, the host comes back.
    pub fn from_image(image: &Image<H>, host: H) -> Result<Vm<H>, (Failure, H)> {
        let Configured { module, settings, kept, .. } = &*image.inner;
        let ceiling = module.engine().ceiling();
        let state = State::restored(kept, Arc::clone(settings), module.abi_version(), ceiling, host);
        let mut vm = Self::open(module, state, |store| image.inner.fill(store))?;
        vm.image = Some(image.clone());
        Ok(vm)
    }

    /// The VM as `from_image` made it, for a tenth of the cost: pages that the kernel has seen written get the bytes of the
    /// image again, and the VM another host. Nothing that it did since is left, in guest or host; ids begin again.
    ///
    /// The host comes back, and the VM is dropped, where that cannot be or does not pay: it has died, has added memory or
    /// written to much of it, waits for a callout, look-up or timer, or was started rather than made from an image; or
    /// `Engine::can_rewind` is false.
    pub fn rewind(mut self, host: H) -> Result<Vm<H>, H> {
        let Some(image) = self.image.take_if(|_| self.death.is_none() && self.store.data().keep().is_self_contained)
        else {
            return Err(host);
        };
        if !image.inner.rewind_memory(&mut self.store, self.memory) {
            return Err(host);
        }
        let Configured { module, settings, kept, .. } = &*image.inner;
        let ceiling = module.engine().ceiling();
        let state = State::restored(kept, Arc::clone(settings), module.abi_version(), ceiling, host);
        self.store.data_mut().replace(state);
        if image.inner.fill_globals(&mut self.store, self.exports.instance()).is_err() {
            return Err(self.store.into_data().host);
        }
        self.was_entered = false;
        self.image = Some(image);
        Ok(self)
    }
}

impl<H: Host> Configured<H> {
    fn fill(&self, store: &mut Store<State<H>>) -> Result<(Box<Exports>, Memory), Ended> {
        let instance = self.linked.instantiate(&mut *store).map_err(|error| unplaced(store, error))?;
        let memory = adopt(store, instance, &self.module)?;
        self.fill_memory(store, memory)?;
        self.fill_globals(store, instance)?;
        Ok((Exports::of(instance, Arc::clone(self.module.places())), memory))
    }

    fn fill_globals(&self, store: &mut Store<State<H>>, instance: Instance) -> Result<(), Ended> {
        for (export, value) in &self.globals {
            let global = instance.get_module_export(&mut *store, export).and_then(wasmtime::Extern::into_global);
            let global = global.ok_or_else(|| Ended::Host("a global of the image is gone".to_owned()))?;
            global.set(&mut *store, *value)?;
        }
        Ok(())
    }

    /// False where the memory cannot be made as it was; parts of it may be by then.
    fn rewind_memory(&self, store: &mut Store<State<H>>, memory: Memory) -> bool {
        let Some(map) = PageMap::own() else { return false };
        let (start, size) = (memory.data_ptr(&*store).addr(), memory.data_size(&*store));
        if size != self.whole.size() {
            return false;
        }
        let bytes = memory.data_mut(store);
        // What the host wrote itself to make the VM has to be among what is found, or the map is not of this memory.
        let own = self.changed.kept();
        let paying = own..=own + limits::REWIND;
        let mut found = 0;
        let read = map.written(start, size, |range| {
            found += range.len();
            // Past that the VM is dropped: its guest is not to have more copied than the rewind of another costs.
            if found <= *paying.end() {
                self.whole.restore(bytes, range);
            }
        });
        read.is_ok() && paying.contains(&found)
    }

    fn fill_memory(&self, store: &mut Store<State<H>>, memory: Memory) -> Result<(), Ended> {
        let more = self.changed.size().saturating_sub(memory.data_size(&*store));
        if more > 0 {
            let more = u64::try_from(more).unwrap_or(u64::MAX) / memory.page_size(&*store);
            memory.grow(&mut *store, more).map_err(|error| unplaced(store, error))?;
        }
        match self.changed.write(memory.data_mut(store)) {
            true => Ok(()),
            false => Err(Ended::Host("the memory of the image does not fit".to_owned())),
        }
    }
}

/// What the start changed in `memory`: the difference to an instance of which no code has run.
fn changed(wasmtime: &wasmtime::Module, module: &Module, memory: &[u8]) -> wasmtime::Result<Pages> {
    let mut store = Store::new(module.engine().wasmtime(), ());
    let mut linker = Linker::new(store.engine());
    // The start section is an export, so nothing calls them.
    linker.define_unknown_imports_as_traps(wasmtime)?;
    let pristine = linker.instantiate(&mut store, wasmtime)?;
    let place = module.places().memory;
    let pristine = place.and_then(|place| pristine.get_module_export(&mut store, &place)?.into_memory());
    Ok(Pages::between(pristine.map_or(&[], |pristine| pristine.data(&store)), memory))
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where map_err hands the error over")]
fn no_instance(error: wasmtime::Error) -> NoImage {
    NoImage::Host(format!("{error:#}"))
}

impl<H: Host> Clone for Image<H> {
    fn clone(&self) -> Self {
        Image { inner: Arc::clone(&self.inner) }
    }
}

impl<H: Host> fmt::Debug for Image<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("module", &self.inner.module).finish_non_exhaustive()
    }
}
