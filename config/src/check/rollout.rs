//! Modules with their hashes, and how the next one is tried.

use std::path::Path;

use crate::error::Code;
use crate::file::choice::Module;
use crate::file::{Filter, Wasm};
use crate::filter::{Canary, Rollout, Sha256};
use crate::report::Report;

/// How the next module of a filter is tried.
pub(super) fn rollout(said: &Module, folder: &Path) -> Rollout {
    let Module::Tried(said) = said else { return Rollout::default() };
    Rollout {
        canary: canary(said, folder),
        share: said.share.as_ref().map_or(Rollout::SHARE, |share| share.value.0),
        promote_after: said.promote_after.as_ref().map(|after| after.value),
        rollback_on: said.rollback_on.as_ref().map(|said| said.failures.value),
    }
}

fn canary(said: &Wasm, folder: &Path) -> Option<Canary> {
    let module = &said.canary.as_ref()?.value;
    Some(Canary { module: folder.join(&module.path), sha256: module.sha256.map(|Sha256(hash)| hash) })
}

/// What a filter's module must hash to; two hashes that differ are reported.
pub(super) fn sha256(said: &Filter, report: &mut Report<'_>) -> Option<[u8; 32]> {
    let module = said.wasm.stable();
    // The long form has the key only where it contradicts the path.
    if let Some(other) = &said.sha256 {
        let message = format!(
            "\"sha256\" is not the hash behind the path of the module, see line {}; write one of them",
            module.spot.line
        );
        report.fault(Code::Conflict, other.spot, message);
    }
    module.value.sha256.map(|Sha256(hash)| hash)
}
