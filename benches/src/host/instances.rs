//! Exchanges with an instance of their own, made for each from the image of a configured VM or rewound to it after each, and a
//! generation that takes another's place.

use tollgate_abi::{Image, Instances, Vm};

use super::bench::{Idle, pass, settings, start};
use super::exchanges::{exchanges, undo_header};
use super::{HostError, Prepared, Setting, Work, code};
use crate::http::header_filter;

/// Few, because counters cannot reserve addresses for many: one serves, and one more is needed for the image.
const POOL: Instances = Instances::Pooled { slots: 2, memory: 64 * 1024 * 1024 };

pub(super) const ALL: &[Work] = &[
    Work {
        name: "fresh",
        about: "the header filter in an instance made for the exchange",
        make: |setting| fresh(setting, Instances::OnDemand),
    },
    Work { name: "fresh-pooled", about: "the same, from a pool", make: |setting| fresh(setting, POOL) },
    Work {
        name: "swap",
        about: "a VM made from an image takes another's place, has one exchange, and the other ends",
        make: swap,
    },
    Work {
        name: "rewound",
        about: "the header filter in an instance that is rewound after each exchange",
        make: rewound,
    },
];

fn image(setting: &Setting, instances: Instances) -> Result<Image<Idle>, HostError> {
    let engine = code::engine(setting, instances)?;
    let module = code::filter(&engine, setting, "filter_headers.wasm")?;
    Ok(start(&module, settings(&header_filter()))?.image()?)
}

fn hatch(image: &Image<Idle>) -> Result<Vm<Idle>, HostError> {
    Ok(Vm::from_image(image, Idle::default()).map_err(|(failure, _)| failure)?)
}

fn fresh(setting: &Setting, instances: Instances) -> Result<Prepared, HostError> {
    let image = image(setting, instances)?;
    exchanges(move |stream| {
        let mut vm = hatch(&image)?;
        let mut stream = pass(&mut vm, stream)?;
        undo_header(&mut stream)?;
        Ok(stream)
    })
}

fn rewound(setting: &Setting) -> Result<Prepared, HostError> {
    let image = image(setting, POOL)?;
    let mut spare = None;
    exchanges(move |stream| {
        let mut vm = match spare.take() {
            Some(vm) => vm,
            None => hatch(&image)?,
        };
        let mut stream = pass(&mut vm, stream)?;
        undo_header(&mut stream)?;
        spare = Some(vm.rewind(Idle::default()).map_err(|_| HostError::Rewind)?);
        Ok(stream)
    })
}

fn swap(setting: &Setting) -> Result<Prepared, HostError> {
    let image = image(setting, Instances::OnDemand)?;
    let mut serving = hatch(&image)?;
    exchanges(move |stream| {
        let old = std::mem::replace(&mut serving, hatch(&image)?);
        let mut stream = pass(&mut serving, stream)?;
        undo_header(&mut stream)?;
        finish(old)?;
        Ok(stream)
    })
}

fn finish(mut vm: Vm<Idle>) -> Result<(), HostError> {
    if !vm.finish()? {
        return Err(HostError::Unfit("the root context asks for more time".to_owned()));
    }
    vm.retire();
    Ok(())
}
