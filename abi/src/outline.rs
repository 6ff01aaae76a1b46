//! What a module says about itself before it is compiled: imports, exports, sizes.
//!
//! It reads and compares; whether the code is valid is for the compiler to say.

use wasmparser::{ExternalKind, FuncType, Parser, Payload, TypeRef};

use crate::callback::{self, CallbackKind};
use crate::error::{ModuleError, UnknownImport};
use crate::hostcall::{self, Import};
use crate::limits::{self, ModuleLimits};
use crate::signature::Signature;
use crate::types::AbiVersion;

/// The outline of one module.
#[derive(Default)]
pub(crate) struct Outline {
    types: Vec<FuncType>,
    /// Type index of every function, imported ones first.
    functions: Vec<u32>,
    imports: Vec<Import>,
    /// Imports that are no function, as `what` they are.
    strangers: Vec<UnknownImport>,
    exports: Vec<Export>,
    has_start: bool,
}

struct Export {
    name: String,
    kind: ExternalKind,
    index: u32,
}

impl Outline {
    /// Reads the sections, and stops at the first bound of `limits` that is passed.
    pub(crate) fn read(bytes: &[u8], limits: &ModuleLimits) -> Result<Outline, ModuleError> {
        bound("bytes", wide(bytes.len()), wide(limits.bytes))?;
        if !bytes.starts_with(b"\0asm") {
            return Err(ModuleError::Malformed(stranger(bytes)));
        }
        if bytes.get(4..8).is_some_and(|version| version[2] == 1) {
            return Err(ModuleError::Component);
        }
        let mut outline = Outline::default();
        for payload in Parser::new(0).parse_all(bytes) {
            outline.take(payload.map_err(malformed)?, limits)?;
        }
        Ok(outline)
    }

