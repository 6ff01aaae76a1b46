//! What is added to a module before it is compiled, so that the host can read and set what only the guest can reach:
//! its mutable globals become exports, and its start section becomes an export that the host calls itself.
//!
//! Code, data, names and debug sections stay as they are, byte for byte. It does not check whether the module is valid.

use std::ops::Range;

use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

use crate::error::ModuleError;
use crate::limits;

/// How every name begins that is added. A module may not use one for itself.
const RESERVED: &str = "tollgate:";

/// The function of the start section.
pub(crate) const START: &str = "tollgate:start";

/// The export of the mutable global with this place among the module's globals.
pub(crate) fn global(index: u32) -> String {
    format!("{RESERVED}global/{index}")
}

/// The module that is compiled in the place of `bytes`. Only what passed `Outline::check` comes here.
pub(crate) fn instrument(bytes: &[u8]) -> Result<Vec<u8>, ModuleError> {
    let mut additions = Additions::default();
    for payload in Parser::new(0).parse_all(bytes) {
        additions.take(&payload.map_err(ModuleError::malformed)?)?;
    }
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(ModuleError::malformed)? {
            Payload::StartSection { .. } => {}
            Payload::ExportSection(exports) => {
                module.section(&additions.extend(exports)?);
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    module.section(&RawSection { id, data: slice(bytes, range)? });
                }
            }
        }
    }
    Ok(module.finish())
}

/// What a module's export section gets in addition.
#[derive(Default)]
struct Additions {
    /// Globals passed so far, imported ones first.
    globals: u32,
    mutable: Vec<u32>,
    start: Option<u32>,
}

impl Additions {
    fn take(&mut self, payload: &Payload<'_>) -> Result<(), ModuleError> {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let import = import.map_err(ModuleError::malformed)?;
                    self.globals += u32::from(matches!(import.ty, TypeRef::Global(_)));
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals.clone() {
                    if global.map_err(ModuleError::malformed)?.ty.mutable {
                        self.mutable.push(self.globals);
                    }
                    self.globals += 1;
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(*func),
            _ => {}
        }
        Ok(())
    }

    fn extend(&self, exports: wasmparser::ExportSectionReader<'_>) -> Result<ExportSection, ModuleError> {
        let mut section = ExportSection::new();
        for export in exports {
            let export = export.map_err(ModuleError::malformed)?;
            if export.name.starts_with(RESERVED) {
                return Err(ModuleError::ReservedExport(export.name.to_owned()));
            }
            section.export(export.name, kind(export.kind)?, export.index);
        }
        if self.mutable.len() <= limits::IMAGE_GLOBALS {
            for index in &self.mutable {
                section.export(&global(*index), ExportKind::Global, *index);
            }
        }
        if let Some(start) = self.start {
            section.export(START, ExportKind::Func, start);
        }
        Ok(section)
    }
}

fn kind(kind: ExternalKind) -> Result<ExportKind, ModuleError> {
    match kind {
        ExternalKind::Func => Ok(ExportKind::Func),
        ExternalKind::Table => Ok(ExportKind::Table),
        ExternalKind::Memory => Ok(ExportKind::Memory),
        ExternalKind::Global => Ok(ExportKind::Global),
        ExternalKind::Tag => Ok(ExportKind::Tag),
        ExternalKind::FuncExact => Err(ModuleError::Invalid("export of a function of exact type".to_owned())),
    }
}

fn slice(bytes: &[u8], range: Range<u64>) -> Result<&[u8], ModuleError> {
    let end = |at: u64| usize::try_from(at).ok();
    let found = end(range.start).zip(end(range.end)).and_then(|(start, end)| bytes.get(start..end));
    found.ok_or_else(|| ModuleError::Malformed("a section ends past the file".to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn exports(bytes: &[u8]) -> Vec<String> {
        let payloads = Parser::new(0).parse_all(bytes).map(Result::unwrap);
        let exports = payloads.filter_map(|payload| match payload {
            Payload::ExportSection(exports) => Some(exports),
            _ => None,
        });
        exports.flatten().map(|export| export.unwrap().name.to_owned()).collect()
    }

    fn sections(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let payloads = Parser::new(0).parse_all(bytes).map(Result::unwrap);
        let sections = payloads.filter_map(|payload| payload.as_section());
        sections.map(|(id, range)| (id, slice(bytes, range).unwrap().to_vec())).collect()
    }

    #[test]
    fn mutable_globals_and_the_start_section_become_exports() {
        let module = wat::parse_str(
            r#"(module
                (import "env" "fixed" (global i32))
                (global i32 (i32.const 1))
                (global (mut i64) (i64.const 2))
                (global (export "own") (mut f32) (f32.const 3))
                (func $go)
                (memory (export "memory") 1)
                (start $go))"#,
        );

        let instrumented = instrument(&module.unwrap()).unwrap();

        let expected = ["own", "memory", "tollgate:global/2", "tollgate:global/3", "tollgate:start"];
        assert_eq!(exports(&instrumented), expected);
        assert!(sections(&instrumented).iter().all(|(id, _)| *id != 8), "no start section is left");
    }

    #[test]
    fn every_other_section_stays_as_it_is() {
        let module = wat::parse_str(
            r#"(module $named
                (table 1 funcref) (elem (i32.const 0) $go)
                (func $go (export "go") (drop (i32.const 7)))
                (memory (export "memory") 1) (data (i32.const 8) "text")
                (global $count (mut i32) (i32.const 0))
                (@custom "note" "words"))"#,
        );
        let module = module.unwrap();

        let instrumented = instrument(&module).unwrap();

        let without_exports =
            |bytes: &[u8]| -> Vec<_> { sections(bytes).into_iter().filter(|(id, _)| *id != 7).collect() };
        assert_eq!(without_exports(&instrumented), without_exports(&module));
        assert_eq!(exports(&instrumented).len(), 3);
    }

    #[test]
    fn a_module_may_not_use_a_reserved_name() {
        let module = wat::parse_str(r#"(module (func (export "tollgate:start")))"#).unwrap();

        let refused = instrument(&module).unwrap_err();

        assert_eq!(refused, ModuleError::ReservedExport("tollgate:start".to_owned()));
    }
}
