//! The hostile modules: files of text beside this one, made into bytes. Which of them is owed what stands in `table.rs`.
//!
//! A file is a whole `(module …)`, or what goes into one: then the imports that it calls, a memory of 1 MiB, an allocator
//! and `prelude.wat` are put around it, each unless the file brings its own.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use tollgate_abi::WireType;
use tollgate_abi::testing::{every_import, wat};

/// Where the files lie.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile")
}

/// Every hostile file, as `group/name`.
pub(crate) fn files() -> BTreeSet<String> {
    let entries = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let groups = entries(&folder()).filter(|path| path.is_dir());
    let files = groups.flat_map(|group| entries(&group).collect::<Vec<_>>());
    let named = |path: PathBuf| path.strip_prefix(folder()).unwrap().with_extension("").display().to_string();
    files.map(named).collect()
}

/// The bytes of a module: of a file, or made here where text cannot say it.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    match name {
        "load/raw-garbage" => b"\x7fELF\x02\x01\x01\0".repeat(100),
        "load/raw-empty" => Vec::new(),
        "load/raw-header" => b"\0asm\x01\0\0\0".to_vec(),
        "load/raw-text" => b"(module)".to_vec(),
        "load/raw-truncated" => {
            let whole = bytes("honest");
            whole[..whole.len() / 2].to_vec()
        }
        "load/raw-flipped" => {
            let mut whole = bytes("honest");
            let middle = whole.len() / 2;
            whole[middle] ^= 0xff;
            whole
        }
        "load/raw-section" => b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f".to_vec(),
        "memory/raw-large" => [b"\0asm\x01\0\0\0".to_vec(), vec![0; 16 << 20]].concat(),
        _ => wat(&text(name)),
    }
}

fn text(name: &str) -> String {
    let text = repeated(&read(name));
    let code = text.lines().find(|line| !line.starts_with(";;")).unwrap_or_default();
    if code.starts_with("(module") || code.starts_with("(component") { text } else { around(&text) }
}

fn read(name: &str) -> String {
    let path = folder().join(name).with_extension("wat");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A line `;; repeat N` has the next line stand there N times; `;; repeat N #` numbers them where they say `#`.
fn repeated(text: &str) -> String {
    let mut lines = text.lines();
    let mut all = String::with_capacity(text.len());
    while let Some(line) = lines.next() {
        match line.trim().strip_prefix(";; repeat ").map(|times| times.trim_end_matches(" #").parse::<usize>().unwrap())
        {
            Some(times) => {
                let line = lines.next().unwrap();
                (0..times).for_each(|number| all.extend([&line.replace('#', &number.to_string()), "\n"]));
            }
            None => all.extend([line, "\n"]),
        }
    }
    all
}

const MEMORY: &str = "(memory (export \"memory\") 16)";

/// Gives one block after the other, and begins anew when they have come to 900 KiB.
const ALLOCATOR: &str = "(global $next (mut i32) (i32.const 65536))
    (func (export \"proxy_on_memory_allocate\") (param $size i32) (result i32)
      (if (i32.gt_u (i32.add (global.get $next) (local.get $size)) (i32.const 987136)) (then
        (global.set $next (i32.const 65536))))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get $size))))";

fn around(file: &str) -> String {
    let prelude = read("prelude");
    let own = |export: &str| file.contains(&format!("(export \"{export}\")"));
    let memory = if own("memory") { "" } else { MEMORY };
    let allocator = if own("proxy_on_memory_allocate") { "" } else { ALLOCATOR };
    let imports = imports(&[file, &prelude]);
    format!("(module {imports} {memory} (func (export \"proxy_abi_version_0_2_1\")) {allocator} {file} {prelude})")
}

/// One import for each function of the host that the texts call by its name.
fn imports(texts: &[&str]) -> String {
    let mut known = HashMap::new();
    for (module, name, signature) in every_import() {
        known.entry(name).or_insert((module, signature));
    }
    let called: BTreeSet<&str> = texts.iter().flat_map(|text| text.split("call $").skip(1)).map(word).collect();
    let list =
        |keyword: &str, types: &[WireType]| types.iter().map(|wire| format!("({keyword} {wire})")).collect::<String>();
    let import = |name: &str| {
        let (module, signature) = known.get(name)?;
        let (params, results) = (list("param", &signature.params), list("result", &signature.results));
        Some(format!("(import \"{module}\" \"{name}\" (func ${name} {params} {results}))\n"))
    };
    called.into_iter().filter_map(import).collect()
}

fn word(rest: &str) -> &str {
    let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    end.map_or(rest, |end| &rest[..end])
}