    fn take(&mut self, payload: Payload<'_>, bounds: &ModuleLimits) -> Result<(), ModuleError> {
        match payload {
            Payload::TypeSection(types) => {
                let types: Result<Vec<FuncType>, _> = types.into_iter_err_on_gc_types().collect();
                self.types = types.map_err(|error| ModuleError::Invalid(error.message().to_owned()))?;
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    bound("imports", wide(self.imports.len()) + 1, bounds.imports.into())?;
                    self.take_import(import.map_err(malformed)?);
                }
            }
            Payload::FunctionSection(functions) => {
                bound("functions", functions.count().into(), bounds.functions.into())?;
                for function in functions {
                    self.functions.push(function.map_err(malformed)?);
                }
            }
            Payload::TableSection(tables) => bound("tables", tables.count().into(), limits::TABLES.into())?,
            Payload::ExportSection(exports) => {
                bound("exports", exports.count().into(), bounds.exports.into())?;
                for export in exports {
                    self.take_export(&export.map_err(malformed)?);
                }
            }
            Payload::StartSection { .. } => self.has_start = true,
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                let size = range.end.saturating_sub(range.start);
                bound("bytes in one function", size, wide(bounds.body_bytes))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn take_import(&mut self, import: wasmparser::Import<'_>) {
        let stranger = |wanted: &str| UnknownImport {
            module: import.module.to_owned(),
            name: import.name.to_owned(),
            wanted: wanted.to_owned(),
            known: Vec::new(),
            meant: None,
        };
        match import.ty {
            TypeRef::Func(index) => {
                self.functions.push(index);
                if let Some(signature) = self.signature(index) {
                    self.imports.push(Import {
                        module: import.module.to_owned(),
                        name: import.name.to_owned(),
                        signature,
                    });
                }
            }
            TypeRef::Memory(_) => self.strangers.push(stranger("(memory)")),
            TypeRef::Table(_) => self.strangers.push(stranger("(table)")),
            TypeRef::Global(_) => self.strangers.push(stranger("(global)")),
            TypeRef::Tag(_) | TypeRef::FuncExact(_) => self.strangers.push(stranger("(tag)")),
        }
    }

    fn take_export(&mut self, export: &wasmparser::Export<'_>) {
        self.exports.push(Export { name: export.name.to_owned(), kind: export.kind, index: export.index });
    }

    /// Everything that makes the module unfit to be a filter, the version first: without one, it is not meant to be one.
    /// `abi` is the operator's word, which stands above the marker.
    pub(crate) fn check(&self, abi: Option<AbiVersion>) -> Result<AbiVersion, ModuleError> {
        let abi = abi.map_or_else(|| self.abi_version(), Ok)?;
        self.check_imports()?;
        if !self.exports.iter().any(|export| export.kind == ExternalKind::Memory && export.name == "memory") {
            return Err(ModuleError::NoMemory);
        }
        if !["proxy_on_memory_allocate", "malloc"].iter().any(|name| self.function(name).is_some()) {
            return Err(ModuleError::NoAllocator);
        }
        self.exports.iter().try_for_each(|export| self.check_callback(export))?;
        Ok(abi)
    }

    pub(crate) fn callbacks(&self) -> Vec<CallbackKind> {
        let mut kinds = CallbackKind::ALL.to_vec();
        kinds.retain(|kind| {
            let starts = *kind == CallbackKind::Init && self.has_start;
            starts || self.exports.iter().any(|export| kind.is_export(&export.name))
        });
        kinds
    }

    pub(crate) fn into_imports(self) -> Vec<Import> {
        self.imports
    }

    fn abi_version(&self) -> Result<AbiVersion, ModuleError> {
        let functions = self.exports.iter().filter(|export| export.kind == ExternalKind::Func);
        let mut names = functions.map(|export| export.name.as_str());
        // A module may show other hosts a marker of theirs beside one of ours.
        if let Some(known) = names.clone().find_map(version) {
            return Ok(known);
        }
        match names.find(|name| is_marker(name)) {
            Some(other) => Err(ModuleError::UnknownAbiVersion(other.to_owned())),
            None => Err(ModuleError::NoAbiVersion),
        }
    }

    fn check_imports(&self) -> Result<(), ModuleError> {
        let mut unknown = self.strangers.clone();
        unknown.extend(self.imports.iter().filter_map(hostcall::check));
        if unknown.is_empty() { Ok(()) } else { Err(ModuleError::UnknownImports(unknown)) }
    }

    fn check_callback(&self, export: &Export) -> Result<(), ModuleError> {
        let shapes = callback::shapes(&export.name);
        if shapes.is_empty() {
            return Ok(());
        }
        let found = self.function(&export.name);
        let fits = |(params, results): &(&[_], &[_])| {
            found.as_ref().is_some_and(|found| found.params == *params && found.results == *results)
        };
        if shapes.iter().any(fits) {
            return Ok(());
        }
        let expected: Vec<String> =
            shapes.iter().map(|(params, results)| Signature::new(params, results).to_string()).collect();
        Err(ModuleError::CallbackType {
            export: export.name.clone(),
            expected: expected.join(" or "),
            found: found.map_or_else(|| "of no function".to_owned(), |found| found.to_string()),
        })
    }

    fn function(&self, name: &str) -> Option<Signature> {
        let export = self.exports.iter().find(|export| export.name == name && export.kind == ExternalKind::Func)?;
        let function = self.functions.get(usize::try_from(export.index).ok()?)?;
        self.signature(*function)
    }

    fn signature(&self, index: u32) -> Option<Signature> {
        self.types.get(usize::try_from(index).ok()?).map(Signature::from)
    }
}

fn version(marker: &str) -> Option<AbiVersion> {
    match marker {
        "proxy_abi_version_0_1_0" => Some(AbiVersion::V0_1_0),
        "proxy_abi_version_0_2_0" => Some(AbiVersion::V0_2_0),
        "proxy_abi_version_0_2_1" | "proxy_abi_version_0_2_100" => Some(AbiVersion::V0_2_1),
        _ => None,
    }
}

fn is_marker(name: &str) -> bool {
    ["proxy_abi_version_", "proxy_abi_revision_", "proxy_abi_mosn_version_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn bound(what: &'static str, count: u64, limit: u64) -> Result<(), ModuleError> {
    if count > limit {
        return Err(ModuleError::TooMany { what, count, limit });
    }
    Ok(())
}

/// What bytes without the magic of WebAssembly begin with.
fn stranger(bytes: &[u8]) -> String {
    match bytes {
        [] => "the file is empty".to_owned(),
        [b'(', ..] => "it is WebAssembly text; compile it to binary first".to_owned(),
        _ => format!("it begins with \"{}\"", bytes[..bytes.len().min(4)].escape_ascii()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where map_err hands the error over")]
fn malformed(error: wasmparser::BinaryReaderError) -> ModuleError {
    ModuleError::Malformed(format!("{} at byte {}", error.message(), error.offset()))
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
