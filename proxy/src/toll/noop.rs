//! A filter that does nothing: every callback of an exchange, each of which continues. What it costs is the crossing.

use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, MemorySection, MemoryType, Module, TypeSection,
    ValType,
};

/// Each export with its parameters, all numbers of 32 bits, and whether it answers.
const EXPORTS: [(&str, usize, bool); 10] = [
    ("proxy_abi_version_0_2_1", 0, false),
    // Nobody calls it: the filter is handed nothing.
    ("malloc", 1, true),
    ("proxy_on_context_create", 2, false),
    ("proxy_on_request_headers", 3, true),
    ("proxy_on_request_body", 3, true),
    ("proxy_on_response_headers", 3, true),
    ("proxy_on_response_body", 3, true),
    ("proxy_on_done", 1, true),
    ("proxy_on_log", 1, false),
    ("proxy_on_delete", 1, false),
];

/// Its module.
pub(super) fn module() -> Vec<u8> {
    let mut types = TypeSection::new();
    let mut functions = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    for (index, (name, parameters, answers)) in (0..).zip(EXPORTS) {
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
        instructions.i32_const(i32::from(name == "proxy_on_done"));
    }
    instructions.end();
    function
}
