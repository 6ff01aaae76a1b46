//! A filter that does nothing: callbacks of an exchange, each of which continues. What it costs is the crossing.

use tollgate_abi::CallbackKind;
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, MemorySection, MemoryType, Module, TypeSection,
    ValType,
};

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

/// Its module, with those callbacks of an exchange that `exports` names.
pub(super) fn module(exports: impl Fn(CallbackKind) -> bool) -> Vec<u8> {
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
