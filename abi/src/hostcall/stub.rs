//! What stands in the place of an import that is taken away.

use wasmtime::{FuncType, Linker, Val, ValType};

use super::Import;
use crate::host::Host;
use crate::sabotage;
use crate::signature::WireType;
use crate::state::State;
use crate::types::Status;

/// What WASI says for a function that is not there.
const ENOSYS: u32 = 52;

/// Puts a stub in the place of `import` when it is the one that is named.
pub(super) fn define<H: Host>(linker: &mut Linker<State<H>>, import: &Import) -> wasmtime::Result<()> {
    if !sabotage::takes(&import.name) {
        return Ok(());
    }
    let answer = if import.module == "env" { Status::Unimplemented.into() } else { ENOSYS };
    let of = |types: &[WireType]| types.iter().map(value).collect::<Vec<_>>();
    let function = FuncType::new(linker.engine(), of(&import.signature.params), of(&import.signature.results));
    linker.func_new(&import.module, &import.name, function, move |_, _, results| {
        results.fill(Val::I32(answer.cast_signed()));
        Ok(())
    })?;
    Ok(())
}

/// The table has numbers of two types only.
fn value(wire: &WireType) -> ValType {
    if *wire == WireType::I64 { ValType::I64 } else { ValType::I32 }
}
