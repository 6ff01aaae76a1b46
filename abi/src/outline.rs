//! What a module says about itself before it is compiled: imports, exports, sizes.
//!
//! It reads and compares; whether the code is valid is for the compiler to say.

use wasmparser::{ExternalKind, FuncType, FunctionBody, Operator, Parser, Payload, TypeRef, ValType};

use crate::callback::{self, CallbackKind};
use crate::error::{ModuleError, NoImage, UnknownImport};
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
    /// The function of the start section.
    start: Option<u32>,
    /// Places of the mutable globals among all globals; imported ones are refused.
    mutable: Vec<u32>,
    /// The first thing found for which no image can be taken.
    no_image: Option<NoImage>,
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
            outline.take(payload.map_err(ModuleError::malformed)?, limits)?;
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
                    self.take_import(import.map_err(ModuleError::malformed)?);
                }
            }
            Payload::FunctionSection(functions) => {
                bound("functions", functions.count().into(), bounds.functions.into())?;
                for function in functions {
                    self.functions.push(function.map_err(ModuleError::malformed)?);
                }
            }
            Payload::TableSection(tables) => bound("tables", tables.count().into(), limits::TABLES.into())?,
            Payload::GlobalSection(globals) => {
                for (index, global) in (0..).zip(globals) {
                    let global = global.map_err(ModuleError::malformed)?.ty;
                    if global.mutable && matches!(global.content_type, ValType::Ref(_)) {
                        self.no_image = Some(NoImage::Reference);
                    } else if global.mutable {
                        self.mutable.push(index);
                    }
                }
            }
            Payload::ExportSection(exports) => {
                bound("exports", exports.count().into(), bounds.exports.into())?;
                for export in exports {
                    self.take_export(&export.map_err(ModuleError::malformed)?);
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                let size = range.end.saturating_sub(range.start);
                bound("bytes in one function", size, wide(bounds.body_bytes))?;
                if self.no_image.is_none() {
                    self.no_image = unfit(&body)?;
                }
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
        self.check_start()?;
        Ok(abi)
    }

    /// The compiler does not see the start section, so it could not refuse this.
    fn check_start(&self) -> Result<(), ModuleError> {
        let Some(start) = self.start else { return Ok(()) };
        match self.function_type(start) {
            Some(found) if found == Signature::new(&[], &[]) => Ok(()),
            Some(found) => Err(ModuleError::Invalid(format!("the start function has type {found}, expected ()"))),
            None => Err(ModuleError::Invalid(format!("the start function is number {start}, which does not exist"))),
        }
    }

    pub(crate) fn callbacks(&self) -> Vec<CallbackKind> {
        let mut kinds = CallbackKind::ALL.to_vec();
        kinds.retain(|kind| {
            let starts = *kind == CallbackKind::Init && self.start.is_some();
            starts || self.exports.iter().any(|export| kind.exports().any(|name| name == export.name))
        });
        kinds
    }

    /// The mutable globals that an image has to hold, or why none can be taken.
    pub(crate) fn image_globals(&self) -> Result<Vec<u32>, NoImage> {
        if let Some(why) = &self.no_image {
            return Err(why.clone());
        }
        let (count, limit) = (self.mutable.len(), limits::IMAGE_GLOBALS);
        if count > limit {
            return Err(NoImage::Globals { count, limit });
        }
        let mut names: Vec<_> = self.imports.iter().collect();
        names.sort_by_key(|import| (&import.module, &import.name));
        let same = |pair: &&[&Import]| pair[0].name == pair[1].name && pair[0].module == pair[1].module;
        let twice = |pair: &&[&Import]| same(pair) && pair[0].signature != pair[1].signature;
        match names.windows(2).find(twice) {
            Some(pair) => Err(NoImage::ImportedTwice(format!("{}.{}", pair[0].module, pair[0].name))),
            None => Ok(self.mutable.clone()),
        }
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
        self.function_type(export.index)
    }

    fn function_type(&self, index: u32) -> Option<Signature> {
        let function = self.functions.get(usize::try_from(index).ok()?)?;
        self.signature(*function)
    }

    fn signature(&self, index: u32) -> Option<Signature> {
        self.types.get(usize::try_from(index).ok()?).map(Signature::from)
    }
}

/// The first instruction whose effect an image would miss.
fn unfit(body: &FunctionBody<'_>) -> Result<Option<NoImage>, ModuleError> {
    if !body.as_bytes().windows(2).any(|pair| may_begin_unfit(pair[0], pair[1])) {
        return Ok(None);
    }
    let mut operators = body.get_operators_reader().map_err(ModuleError::malformed)?;
    while !operators.eof() {
        let why = match operators.read().map_err(ModuleError::malformed)? {
            Operator::TableSet { .. } => NoImage::Table("table.set"),
            Operator::TableFill { .. } => NoImage::Table("table.fill"),
            Operator::TableCopy { .. } => NoImage::Table("table.copy"),
            Operator::TableInit { .. } => NoImage::Table("table.init"),
            Operator::TableGrow { .. } => NoImage::Table("table.grow"),
            Operator::ElemDrop { .. } => NoImage::Segment("elem.drop"),
            Operator::DataDrop { .. } => NoImage::Segment("data.drop"),
            _ => continue,
        };
        return Ok(Some(why));
    }
    Ok(None)
}

/// True for the first bytes of every instruction that `unfit` looks for, and of what else looks like it: hardly any body
/// has to be decoded. The second byte is the low end of a number that may be written longer than it needs to be.
fn may_begin_unfit(opcode: u8, number: u8) -> bool {
    match (opcode, number & 0x7f) {
        // table.set, of the one table there may be.
        (0x26, 0) => true,
        // data.drop, table.init, elem.drop, table.copy, table.grow, table.fill.
        (0xfc, 9 | 12 | 13 | 14 | 15 | 17) => true,
        _ => false,
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

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
