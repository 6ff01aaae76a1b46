//! A filter that does nothing: callbacks of an exchange, each of which continues. What it costs is the crossing.

use bytes::Bytes;
use tollgate_abi::CallbackKind;
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, MemorySection, MemoryType, Module, TypeSection,
    ValType,
};

use crate::toll::filter::Filter;
use crate::toll::ledger::Notes;

/// Callbacks of an exchange with their parameters, all numbers of 32 bits, and whether they answer.
const CALLBACKS: [(CallbackKind, usize, bool); 8] = [
    (CallbackKind::ContextCreate, 2, false),
    (CallbackKind::RequestHeaders, 3, true),
    (CallbackKind::RequestBody, 3, true),
    (CallbackKind::ResponseHeaders, 3, true),
    (CallbackKind::ResponseBody, 3, true),
    (CallbackKind::Done, 1, true),
    (CallbackKind::Log, 1, false),
    (CallbackKind::Delete, 1, false),
];

/// One that is treated as `filter` is, and has those of the callbacks that are exported there which exchanges entered: where
/// the filter ends them before a callback comes, this one, which lets them pass, has none for it.
pub(super) fn beside(filter: &Filter, module: &tollgate_abi::Module, seen: &Notes) -> Filter {
    // What comes with a callback is told of none: the context, and the end.
    let comes_along = |kind| matches!(kind, CallbackKind::ContextCreate | CallbackKind::Done | CallbackKind::Delete);
    let is_met = |kind| comes_along(kind) || seen.callback(kind).is_some();
    filter.twin(Bytes::from(bytes(|kind| module.exports(kind) && is_met(kind))))
}

/// Its module, with those callbacks of an exchange that `exports` names.
fn bytes(exports: impl Fn(CallbackKind) -> bool) -> Vec<u8> {
    let callbacks = CALLBACKS.into_iter().filter(|(kind, ..)| exports(*kind));
    // Nobody calls the allocator: the filter is handed nothing.
    let fixed = [("proxy_abi_version_0_2_1", 0, false), ("malloc", 1, true)];
    build(fixed.into_iter().chain(callbacks.map(|(kind, parameters, answers)| (kind.export(), parameters, answers))))
}

fn build(functions_of: impl Iterator<Item = (&'static str, usize, bool)>) -> Vec<u8> {
    let mut types = TypeSection::new();
    let mut functions = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    for (index, (name, parameters, answers)) in (0..).zip(functions_of) {
        types.ty().function(vec![ValType::I32; parameters], vec![ValType::I32; usize::from(answers)]);
        functions.function(index);
        exports.export(name, ExportKind::Func, index);
        code.function(&body(name, answers));
    }
    exports.export("memory", ExportKind::Memory, 0);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&exports).section(&code);
    module.finish()
}

fn body(name: &str, answers: bool) -> Function {
    let mut function = Function::new([]);
    let mut instructions = function.instructions();
    if answers {
        // True for done; continue for everything else.
        instructions.i32_const(i32::from(name == CallbackKind::Done.export()));
    }
    instructions.end();
    function
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tollgate_abi::{Engine, EngineSettings, ModuleLimits};
    use tollgate_config::{EmptyBody, Isolation};

    use super::*;
    use crate::toll::ledger::{Account, Ledger};

    #[test]
    fn it_has_the_callbacks_that_were_entered_and_is_treated_as_the_filter_is() {
        let engine = Engine::new(&EngineSettings::default()).unwrap();
        let compiled = |bytes: &[u8]| tollgate_abi::Module::compile(&engine, bytes, &ModuleLimits::default()).unwrap();
        let all = Bytes::from(bytes(|_| true));
        let mut filter = Filter::new("a".to_owned(), all.clone(), b"1".to_vec());
        (filter.isolation, filter.manners.empty_body) = (Isolation::Request, EmptyBody::Call);
        let (mut ledger, mut account) = (Ledger::default(), Account::default());
        for kind in [CallbackKind::RequestHeaders, CallbackKind::HttpCallResponse, CallbackKind::Log] {
            account.callback(kind, Duration::ZERO);
        }
        ledger.count(&mut account);

        let twin = beside(&filter, &compiled(&all), &ledger.take_notes());

        let module = compiled(&twin.module);
        let exported = CALLBACKS.map(|(kind, ..)| kind).into_iter().filter(|kind| module.exports(*kind));
        use CallbackKind::{ContextCreate, Delete, Done, Log, RequestHeaders};
        assert_eq!(exported.collect::<Vec<_>>(), [ContextCreate, RequestHeaders, Done, Log, Delete]);
        assert_eq!((twin.isolation, twin.manners.empty_body), (Isolation::Request, EmptyBody::Call));
        assert_ne!(twin.config_digest(), filter.config_digest());
    }
}
