//! What one exchange costs on an instance of its own: made for it from the image of a configured VM and dropped after it, or
//! made once and rewound to the image after each.

use std::sync::Arc;

use tollgate_abi::{Engine, EngineSettings, Image, Instances, Module, ModuleLimits, PluginSettings, Vm};

use crate::guest::{Cost, Deaf, Exchange, GuestError, batches, pass};

/// Instances that live at one time; one is needed here, and one more for the image.
const SLOTS: u32 = 16;
/// What each may have of memory.
const MEMORY: usize = 64 * 1024 * 1024;

/// Costs of a filter with an instance for each exchange, in each way there is.
pub(crate) fn filter(name: &str, module: &[u8], config: &str) -> Result<Vec<Cost>, GuestError> {
    let pooled = Instances::Pooled { slots: SLOTS, memory: MEMORY };
    let mut costs = Vec::new();
    for (way, instances) in [("on demand", Instances::OnDemand), ("pooled", pooled)] {
        let image = image(instances, name, module, config)?;
        costs.push(Cost { name: format!("{name}, fresh, {way}"), nanoseconds: fresh(&image)? });
        costs.push(Cost { name: format!("{name}, rewound, {way}"), nanoseconds: rewound(&image)? });
    }
    Ok(costs)
}

fn image(instances: Instances, name: &str, module: &[u8], config: &str) -> Result<Image<Deaf>, GuestError> {
    let engine = Engine::new(&EngineSettings { instances, ..EngineSettings::default() })?;
    let module = Module::compile(&engine, module, &ModuleLimits::default())?;
    let settings = PluginSettings { name: name.to_owned(), config: config.into(), ..PluginSettings::default() };
    let mut vm = Vm::start(&module, Arc::new(settings), Deaf).map_err(|(failure, _)| failure)?;
    Ok(vm.image()?)
}

fn fresh(image: &Image<Deaf>) -> Result<tollgate_benches::stats::Spread, GuestError> {
    let mut kept = Some(Exchange::new());
    batches(|| {
        let mut vm = Vm::from_image(image, Deaf).map_err(|(failure, _)| failure)?;
        let mut exchange = pass(&mut vm, kept.take().unwrap_or_default())?;
        exchange.remove_both();
        kept = Some(exchange);
        Ok(())
    })
}

fn rewound(image: &Image<Deaf>) -> Result<tollgate_benches::stats::Spread, GuestError> {
    let mut kept = Some(Exchange::new());
    let mut spare = None;
    batches(|| {
        let mut vm = match spare.take() {
            Some(vm) => vm,
            None => Vm::from_image(image, Deaf).map_err(|(failure, _)| failure)?,
        };
        let mut exchange = pass(&mut vm, kept.take().unwrap_or_default())?;
        exchange.remove_both();
        kept = Some(exchange);
        spare = Some(vm.rewind(Deaf).map_err(|_| GuestError::Rewind)?);
        Ok(())
    })
}
